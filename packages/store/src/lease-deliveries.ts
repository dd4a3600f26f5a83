/**
 * Leases: a worker's right to send to a recipient for the next 30 s, renewed every 10 s (DESIGN 4.2, 4.3, 4.5).
 * Leases own the work, not BullMQ's locks.
 *
 * Statements that take many rows of `deliveries` take them by rising recipient id, or skip those that somebody else has: so
 * they can never wait in a circle (here, admission.ts, settle-attempts.ts).
 */
import {
  isEnd,
  lowestUuidAt,
  type RecipientState,
  recipientStates,
  type Simulation,
  type Stream,
  type Uuid,
  uuidTimeMs,
} from '@valija/core'
import type pg from 'pg'
import { isInState } from './admission.ts'
import { askTogether } from './ask-together.ts'
import { isErasedSql } from './erasures.ts'
import { restoredMarkSql } from './restored-mark.ts'
import { leasedHitSql, type SuppressionHit } from './suppressions.ts'
import { extendedSql } from './suspend-tenant.ts'

/** How long a lease holds without renewal, in milliseconds. */
export const leaseMs = 30_000

const liveStates = recipientStates
  .filter((state) => !isEnd(state))
  .map((state) => `'${state}'`)
  .join(', ')

/** A leased recipient with all that sending to it needs, but for the body. */
export interface LeasedDelivery {
  recipientId: Uuid
  messageId: Uuid
  tenantId: Uuid
  /** Of the tenant, against those of the others. */
  weight: number
  stream: Stream
  route: string
  simulation: Simulation | null
  /** Attempts made so far. */
  attempts: number
  /** Routes and sources that refused it for who we are (`route:<name>`, `source:<name>`); null for none. */
  avoid: string[] | null
  /** Steps of the retry schedule used up. */
  retrySteps: number
  epoch: number
  /** Leases in a row that ran out before this one; from `crashesOfSuspect` on it is delivered alone. */
  crashes: number
  /** A final dot may have gone out, under whichever earlier lease, and no result of it is known. Of at-most-once mails and suspects only. */
  isPastDot: boolean
  /** The tenant chose that an attempt whose end is not known is not repeated. */
  atMostOnce: boolean
  /** Held after a restore, and not let go: it is never sent (restored-mark.ts). */
  isRestored: boolean
  dueAt: Date
  expiresAt: Date
  isExpired: boolean
  email: string
  domain: string
  ordinal: number
  status: RecipientState
  /** Why the last attempt failed; null before the first. */
  reason: string | null
  /** What has been suppressing the recipient by the time of the lease: it is not sent to (suppressions.ts). */
  suppression: SuppressionHit | null
  seq: number
  fromEmail: string
  fromDomain: string
  tags: string[]
  metadata: Record<string, string>
  createdAt: Date
  sendAt: Date | null
  /** To be sent over verified TLS only. */
  requireTls: boolean
  isSimulated: boolean
  /** Its body goes with the end of its last recipient. */
  isSensitive: boolean
  /** The recipient's data is being erased: it is not sent to, and whoever erases it cancels the delivery (erasures.ts). */
  isErased: boolean
  /** The stored body of its message (`encodeBody`); absent: it is large, and is read when there is room for it, or it could not be read. */
  body?: Buffer
}

/** A leased row whose recipient or message is gone: nothing can be sent, and nobody waits for its end. */
export interface Orphan {
  recipientId: Uuid
  epoch: number
}

/** Of a delivery: the last worker that had it ended before it told what came of it. The mail may have gone out, and is then sent again with the same bytes. */
export const isUncertainSql = (delivery: string) =>
  `(${delivery}.crashes > 0 OR ${delivery}.dot_epoch IS NOT NULL)`

/**
 * Leases those of the given rows that are still admitted. A hint that came twice, or too late, finds nothing. Those of a tenant that is suspended
 * wait again: they were admitted by somebody who did not know it yet. But what is held after a restore is leased: it is not sent, and may have to end.
 *
 * Recipients have the time of their message in their id, so both look-ups are bounded by the ids' times and PostgreSQL looks
 * only into the partitions of those days. They are look-ups, one by one, and no joins: of the newest ids it knows nothing yet, and would
 * take it that there are few between two of them, and read them all.
 *
 * @param withBodies small bodies come with the deliveries; false where nothing is to be sent
 */
export async function leaseDeliveries(
  pool: pg.Pool,
  recipientIds: readonly Uuid[],
  withBodies = true,
): Promise<{ deliveries: LeasedDelivery[]; orphans: Orphan[] }> {
  const sorted = [...recipientIds].sort()
  const first = sorted[0]
  const last = sorted.at(-1)
  if (first === undefined || last === undefined) return { deliveries: [], orphans: [] }
  const bounds = messageBounds(first, last)
  const lease = { name: 'lease-deliveries', text: leaseSql, values: [recipientIds, first, last, ...bounds] }
  const bodies = {
    name: 'leased-bodies',
    text: leasedBodiesSql,
    values: [recipientIds, ...bounds, withLeaseBytes],
  }
  const { rows, bodyOf } = withBodies
    ? await leaseWithBodies(pool, lease, bodies)
    : { ...(await pool.query<LeasedRow>(lease)), bodyOf: new Map<Uuid, Buffer>() }
  return {
    deliveries: rows
      .filter((row) => !row.isOrphan)
      .map((row) => Object.assign(row, { body: bodyOf.get(row.messageId) })),
    orphans: rows.filter((row) => row.isOrphan).map(({ recipientId, epoch }) => ({ recipientId, epoch })),
  }
}

type LeasedRow = LeasedDelivery & { isOrphan: boolean }

/** A body that could not be read is read again when its mail is composed, and that tells why. */
async function leaseWithBodies(pool: pg.Pool, lease: pg.QueryConfig, bodies: pg.QueryConfig) {
  const [leased, read] = await askTogether<[LeasedRow, StoredBody]>(pool, [lease, bodies])
  if (leased.status === 'rejected') throw leased.reason
  const stored = read.status === 'rejected' ? [] : read.value.rows
  return { rows: leased.value.rows, bodyOf: new Map(stored.map(({ id, content }) => [id, content])) }
}

const leaseSql = `
WITH locked AS MATERIALIZED (
  SELECT recipient_id, tenant_id = ANY (ARRAY(SELECT id FROM valija.tenants WHERE suspended_at IS NOT NULL))
    AND ${restoredMarkSql('d')} IS NULL AS is_held
  FROM valija.deliveries AS d WHERE recipient_id = ANY ($1::uuid[]) AND ${isInState('state', 'admitted')}
  ORDER BY recipient_id FOR UPDATE SKIP LOCKED
), leased AS (
  UPDATE valija.deliveries AS d
  SET state = CASE WHEN is_held THEN 'waiting' ELSE 'leased' END, epoch = d.epoch + 1, admitted_at = NULL, hold = ${restoredMarkSql('d')},
    leased_until = CASE WHEN NOT is_held THEN now() + make_interval(secs => ${leaseMs / 1000}) END
  FROM locked WHERE d.recipient_id = locked.recipient_id
  RETURNING d.*
)
SELECT leased.recipient_id AS "recipientId", leased.message_id AS "messageId", leased.tenant_id AS "tenantId", leased.stream,
  coalesce((SELECT weight FROM valija.tenants AS t WHERE t.id = leased.tenant_id), 1) AS weight,
  leased.route, leased.simulation, leased.avoid, r.attempts, leased.retry_steps AS "retrySteps", leased.epoch, leased.crashes, leased.due_at AS "dueAt", time.over_at AS "expiresAt",
  time.over_at <= now() AS "isExpired", r.id IS NULL OR m.id IS NULL AS "isOrphan", r.email, r.domain, r.ordinal, r.status, r.reason, r.seq, m.from_email AS "fromEmail",
  m.from_domain AS "fromDomain", m.tags, m.metadata, m.created_at AS "createdAt", m.send_at AS "sendAt", m.require_tls AS "requireTls", m.is_simulated AS "isSimulated",
  m.is_sensitive AS "isSensitive",
  leased.dot_epoch IS NOT NULL AS "isPastDot", leased.hold IS NOT NULL AS "isRestored",
  coalesce((SELECT t.at_most_once FROM valija.tenants AS t WHERE t.id = leased.tenant_id), false) AS "atMostOnce",
  ${leasedHitSql} AS suppression, ${isErasedSql} AS "isErased"
FROM leased
CROSS JOIN LATERAL (SELECT ${extendedSql('leased', 'deliveries')} AS over_at) AS time
LEFT JOIN LATERAL (
  SELECT * FROM valija.recipients WHERE id = leased.recipient_id AND id BETWEEN $2::uuid AND $3::uuid LIMIT 1) AS r ON true
LEFT JOIN LATERAL (
  SELECT * FROM valija.messages WHERE id = leased.message_id AND id BETWEEN $4::uuid AND $5::uuid LIMIT 1) AS m ON true
WHERE leased.state = 'leased'`

/** Bodies up to this come with their lease. A worker holds at most 16 for each conversation (4 leases, and 12 whose way is being looked up): 13 MB for 100. */
const withLeaseBytes = 8 * 1024

/**
 * A statement of its own, in the same write: it sees what the lease has made certain. An erasure rewrites a body as long as nobody has begun
 * to send it; of one that commits after the lease has begun and before it has its rows, the lease's own snapshot would show the body before.
 *
 * Look-ups one by one here too: a plan for them is kept, one for all of them at once is made anew each time (0.25 ms a round trip for four mails
 * instead of 0.43, 0.64 for twenty instead of 0.74).
 */
const leasedBodiesSql = `
SELECT m.id, b.content FROM (
  SELECT DISTINCT message_id AS id FROM valija.deliveries WHERE recipient_id = ANY ($1::uuid[]) AND ${isInState('state', 'leased')}) AS m
CROSS JOIN LATERAL (
  SELECT content FROM valija.bodies
  WHERE message_id = m.id AND message_id BETWEEN $2::uuid AND $3::uuid AND octet_length(content) <= $4 LIMIT 1) AS b`

interface StoredBody {
  id: Uuid
  content: Buffer
}

/**
 * Writes down that the final dots of these leases are about to go out.
 *
 * @returns the recipients whose lease still holds; of the others no dot may be sent
 */
export async function markDots(
  pool: pg.Pool,
  leases: readonly { recipientId: Uuid; epoch: number }[],
): Promise<Set<Uuid>> {
  const result = await pool.query<{ recipientId: Uuid }>({
    name: 'mark-dots',
    text: `
WITH locked AS MATERIALIZED (${lockSql}) AS d
)
UPDATE valija.deliveries AS d SET dot_epoch = d.epoch
WHERE d.recipient_id = ANY (ARRAY(SELECT recipient_id FROM locked))
RETURNING d.recipient_id AS "recipientId"`,
    values: [leases.map((lease) => lease.recipientId), leases.map((lease) => lease.epoch)],
  })
  return new Set(result.rows.map((row) => row.recipientId))
}

/** Whether a final dot was about to go out, under this lease or one before it, of which no result is known; as far as it was written down. */
export async function isDotMarked(
  pool: pg.Pool,
  { recipientId, epoch }: { recipientId: Uuid; epoch: number },
): Promise<boolean> {
  const result = await pool.query(
    'SELECT FROM valija.deliveries WHERE recipient_id = $1 AND epoch = $2 AND dot_epoch IS NOT NULL',
    [recipientId, epoch],
  )
  return result.rowCount === 1
}

/** Counts a crash under a lease that goes on: of a process that had the mail for its holder. */
export async function countCrash(
  pool: pg.Pool,
  { recipientId, epoch }: { recipientId: Uuid; epoch: number },
): Promise<void> {
  await pool.query(
    `UPDATE valija.deliveries SET crashes = crashes + 1 WHERE recipient_id = $1 AND epoch = $2 AND ${isInState('state', 'leased')}`,
    [recipientId, epoch],
  )
}

/** Ends leased rows that have nothing left to send: else they would be leased again and again. */
export async function deleteOrphans(pool: pg.Pool, orphans: readonly Orphan[]): Promise<void> {
  await pool.query(
    `DELETE FROM valija.deliveries AS d USING unnest($1::uuid[], $2::bigint[]) AS input (recipient_id, epoch)
     WHERE d.recipient_id = input.recipient_id AND d.epoch = input.epoch AND ${isInState('d.state', 'leased')}`,
    [orphans.map((orphan) => orphan.recipientId), orphans.map((orphan) => orphan.epoch)],
  )
}

/** A message's id is made just before its recipients': within this, in milliseconds. */
const acceptSpreadMs = 60_000

/** The range in which the messages of recipients between two ids lie. */
export function messageBounds(first: Uuid, last: Uuid): [Uuid, Uuid] {
  return [lowestUuidAt(uuidTimeMs(first) - acceptSpreadMs), lowestUuidAt(uuidTimeMs(last) + acceptSpreadMs)]
}

/**
 * Takes the rows of leases ($1 recipients, $2 epochs) that still hold, by rising recipient id; the caller may add SKIP
 * LOCKED and closes the bracket with `) AS d`. A look-up per row and not a join: for a join, a plan made while the table was small reads all of it later.
 */
const lockSql = `
  SELECT d.recipient_id
  FROM (SELECT * FROM unnest($1::uuid[], $2::bigint[]) AS input (recipient_id, epoch) ORDER BY recipient_id) AS input
  CROSS JOIN LATERAL (
    SELECT d.recipient_id FROM valija.deliveries AS d
    WHERE d.recipient_id = input.recipient_id AND d.epoch = input.epoch AND ${isInState('d.state', 'leased')} FOR UPDATE`

/** `busy`: another transaction has the row this moment, so it was not waited for; its lease holds as long as it did before. */
export type Renewal = 'renewed' | 'busy'

/**
 * Prolongs leases; those that are no longer ours are missing in what comes back.
 *
 * It waits for no row: whoever has one is settling it, most likely with this worker's own result, and a renewal that waits
 * while it holds other rows can wait in a circle with that.
 */
export async function renewLeases(
  pool: pg.Pool,
  leases: readonly { recipientId: Uuid; epoch: number }[],
): Promise<Map<Uuid, Renewal>> {
  const result = await pool.query<{ recipientId: Uuid; isRenewed: boolean }>({
    name: 'renew-leases',
    text: `
WITH ours AS MATERIALIZED (
  SELECT d.recipient_id FROM unnest($1::uuid[], $2::bigint[]) AS input (recipient_id, epoch)
  CROSS JOIN LATERAL (
    SELECT d.recipient_id FROM valija.deliveries AS d
    WHERE d.recipient_id = input.recipient_id AND d.epoch = input.epoch AND ${isInState('d.state', 'leased')} LIMIT 1) AS d
), locked AS MATERIALIZED (${lockSql} SKIP LOCKED) AS d
), renewed AS (
  UPDATE valija.deliveries AS d SET leased_until = now() + make_interval(secs => ${leaseMs / 1000})
  WHERE d.recipient_id = ANY (ARRAY(SELECT recipient_id FROM locked))
  RETURNING d.recipient_id
)
SELECT ours.recipient_id AS "recipientId", renewed.recipient_id IS NOT NULL AS "isRenewed"
FROM ours LEFT JOIN renewed USING (recipient_id)`,
    values: [leases.map((lease) => lease.recipientId), leases.map((lease) => lease.epoch)],
  })
  return new Map(result.rows.map((row) => [row.recipientId, row.isRenewed ? 'renewed' : 'busy']))
}

/**
 * Gives leases back untried: their rows are due at once (a drain), or `dueInMs` from now (a site that is held back), which
 * is then also the time that people see. `hold` says why they wait.
 */
export async function releaseLeases(
  pool: pg.Pool,
  leases: readonly { recipientId: Uuid; epoch: number }[],
  { dueInMs, hold }: { dueInMs: number; hold: string | null },
): Promise<void> {
  const ids = leases.map((lease) => lease.recipientId)
  const sorted = [...ids].sort()
  await pool.query({
    name: 'release-leases',
    text: `
WITH locked AS MATERIALIZED (${lockSql}) AS d
), released AS (
  UPDATE valija.deliveries AS d
  SET state = 'waiting', leased_until = NULL, hold = coalesce(${restoredMarkSql('d')}, $6::text),
    due_at = CASE WHEN $3::float8 > 0 THEN least(${extendedSql('d', 'deliveries')}, now() + make_interval(secs => $3::float8 / 1000)) ELSE d.due_at END
  WHERE d.recipient_id = ANY (ARRAY(SELECT recipient_id FROM locked))
  RETURNING d.recipient_id, d.due_at
)
UPDATE valija.recipients AS r SET next_attempt_at = released.due_at
FROM released
WHERE $3::float8 > 0 AND r.id = released.recipient_id AND r.id = ANY ($1::uuid[]) AND r.id BETWEEN $4::uuid AND $5::uuid
  AND r.status = ANY (ARRAY[${liveStates}])`,
    values: [ids, leases.map((lease) => lease.epoch), dueInMs, sorted[0], sorted.at(-1), hold],
  })
}
