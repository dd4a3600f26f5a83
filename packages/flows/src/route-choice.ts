/**
 * Which way a leased delivery takes: its route (by message, key, domain, tenant, or the installation's own), and the source
 * address that it leaves from.
 */
import type { Disposition, TransactionReport, Uuid } from '@valija/core'
import type { LeasedDelivery } from '@valija/store'

export interface ChosenRoute {
  /** Null for the installation's own (`VALIJA_DELIVERY`, and capture). */
  id: Uuid | null
  /** As attempts show it. Two tenants may have routes of one name. */
  name: string
  /** Unique, and another one after every change of the configuration: what sessions may be shared by. */
  key: string
  way:
    | { kind: 'capture' }
    | { kind: 'mx' }
    | {
        kind: 'smarthost'
        secure: boolean
        host: string
        port: number
        auth: { user: string; pass: string } | null
        tls: 'opportunistic' | 'required' | 'off'
        /** A tenant named it: the guard against private networks judges it. */
        isGuarded: boolean
      }
  returnPath: { kind: 'verp' } | { kind: 'from' } | { kind: 'fixed'; address: string }
  /** Date and Message-ID stay unsigned: the relay rewrites them (DESIGN 4.21). */
  rewritesIds: boolean
}

export interface ChosenSource {
  /** Null: one of the configuration, or none. */
  id: Uuid | null
  /** Name in shaping and reports; `default` when there is only one. */
  name: string
  /** Local IPv4 address to bind; null: the system chooses. */
  address: string | null
  /** Local IPv6 address to bind; null: the system chooses. */
  address6: string | null
  ehloName: string
  /** Whether it may speak IPv6 (DESIGN 4.17). */
  hasIpv6: boolean
}

export type RouteChoice =
  | { kind: 'send'; route: ChosenRoute; source: ChosenSource }
  /** Not now: the row waits, without an attempt. `hold` is what explain shows (`routeHold`). */
  | { kind: 'hold'; untilMs: number; hold: string }

/** What a delivery can wait for, and of which name: a route's, a pool's, a source's. */
export const routeHolds = ['no_route', 'route_paused', 'route_down', 'no_source', 'warm_up'] as const
export type RouteHold = (typeof routeHolds)[number]

/** As `deliveries.hold` has it. */
export function routeHold(kind: RouteHold, name: string): string {
  return `${kind}:${name}`
}

/** What a choice is made by. */
export type ChoosableDelivery = Pick<
  LeasedDelivery,
  'recipientId' | 'tenantId' | 'route' | 'stream' | 'fromDomain' | 'email' | 'avoid'
>

export interface TakenWay {
  route: ChosenRoute
  source: ChosenSource
}

export interface RouteChooser {
  /**
   * Never rejects for what is about the mail; rejects when PostgreSQL cannot be asked.
   *
   * @param providerOf asks the DNS who receives for the recipient's domain; called where a warm-up's caps need it
   */
  choose(delivery: ChoosableDelivery, providerOf: () => Promise<string | null>): Promise<RouteChoice>
  /** What came of it: feeds the route's breaker, pauses, and the source's warm-up. */
  observe(
    delivery: ChoosableDelivery,
    taken: TakenWay,
    report: TransactionReport,
    disposition: Disposition,
  ): void
  /**
   * Calls `listener` with the key of a route that others are to be taken instead of: mail that waits for it should be asked
   * about again. Returns how to stop.
   */
  onUnavailable(listener: (routeKey: string) => void): () => void
  /** Resolves when all that was observed is written down; the timers stop. */
  close(): Promise<void>
}
