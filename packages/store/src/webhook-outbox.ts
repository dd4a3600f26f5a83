/**
 * The webhook outbox: which webhooks are due, under whose lease, and what came of telling them (DESIGN 4.2 to 4.4, 4.25).
 *
 * A row is one event for one endpoint. Leasing it moves `due_at` to the lease's end, so one index answers both "what is due"
 * and "whose worker died". The lease's end, to the microsecond, is also its name: a settle that gives another one has lost its row.
 *
 * Claiming steps from endpoint to endpoint through the primary key instead of reading rows in order of time, so an endpoint
 * with a million rows costs no more than one with a single row, and stands in nobody's way.
 */
import type { EventType, Uuid } from '@valija/core'
import type pg from 'pg'
import { asEngine, type Database } from './database.ts'
import { dueNowSql } from './due-now.ts'
import { keepAnswers } from './erase-mail-rows.ts'
import { eventExpressions, eventParameters, type NewEvent } from './new-events.ts'
import { longestTryMs } from './webhook-tries.ts'

/** One request to be made: leased rows with all that telling them needs. */
export interface ClaimedWebhook {
  webhookId: Uuid
  tenantId: Uuid
  /** The batch that the events are told as; null: one event, by itself. */
  batchId: Uuid | null
  /** At least one, in order of their ids. */
  events: ClaimedEvent[]
  lease: string
  /** Whether the endpoint's last try failed. */
  isFailing: boolean
  /** Whether it fails or is slow: it takes one of the troubled endpoints' places. */
  isTroubled: boolean
  url: string
  sealedSecret: Buffer
  /** How many of the sealed secrets sign now, from the newest on. */
  signingSecrets: number
}

export interface ClaimedEvent {
  id: Uuid
  /** Tries made so far. */
  tries: number
  /** Those of them that count in the schedule: all but the ones that somebody asked for. */
  scheduledTries: number
  type: EventType
  createdAt: Date
  data: Record<string, unknown>
}

export interface ClaimOptions {
  /** Tries that this process makes at the moment, by endpoint. */
  busy: ReadonlyMap<Uuid, number>
  /** Endpoints that count as troubled although they do not fail. */
  slow: readonly Uuid[]
  /** Rows in all for endpoints that are well, and for those that are troubled. */
  room: number
  troubledRoom: number
  /** Tries at once to one endpoint; a failing one gets a single one. */
  triesPerEndpoint: number
  leaseMs: number
}

/**
 * Steps through the endpoints that have rows (a "loose index scan"), each step one look into the primary key.
 * The last step finds none and gives null.
 */
const endpointExpression = `
  endpoint (id) AS (
    (SELECT webhook_id FROM valija.webhook_outbox ORDER BY webhook_id LIMIT 1)
    UNION ALL
    SELECT (SELECT webhook_id FROM valija.webhook_outbox WHERE webhook_id > endpoint.id ORDER BY webhook_id LIMIT 1)
    FROM endpoint WHERE endpoint.id IS NOT NULL
  )`

/** Due rows of either kind of endpoint, locked; the limit inside keeps PostgreSQL from reading an endpoint's whole backlog. */
const dueRows = (isTroubled: boolean, room: string) => `(
    SELECT due.place
    FROM open CROSS JOIN LATERAL (
      SELECT ctid AS place FROM valija.webhook_outbox
      WHERE webhook_id = open.id AND due_at <= now()
      ORDER BY due_at
      LIMIT open.room
      FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE open.is_troubled = ${isTroubled}
    LIMIT ${room}
  )`

/**
 * What a claim answers of a row `leased` and its endpoint `webhook`.
 *
 * @param slow the parameter that holds the slow endpoints
 */
export const leasedColumns = (
  slow: string,
) => `leased.webhook_id AS "webhookId", leased.event_id AS "eventId",
  leased.tenant_id AS "tenantId", leased.tries, greatest(leased.tries - leased.asked_tries, 0) AS "scheduledTries", leased.leased_until::text AS lease, webhook.failing_since IS NOT NULL AS "isFailing",
  webhook.failing_since IS NOT NULL OR webhook.id = ANY (${slow}::uuid[]) AS "isTroubled", webhook.url, webhook.secret AS "sealedSecret",
  1 + (SELECT count(*)::integer FROM unnest(webhook.former_secrets_end) AS ends_at WHERE ends_at > now()) AS "signingSecrets"`

/*
 * Endpoints come in random order: when places are scarce, each has the same chance, over any number of workers and without a
 * memory. The look for a first due row is a scalar subquery, which PostgreSQL never turns into a join over the whole table.
 * For the same reason rows are updated by their places (ctid); they are locked already.
 */
const claimSql = `
WITH RECURSIVE ${endpointExpression}, busy AS (
  SELECT * FROM unnest($1::uuid[], $2::integer[]) AS input (id, tries)
), known AS (
  SELECT webhook.id, webhook.failing_since IS NOT NULL OR webhook.id = ANY ($3::uuid[]) AS is_troubled,
    CASE WHEN webhook.failing_since IS NULL THEN $4::integer ELSE 1 END - coalesce(busy.tries, 0) AS room
  FROM endpoint JOIN valija.webhooks AS webhook ON webhook.id = endpoint.id AND webhook.status = 'enabled'
    AND webhook.batch_max_events IS NULL
  LEFT JOIN busy ON busy.id = endpoint.id
), open AS MATERIALIZED (
  SELECT * FROM known
  WHERE room > 0 AND (SELECT true FROM valija.webhook_outbox WHERE webhook_id = known.id AND due_at <= now() ORDER BY due_at LIMIT 1)
  ORDER BY random()
), due AS (
  ${dueRows(false, '$5::integer')}
  UNION ALL
  ${dueRows(true, '$6::integer')}
), leased AS (
  UPDATE valija.webhook_outbox
  SET leased_until = now() + $7 * interval '1 millisecond', due_at = now() + $7 * interval '1 millisecond', batch_id = NULL
  WHERE ctid = ANY (ARRAY(SELECT place FROM due))
  RETURNING webhook_id, event_id, tenant_id, tries, asked_tries, leased_until
)
SELECT ${leasedColumns('$3')}, NULL::uuid AS "batchId"
FROM leased JOIN valija.webhooks AS webhook ON webhook.id = leased.webhook_id
ORDER BY leased.webhook_id, leased.event_id`

/** A leased row with what is known of its endpoint. */
export interface LeasedRow extends Omit<ClaimedWebhook, 'events'> {
  eventId: Uuid
  tries: number
  scheduledTries: number
}

/**
 * Leases due rows, fairly over endpoints: none gets more than its few places. Endpoints that want batches are left to
 * `claimWebhookBatches`.
 *
 * @returns a request for each row, in order of endpoint and event
 */
export async function claimWebhooks(pool: pg.Pool, options: ClaimOptions): Promise<ClaimedWebhook[]> {
  const { rows } = await pool.query<LeasedRow>({
    name: 'claim-webhooks',
    text: claimSql,
    values: [
      [...options.busy.keys()],
      [...options.busy.values()],
      options.slow,
      options.triesPerEndpoint,
      options.room,
      options.troubledRoom,
      options.leaseMs,
    ],
  })
  return withEvents(pool, rows, (row) => [row.webhookId, row.eventId].join())
}

/**
 * Reads the events of leased rows and puts together what is told together. Rows whose event was dropped by retention go, for there
 * is nothing left to tell.
 *
 * @param requestOf a name of the request that the row belongs to
 */
export async function withEvents(
  pool: pg.Pool,
  rows: readonly LeasedRow[],
  requestOf: (row: LeasedRow) => string,
): Promise<ClaimedWebhook[]> {
  if (rows.length === 0) return []
  const events = await readEvents(pool, [...new Set(rows.map((row) => row.eventId))])
  const claimed = new Map<string, ClaimedWebhook>()
  const lost: LeasedRow[] = []
  for (const { eventId, tries, scheduledTries, ...endpoint } of rows) {
    const row = { eventId, tries, scheduledTries, ...endpoint }
    const event = events.get(eventId)
    if (event === undefined) {
      lost.push(row)
      continue
    }
    const name = requestOf(row)
    const request = claimed.get(name) ?? { ...endpoint, events: [] }
    request.events.push({ id: eventId, tries, scheduledTries, ...event })
    claimed.set(name, request)
  }
  if (lost.length > 0) await forget(pool, lost)
  return [...claimed.values()]
}

/** Not a named statement: planned with the ids at hand, it locks the partitions of their days and no others. */
async function readEvents(
  pool: pg.Pool,
  ids: Uuid[],
): Promise<Map<Uuid, Omit<ClaimedEvent, 'id' | 'tries' | 'scheduledTries'>>> {
  const { rows } = await pool.query<Omit<ClaimedEvent, 'tries' | 'scheduledTries'>>(
    'SELECT id, type, created_at AS "createdAt", data FROM valija.events WHERE id = ANY ($1::uuid[])',
    [ids],
  )
  return new Map(rows.map(({ id, ...event }) => [id, event]))
}

async function forget(pool: pg.Pool, rows: LeasedRow[]): Promise<void> {
  await pool.query(
    'DELETE FROM valija.webhook_outbox WHERE (webhook_id, event_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))',
    [rows.map((row) => row.webhookId), rows.map((row) => row.eventId)],
  )
}

/**
 * When the next row of an enabled endpoint comes due, or its lease ends: milliseconds from now, null when there is none.
 * Rows that are due already do not count: they wait for a place, not for a time.
 */
export async function nextWebhookDueInMs(pool: pg.Pool): Promise<number | null> {
  const { rows } = await pool.query<{ inMs: number | null }>({
    name: 'next-webhook-due',
    text: `
WITH RECURSIVE ${endpointExpression}
SELECT (extract(epoch FROM min(next.due_at) - now()) * 1000)::float8 AS "inMs"
FROM endpoint JOIN valija.webhooks AS webhook ON webhook.id = endpoint.id AND webhook.status = 'enabled'
CROSS JOIN LATERAL (
  SELECT due_at FROM valija.webhook_outbox WHERE webhook_id = endpoint.id AND due_at > now() ORDER BY due_at LIMIT 1
) AS next`,
  })
  return rows[0]?.inMs ?? null
}

/** What came of one try. */
export interface NewWebhookTry {
  id: Uuid
  webhookId: Uuid
  eventId: Uuid
  tenantId: Uuid
  eventType: EventType
  /** What it was told in, null when by itself. */
  batchId: Uuid | null
  lease: string
  /** Counts the tries of this event to this endpoint, from 1. */
  number: number
  /** Null: told, the row goes. Otherwise it is due again after this, in milliseconds. */
  retryAfterMs: number | null
  statusCode: number | null
  error: string | null
  responseStart: string | null
  startedAt: Date
  durationMs: number
}

/** How an endpoint fared in one settle. */
interface Health {
  hasSuccess: boolean
  endsFailing: boolean
}

/*
 * `held` finds and locks each row through the primary key, in one order for all workers. A success is a fact, whoever holds the
 * lease by now; a failure counts only while the lease is ours, else another worker's try decides.
 * A try is on record in either case, and only once when a settle is repeated because its answer was lost. `health` writes an endpoint only when something changes, so a healthy one costs nothing.
 * `erasing`: tenants that have somebody erased, or had while a request was under way. What endpoints of theirs answered is written afterwards, where
 * it may be (`keepAnswers`).
 */
const settleSql = `
WITH input AS MATERIALIZED (
  SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::timestamptz[], $7::integer[], $8::float8[],
      $9::integer[], $10::text[], $11::text[], $12::timestamptz[], $13::integer[], $18::uuid[])
    AS input (id, webhook_id, event_id, tenant_id, event_type, lease, number, retry_after_ms,
      status_code, error, response_start, started_at, duration_ms, batch_id)
  ORDER BY webhook_id, event_id
), erasing AS MATERIALIZED (
  SELECT tenant_id FROM valija.erasures WHERE tenant_id = ANY ($4::uuid[]) AND email_key IS NOT NULL
  UNION ALL
  SELECT tenant_id FROM valija.erasures WHERE status = 'done' AND completed_at > now() - $19 * interval '1 millisecond'
), held AS MATERIALIZED (
  SELECT input.id, input.retry_after_ms, row.place
  FROM input CROSS JOIN LATERAL (
    SELECT ctid AS place FROM valija.webhook_outbox
    WHERE webhook_id = input.webhook_id AND event_id = input.event_id
      AND (input.retry_after_ms IS NULL OR leased_until = input.lease)
    LIMIT 1
    FOR UPDATE
  ) AS row
), told AS (
  DELETE FROM valija.webhook_outbox WHERE ctid = ANY (ARRAY(SELECT place FROM held WHERE retry_after_ms IS NULL))
), later AS (
  UPDATE valija.webhook_outbox AS row
  SET tries = row.tries + 1, leased_until = NULL, due_at = now() + held.retry_after_ms * interval '1 millisecond'
  FROM held WHERE row.ctid = held.place AND held.retry_after_ms IS NOT NULL
  RETURNING held.id, row.due_at
), try AS (
  INSERT INTO valija.webhook_tries (id, tenant_id, webhook_id, event_id, event_type, number, outcome, status_code, error,
    response_start, started_at, duration_ms, next_try_at, batch_id)
  SELECT input.id, input.tenant_id, input.webhook_id, input.event_id, input.event_type, input.number,
    CASE WHEN input.retry_after_ms IS NULL THEN 'delivered' ELSE 'failed' END, input.status_code, input.error,
    CASE WHEN input.tenant_id NOT IN (SELECT tenant_id FROM erasing) THEN input.response_start END, input.started_at, input.duration_ms,
    later.due_at, input.batch_id
  FROM input LEFT JOIN later USING (id)
  ON CONFLICT DO NOTHING
), endpoint AS MATERIALIZED (
  SELECT input.id, input.has_success, input.ends_failing, webhook.status, webhook.failing_since
  FROM unnest($14::uuid[], $15::boolean[], $16::boolean[]) AS input (id, has_success, ends_failing)
  JOIN valija.webhooks AS webhook ON webhook.id = input.id
), changing AS MATERIALIZED (
  SELECT webhook.id FROM valija.webhooks AS webhook
  WHERE webhook.id = ANY (ARRAY(SELECT id FROM endpoint
    WHERE CASE WHEN ends_failing THEN failing_since IS NULL OR has_success ELSE failing_since IS NOT NULL END))
  ORDER BY webhook.id
  FOR NO KEY UPDATE
), health AS (
  UPDATE valija.webhooks AS webhook
  SET failing_since = CASE WHEN endpoint.ends_failing THEN now() END
  FROM changing JOIN endpoint USING (id)
  WHERE webhook.id = changing.id
)
SELECT id, false AS "isWithheld" FROM endpoint
WHERE status = 'enabled' AND NOT has_success AND failing_since <= now() - $17 * interval '1 millisecond'
UNION ALL
SELECT id, true FROM input WHERE tenant_id IN (SELECT tenant_id FROM erasing)`

/**
 * Settles many tries in one commit: rows gone or due later, tries on record, endpoints' health.
 *
 * @param tries in the order in which they ended
 * @param disableAfterMs an endpoint without a success for this long is given up
 * @returns the endpoints to be given up, for `disableWebhooks`
 */
export async function settleWebhookTries(
  pool: pg.Pool,
  tries: readonly NewWebhookTry[],
  disableAfterMs: number,
): Promise<Uuid[]> {
  if (tries.length === 0) return []
  const health = healthByEndpoint(tries)
  const column = <K extends keyof NewWebhookTry>(key: K) => tries.map((entry) => entry[key])
  const { rows } = await pool.query<{ id: Uuid; isWithheld: boolean }>({
    name: 'settle-webhook-tries',
    text: settleSql,
    values: [
      column('id'),
      column('webhookId'),
      column('eventId'),
      column('tenantId'),
      column('eventType'),
      column('lease'),
      column('number'),
      column('retryAfterMs'),
      column('statusCode'),
      column('error'),
      column('responseStart'),
      column('startedAt'),
      column('durationMs'),
      [...health.keys()],
      [...health.values()].map((entry) => entry.hasSuccess),
      [...health.values()].map((entry) => entry.endsFailing),
      disableAfterMs,
      column('batchId'),
      longestTryMs,
    ],
  })
  const withheld = new Set(rows.flatMap(({ id, isWithheld }) => (isWithheld ? [id] : [])))
  if (withheld.size > 0)
    await keepAnswers(
      pool,
      tries.filter(({ id }) => withheld.has(id)),
    )
  return rows.flatMap(({ id, isWithheld }) => (isWithheld ? [] : [id]))
}

/** Gives leased rows back untried: due again after `dueInMs`, on the schedule where they were, and nothing is said of the endpoint. */
export async function releaseWebhook(
  pool: pg.Pool,
  { webhookId, events, lease }: Pick<ClaimedWebhook, 'webhookId' | 'events' | 'lease'>,
  dueInMs: number,
): Promise<void> {
  await pool.query({
    name: 'release-webhook',
    text: `
WITH held AS MATERIALIZED (
  SELECT ctid AS place FROM valija.webhook_outbox
  WHERE webhook_id = $1 AND event_id = ANY ($2::uuid[]) AND leased_until = $3::timestamptz
  ORDER BY event_id
  FOR UPDATE
)
UPDATE valija.webhook_outbox SET leased_until = NULL, due_at = ${dueNowSql} + $4 * interval '1 millisecond'
WHERE ctid = ANY (ARRAY(SELECT place FROM held))`,
    values: [webhookId, events.map(({ id }) => id), lease, dueInMs],
  })
}

function healthByEndpoint(tries: readonly NewWebhookTry[]): Map<Uuid, Health> {
  const health = new Map<Uuid, Health>()
  for (const { webhookId, retryAfterMs } of tries) {
    const isSuccess = retryAfterMs === null
    const hasSuccess = isSuccess || (health.get(webhookId)?.hasSuccess ?? false)
    health.set(webhookId, { hasSuccess, endsFailing: !isSuccess })
  }
  return health
}

/** `gone`: it answered 410. `failing`: it has not answered with success for too long. */
export type DisabledReason = 'gone' | 'failing'

export interface DisabledWebhook {
  id: Uuid
  tenantId: Uuid
  url: string
  reason: DisabledReason
  /** Since when no try has succeeded; null when the last one did. */
  failingSince: Date | null
}

/**
 * Disables endpoints and writes an event for each, in one transaction. Their rows stay where they are.
 * The events come second, so that an endpoint does not wait to be told of its own end, and the tenant's others are told.
 *
 * @param reasons by endpoint; those that are disabled already are left alone
 * @param toEvent makes the event for one that was disabled
 */
export async function disableWebhooks(
  database: Database,
  reasons: ReadonlyMap<Uuid, DisabledReason>,
  toEvent: (webhook: DisabledWebhook) => NewEvent,
): Promise<DisabledWebhook[]> {
  return asEngine(database, async (client) => {
    const { rows } = await client.query<DisabledWebhook>(
      `
WITH input AS (
  SELECT input.id, input.reason, webhook.failing_since
  FROM unnest($1::uuid[], $2::text[]) AS input (id, reason) JOIN valija.webhooks AS webhook ON webhook.id = input.id
  WHERE webhook.status = 'enabled'
  ORDER BY input.id
  FOR NO KEY UPDATE OF webhook
)
UPDATE valija.webhooks AS webhook SET status = 'disabled', disabled_reason = input.reason, failing_since = NULL,
  disabled_at = now()
FROM input WHERE webhook.id = input.id
RETURNING webhook.id, webhook.tenant_id AS "tenantId", webhook.url, input.reason, input.failing_since AS "failingSince"`,
      [[...reasons.keys()], [...reasons.values()]],
    )
    if (rows.length > 0) {
      await client.query(
        `WITH ${eventExpressions(1)} SELECT count(*) FROM outbox`,
        eventParameters(rows.map(toEvent)),
      )
    }
    return rows
  })
}
