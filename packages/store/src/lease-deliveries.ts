/**
 * Leases: a worker's right to send to a recipient for the next 30 s, renewed every 10 s (DESIGN 4.2, 4.3, 4.5).
 * Leases own the work, not BullMQ's locks.
 */
import {
  lowestUuidAt,
  type RecipientState,
  type Simulation,
  type Stream,
  type Uuid,
  uuidTimeMs,
} from '@valija/core'
import type pg from 'pg'

/** How long a lease holds without renewal, in milliseconds. */
export const leaseMs = 30_000

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

/**
 * Leases those of the given rows that are still admitted. A hint that came twice, or too late, finds nothing.
 *
 * Recipients have the time of their message in their id, so both joins are bounded by the ids' times and PostgreSQL looks
 * only into the partitions of those days.
 */
export async function leaseDeliveries(
  pool: pg.Pool,
  recipientIds: readonly Uuid[],
): Promise<LeasedDelivery[]> {
  const sorted = [...recipientIds].sort()
  const first = sorted[0]
  const last = sorted.at(-1)
  if (first === undefined || last === undefined) return []
  const result = await pool.query<LeasedDelivery>({
    name: 'lease-deliveries',
    text: `
WITH leased AS (
  UPDATE valija.deliveries
  SET state = 'leased', epoch = epoch + 1, admitted_at = NULL, leased_until = now() + make_interval(secs => ${leaseMs / 1000})
  WHERE recipient_id = ANY ($1::uuid[]) AND state = 'admitted'
  RETURNING *
)
SELECT leased.recipient_id AS "recipientId", leased.message_id AS "messageId", leased.tenant_id AS "tenantId", leased.stream,
  leased.route, leased.simulation, r.attempts, leased.retry_steps AS "retrySteps", leased.epoch, leased.due_at AS "dueAt", leased.expires_at AS "expiresAt",
  leased.expires_at <= now() AS "isExpired", r.email, r.domain, r.ordinal, r.status, r.seq, m.from_email AS "fromEmail",
  m.from_domain AS "fromDomain", m.tags, m.metadata, m.created_at AS "createdAt", m.send_at AS "sendAt", m.is_simulated AS "isSimulated"
FROM leased
JOIN valija.recipients AS r ON r.id = leased.recipient_id AND r.id BETWEEN $2::uuid AND $3::uuid
JOIN valija.messages AS m ON m.id = leased.message_id AND m.id BETWEEN $4::uuid AND $5::uuid`,
    values: [recipientIds, first, last, ...messageBounds(first, last)],
  })
  return result.rows
}

/** A message's id is made just before its recipients': within this, in milliseconds. */
const acceptSpreadMs = 60_000

/** The range in which the messages of recipients between two ids lie. */
export function messageBounds(first: Uuid, last: Uuid): [Uuid, Uuid] {
  return [lowestUuidAt(uuidTimeMs(first) - acceptSpreadMs), lowestUuidAt(uuidTimeMs(last) + acceptSpreadMs)]
}

/** Prolongs leases; returns those that are still ours. */
export async function renewLeases(
  pool: pg.Pool,
  leases: readonly { recipientId: Uuid; epoch: number }[],
): Promise<Set<Uuid>> {
  const result = await pool.query<{ recipientId: Uuid }>({
    name: 'renew-leases',
    text: `
UPDATE valija.deliveries AS d SET leased_until = now() + make_interval(secs => ${leaseMs / 1000})
FROM unnest($1::uuid[], $2::bigint[]) AS input (recipient_id, epoch)
WHERE d.recipient_id = input.recipient_id AND d.epoch = input.epoch AND d.state = 'leased'
RETURNING d.recipient_id AS "recipientId"`,
    values: [leases.map((lease) => lease.recipientId), leases.map((lease) => lease.epoch)],
  })
  return new Set(result.rows.map((row) => row.recipientId))
}

/** Gives leases back untried: their rows are due at once (a drain, or a site that is held back until `dueInMs` from now). */
export async function releaseLeases(
  pool: pg.Pool,
  leases: readonly { recipientId: Uuid; epoch: number }[],
  dueInMs: number,
): Promise<void> {
  await pool.query({
    name: 'release-leases',
    text: `
UPDATE valija.deliveries AS d
SET state = 'waiting', leased_until = NULL,
  due_at = CASE WHEN $3::float8 > 0 THEN least(d.expires_at, now() + make_interval(secs => $3::float8 / 1000)) ELSE d.due_at END
FROM unnest($1::uuid[], $2::bigint[]) AS input (recipient_id, epoch)
WHERE d.recipient_id = input.recipient_id AND d.epoch = input.epoch AND d.state = 'leased'`,
    values: [leases.map((lease) => lease.recipientId), leases.map((lease) => lease.epoch), dueInMs],
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
