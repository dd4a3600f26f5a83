/**
 * What TLS a connection must have, as a session target says it, and how two demands on one connection are joined.
 */
import type { SessionTarget } from '../session.ts'

/** To be put into a `SessionTarget` as it is. */
export interface TlsDemand {
  tls: Exclude<SessionTarget['tls'], 'off'>
  tlsa?: NonNullable<SessionTarget['tlsa']>
  tlsNames?: NonNullable<SessionTarget['tlsNames']>
  tlsPolicy?: NonNullable<SessionTarget['tlsPolicy']>
}

/**
 * DANE is above a verified name: both are certain of the peer, and where a host publishes records, authorities have no say
 * (RFC 7672 §1.3.4, RFC 8689 §4.2.1 takes either).
 */
const strength: Record<TlsDemand['tls'], number> = { opportunistic: 0, encrypted: 1, required: 2, dane: 3 }

/**
 * The demand that satisfies both. Of two equally strong ones the first gives the records and the attribution, and names have to
 * be in both; a demand without names means the host's own and does not widen the other's.
 */
export function strongest(a: TlsDemand, b: TlsDemand): TlsDemand {
  if (strength[a.tls] !== strength[b.tls]) return strength[a.tls] > strength[b.tls] ? a : b
  const names =
    a.tlsNames && b.tlsNames
      ? a.tlsNames.filter((name) => b.tlsNames?.includes(name))
      : (a.tlsNames ?? b.tlsNames)
  return { ...b, ...a, ...(names && { tlsNames: names }) }
}
