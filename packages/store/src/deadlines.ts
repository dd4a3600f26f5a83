/**
 * Times that come to a delivery while nobody works on it: it is late, which somebody wants to be told of, and its time is over.
 *
 * Both are found by an index that holds only what can come to it (deliveries_late_idx, deliveries_tenant_expiry_idx), so mail that is taken up
 * at once never meets them.
 */
import { isEnd, type RecipientState, type Simulation, type Stream, shownState, type Uuid } from '@valija/core'
import type pg from 'pg'
import { waitingTenants } from './admission.ts'
import { inTransaction } from './database.ts'
import { messageBounds } from './lease-deliveries.ts'
import { eventExpressions, eventParameters, type NewEvent } from './new-events.ts'

/** A mail that was not handed off within its sender's limit. */
export interface LateDelivery {
  recipientId: Uuid
  messageId: Uuid
  tenantId: Uuid
  email: string
  simulation: Simulation | null
  status: RecipientState
  /** Why the last attempt failed; null before the first. */
  reason: string | null
  attempts: number
  nextAttemptAt: Date | null
  /** The number of its last event. */
  seq: number
  stream: Stream
  fromDomain: string
  tags: string[]
  metadata: Record<string, string>
  /** The limit, in seconds from the start of this recipient's own time: one that is leased while its message is moved keeps it. */
  afterSeconds: number
}

/** Which are late and not told of, those that are it longest first. */
export async function findLate(
  engine: pg.Pool,
  limit: number,
): Promise<Pick<LateDelivery, 'recipientId' | 'messageId' | 'tenantId'>[]> {
  const { rows } = await engine.query<Pick<LateDelivery, 'recipientId' | 'messageId' | 'tenantId'>>({
    name: 'find-late',
    text: `SELECT recipient_id AS "recipientId", message_id AS "messageId", tenant_id AS "tenantId" FROM valija.deliveries
           WHERE late_at IS NOT NULL AND late_at <= now() ORDER BY late_at LIMIT $1`,
    values: [limit],
  })
  return rows
}

/**
 * Tells of those that are late still, once each: the mark goes in the transaction that writes the event. A row that somebody has this moment is
 * left for the next look, since it may have its end by then.
 *
 * @returns how many rows were not busy
 */
export async function tellLate(
  engine: pg.Pool,
  recipientIds: readonly Uuid[],
  tell: (late: LateDelivery) => NewEvent,
): Promise<{ looked: number; hasWebhooks: boolean }> {
  return inTransaction(engine, 'BEGIN', async (client) => {
    const { rows: locked } = await client.query<{ id: Uuid }>({
      name: 'lock-late',
      text: `SELECT recipient_id AS id FROM valija.deliveries
             WHERE recipient_id = ANY ($1::uuid[]) AND late_at <= now() ORDER BY recipient_id FOR UPDATE SKIP LOCKED`,
      values: [recipientIds],
    })
    const ids = locked.map(({ id }) => id)
    if (ids.length === 0) return { looked: 0, hasWebhooks: false }
    const late = (await readLate(client, ids)).filter(({ status }) => !isEnd(status))
    const { rows } = await client.query<{ isTold: boolean }>({
      name: 'tell-late',
      text: `
WITH told AS (
  UPDATE valija.deliveries SET late_at = NULL WHERE recipient_id = ANY ($1::uuid[])
), recipient AS (
  UPDATE valija.recipients SET seq = seq + 1 WHERE id = ANY ($2::uuid[]) AND id BETWEEN $3::uuid AND $4::uuid
), ${eventExpressions(5)}
SELECT EXISTS (SELECT FROM outbox) AS "isTold"`,
      values: [
        ids,
        late.map(({ recipientId }) => recipientId),
        ids[0],
        ids.at(-1),
        ...eventParameters(late.map(tell)),
      ],
    })
    return { looked: ids.length, hasWebhooks: rows[0]?.isTold ?? false }
  })
}

/** @param ids rising; their deliveries are locked */
async function readLate(client: pg.PoolClient, ids: readonly Uuid[]): Promise<LateDelivery[]> {
  const [first, last] = [ids[0]!, ids.at(-1)!]
  const { rows } = await client.query<LateDelivery & { isLeased: boolean }>({
    name: 'read-late',
    text: `
SELECT d.recipient_id AS "recipientId", d.message_id AS "messageId", d.tenant_id AS "tenantId", d.simulation,
  d.state = 'leased' AND d.leased_until > now() AS "isLeased", r.email, r.status, r.reason, r.attempts,
  r.next_attempt_at AS "nextAttemptAt", r.seq, m.stream, m.from_domain AS "fromDomain", m.tags, m.metadata,
  greatest(0, round(extract(epoch FROM d.late_at - coalesce(d.starts_at, m.created_at))))::int AS "afterSeconds"
FROM valija.deliveries AS d
JOIN valija.recipients AS r ON r.id = d.recipient_id AND r.id = ANY ($1::uuid[]) AND r.id BETWEEN $2::uuid AND $3::uuid
JOIN valija.messages AS m ON m.id = d.message_id AND m.id BETWEEN $4::uuid AND $5::uuid
WHERE d.recipient_id = ANY ($1::uuid[]) ORDER BY r.id FOR UPDATE OF r`,
    values: [ids, first, last, ...messageBounds(first, last)],
  })
  return rows.map(({ isLeased, ...row }) => ({
    ...row,
    status: shownState(row.status, isLeased),
    nextAttemptAt: isLeased ? null : row.nextAttemptAt,
  }))
}

/**
 * Tenants whose waiting mail ends at the time that its rows say. Of those that were ever suspended it ends later (suspend-tenant.ts): they are
 * left to the dispatcher, which comes to a mail when it is due, and at the latest when its time is over.
 */
const punctualTenants = `${waitingTenants}, punctual AS MATERIALIZED (
  SELECT t.id FROM tenant JOIN valija.tenants AS t ON t.id = tenant.tenant_id WHERE NOT t.was_suspended
)`

const isPunctual = 'NOT (SELECT t.was_suspended FROM valija.tenants AS t WHERE t.id = d.tenant_id)'

/**
 * Admits deliveries whose time is over, out of their turn: they cost nobody anything but their end.
 *
 * @returns those that the caller is to lease and end
 */
export async function admitExpired(engine: pg.Pool, limit: number): Promise<Uuid[]> {
  const { rows } = await engine.query<{ id: Uuid }>({
    name: 'admit-expired',
    text: `
WITH RECURSIVE ${punctualTenants}, picked AS MATERIALIZED (
  (SELECT over.recipient_id FROM punctual CROSS JOIN LATERAL (
    SELECT d.recipient_id FROM valija.deliveries AS d
    WHERE d.tenant_id = punctual.id AND d.state = 'waiting' AND d.expires_at <= now() ORDER BY d.expires_at LIMIT $1) AS over LIMIT $1)
  UNION ALL
  (SELECT d.recipient_id FROM valija.deliveries AS d
    WHERE d.state = 'admitted' AND d.expires_at <= now() AND ${isPunctual} LIMIT $1)
), locked AS MATERIALIZED (
  SELECT recipient_id FROM valija.deliveries
  WHERE recipient_id = ANY (ARRAY(SELECT recipient_id FROM picked)) AND state || '' IN ('waiting', 'admitted') AND expires_at <= now()
  ORDER BY recipient_id FOR UPDATE SKIP LOCKED
)
UPDATE valija.deliveries AS d SET state = 'admitted', admitted_at = now()
WHERE d.recipient_id = ANY (ARRAY(SELECT recipient_id FROM locked))
RETURNING d.recipient_id AS id`,
    values: [limit],
  })
  return rows.map(({ id }) => id)
}

/** Milliseconds until the next of both, below 0 when one is overdue; null when there is none. */
export async function msUntilDeadline(engine: pg.Pool): Promise<number | null> {
  const { rows } = await engine.query<{ ms: number | null }>({
    name: 'ms-until-deadline',
    text: `WITH RECURSIVE ${punctualTenants}
           SELECT (extract(epoch FROM least(
             (SELECT late_at FROM valija.deliveries WHERE late_at IS NOT NULL ORDER BY late_at LIMIT 1),
             (SELECT min(first.expires_at) FROM punctual CROSS JOIN LATERAL (
               SELECT d.expires_at FROM valija.deliveries AS d
               WHERE d.tenant_id = punctual.id AND d.state = 'waiting' ORDER BY d.expires_at LIMIT 1) AS first),
             (SELECT min(d.expires_at) FROM valija.deliveries AS d WHERE d.state = 'admitted' AND ${isPunctual})) - clock_timestamp()) * 1000)::float8 AS ms`,
  })
  return rows[0]?.ms ?? null
}
