/**
 * Where a domain wants its mail: its exchangers with their addresses (RFC 5321 §5.1), or why there are none.
 *
 * Junk is survived, since domains are full of it: IP addresses in the place of names, hundreds of exchangers, names without
 * addresses. Whether an address may be connected to is the guard's matter, at the connection.
 */
import { isIP } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { DnsAnswer, DnsRecords, Resolver } from './dns-answer.ts'

export interface MxHost {
  /** Lower case, no final dot. */
  name: string
  /** Lower is better; equal ones are to be tried in a random order. */
  priority: number
  /** IPv4 first; never empty. */
  addresses: string[]
  /** DNSSEC vouches for both its being an exchanger and its addresses: DANE may be asked for (RFC 7672 §2.2). */
  isAuthenticated: boolean
}

export type MailExchangers =
  | {
      kind: 'hosts'
      /** By priority; never empty. */
      hosts: MxHost[]
      /** Without MX record: the domain itself is the host. */
      isImplicit: boolean
      /** DNSSEC vouches for the MX records, or for their absence. */
      isAuthenticated: boolean
    }
  /** The domain takes no mail (RFC 7505). */
  | { kind: 'null_mx' }
  /** Nothing there to take mail. `isConfirmed`: two resolvers say so; otherwise worth a second look before mail is turned back. */
  | { kind: 'unknown'; isConfirmed: boolean; detail: string }
  | Missing

type Missing = Omit<Extract<DnsAnswer<'MX'>, { kind: 'unavailable' }>, 'by'>

/** What is read of a domain's list: who needs more is broken or hostile. */
const MAX_HOSTS = 10
const MAX_ADDRESSES = 20
/** One host cannot take the places of all others. */
const MAX_ADDRESSES_PER_HOST = 8

/** So long the addresses of the hosts may take, counted from the MX answer. */
const ADDRESSES_MS = 12_000
/**
 * And so long the slower hosts, once a best one is known, and a host's IPv6 addresses, once its IPv4 ones are known, or the other way
 * round: name servers that never answer about AAAA are common. Their answers are kept for the next mail all the same.
 */
const GRACE_MS = 3_000

export interface ExchangerDeadlines {
  addressesMs?: number
  graceMs?: number
}

type MxRecord = DnsRecords['MX']

/** @param domain a lower-case A-label domain */
export async function resolveMailExchangers(
  resolver: Resolver,
  domain: string,
  deadlines: ExchangerDeadlines = {},
): Promise<MailExchangers> {
  const answer = await resolver.resolve(domain, 'MX')
  if (answer.kind === 'unavailable') return answer
  if (answer.kind === 'unknown_name') {
    return { kind: 'unknown', isConfirmed: answer.isConfirmed, detail: `the domain ${domain} does not exist` }
  }
  const { isAuthenticated } = answer
  if (answer.kind === 'no_data') {
    const implicit = { exchange: domain, priority: 0 }
    return locate(resolver, domain, { names: [implicit], isImplicit: true, isAuthenticated }, deadlines)
  }
  const [only, ...more] = answer.records
  if (only?.exchange === '' && more.length === 0) return { kind: 'null_mx' }
  const names = usableExchangers(answer.records)
  if (names.length === 0) {
    const listed = answer.records.slice(0, MAX_HOSTS).map(({ exchange }) => exchange || '.')
    const detail = `no exchanger of ${domain} is the name of a host: ${listed.join(', ')}`
    return { kind: 'unknown', isConfirmed: false, detail }
  }
  return locate(resolver, domain, { names, isImplicit: false, isAuthenticated }, deadlines)
}

/** Each name once, at its best priority, the best first. */
function usableExchangers(records: readonly MxRecord[]): MxRecord[] {
  const best = new Map<string, MxRecord>()
  for (const record of records) {
    const known = best.get(record.exchange)
    if (isHostName(record.exchange) && (known === undefined || record.priority < known.priority)) {
      best.set(record.exchange, record)
    }
  }
  return [...best.values()].sort((a, b) => a.priority - b.priority).slice(0, MAX_HOSTS)
}

/** Letters, digits and hyphens (RFC 1123 §2.1), and the underscore that some use against the rules. */
const HOST_LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/

/** A last label of digits is no domain, but an address in some spelling (RFC 3696 §2). */
function isHostName(name: string): boolean {
  const labels = name.split('.')
  return (
    isIP(name) === 0 &&
    labels.every((label) => HOST_LABEL.test(label)) &&
    !/^(\d+|0x[0-9a-f]*)$/.test(labels.at(-1) ?? '')
  )
}

interface ExchangerList {
  names: readonly MxRecord[]
  isImplicit: boolean
  isAuthenticated: boolean
}

async function locate(
  resolver: Resolver,
  domain: string,
  { names, isImplicit, isAuthenticated }: ExchangerList,
  deadlines: ExchangerDeadlines,
): Promise<MailExchangers> {
  const located = await addressesOf(resolver, names, deadlines)
  const hosts: MxHost[] = []
  let room = MAX_ADDRESSES
  for (const [at, { exchange: name, priority }] of names.entries()) {
    const found = located[at]
    if (found?.kind !== 'addresses' || room === 0) continue
    const addresses = someOfEach(found.addresses, Math.min(room, MAX_ADDRESSES_PER_HOST))
    room -= addresses.length
    hosts.push({ name, priority, addresses, isAuthenticated: isAuthenticated && found.isAuthenticated })
  }
  if (hosts.length > 0) return { kind: 'hosts', hosts, isImplicit, isAuthenticated }
  const missing = missingOf(located)
  if (missing !== undefined) return missing
  const isConfirmed = located.every((one) => one.kind === 'none' && one.isConfirmed)
  const detail = isImplicit
    ? `${domain} has neither exchangers (MX) nor an address (A, AAAA)`
    : `no exchanger of ${domain} has an address: ${names.map(({ exchange }) => exchange).join(', ')}`
  return { kind: 'unknown', isConfirmed, detail }
}

type Located =
  | { kind: 'addresses'; addresses: string[]; isAuthenticated: boolean }
  | { kind: 'none'; isConfirmed: boolean }
  | Missing

/** All at once. Whoever is late counts as unavailable this time. */
async function addressesOf(
  resolver: Resolver,
  names: readonly MxRecord[],
  { addressesMs = ADDRESSES_MS, graceMs = GRACE_MS }: ExchangerDeadlines,
): Promise<Located[]> {
  const located = names.map(({ exchange }): Located => {
    return { kind: 'unavailable', detail: `no answer about the addresses of ${exchange} in time` }
  })
  const { promise: tooLate, resolve: end } = Promise.withResolvers<void>()
  const timers = [setTimeout(end, addressesMs)]
  let isOver = false
  const looks = names.map(async ({ exchange, priority }, at) => {
    const found = await locateHost(resolver, exchange, graceMs)
    located[at] = found
    const isBest = priority === names[0]?.priority
    if (isBest && found.kind === 'addresses' && !isOver) timers.push(setTimeout(end, graceMs))
  })
  await Promise.race([Promise.all(looks), tooLate])
  isOver = true
  for (const timer of timers) clearTimeout(timer)
  return [...located]
}

async function locateHost(resolver: Resolver, name: string, graceMs: number): Promise<Located> {
  const [v4, v6] = await bothFamilies(resolver, name, graceMs)
  const found = [v4, v6].filter((answer) => answer.kind === 'records')
  if (found.length > 0) {
    const addresses = [...new Set(found.flatMap((answer) => answer.records))]
    return { kind: 'addresses', addresses, isAuthenticated: found.every((answer) => answer.isAuthenticated) }
  }
  const missing = missingOf([v4, v6])
  if (missing !== undefined) return missing
  return { kind: 'none', isConfirmed: isSurelyMissing(v4) && isSurelyMissing(v6) }
}

/** The first of what could not be asked; before others what this process had no socket for. */
function missingOf(found: readonly { kind: string }[]): Missing | undefined {
  const missing = found.filter((one): one is Missing => one.kind === 'unavailable')
  return missing.find(({ isOwnWant }) => isOwnWant) ?? missing[0]
}

/** Whichever has addresses does not wait for the other beyond the grace. */
async function bothFamilies(
  resolver: Resolver,
  name: string,
  graceMs: number,
): Promise<[DnsAnswer<'A'>, DnsAnswer<'AAAA'>]> {
  const [v4, v6] = [resolver.resolve(name, 'A'), resolver.resolve(name, 'AAAA')]
  const over = new AbortController()
  const late: Missing = {
    kind: 'unavailable',
    detail: `no answer about all addresses of ${name} in time`,
  }
  const atMostSoonAfter = async <T extends 'A' | 'AAAA'>(
    own: Promise<DnsAnswer<T>>,
    other: Promise<{ kind: string }>,
  ): Promise<DnsAnswer<T>> => {
    const grace = async () =>
      (await other).kind === 'records' ? delay(graceMs, late, { signal: over.signal }) : own
    return Promise.race([own, grace()])
  }
  const both = await Promise.all([atMostSoonAfter(v4, v6), atMostSoonAfter(v6, v4)])
  over.abort()
  return both
}

function isSurelyMissing(answer: DnsAnswer<'A'> | DnsAnswer<'AAAA'>): boolean {
  return answer.kind === 'unknown_name' && answer.isConfirmed
}

/** At most so many, IPv4 first; where there are both, half of the places are for each. */
function someOfEach(addresses: readonly string[], count: number): string[] {
  const v4 = addresses.filter((address) => isIP(address) === 4)
  const v6 = addresses.filter((address) => isIP(address) === 6)
  const v6Places = Math.min(v6.length, Math.max(count - v4.length, Math.floor(count / 2)))
  return [...v4.slice(0, count - v6Places), ...v6.slice(0, v6Places)]
}
