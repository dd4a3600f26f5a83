/** What an answer says of a record that needs more than a look at its text: an alias's neighbours, and SPF, which is evaluated. */
import { checkSpf, type Resolver } from '@valija/courier'
import { type RecordFault, recordFault } from '@valija/mail'
import type { SendingHost } from './domain-hosts.ts'
import type { WantedRecord } from './domain-records.ts'
import { type Look, lookForRecord } from './look-for-record.ts'

export interface RecordContext {
  /** One that keeps no answers: who has just published a record wants it to be seen. */
  resolver: Resolver
  /** The sender domain. */
  domain: string
  /** Who exchangers see, whom the SPF record of the return path has to allow; empty where that is not known. */
  senders: readonly SendingHost[]
}

/** Of documentation (RFC 5737): no record allows it, so evaluation goes through all of the record. */
const nobody: SendingHost = { ip: '192.0.2.1', ehloName: 'nobody.invalid' }

export async function checkRecord(context: RecordContext, record: WantedRecord): Promise<Look> {
  const look = await lookForRecord(context.resolver, context.domain, record)
  if (record.purpose === 'dmarc' && look.status === 'missing') return inherit(context, record, look)
  if (look.status !== 'ok') return look
  const fault = await findFaultBeyond(context, record)
  if (fault === null) return look
  return isOthers.has(fault.code) ? { ...look, fault } : { ...look, status: 'wrong', fault }
}

/** Nothing that the domain's owner could mend: the record is right, and this is told beside it. */
const isOthers: ReadonlySet<string> = new Set(['no_answer', 'spf_lacks_sender'])

async function findFaultBeyond(context: RecordContext, record: WantedRecord): Promise<RecordFault | null> {
  if (record.purpose === 'spf') return findSpfFaultOf(context.resolver, record.name)
  if (record.type !== 'CNAME') return null
  const fault = await findNeighbours(context.resolver, record)
  return fault === null && record.purpose === 'return_path' ? findLackingSender(context, record) : fault
}

/** RFC 2181 §10.1: an alias stands alone. With other records beside it, some servers answer these, others follow it. */
async function findNeighbours(
  resolver: Resolver,
  { name, value }: WantedRecord,
): Promise<RecordFault | null> {
  for (const type of ['MX', 'TXT'] as const) {
    const [here, there] = await Promise.all([resolver.resolve(name, type), resolver.resolve(value, type)])
    if (here.kind !== 'records' || there.kind === 'unavailable') continue
    const theirs = there.kind === 'records' ? there.records.map((record) => JSON.stringify(record)) : []
    if (here.records.every((record) => theirs.includes(JSON.stringify(record)))) continue
    const text = `The alias is right, but the name has ${type} records of its own beside it, which no name with an alias may have. Remove them.`
    return recordFault('alias_beside_records', text)
  }
  return null
}

async function findSpfFaultOf(resolver: Resolver, name: string): Promise<RecordFault | null> {
  const verdict = await evaluateSpf(resolver, nobody, name)
  if (verdict.result === 'permerror') return describeSpfError(verdict.detail ?? '')
  if (verdict.result !== 'temperror') return null
  return recordFault('no_answer', 'The DNS did not answer about all that the record names.')
}

async function findLackingSender(
  { resolver, senders }: RecordContext,
  { name, value }: WantedRecord,
): Promise<RecordFault | null> {
  for (const sender of senders) {
    const { result } = await evaluateSpf(resolver, sender, name)
    if (result === 'pass' || result === 'temperror') continue
    const text = `Nothing to do here: the alias is right. But the SPF record of ${value}, where it leads, does not allow ${sender.ip}, from which mail leaves; whoever runs this installation has to publish one that does.`
    return recordFault('spf_lacks_sender', text)
  }
  return null
}

function evaluateSpf(resolver: Resolver, { ip, ehloName }: SendingHost, name: string) {
  return checkSpf(resolver, { ip, helo: ehloName, sender: `postmaster@${name}` })
}

function describeSpfError(detail: string): RecordFault {
  if (/too many dns/i.test(detail)) {
    const text =
      'It needs more than ten look-ups (include, a, mx, ptr, exists, redirect, counted through all includes), which is an error to every receiver. Remove what nobody sends by any more.'
    return recordFault('spf_too_many_lookups', text)
  }
  if (/void/i.test(detail)) {
    const text =
      'More than two of the names in it are not there, which is an error to receivers. Remove these.'
    return recordFault('spf_too_many_voids', text)
  }
  return recordFault('spf_malformed', `It cannot be evaluated: ${detail}.`)
}

/** RFC 9989 §4.10: without a record of its own a subdomain has that of its organisation's domain. */
async function inherit({ resolver, domain }: RecordContext, record: WantedRecord, look: Look): Promise<Look> {
  const labels = domain.split('.')
  for (let at = 1; at < labels.length - 1; at++) {
    const above = labels.slice(at).join('.')
    const answer = await resolver.resolve(`_dmarc.${above}`, 'TXT')
    if (answer.kind !== 'records' || record.findFault(answer.records) !== null) continue
    // Beside `ok` it is no fault, but what people are told.
    const fault = recordFault('missing', `Nothing to do: the record of ${above} holds for it too.`)
    return { ...look, status: 'ok', found: answer.records, fault }
  }
  return look
}
