/**
 * Claiming for endpoints that want batches: many events in one request (docs/api-guide.md, "Batches").
 *
 * A batch is fixed when it is first told: its rows bear its id from then on, and come again together, under the same id, until they
 * are told. It forms once there are as many events as the endpoint wants, or the first has waited as long as it allows.
 */
import type { IdSource, Uuid } from '@valija/core'
import type pg from 'pg'
import {
  type ClaimedWebhook,
  type ClaimOptions,
  type LeasedRow,
  leasedColumns,
  withEvents,
} from './webhook-outbox.ts'

export interface ClaimedBatches {
  /** One for each batch. */
  claimed: ClaimedWebhook[]
  /** When an incomplete batch has waited long enough: milliseconds from now, null when none waits. */
  nextInMs: number | null
}

interface ReadyEndpoint {
  id: Uuid
  isTroubled: boolean
  room: number
  maxEvents: number
  maxWaitMs: number
  /** 0: one batch is ready at least. */
  readyInMs: number
}

const readySql = `
WITH busy AS (
  SELECT * FROM unnest($1::uuid[], $2::integer[]) AS input (id, tries)
), known AS (
  SELECT webhook.id, webhook.failing_since IS NOT NULL OR webhook.id = ANY ($3::uuid[]) AS is_troubled, webhook.batch_max_events,
    webhook.batch_max_wait_ms, CASE WHEN webhook.failing_since IS NULL THEN $4::integer ELSE 1 END - coalesce(busy.tries, 0) AS room
  FROM valija.webhooks AS webhook LEFT JOIN busy USING (id)
  WHERE webhook.batch_max_events IS NOT NULL AND webhook.status = 'enabled'
)
SELECT known.id, is_troubled AS "isTroubled", room, batch_max_events AS "maxEvents", batch_max_wait_ms AS "maxWaitMs",
  CASE
    WHEN EXISTS (SELECT FROM valija.webhook_outbox WHERE webhook_id = known.id AND batch_id IS NOT NULL AND due_at <= now()) THEN 0
    WHEN (SELECT count(*) FROM (
      SELECT FROM valija.webhook_outbox WHERE webhook_id = known.id AND due_at <= now() ORDER BY due_at LIMIT batch_max_events
    ) AS due) >= batch_max_events THEN 0
    ELSE greatest(0, batch_max_wait_ms - extract(epoch FROM now() - first.due_at) * 1000)::float8
  END AS "readyInMs"
FROM known CROSS JOIN LATERAL (
  SELECT due_at FROM valija.webhook_outbox WHERE webhook_id = known.id AND due_at <= now() ORDER BY due_at LIMIT 1
) AS first
WHERE room > 0
ORDER BY random()`

/*
 * One claimer at a time for each endpoint, or two would share out what could be one batch. A batch that was told before goes first;
 * rows are locked in the order in which a settle locks them.
 */
const claimSql = `
WITH turn AS MATERIALIZED (
  SELECT pg_try_advisory_xact_lock(hashtextextended('valija.webhook_batch ' || $1::uuid, 0)) AS is_ours
), again AS MATERIALIZED (
  SELECT batch_id FROM valija.webhook_outbox
  WHERE webhook_id = $1 AND batch_id IS NOT NULL AND due_at <= now() AND (SELECT is_ours FROM turn)
  ORDER BY due_at LIMIT 1
), fixed AS MATERIALIZED (
  SELECT ctid AS place FROM valija.webhook_outbox
  WHERE webhook_id = $1 AND batch_id = (SELECT batch_id FROM again) AND (leased_until IS NULL OR leased_until <= now())
  ORDER BY event_id
  FOR UPDATE
), fresh AS MATERIALIZED (
  SELECT ctid AS place, due_at FROM valija.webhook_outbox
  WHERE webhook_id = $1 AND batch_id IS NULL AND due_at <= now() AND (SELECT is_ours FROM turn) AND NOT EXISTS (SELECT FROM again)
  ORDER BY due_at LIMIT $2
  FOR UPDATE SKIP LOCKED
), chosen AS (
  SELECT place FROM fixed
  UNION ALL
  SELECT place FROM fresh
  WHERE (SELECT count(*) FROM fresh) >= $2 OR (SELECT min(due_at) FROM fresh) <= now() - $3 * interval '1 millisecond'
), leased AS (
  UPDATE valija.webhook_outbox
  SET batch_id = coalesce(batch_id, $4), leased_until = now() + $5 * interval '1 millisecond', due_at = now() + $5 * interval '1 millisecond'
  WHERE ctid = ANY (ARRAY(SELECT place FROM chosen))
  RETURNING webhook_id, event_id, tenant_id, tries, asked_tries, leased_until, batch_id
)
SELECT ${leasedColumns('$6')}, leased.batch_id AS "batchId"
FROM leased JOIN valija.webhooks AS webhook ON webhook.id = leased.webhook_id
ORDER BY leased.event_id`

/**
 * Leases batches: to each endpoint as many as it has places, to all of a kind as many as there is room.
 *
 * @param nextId gives a new batch its id
 */
export async function claimWebhookBatches(
  pool: pg.Pool,
  options: ClaimOptions & { nextId: IdSource },
): Promise<ClaimedBatches> {
  const { busy, slow, triesPerEndpoint } = options
  const { rows: endpoints } = await pool.query<ReadyEndpoint>({
    name: 'ready-webhook-batches',
    text: readySql,
    values: [[...busy.keys()], [...busy.values()], slow, triesPerEndpoint],
  })
  let { room, troubledRoom } = options
  const rows: LeasedRow[] = []
  let nextInMs: number | null = null
  for (const endpoint of endpoints) {
    if (endpoint.readyInMs > 0) {
      nextInMs = Math.min(nextInMs ?? Infinity, endpoint.readyInMs)
      continue
    }
    const offered = Math.min(endpoint.room, endpoint.isTroubled ? troubledRoom : room)
    for (let taken = 0; taken < offered; taken++) {
      const batch = await claimBatch(pool, endpoint, options)
      if (batch.length === 0) break
      rows.push(...batch)
      if (endpoint.isTroubled) troubledRoom -= 1
      else room -= 1
    }
  }
  return { claimed: await withEvents(pool, rows, (row) => String(row.batchId)), nextInMs }
}

async function claimBatch(
  pool: pg.Pool,
  { id, maxEvents, maxWaitMs }: ReadyEndpoint,
  { nextId, leaseMs, slow }: ClaimOptions & { nextId: IdSource },
): Promise<LeasedRow[]> {
  const { rows } = await pool.query<LeasedRow>({
    name: 'claim-webhook-batch',
    text: claimSql,
    values: [id, maxEvents, maxWaitMs, nextId(), leaseMs, slow],
  })
  return rows
}
