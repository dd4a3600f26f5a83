/**
 * Looks for one record in the DNS now and says what is there: right, missing or wrong, and of the mistakes that people make with
 * DNS providers' forms, which one it is. Further questions are asked only where the record is not right.
 */
import { randomBytes } from 'node:crypto'
import type { DnsAnswer, Resolver } from '@valija/courier'
import { type RecordFault, recordFault } from '@valija/mail'
import type { NewCheck } from '@valija/store'
import { registeredDomain, type WantedRecord } from './domain-records.ts'

/** What was found at the name; `by`: which resolver said so. */
export interface Look {
  status: NewCheck['status']
  found: string[]
  fault: RecordFault | null
  by: string | null
}

/** @param domain the sender domain that the record is for */
export async function lookForRecord(resolver: Resolver, domain: string, record: WantedRecord): Promise<Look> {
  const answer = await resolver.resolve(record.name, record.type)
  const by = answer.by ?? null
  if (answer.kind === 'unavailable') {
    const fault = recordFault('no_answer', `DNS gave no answer: ${answer.detail}.`)
    return { status: 'unchecked', found: [], fault, by }
  }
  if (answer.kind !== 'records') return { ...(await explainAbsence(resolver, domain, record)), by }
  const fault = record.findFault(answer.records)
  if (fault === null || fault.code === 'missing') {
    return { status: fault === null ? 'ok' : 'missing', found: answer.records, fault, by }
  }
  const wildcard = await findWildcard(resolver, record, answer.records)
  if (wildcard !== null) return { status: 'missing', found: answer.records, fault: wildcard, by }
  return { status: 'wrong', found: answer.records, fault, by }
}

async function explainAbsence(
  resolver: Resolver,
  domain: string,
  record: WantedRecord,
): Promise<Omit<Look, 'by'>> {
  const { type, name } = record
  const misplaced = await findMisplaced(resolver, domain, record)
  if (misplaced !== null) return { status: 'missing', ...misplaced }
  const missing = {
    status: 'missing' as const,
    found: [],
    fault: recordFault('missing', `There is no ${type} record at this name.`),
  }
  if (type === 'CNAME') return (await findInsteadOfAlias(resolver, name)) ?? missing
  const alias = await resolver.resolve(name, 'CNAME')
  if (alias.kind !== 'records') return missing
  const text = `The name is an alias (CNAME) of ${alias.records[0]}, where there is no ${type} record.`
  return { status: 'wrong', found: alias.records, fault: recordFault('dangling_alias', text) }
}

/**
 * Where it was put instead: below the domain doubled, since most forms append the domain by themselves, or at a name whose
 * underscores a form has refused.
 */
async function findMisplaced(
  resolver: Resolver,
  domain: string,
  record: WantedRecord,
): Promise<{ found: string[]; fault: RecordFault } | null> {
  const { name, type } = record
  const registered = registeredDomain(domain)
  const doubled = name === domain ? [] : [...new Set([`${name}.${registered}`, `${name}.${domain}`])]
  const bare = name.includes('_') ? [name.replaceAll('_', '')] : []
  const places = [
    ...doubled.map((place) => ({
      place,
      fault: recordFault(
        'doubled_name',
        `It was published at ${place}: the DNS provider appends the domain by itself. Enter only "${name.slice(0, -registered.length - 1)}" as its name.`,
      ),
    })),
    ...bare.map((place) => ({
      place,
      fault: recordFault('wrong_name', `It was published at ${place}, without the underscore.`),
    })),
  ]
  const answers = await Promise.all(places.map(({ place }) => resolver.resolve(place, type)))
  for (const [i, { fault }] of places.entries()) {
    const answer = answers[i]
    if (answer?.kind !== 'records') continue
    // A wildcard answers below the domain for anything: only what looks like the record counts.
    const other = record.findFault(answer.records)
    if (other === null || isHalfRight.has(other.code)) return { found: answer.records, fault }
  }
  return null
}

/** Faults of what is the record all the same. */
const isHalfRight: ReadonlySet<string> = new Set([
  'quoted',
  'escaped',
  'cut_off',
  'overlong',
  'split_over_records',
  'doubled_target',
])

/** An alias was wanted, and the name has records of its own: an address that a provider's proxy has put there, exchangers. */
async function findInsteadOfAlias(resolver: Resolver, name: string): Promise<Omit<Look, 'by'> | null> {
  const [mx, a, txt] = await Promise.all([
    resolver.resolve(name, 'MX'),
    resolver.resolve(name, 'A'),
    resolver.resolve(name, 'TXT'),
  ])
  const found = [
    ...textsOf('MX', mx, ({ priority, exchange }) => `${priority} ${exchange}.`),
    ...textsOf('A', a, (address) => address),
    ...textsOf('TXT', txt, (text) => text),
  ]
  if (found.length === 0) return null
  const text =
    'The name has records of its own instead of an alias (CNAME). Remove them, and any proxy of the DNS provider for this name.'
  return { status: 'wrong', found, fault: recordFault('not_an_alias', text) }
}

function textsOf<T extends 'MX' | 'A' | 'TXT'>(
  type: T,
  answer: DnsAnswer<T>,
  toText: (record: Extract<DnsAnswer<T>, { kind: 'records' }>['records'][number]) => string,
): string[] {
  return answer.kind === 'records' ? answer.records.map((record) => `${type} ${toText(record)}`) : []
}

/** RFC 4592: the same answer for a sibling that nobody can have published. */
async function findWildcard(
  resolver: Resolver,
  { name, type }: WantedRecord,
  found: readonly string[],
): Promise<RecordFault | null> {
  const parent = name.slice(name.indexOf('.') + 1)
  // The domain's own name has siblings that belong to others.
  if (parent === '' || !parent.includes('.')) return null
  const answer = await resolver.resolve(`vlj${randomBytes(6).toString('hex')}.${parent}`, type)
  if (answer.kind !== 'records') return null
  const isSame =
    answer.records.length === found.length && answer.records.every((text) => found.includes(text))
  if (!isSame) return null
  const text = `A wildcard record (*.${parent}) answers for this name; the record itself is not there.`
  return recordFault('wildcard', text)
}
