/**
 * Where a mail goes on its route: peers in order, what connections it can share with other mails, and under which name the
 * limits of its receiving site are kept.
 */
import type { SessionTarget } from './session.ts'

export interface Destination {
  /** Mails of one key wait in one line and go to the same peers, under the same TLS demand, from the same source. */
  key: string
  scope: ShapingScope
  /**
   * The peers to try, best first, for one opening: exchangers of one priority in a random order each time (RFC 5321 §5.1),
   * every address of one after the other. At most 20. Never empty.
   */
  candidates(): SessionTarget[]
  /** What a session to one of these peers is known by to other destinations; null: it is of use to this one only. */
  shareKeyOf(peer: SessionPeer): string | null
  /** The share keys of its best peers: sessions that serve it as well as one of its own. */
  bestShareKeys(): ReadonlySet<string>
}

/** Who is at the other end of a session. */
export interface SessionPeer {
  host: string
  ip: string
}

/** Whose limits hold (DESIGN 4.15): the same for all workers. */
export interface ShapingScope {
  /** Unique: what permits, rates and suspensions are stored by. */
  key: string
  /** Name of the shaping data's provider; null for a site that no rule knows. */
  provider: string | null
  /** For people: the first exchanger's name, or the route's. */
  site: string
  /** Source address that mail leaves from, as the source's name; `default` when the system chooses. */
  source: string
  /** `relay`: the operator's or a tenant's smarthost, capture, and sites in allowed private networks: no rate, 20 connections. */
  kind: 'mx' | 'relay'
}
