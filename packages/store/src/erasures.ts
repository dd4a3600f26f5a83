/**
 * Erasures: one person's data of a tenant, deleted on request. A row is what was asked for, how far workers are with it, and afterwards the proof
 * that it was done, without the address.
 *
 * What belongs to it is all mail that was accepted before it was asked for: up to `bound_id`, the id of the erasure or, where an API process's
 * reading of the clock is ahead, that of the newest recipient there is. As long as it is pending no such recipient is leased to be sent to
 * (lease-deliveries.ts). What is done in a step: erase-recipients.ts, erase-traces.ts.
 */
import { type Uuid, uuidTimeMs } from '@valija/core'
import type pg from 'pg'
import { asEngine, type Database, readAsTenant } from './database.ts'
import { dueNowSql } from './due-now.ts'
import type { Page } from './keys.ts'

export interface ErasureCounts {
  /** Recipients that were to be sent to, and are not. */
  cancelled: number
  /** Rows that were erased, or rid of the address. */
  recipients: number
  bodies: number
  events: number
  attempts: number
}

export interface StoredErasure extends ErasureCounts {
  id: Uuid
  status: 'pending' | 'done'
  placeholder: string
  /** Mails to the person that a worker had past recall when somebody last looked. */
  beingSent: number
  requestedAt: Date
  completedAt: Date | null
}

export interface NewErasure {
  id: Uuid
  tenantId: Uuid
  emailKey: string
  placeholder: string
}

const columns = `id, status, placeholder, being_sent AS "beingSent", cancelled_count AS cancelled, recipient_count AS recipients,
  body_count AS bodies, event_count AS events, attempt_count AS attempts, requested_at AS "requestedAt", completed_at AS "completedAt"`

/** Asks for an erasure. Asked again while one is pending, that one reaches up to now. */
export async function insertErasure(
  database: Database,
  { id, tenantId, emailKey, placeholder }: NewErasure,
): Promise<{ id: Uuid; boundId: Uuid }> {
  return asEngine(database, async (client) => {
    const { rows } = await client.query<{ id: Uuid; boundId: Uuid }>(
      `INSERT INTO valija.erasures AS e (id, tenant_id, email_key, placeholder, next_at, bound_id)
       VALUES ($1, $2, $3, $4, ${dueNowSql}, greatest($1::uuid,
         (SELECT r.id FROM valija.recipients AS r WHERE r.tenant_id = $2 AND r.email_key = $3 ORDER BY r.id DESC LIMIT 1)))
       ON CONFLICT (tenant_id, email_key) WHERE email_key IS NOT NULL DO UPDATE
         SET bound_id = greatest(e.bound_id, excluded.bound_id), done_id = DEFAULT, next_at = excluded.next_at
       RETURNING id, bound_id AS "boundId"`,
      [id, tenantId, emailKey, placeholder],
    )
    const [stored] = rows
    if (stored === undefined) throw new Error('PostgreSQL gave no row back')
    return stored
  })
}

export async function findErasure(
  database: Database,
  tenantId: Uuid,
  id: Uuid,
): Promise<StoredErasure | null> {
  return readAsTenant(database, tenantId, async (client) => {
    const text = `SELECT ${columns} FROM valija.erasures WHERE tenant_id = $1 AND id = $2`
    return (await client.query<StoredErasure>(text, [tenantId, id])).rows[0] ?? null
  })
}

/** Newest first. */
export async function listErasures(database: Database, tenantId: Uuid, page: Page): Promise<StoredErasure[]> {
  return readAsTenant(database, tenantId, async (client) => {
    const text = `SELECT ${columns} FROM valija.erasures WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2)
      ORDER BY id DESC LIMIT $3`
    return (await client.query<StoredErasure>(text, [tenantId, page.after, page.limit])).rows
  })
}

/** Whether a recipient `r` is of a pending erasure: a look-up in `erasures_address_key`, which is nearly always empty. */
export const isErasedSql = `EXISTS (SELECT FROM valija.erasures AS e
    WHERE e.tenant_id = r.tenant_id AND e.email_key = r.email_key AND e.email_key IS NOT NULL AND r.id <= e.bound_id)`

/** An erasure as a worker has it. */
export interface PendingErasure {
  id: Uuid
  tenantId: Uuid
  emailKey: string
  placeholder: string
  boundId: Uuid
  doneId: Uuid
  openMessageIds: Uuid[]
  /** Those of them whose content is rid of the address. */
  changedMessageIds: Uuid[]
  namedTags: string[]
  namedSince: Date | null
}

/** What a worker reads of one. */
export const pendingColumns = `id, tenant_id AS "tenantId", email_key AS "emailKey", placeholder, bound_id AS "boundId", done_id AS "doneId",
  open_message_ids AS "openMessageIds", changed_message_ids AS "changedMessageIds", named_tags AS "namedTags",
  named_since AS "namedSince"`

/** Those that are due, the longest first; and in how many milliseconds the next one is, null for none. */
export async function findDueErasures(
  engine: pg.Pool,
): Promise<{ due: PendingErasure[]; nextInMs: number | null }> {
  const { rows } = await engine.query<PendingErasure & { inMs: number }>(
    `SELECT ${pendingColumns}, extract(epoch FROM next_at - now())::float8 * 1000 AS "inMs" FROM valija.erasures
     WHERE status = 'pending' ORDER BY next_at LIMIT 100`,
  )
  return {
    due: rows.filter(({ inMs }) => inMs <= 0),
    nextInMs: rows.find(({ inMs }) => inMs > 0)?.inMs ?? null,
  }
}

/** What a step erased. */
interface ErasedRows extends Partial<Omit<ErasureCounts, 'cancelled'>> {
  /** Tags that named the person, of mails from this one on. */
  namedTags: readonly string[]
  sinceId: Uuid
}

export async function noteErased(
  client: pg.PoolClient,
  id: Uuid,
  { recipients = 0, bodies = 0, events = 0, attempts = 0, namedTags, sinceId }: ErasedRows,
): Promise<void> {
  await client.query(
    `UPDATE valija.erasures SET recipient_count = recipient_count + $2, body_count = body_count + $3, event_count = event_count + $4,
       attempt_count = attempt_count + $5, named_tags = ARRAY(SELECT DISTINCT unnest(named_tags || $6::text[])),
       named_since = CASE WHEN cardinality($6::text[]) > 0 THEN least(named_since, $7::timestamptz) ELSE named_since END
     WHERE id = $1`,
    [id, recipients, bodies, events, attempts, namedTags, new Date(uuidTimeMs(sinceId))],
  )
}

/** After a step that failed: the next one later, and later each time. */
export async function postponeErasure(engine: pg.Pool, id: Uuid): Promise<void> {
  await engine.query(
    `UPDATE valija.erasures SET failures = failures + 1,
       next_at = now() + least(${longestPauseMs}, ${firstPauseMs} * 2 ^ least(failures, 20)) * interval '1 millisecond'
     WHERE id = $1 AND status = 'pending'`,
    [id],
  )
}

const firstPauseMs = 30_000
const longestPauseMs = 3_600_000

/** A mail to the person that has not its end. */
export interface LiveMail {
  recipientId: Uuid
  messageId: Uuid
  isLeased: boolean
}

/** How much of the history of an address is read at once. */
const readAtOnce = 1_000

/**
 * Those among the newest recipients of an erasure, or among those before `before`.
 *
 * @returns besides, what to go on with; null: nothing is left
 */
export async function findLiveMails(
  engine: pg.Pool,
  { tenantId, emailKey, boundId }: Pick<PendingErasure, 'tenantId' | 'emailKey' | 'boundId'>,
  before: Uuid | null,
): Promise<{ mails: LiveMail[]; next: Uuid | null }> {
  const { rows } = await engine.query<Omit<LiveMail, 'isLeased'> & { isLeased: boolean | null }>(
    `SELECT r.id AS "recipientId", r.message_id AS "messageId",
       (SELECT d.state = 'leased' FROM valija.deliveries AS d WHERE d.recipient_id = r.id) AS "isLeased"
     FROM valija.recipients AS r
     WHERE r.tenant_id = $1 AND r.email_key = $2 AND r.id <= $3 AND ($4::uuid IS NULL OR r.id < $4)
     ORDER BY r.id DESC LIMIT ${readAtOnce}`,
    [tenantId, emailKey, boundId, before],
  )
  return {
    mails: rows.flatMap(({ isLeased, ...mail }) => (isLeased === null ? [] : [{ ...mail, isLeased }])),
    next: rows.length < readAtOnce ? null : (rows.at(-1)?.recipientId ?? null),
  }
}

/** What has become of them. */
export async function findStillLive(engine: pg.Pool, mails: readonly LiveMail[]): Promise<LiveMail[]> {
  const { rows } = await engine.query<LiveMail>(
    `SELECT recipient_id AS "recipientId", message_id AS "messageId", state = 'leased' AS "isLeased" FROM valija.deliveries
     WHERE recipient_id = ANY ($1::uuid[])`,
    [mails.map(({ recipientId }) => recipientId)],
  )
  return rows
}

/** Writes down what was cancelled, and how many mails were found past recall. */
export async function noteLiveMails(
  engine: pg.Pool,
  id: Uuid,
  { cancelled, beingSent }: { cancelled: number; beingSent: number },
): Promise<void> {
  await engine.query(
    `UPDATE valija.erasures SET cancelled_count = cancelled_count + $2, being_sent = CASE status WHEN 'pending' THEN $3 ELSE 0 END
     WHERE id = $1 AND ($2 > 0 OR status = 'pending' AND being_sent <> $3)`,
    [id, cancelled, beingSent],
  )
}

/** Forgets erasures that were done long ago, some thousands at once. */
export async function forgetOldErasures(pool: pg.Pool, keptMs: number): Promise<number> {
  const { rowCount } = await pool.query(
    `DELETE FROM valija.erasures WHERE id = ANY (ARRAY(
       SELECT id FROM valija.erasures WHERE status = 'done' AND completed_at < now() - make_interval(secs => $1)
       ORDER BY completed_at LIMIT 1000))`,
    [keptMs / 1000],
  )
  return rowCount ?? 0
}
