/**
 * Whether our addresses and our name are on public blocklists (RFC 5782), and whether those lists answer our resolver at all: many
 * refuse public resolvers, and then every address would seem unlisted.
 */
import { isIPv4 } from 'node:net'
import { type DnsAnswer, type Resolver, reverseName } from '@valija/courier'
import { type Check, checkOf } from './check.ts'

export interface Blocklist {
  zone: string
  kind: 'addresses' | 'domains'
  /** Whom a listing stops: most receivers, or some. */
  reach: 'most' | 'some'
  /** What its answers mean; any other one is a listing without a word why. */
  meanings: Readonly<Record<string, string>>
  /** Where it is looked up by hand, and removal is asked for. */
  page: string
  /** An entry that is always there (RFC 5782 §5), by which a list that does not answer us is known. */
  testEntry: string
}

const ownResolver =
  'Ask by a resolver of your own (unbound on this machine, VALIJA_DNS_SERVERS=127.0.0.1): lists refuse public and shared ones.'

/** Answers of all lists of Spamhaus that are no listing (its documentation of return codes). */
const refusals: Readonly<Record<string, string>> = {
  '127.255.255.252': 'the name of the list is mistyped',
  '127.255.255.254': 'it refuses this resolver: it is a public one',
  '127.255.255.255': 'it refuses this resolver: too many questions come from it',
  '127.0.1.255': 'it was asked for an address and lists names',
}

/** The lists that receivers use most and that say how to get off. */
export const publicBlocklists: readonly Blocklist[] = [
  {
    zone: 'zen.spamhaus.org',
    kind: 'addresses',
    reach: 'most',
    meanings: {
      '127.0.0.2': 'SBL: a known source of spam',
      '127.0.0.3': 'CSS: spam was seen from it',
      '127.0.0.4': 'XBL: it behaves like an infected machine',
      '127.0.0.9': 'DROP: the whole network belongs to criminals',
      '127.0.0.10': 'PBL: its network says that no mail servers are there',
      '127.0.0.11': 'PBL: it looks like an address of dial-up lines',
    },
    page: 'https://check.spamhaus.org/',
    testEntry: '127.0.0.2',
  },
  {
    zone: 'bl.spamcop.net',
    kind: 'addresses',
    reach: 'some',
    meanings: { '127.0.0.2': 'users reported spam from it; it goes a day after the last report' },
    page: 'https://www.spamcop.net/bl.shtml',
    testEntry: '127.0.0.2',
  },
  {
    zone: 'b.barracudacentral.org',
    kind: 'addresses',
    reach: 'some',
    meanings: { '127.0.0.2': 'spam was seen from it' },
    page: 'https://www.barracudacentral.org/rbl/removal-request',
    testEntry: '127.0.0.2',
  },
  {
    zone: 'psbl.surriel.com',
    kind: 'addresses',
    reach: 'some',
    meanings: { '127.0.0.2': 'it sent to a spam trap' },
    page: 'https://psbl.org/',
    testEntry: '127.0.0.2',
  },
  {
    zone: 'dbl.spamhaus.org',
    kind: 'domains',
    reach: 'most',
    meanings: {
      '127.0.1.2': 'a domain seen in spam',
      '127.0.1.4': 'a domain of phishing',
      '127.0.1.5': 'a domain of malware',
      '127.0.1.6': 'a domain of botnets',
      '127.0.1.102': 'a good domain that was abused for spam',
      '127.0.1.104': 'a good domain that was abused for phishing',
    },
    page: 'https://check.spamhaus.org/',
    testEntry: 'dbltest.com',
  },
]

export interface Subjects {
  addresses: readonly string[]
  domains: readonly string[]
}

/** What one list says. */
export interface ListAnswers {
  list: Blocklist
  /** Null: it answers us; else a sentence why not. */
  silence: { why: string; isRefusal: boolean } | null
  /** By subject; empty for one that is not listed. */
  listings: ReadonlyMap<string, readonly string[]>
}

export async function askBlocklists(
  resolver: Resolver,
  lists: readonly Blocklist[],
  subjects: Subjects,
): Promise<ListAnswers[]> {
  return Promise.all(
    lists.map(async (list): Promise<ListAnswers> => {
      const ask = (subject: string) => resolver.resolve(`${entryOf(subject)}.${list.zone}`, 'A')
      const asked = subjects[list.kind]
      const [test, ...answers] = await Promise.all([list.testEntry, ...asked].map(ask))
      const silence = silenceOf([test, ...answers])
      const listings = asked.map((subject, at) => [subject, codesOf(answers[at])] as const)
      return { list, silence, listings: new Map(listings) }
    }),
  )
}

/** How an address or a domain is written below a list's zone (RFC 5782 §2.1, §2.4). */
function entryOf(subject: string): string {
  return reverseName(subject)?.replace(/\.(in-addr|ip6)\.arpa$/, '') ?? subject
}

/** What a list that answers us says of one subject; what is no such answer is `silenceOf`'s matter. */
function codesOf(answer: DnsAnswer<'A'> | undefined): readonly string[] {
  return answer?.kind === 'records' ? answer.records : []
}

function silenceOf([test, ...others]: (DnsAnswer<'A'> | undefined)[]): ListAnswers['silence'] {
  const all = [test, ...others].flatMap(codesOf)
  const refusal = all.find((code) => refusals[code] !== undefined)
  if (refusal !== undefined) return { why: refusals[refusal] ?? '', isRefusal: true }
  const foreign = all.find((code) => !code.startsWith('127.'))
  if (foreign !== undefined) {
    return { why: `it answers ${foreign}, which is no answer of a list`, isRefusal: true }
  }
  if (test?.kind === 'unavailable') return { why: test.detail, isRefusal: false }
  if (codesOf(test).length > 0) return null
  return { why: 'its test entry is not there: it does not answer this resolver', isRefusal: false }
}

export function judgeBlocklists(all: readonly ListAnswers[], subjects: Subjects): Check[] {
  const silent = all.filter(({ silence }) => silence !== null)
  return [
    ...subjects.addresses.flatMap((address) =>
      judgeSubject(
        address,
        all.filter(({ list }) => list.kind === 'addresses'),
      ),
    ),
    ...subjects.domains.flatMap((domain) =>
      judgeSubject(
        domain,
        all.filter(({ list }) => list.kind === 'domains'),
      ),
    ),
    ...silent.map(judgeSilence),
  ]
}

function judgeSubject(subject: string, all: readonly ListAnswers[]): Check[] {
  const answering = all.filter(({ silence }) => silence === null)
  const check = checkOf('blocklist', subject)
  const listed = answering.filter(({ listings }) => (listings.get(subject) ?? []).length > 0)
  if (answering.length === 0) return [check.skipped('no list could be asked')]
  if (listed.length === 0) return [check.ok(`is not on ${answering.map(({ list }) => list.zone).join(', ')}`)]
  return listed.map(({ list, listings }) => {
    const codes = listings.get(subject) ?? []
    const meanings = [...new Set(codes.map((code) => meaningOf(list, code)))]
    const detail = `is on ${list.zone} (${meanings.join('; ')})`
    const fix = codes.some((code) => list.meanings[code]?.startsWith('PBL'))
      ? `Ask your provider for an address that may send mail, or take this one off if its network allows it: ${list.page}. Or send through a relay: VALIJA_DELIVERY=smarthost.`
      : `Find out what was sent from there and stop it; then ask for removal: ${list.page}`
    return list.reach === 'most' ? check.failed(detail, fix) : check.warning(detail, fix)
  })
}

/** XBL has four answers that mean the same. */
function meaningOf(list: Blocklist, code: string): string {
  const known = list.meanings[code]
  if (known !== undefined) return known
  return list.zone === 'zen.spamhaus.org' && /^127\.0\.0\.[5-7]$/.test(code)
    ? (list.meanings['127.0.0.4'] ?? code)
    : code
}

function judgeSilence({ list, silence }: ListAnswers): Check {
  const check = checkOf('blocklist', list.zone)
  const why = silence?.why ?? ''
  return silence?.isRefusal
    ? check.warning(`says nothing: ${why}`, ownResolver)
    : check.skipped(`says nothing: ${why}`)
}

/** What is asked for: addresses that the world sees, and the registered domain of the EHLO names. */
export function subjectsOf(
  addresses: readonly string[],
  ehloNames: readonly string[],
  registeredDomain: (name: string) => string | null,
): Subjects {
  const domains = ehloNames.flatMap((name) => registeredDomain(name) ?? [])
  return {
    addresses: [...new Set(addresses)].sort((a, b) => Number(isIPv4(b)) - Number(isIPv4(a))),
    domains: [...new Set(domains)],
  }
}
