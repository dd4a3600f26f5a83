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
  stream: Stream
  route: string
  simulation: Simulation | null
  /** Attempts made so far. */
  attempts: number
  /** Steps of the retry schedule used up. */
  retrySteps: number
  epoch: number
  dueAt: Date
  expiresAt: Date
  isExpired: boolean
  email: string
  domain: string
  ordinal: number
  status: RecipientState
  seq: number
  fromEmail: string
  fromDomain: string
  tags: string[]
  metadata: Record<string, string>
  createdAt: Date
  sendAt: Date | null
  isSimulated: boolean
}

/** A leased row whose recipient or message is gone: nothing can be sent, and nobody waits for its end. */
export interface Orphan {
  recipientId: Uuid
  epoch: number
}

/**
 * Leases those of the given rows that are still admitted. A hint that came twice, or too late, finds nothing.
 *
 * Recipients have the time of their message in their id, so both joins are bounded by the ids' times and PostgreSQL looks
 * only into the partitions of those days.
 */
export async function leaseDeliveries(
  pool: pg.Pool,
  recipientIds: readonly Uuid[],
): Promise<{ deliveries: LeasedDelivery[]; orphans: Orphan[] }> {
  const sorted = [...recipientIds].sort()
  const first = sorted[0]
  const last = sorted.at(-1)
  if (first === undefined || last === undefined) return { deliveries: [], orphans: [] }
  const result = await pool.query<LeasedDelivery & { isOrphan: boolean }>({
    name: 'lease-deliveries',
    text: `
WITH locked AS MATERIALIZED (
  SELECT recipient_id FROM valija.deliveries WHERE recipient_id = ANY ($1::uuid[]) AND state = 'admitted'
  ORDER BY recipient_id FOR UPDATE SKIP LOCKED
), leased AS (
  UPDATE valija.deliveries AS d
  SET state = 'leased', epoch = d.epoch + 1, admitted_at = NULL, leased_until = now() + make_interval(secs => ${leaseMs / 1000})
  FROM locked WHERE d.recipient_id = locked.recipient_id
  RETURNING d.*
)
SELECT leased.recipient_id AS "recipientId", leased.message_id AS "messageId", leased.tenant_id AS "tenantId", leased.stream,
  leased.route, leased.simulation, r.attempts, leased.retry_steps AS "retrySteps", leased.epoch, leased.due_at AS "dueAt", leased.expires_at AS "expiresAt",
  leased.expires_at <= now() AS "isExpired", r.id IS NULL OR m.id IS NULL AS "isOrphan", r.email, r.domain, r.ordinal, r.status, r.seq, m.from_email AS "fromEmail",
  m.from_domain AS "fromDomain", m.tags, m.metadata, m.created_at AS "createdAt", m.send_at AS "sendAt", m.is_simulated AS "isSimulated"
FROM leased
LEFT JOIN valija.recipients AS r ON r.id = leased.recipient_id AND r.id BETWEEN $2::uuid AND $3::uuid
LEFT JOIN valija.messages AS m ON m.id = leased.message_id AND m.id BETWEEN $4::uuid AND $5::uuid`,
    values: [recipientIds, first, last, ...messageBounds(first, last)],
  })
  return {
    deliveries: result.rows.filter((row) => !row.isOrphan),
    orphans: result.rows
      .filter((row) => row.isOrphan)
      .map(({ recipientId, epoch }) => ({ recipientId, epoch })),
  }
}

/** Ends leased rows that have nothing left to send: else they would be leased again and again. */
export async function deleteOrphans(pool: pg.Pool, orphans: readonly Orphan[]): Promise<void> {
  await pool.query(
    `DELETE FROM valija.deliveries AS d USING unnest($1::uuid[], $2::bigint[]) AS input (recipient_id, epoch)
     WHERE d.recipient_id = input.recipient_id AND d.epoch = input.epoch AND d.state = 'leased'`,
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
    WHERE d.recipient_id = input.recipient_id AND d.epoch = input.epoch AND d.state = 'leased' FOR UPDATE`

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
    WHERE d.recipient_id = input.recipient_id AND d.epoch = input.epoch AND d.state = 'leased' LIMIT 1) AS d
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
 * is then also the time that people see.
 */
export async function releaseLeases(
  pool: pg.Pool,
  leases: readonly { recipientId: Uuid; epoch: number }[],
  dueInMs: number,
): Promise<void> {
  const ids = leases.map((lease) => lease.recipientId)
  const sorted = [...ids].sort()
  await pool.query({
    name: 'release-leases',
    text: `
WITH locked AS MATERIALIZED (${lockSql}) AS d
), released AS (
  UPDATE valija.deliveries AS d
  SET state = 'waiting', leased_until = NULL,
    due_at = CASE WHEN $3::float8 > 0 THEN least(d.expires_at, now() + make_interval(secs => $3::float8 / 1000)) ELSE d.due_at END
  WHERE d.recipient_id = ANY (ARRAY(SELECT recipient_id FROM locked))
  RETURNING d.recipient_id, d.due_at
)
UPDATE valija.recipients AS r SET next_attempt_at = released.due_at
FROM released
WHERE $3::float8 > 0 AND r.id = released.recipient_id AND r.id BETWEEN $4::uuid AND $5::uuid
  AND r.status = ANY (ARRAY[${liveStates}])`,
    values: [ids, leases.map((lease) => lease.epoch), dueInMs, sorted[0], sorted.at(-1)],
  })
}

/** The stored bodies of messages, as blobs of `encodeBody`. */
export async function readBodies(pool: pg.Pool, messageIds: readonly Uuid[]): Promise<Map<Uuid, Buffer>> {
  const sorted = [...messageIds].sort()
  const result = await pool.query<{ id: Uuid; content: Buffer }>({
    name: 'read-bodies',
    text: `SELECT message_id AS id, content FROM valija.bodies
           WHERE message_id = ANY ($1::uuid[]) AND message_id BETWEEN $2::uuid AND $3::uuid`,
    values: [sorted, sorted[0], sorted.at(-1)],
  })
  return new Map(result.rows.map((row) => [row.id, row.content]))
}
