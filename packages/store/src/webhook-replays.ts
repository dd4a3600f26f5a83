/**
 * Telling endpoints again: one event at once, and what waits or happened in a time by a row in `webhook_replays` that workers
 * work off.
 *
 * Each step is one short transaction that also writes how far it is: a million events are no giant transaction, and a crash
 * repeats one step, which finds its rows there already. A range is read in the order of the stream and below its horizon
 * (read-events.ts), so that nothing that commits late is left out; and only while the endpoint has little that is due, so that
 * what happens now does not stand behind all that happened once.
 */
import { type EventType, lowestUuidAt, type Uuid } from '@valija/core'
import type pg from 'pg'
import { asEngine, type Database } from './database.ts'
import { dueNowSql } from './due-now.ts'
import { wantsEvent } from './new-events.ts'
import { answerWithin, longQueryTimeoutMs } from './watch-connection.ts'

/** Rows of one step. */
const stepRows = 1_000
/** A range waits while the endpoint has so many rows that are due. */
const dueRows = 500
/** A range goes on until so long after its end, for what commits late: statements end after 30 s. */
const lateMs = 60_000
/**
 * How long before it was disabled an endpoint's continuation begins. Results bear the time at which they were judged, and are kept by a worker
 * while PostgreSQL is away; what was told in this time is left out.
 */
const keptMs = 3_600_000
/** How far the time in an event's id may be from the time that it bears. */
const slackMs = 3_600_000
/** What an endpoint may have under way. */
export const maxWebhookReplays = 10
/** Counts end here: whoever asks is answered at once, whatever waits. */
const countedAtMost = 2_000

export interface WebhookRange {
  afterMs: number
  beforeMs: number
  /** Null: all that the endpoint asks for. */
  types: readonly EventType[] | null
}

/** What waits becomes due, by a try that does not count in its schedule. What is due already, or being told, is left alone. */
const dueAsAsked = `ON CONFLICT (webhook_id, event_id) DO UPDATE SET due_at = excluded.due_at, asked_tries = row.asked_tries + 1
  WHERE row.due_at > now() AND row.leased_until IS NULL`

/** How many events are concerned; not exact when there are too many to count. */
export interface WebhookReplayCount {
  events: number
  isExact: boolean
}

/**
 * Makes one event due for an endpoint, whatever it asks for. One that waits keeps its tries and its step of the schedule; one that is being told
 * is left alone.
 *
 * @returns false when there is no such event
 */
export async function replayEvent(
  pool: pg.Pool,
  tenantId: Uuid,
  webhookId: Uuid,
  eventId: Uuid,
): Promise<boolean> {
  const { rowCount } = await pool.query(
    `WITH event AS MATERIALIZED (SELECT id FROM valija.events WHERE id = $3 AND tenant_id = $2
), queued AS (
  INSERT INTO valija.webhook_outbox AS row (webhook_id, event_id, tenant_id, due_at)
  SELECT webhook.id, event.id, webhook.tenant_id, ${dueNowSql}
  FROM event, valija.webhooks AS webhook WHERE webhook.id = $1 AND webhook.tenant_id = $2
  ${dueAsAsked}
)
SELECT FROM event`,
    [webhookId, tenantId, eventId],
  )
  return rowCount === 1
}

/** @returns null when too many replays of the endpoint are under way */
export async function replayRange(
  database: Database,
  webhook: { id: Uuid; tenantId: Uuid; replayId: Uuid },
  range: WebhookRange,
): Promise<WebhookReplayCount | null> {
  return asEngine(database, async (client) => {
    if (!(await hasRoom(client, webhook.id))) return null
    await client.query(
      `INSERT INTO valija.webhook_replays (id, tenant_id, webhook_id, kind, after_at, before_at, types)
       VALUES ($1, $2, $3, 'range', $4, $5, $6)`,
      [
        webhook.replayId,
        webhook.tenantId,
        webhook.id,
        new Date(range.afterMs),
        new Date(range.beforeMs),
        range.types,
      ],
    )
    const { rows } = await client.query<{ seen: number; events: number }>(
      // By the times in their ids: what is read is bounded, however much happens in the slack beside the range.
      `WITH seen AS (
  SELECT type, data FROM valija.events WHERE tenant_id = $1 AND id >= $3 AND id < $4 LIMIT $6
)
SELECT count(*)::integer AS seen,
  (count(*) FILTER (WHERE ($5::text[] IS NULL OR type = ANY ($5)) AND ${wantsEvent('seen', 'webhook')}))::integer AS events
FROM seen, valija.webhooks AS webhook WHERE webhook.id = $2`,
      [
        webhook.tenantId,
        webhook.id,
        lowestUuidAt(range.afterMs),
        lowestUuidAt(range.beforeMs),
        range.types,
        countedAtMost,
      ],
    )
    const { seen, events } = rows[0] ?? { seen: 0, events: 0 }
    return { events, isExact: seen < countedAtMost }
  })
}

/**
 * What waits for a later try becomes due.
 *
 * @returns null when too many replays of the endpoint are under way
 */
export async function replayWaiting(
  database: Database,
  webhook: { id: Uuid; tenantId: Uuid; replayId: Uuid },
): Promise<WebhookReplayCount | null> {
  return asEngine(database, async (client) => {
    if (!(await hasRoom(client, webhook.id))) return null
    await client.query(
      `INSERT INTO valija.webhook_replays (id, tenant_id, webhook_id, kind) VALUES ($1, $2, $3, 'waiting')`,
      [webhook.replayId, webhook.tenantId, webhook.id],
    )
    const { rows } = await client.query<{ count: number }>(
      `SELECT count(*)::integer AS count FROM (SELECT FROM valija.webhook_outbox
         WHERE webhook_id = $1 AND due_at > now() AND leased_until IS NULL LIMIT $2) AS waiting`,
      [webhook.id, countedAtMost],
    )
    const events = rows[0]?.count ?? 0
    return { events, isExact: events < countedAtMost }
  })
}

async function hasRoom(client: pg.ClientBase, webhookId: Uuid): Promise<boolean> {
  const { rowCount } = await client.query(
    'SELECT FROM valija.webhook_replays WHERE webhook_id = $1 LIMIT $2',
    [webhookId, maxWebhookReplays],
  )
  return (rowCount ?? 0) < maxWebhookReplays
}

/**
 * For one that is about to be enabled: what it was not told will be told. To be called before, so that a crash in between leaves a
 * replay that waits, and not an endpoint that misses something. Who is enabled again before that is done has one that reaches further.
 *
 * @param ids for the replays of what waits and of what happened meanwhile
 */
export async function continueWebhook(
  pool: pg.Pool,
  tenantId: Uuid,
  webhookId: Uuid,
  ids: readonly [Uuid, Uuid],
): Promise<void> {
  await pool.query(
    `WITH webhook AS MATERIALIZED (
  SELECT id, tenant_id, status, disabled_at, greatest(created_at, disabled_at - $5 * interval '1 millisecond') AS after_at,
    now() + $6 * interval '1 millisecond' AS before_at
  FROM valija.webhooks WHERE id = $1 AND tenant_id = $2
), waiting AS (
  INSERT INTO valija.webhook_replays (id, tenant_id, webhook_id, kind)
  SELECT $3, tenant_id, id, 'waiting' FROM webhook
  WHERE NOT EXISTS (SELECT FROM valija.webhook_replays WHERE webhook_id = $1 AND kind = 'waiting')
), missed AS (
  SELECT * FROM webhook WHERE status = 'disabled' AND disabled_at IS NOT NULL
), extended AS (
  UPDATE valija.webhook_replays AS replay
  SET after_at = least(replay.after_at, missed.after_at), before_at = missed.before_at, done_transaction = DEFAULT, done_id = DEFAULT
  FROM missed WHERE replay.id IN (SELECT id FROM valija.webhook_replays WHERE webhook_id = $1 AND skips_told FOR UPDATE SKIP LOCKED)
  RETURNING replay.id
)
INSERT INTO valija.webhook_replays (id, tenant_id, webhook_id, kind, after_at, before_at, skips_told)
SELECT $4, tenant_id, id, 'range', after_at, before_at, true FROM missed WHERE NOT EXISTS (SELECT FROM extended)`,
    [webhookId, tenantId, ...ids, keptMs, lateMs],
  )
}

/** The same endpoint is enabled by now: what happens from now on is told to it as it happens. Clocks may differ by a second. */
export async function endContinuation(pool: pg.Pool, webhookId: Uuid): Promise<void> {
  await pool.query(
    `UPDATE valija.webhook_replays SET before_at = greatest(after_at, now() + interval '1 s')
      WHERE webhook_id = $1 AND skips_told AND before_at > now() + interval '1 s'`,
    [webhookId],
  )
}

/** The replays that can go on: the first of each tenant, then their second ones, at random; those of disabled endpoints wait. */
export async function listWebhookReplays(pool: pg.Pool): Promise<Uuid[]> {
  const { rows } = await pool.query<{ id: Uuid }>({
    name: 'list-webhook-replays',
    text: `SELECT replay.id FROM valija.webhook_replays AS replay
      JOIN valija.webhooks AS webhook ON webhook.id = replay.webhook_id AND webhook.status = 'enabled'
      ORDER BY row_number() OVER (PARTITION BY replay.tenant_id ORDER BY random()), random() LIMIT 100`,
  })
  return rows.map((row) => row.id)
}

interface ReplayRow {
  id: Uuid
  webhookId: Uuid
  tenantId: Uuid
  kind: 'waiting' | 'range'
  afterAt: Date
  beforeAt: Date
  types: EventType[] | null
  skipsTold: boolean
  doneTransaction: string
  doneId: Uuid
  /** Nothing that belongs to it can still be committed. */
  isOver: boolean
}

/**
 * `more`: there is more to do. `full`: the endpoint has enough that is due. `early`: what belongs to it may still come.
 * `done`: it is gone, or somebody else has it.
 */
export type ReplayProgress = 'more' | 'full' | 'early' | 'done'

/** Makes one step of a replay. After `more`, wake `webhooks`. */
export async function stepWebhookReplay(database: Database, id: Uuid): Promise<ReplayProgress> {
  return asEngine(database, async (client) => {
    const { rows } = await client.query<ReplayRow>(
      `SELECT id, webhook_id AS "webhookId", tenant_id AS "tenantId", kind, after_at AS "afterAt", before_at AS "beforeAt", types,
         skips_told AS "skipsTold", done_transaction::text AS "doneTransaction", done_id AS "doneId",
         coalesce(now() > before_at + $2 * interval '1 millisecond', true) AS "isOver"
       FROM valija.webhook_replays WHERE id = $1 FOR UPDATE SKIP LOCKED`,
      [id, lateMs],
    )
    const replay = rows[0]
    if (replay === undefined) return 'done'
    if (replay.kind === 'range' && (await hasEnoughDue(client, replay.webhookId))) return 'full'
    const count = await (replay.kind === 'range' ? stepRange(client, replay) : stepWaiting(client, replay))
    if (count === stepRows) return 'more'
    if (!replay.isOver) return count > 0 ? 'more' : 'early'
    await client.query('DELETE FROM valija.webhook_replays WHERE id = $1', [id])
    return count > 0 ? 'more' : 'done'
  })
}

async function hasEnoughDue(client: pg.ClientBase, webhookId: Uuid): Promise<boolean> {
  const { rowCount } = await client.query(
    'SELECT FROM valija.webhook_outbox WHERE webhook_id = $1 AND due_at <= now() LIMIT $2',
    [webhookId, dueRows],
  )
  return rowCount === dueRows
}

/** What the endpoint does not ask for counts as well: a step reads only so much. */
async function stepRange(client: pg.ClientBase, replay: ReplayRow): Promise<number> {
  const { rows } = await client.query<{ count: number }>({
    text: `WITH horizon AS MATERIALIZED (SELECT valija.event_horizon() AS xmin), event AS MATERIALIZED (
  SELECT id, transaction, type, data FROM valija.events
  WHERE tenant_id = $2 AND (transaction, id) > ($3::xid8, $4::uuid) AND transaction < (SELECT xmin FROM horizon)
    AND id >= $5 AND id < $6 AND created_at >= $7 AND created_at < $8
  ORDER BY transaction, id LIMIT $9
), queued AS (
  INSERT INTO valija.webhook_outbox AS row (webhook_id, event_id, tenant_id, due_at)
  SELECT webhook.id, event.id, webhook.tenant_id, ${dueNowSql}
  FROM event, valija.webhooks AS webhook
  WHERE webhook.id = $1 AND ${wantsEvent('event', 'webhook')} AND ($10::text[] IS NULL OR event.type = ANY ($10))
    AND NOT ($11::boolean AND EXISTS (SELECT FROM valija.webhook_tries AS made
      WHERE made.webhook_id = $1 AND made.event_id = event.id AND made.outcome = 'delivered' AND made.id >= $5))
  ORDER BY event.id
  ${dueAsAsked}
), progress AS (
  UPDATE valija.webhook_replays SET done_transaction = last.transaction, done_id = last.id
  FROM (SELECT transaction, id FROM event ORDER BY transaction DESC, id DESC LIMIT 1) AS last
  WHERE webhook_replays.id = $12
)
SELECT count(*)::integer AS count FROM event`,
    values: [
      replay.webhookId,
      replay.tenantId,
      replay.doneTransaction,
      replay.doneId,
      lowestUuidAt(replay.afterAt.getTime() - slackMs),
      lowestUuidAt(replay.beforeAt.getTime() + slackMs),
      replay.afterAt,
      replay.beforeAt,
      stepRows,
      replay.types,
      replay.skipsTold,
      replay.id,
    ],
    ...answerWithin(longQueryTimeoutMs),
  })
  return rows[0]?.count ?? 0
}

/** By the event's id, so that each row has one turn, whatever becomes of it meanwhile. */
async function stepWaiting(client: pg.ClientBase, replay: ReplayRow): Promise<number> {
  const { rows } = await client.query<{ count: number }>(
    `WITH waiting AS MATERIALIZED (
  SELECT event_id FROM valija.webhook_outbox WHERE webhook_id = $1 AND event_id > $2
  ORDER BY event_id LIMIT $3
), chosen AS MATERIALIZED (
  SELECT ctid AS place FROM valija.webhook_outbox
  WHERE webhook_id = $1 AND event_id = ANY (ARRAY(SELECT event_id FROM waiting)) AND due_at > now() AND leased_until IS NULL
  ORDER BY event_id FOR UPDATE SKIP LOCKED
), due AS (
  UPDATE valija.webhook_outbox SET due_at = ${dueNowSql}, asked_tries = asked_tries + 1
  WHERE ctid = ANY (ARRAY(SELECT place FROM chosen))
), progress AS (
  UPDATE valija.webhook_replays SET done_id = last.event_id
  FROM (SELECT event_id FROM waiting ORDER BY event_id DESC LIMIT 1) AS last WHERE webhook_replays.id = $4
)
SELECT count(*)::integer AS count FROM waiting`,
    [replay.webhookId, replay.doneId, stepRows, replay.id],
  )
  return rows[0]?.count ?? 0
}
