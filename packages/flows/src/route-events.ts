/** `route.down` and `route.recovered`: one for each tenant that the route's trouble concerns. */
import { type IdSource, type RouteKind, storableText, type Uuid } from '@valija/core'
import type { NewEvent, RouteCondition } from '@valija/store'

export interface EventMaker {
  nextId: IdSource
  /** PostgreSQL's clock. */
  clock: { nowMs(): number }
}

export interface NamedRoute {
  name: string
  kind: RouteKind
}

/** @param trouble `reason` tells a relay that cannot be reached from one that refuses our login */
export function downEvents(
  maker: EventMaker,
  route: NamedRoute,
  trouble: { condition: RouteCondition; reply: string | null },
  tenants: readonly Uuid[],
): NewEvent[] {
  const reason = trouble.condition === 'down' ? 'unreachable' : 'login_refused'
  const reply = trouble.reply === null ? {} : { reply: storableText(trouble.reply) }
  return makeEvents(maker, 'route.down', { route: route.name, kind: route.kind, reason, ...reply }, tenants)
}

export function recoveryEvents(maker: EventMaker, route: NamedRoute, tenants: readonly Uuid[]): NewEvent[] {
  return makeEvents(maker, 'route.recovered', { route: route.name, kind: route.kind }, tenants)
}

function makeEvents(
  { nextId, clock }: EventMaker,
  type: 'route.down' | 'route.recovered',
  data: object,
  tenants: readonly Uuid[],
): NewEvent[] {
  const createdAtMs = clock.nowMs()
  return tenants.map((tenantId) => ({ id: nextId(), tenantId, type, messageId: null, createdAtMs, data }))
}
