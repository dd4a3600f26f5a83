/**
 * Routes that cannot be used now, as all workers know it: a relay that takes no connections, or refuses our login. A change of
 * that and the events that tell of it are one statement; of several workers that notice it at once, one tells.
 */
import { storableText, type Uuid } from '@valija/core'
import type pg from 'pg'
import { dueNowSql } from './due-now.ts'
import { eventExpressions, eventParameters, type NewEvent } from './new-events.ts'

export const routeConditions = ['down', 'login_refused'] as const
export type RouteCondition = (typeof routeConditions)[number]

export interface RouteHealth {
  /** A route's id, or `installation`. */
  route: string
  condition: RouteCondition
  reply: string | null
  since: Date
  /** From when on one mail may try it, in milliseconds from now; negative: it may. */
  probeInMs: number
}

export interface RouteTrouble {
  route: string
  condition: RouteCondition
  reply: string | null
  /** When a single mail may try it again, in milliseconds from now. */
  probeInMs: number
  told: readonly Uuid[]
  /** `route.down`, one per tenant. */
  events: readonly NewEvent[]
}

/** What a change has begun. */
export interface HealthChange {
  /** False: another worker was first, and has told. */
  isChanged: boolean
  hasWebhooks: boolean
}

/** Writes down that a route cannot be used. */
export async function markRouteDown(engine: pg.Pool, trouble: RouteTrouble): Promise<HealthChange> {
  const { route, condition, reply, probeInMs, told, events } = trouble
  const result = await engine.query<HealthChange>({
    name: 'mark-route-down',
    text: `
WITH marked AS (
  INSERT INTO valija.route_health AS health (route, condition, reply, probe_at, told)
  VALUES ($1, $2, $3, ${dueNowSql} + make_interval(secs => $4::float8 / 1000), $5::uuid[])
  ON CONFLICT (route) DO UPDATE SET condition = excluded.condition, reply = excluded.reply, since = now(), probe_at = excluded.probe_at, told = excluded.told
  WHERE health.condition <> excluded.condition
  RETURNING route
),${eventExpressions(6, 'EXISTS (SELECT FROM marked)')}
SELECT EXISTS (SELECT FROM marked) AS "isChanged", EXISTS (SELECT FROM outbox) AS "hasWebhooks"`,
    values: [route, condition, reply && storableText(reply), probeInMs, told, ...eventParameters(events)],
  })
  return result.rows[0]!
}

/** `inMs`: when somebody may try it. */
export type ProbeClaim = { isOurs: true } | { isOurs: false; inMs: number }

/**
 * Takes the right to try a route with one mail; who has it has it alone until the next time.
 *
 * @param nextInMs when somebody may try again, unless this one succeeds
 */
export async function claimProbe(engine: pg.Pool, route: string, nextInMs: number): Promise<ProbeClaim> {
  const result = await engine.query<{ isOurs: boolean; inMs: number }>({
    name: 'claim-route-probe',
    text: `
WITH claimed AS (
  UPDATE valija.route_health SET probe_at = ${dueNowSql} + make_interval(secs => $2::float8 / 1000)
  WHERE route = $1 AND probe_at <= now() RETURNING route
)
SELECT EXISTS (SELECT FROM claimed) AS "isOurs", (extract(epoch FROM probe_at - now()) * 1000)::float8 AS "inMs"
FROM valija.route_health WHERE route = $1`,
    values: [route, nextInMs],
  })
  const [row] = result.rows
  return row?.isOurs ? { isOurs: true } : { isOurs: false, inMs: Math.max(0, row?.inMs ?? 0) }
}

/**
 * Writes down that a route works again.
 *
 * @param makeEvents `route.recovered` for each of the tenants that were told of the trouble
 */
export async function markRouteUp(
  engine: pg.Pool,
  route: string,
  makeEvents: (told: readonly Uuid[]) => readonly NewEvent[],
): Promise<HealthChange> {
  const known = await engine.query<{ told: Uuid[]; since: Date }>(
    `SELECT told, since FROM valija.route_health WHERE route = $1`,
    [route],
  )
  const row = known.rows[0]
  if (row === undefined) return { isChanged: false, hasWebhooks: false }
  const result = await engine.query<HealthChange>({
    name: 'mark-route-up',
    text: `
WITH cleared AS (DELETE FROM valija.route_health WHERE route = $1 AND since = $2 RETURNING route
),${eventExpressions(3, 'EXISTS (SELECT FROM cleared)')}
SELECT EXISTS (SELECT FROM cleared) AS "isChanged", EXISTS (SELECT FROM outbox) AS "hasWebhooks"`,
    values: [route, row.since, ...eventParameters(makeEvents(row.told))],
  })
  return result.rows[0]!
}

/** A paused route is not tried by itself: somebody resumes it. */
const neverMs = 100 * 365 * 86_400_000

/**
 * Pauses a route whose login the peer refused, unless it was changed meanwhile. One whose timed pause is over is in use again,
 * though its row still says paused.
 *
 * @param pause.password as it was tried, sealed: another one means another login
 */
export async function pauseRefusedRoute(
  engine: pg.Pool,
  pause: Omit<RouteTrouble, 'condition' | 'probeInMs'> & { password: Buffer | null },
): Promise<HealthChange> {
  const { route, password, reply, told, events } = pause
  const result = await engine.query<HealthChange>({
    name: 'pause-refused-route',
    text: `
WITH paused AS (
  UPDATE valija.routes SET state = 'paused', paused_reason = 'login_refused', paused_reply = $3, paused_until = NULL
  WHERE id = $1::uuid AND (state = 'enabled' OR paused_until <= now()) AND password IS NOT DISTINCT FROM $2
  RETURNING id
), health AS (
  INSERT INTO valija.route_health (route, condition, reply, probe_at, told)
  SELECT id::text, 'login_refused', $3, ${dueNowSql} + make_interval(secs => $4::float8 / 1000), $5::uuid[] FROM paused
  ON CONFLICT (route) DO UPDATE SET condition = excluded.condition, reply = excluded.reply, since = now(), probe_at = excluded.probe_at, told = excluded.told
),${eventExpressions(6, 'EXISTS (SELECT FROM paused)')}
SELECT EXISTS (SELECT FROM paused) AS "isChanged", EXISTS (SELECT FROM outbox) AS "hasWebhooks"`,
    values: [route, password, reply && storableText(reply), neverMs, told, ...eventParameters(events)],
  })
  return result.rows[0]!
}

/** The present trouble of these routes. */
export async function readRouteHealth(
  engine: pg.Pool,
  routes: readonly string[],
): Promise<Map<string, { condition: RouteCondition; reply: string | null; since: Date }>> {
  const result = await engine.query<{
    route: string
    condition: RouteCondition
    reply: string | null
    since: Date
  }>(`SELECT route, condition, reply, since FROM valija.route_health WHERE route = ANY ($1)`, [routes])
  return new Map(result.rows.map(({ route, ...health }) => [route, health]))
}

/** Tenants that have mail on its way: whom a shared route's trouble may concern. */
export async function findSendingTenants(engine: pg.Pool): Promise<Uuid[]> {
  const result = await engine.query<{ id: Uuid }>({
    name: 'find-sending-tenants',
    text: `SELECT id FROM valija.tenants AS tenant
           WHERE EXISTS (SELECT FROM valija.deliveries WHERE tenant_id = tenant.id AND state = 'waiting')
              OR EXISTS (SELECT FROM valija.deliveries WHERE tenant_id = tenant.id AND state = 'admitted')`,
  })
  return result.rows.map((row) => row.id)
}

/** How many ways a recipient's mail avoids; the oldest are forgotten, so that a short list of routes comes round. */
const maxAvoided = 8

/** Keeps which way a recipient's mail should not take again. Its row may be gone by now: then nothing is left to send. */
export async function avoidNextTime(engine: pg.Pool, recipientId: Uuid, way: string): Promise<void> {
  await engine.query({
    name: 'avoid-next-time',
    text: `UPDATE valija.deliveries
           SET avoid = (array_prepend($2::text, array_remove(coalesce(avoid, '{}'), $2::text)))[1:${maxAvoided}]
           WHERE recipient_id = $1`,
    values: [recipientId, way],
  })
}

/** Rows made due at once in one statement. */
const releaseBatch = 5_000

/**
 * Makes mail due that waited for a route, now that it can be used.
 *
 * @param hold as `releaseLeases` wrote it
 * @param tenantId only that tenant's; null: everybody's
 * @returns how many
 */
export async function releaseHeld(engine: pg.Pool, hold: string, tenantId: Uuid | null): Promise<number> {
  let released = 0
  for (;;) {
    const result = await engine.query({
      name: 'release-held',
      text: `
WITH locked AS MATERIALIZED (
  SELECT recipient_id FROM valija.deliveries
  WHERE state = 'waiting' AND hold = $1 AND ($2::uuid IS NULL OR tenant_id = $2)
  ORDER BY recipient_id LIMIT ${releaseBatch} FOR UPDATE SKIP LOCKED
), released AS (
  UPDATE valija.deliveries AS d SET due_at = ${dueNowSql}, hold = NULL
  WHERE d.recipient_id = ANY (ARRAY(SELECT recipient_id FROM locked))
  RETURNING d.recipient_id, d.due_at
)
UPDATE valija.recipients AS r SET next_attempt_at = released.due_at FROM released WHERE r.id = released.recipient_id`,
      values: [hold, tenantId],
    })
    released += result.rowCount ?? 0
    if ((result.rowCount ?? 0) < releaseBatch) return released
  }
}

/** Lets the next mail try the installation's own route, whose configuration may have changed since it was found wanting. */
export async function probeNow(engine: Pick<pg.Pool, 'query'>, route: string): Promise<void> {
  await engine.query(
    `UPDATE valija.route_health SET probe_at = least(probe_at, ${dueNowSql}) WHERE route = $1`,
    [route],
  )
}
