/** What the answer section of a reply says about a name, aliases followed (RFC 1034 §3.6.2, RFC 2181 §10.1). */
import type { DnsRecords, DnsType } from './dns-answer.ts'
import { dnsName, hostOf, RCODE, type Reply, recordData, ttlOf } from './wire.ts'

/** A name that needs more aliases than this is broken: real ones need three. */
const MAX_ALIASES = 8

/** Gathered over all replies that one look-up needs. */
export interface Trail {
  /** Names so far, the one asked for first. */
  names: string[]
  /** The least of all records used, in seconds. */
  ttl: number
  isAuthenticated: boolean
  sizeBytes: number
}

export type ChainEnd =
  | { kind: 'records'; records: DnsRecords[DnsType][] }
  | { kind: 'no_data' | 'unknown_name' }
  /** The reply ends with an alias whose target it does not tell about: to be asked for. */
  | { kind: 'onward'; name: string }
  | { kind: 'broken'; detail: string }

/** Follows the aliases of one reply from the trail's last name, and notes in the trail what was used. */
export function followAliases(reply: Reply, type: DnsType, trail: Trail): ChainEnd {
  const lengthBefore = trail.names.length
  trail.sizeBytes += reply.sizeBytes
  for (;;) {
    const name = trail.names.at(-1) ?? ''
    const here = reply.answers.filter((record) => hostOf(record.name) === name && isInternet(record))
    const own = here.filter((record) => record.type === type)
    const records = own.map((record) => recordData(type, record)).filter((data) => data !== undefined)
    if (records.length > 0) {
      trail.ttl = Math.min(trail.ttl, ...own.map(ttlOf))
      return { kind: 'records', records }
    }
    if (own.length > 0) return { kind: 'broken', detail: `the ${type} records of ${name} cannot be read` }
    const alias = here.find((record) => record.type === 'CNAME')
    if (alias === undefined) return negativeEnd(reply, trail, trail.names.length > lengthBefore)
    const target = dnsName(recordData('CNAME', alias) ?? '')
    if (target === null)
      return { kind: 'broken', detail: `${name} is an alias (CNAME) of a name that cannot be` }
    if (trail.names.includes(target)) {
      return { kind: 'broken', detail: `the aliases (CNAME) of ${trail.names[0]} run in a circle` }
    }
    if (trail.names.length > MAX_ALIASES) {
      return {
        kind: 'broken',
        detail: `${trail.names[0]} leads through more than ${MAX_ALIASES} aliases (CNAME)`,
      }
    }
    trail.ttl = Math.min(trail.ttl, ttlOf(alias))
    trail.names.push(target)
  }
}

function negativeEnd(reply: Reply, trail: Trail, isAfterAlias: boolean): ChainEnd {
  // NXDOMAIN is about the last name of the chain (RFC 6604 §3).
  const isUnknown = reply.rcode === RCODE.nxDomain
  if (isAfterAlias && !isUnknown && reply.negativeTtl === null) {
    return { kind: 'onward', name: trail.names.at(-1) ?? '' }
  }
  // Without SOA a negative answer is not to be kept (RFC 2308 §5).
  trail.ttl = Math.min(trail.ttl, reply.negativeTtl ?? 0)
  return { kind: isUnknown ? 'unknown_name' : 'no_data' }
}

function isInternet(record: Reply['answers'][number]): boolean {
  return 'class' in record && record.class === 'IN'
}
