/**
 * How many recipients wait, in all and by tenant. Counted by one process at a time, at most once a second and so seldom that
 * it takes under 4 % of one core (80 ms with 1,000,000 waiting, from the index alone); read by all.
 *
 * What is admitted or leased is not counted: a few hundred rows for each worker, whatever waits behind them. What is held (a tenant's
 * suspension, a pause of its bulk mail) is counted by itself: it goes only when somebody lets it go, so nothing else is to wait for it.
 */
import type { Uuid } from '@valija/core'
import type pg from 'pg'

export interface QueueDepth {
  /** PostgreSQL's clock at the count, in milliseconds since 1970. */
  countedAtMs: number
  /** How old the count is. */
  ageMs: number
  /** Without what is held. */
  total: number
  /** Without what is held. */
  tenants: ReadonlyMap<Uuid, number>
  /** What is held, of each tenant that has something. */
  held: ReadonlyMap<Uuid, number>
}

const countEveryMs = 1_000
/** A count that took a second is made every 30. */
const restFactor = 30

interface DepthRow {
  countedAtMs: number
  ageMs: number
  tookMs: number
  total: number
  /** By tenant id, and under `held ` and the id what is held of it: a name that the version before asks nobody for. */
  tenants: Record<string, number>
}

const columns = `extract(epoch FROM counted_at)::float8 * 1000 AS "countedAtMs", took_ms AS "tookMs", total, tenants,
  extract(epoch FROM clock_timestamp() - counted_at)::float8 * 1000 AS "ageMs"`

/** The latest count, made now if it is old and nobody else is making one. */
export async function readQueueDepth(engine: pg.Pool): Promise<QueueDepth> {
  const stored = await engine.query<DepthRow>({
    name: 'read-queue-depth',
    text: `SELECT ${columns} FROM valija.queue_depth`,
  })
  const known = stored.rows[0]
  if (known && isFresh(known)) return toDepth(known)
  const counted = await engine.query<DepthRow>({
    name: 'count-queue-depth',
    text: `
WITH turn AS MATERIALIZED (
  SELECT clock_timestamp() AS began WHERE pg_try_advisory_xact_lock(hashtext('valija.queue_depth'))
), counts AS MATERIALIZED (
  SELECT d.tenant_id, d.stream, count(*) AS waiting FROM valija.deliveries AS d
  WHERE d.state = 'waiting' AND EXISTS (SELECT FROM turn) GROUP BY d.tenant_id, d.stream
), named AS (
  SELECT is_held, CASE WHEN is_held THEN 'held ' ELSE '' END || tenant_id AS name, sum(waiting) AS waiting
  FROM (SELECT counts.*, EXISTS (SELECT FROM valija.tenants AS t WHERE t.id = counts.tenant_id
          AND (t.suspended_at IS NOT NULL OR counts.stream = 'bulk' AND t.bulk_paused_at IS NOT NULL)) AS is_held
        FROM counts) AS judged GROUP BY 1, 2
), sums AS MATERIALIZED (
  SELECT coalesce(sum(waiting) FILTER (WHERE NOT is_held), 0) AS total, coalesce(jsonb_object_agg(name, waiting), '{}') AS tenants
  FROM named
)
INSERT INTO valija.queue_depth AS known (counted_at, took_ms, total, tenants)
SELECT turn.began, extract(epoch FROM clock_timestamp() - turn.began) * 1000, sums.total, sums.tenants FROM sums, turn
ON CONFLICT (id) DO UPDATE SET counted_at = excluded.counted_at, took_ms = excluded.took_ms, total = excluded.total,
  tenants = excluded.tenants
RETURNING ${columns}`,
  })
  const row = counted.rows[0] ?? known
  return row ? toDepth(row) : { countedAtMs: 0, ageMs: 0, total: 0, tenants: new Map(), held: new Map() }
}

/** A count from the future was made before the clock was set back: how old it is nobody knows. */
function isFresh({ ageMs, tookMs }: DepthRow): boolean {
  return ageMs >= 0 && ageMs < Math.max(countEveryMs, restFactor * tookMs)
}

const heldName = /^held (.*)$/

function toDepth({ countedAtMs, ageMs, total, tenants: counts }: DepthRow): QueueDepth {
  const [tenants, held] = [new Map<Uuid, number>(), new Map<Uuid, number>()]
  for (const [name, waiting] of Object.entries(counts)) {
    const heldOf = heldName.exec(name)?.[1]
    if (heldOf === undefined) tenants.set(name, waiting)
    else held.set(heldOf, waiting)
  }
  return { countedAtMs, ageMs, total, tenants, held }
}
