/**
 * Retention of a tenant's own, where it is shorter than that of the installation, which drops whole days (maintenance.ts): mails are redacted, their
 * content gone, and later deleted, message by message in steps of some, found by `messages_tenant_idx`.
 *
 * A mail's age counts from its acceptance, or from `send_at` where that is later, and what is not at its end is left alone, however old it is; so is what an
 * endpoint has still to be told for the first time. Only one worker at a time is at a tenant.
 */
import { lowestUuidAt, type Uuid, uuidTimeMs } from '@valija/core'
import type pg from 'pg'
import { asEngine, type Database } from './database.ts'
import { digestAnew } from './message-digests.ts'
import { earliestIdOf } from './message-ids.ts'
import { recipientsWithinMs } from './read-messages.ts'
import { answerWithin, longQueryTimeoutMs } from './watch-connection.ts'

export interface TenantRetention {
  tenantId: Uuid
  /** Days; null: as the installation says. */
  retentionDays: number | null
  redactAfterDays: number | null
}

/** Messages of one step; each has a few rows of every kind. */
const stepMessages = 100
/** Rows of other kinds in a step. */
const stepRows = 1_000

/** The tenants that have a retention of their own. */
export async function findRetentions(engine: pg.Pool): Promise<TenantRetention[]> {
  const { rows } = await engine.query<TenantRetention>(
    `SELECT id AS "tenantId", retention_days AS "retentionDays", redact_after_days AS "redactAfterDays" FROM valija.tenants
     WHERE retention_days IS NOT NULL OR redact_after_days IS NOT NULL ORDER BY id`,
  )
  return rows
}

/** Where a walk through a tenant's messages has come to; null: at its end, or somebody else is at this tenant. */
export type RetentionPlace = Uuid | null

/** Of a message `m` in a statement with the number of days in $2. */
const isOld = `m.id < valija.lowest_uuid(now() - make_interval(days => $2)) AND (m.send_at IS NULL OR m.send_at < now() - make_interval(days => $2))`
const isLive = 'EXISTS (SELECT FROM valija.deliveries AS d WHERE d.message_id = m.id)'

/**
 * Takes the content out of some more old mails of a tenant: body, subject, metadata, SMTP conversations, and what the inbox caught. What became of each
 * recipient, and why, stays.
 *
 * @returns how many messages were looked at: ask until it is none
 */
export function redactOldMessages(database: Database, tenantId: Uuid, days: number): Promise<number> {
  return inTurn(database, tenantId, async (client) => {
    const inbox = await deleteOldRows(client, 'inbox', tenantId, days)
    // Those that were not at their end once, and are now.
    const { rows: late } = await client.query<{ id: Uuid }>(
      `SELECT m.id FROM valija.unredacted_messages AS u CROSS JOIN LATERAL (
         SELECT id, send_at FROM valija.messages WHERE id = u.message_id AND tenant_id = u.tenant_id) AS m
       WHERE u.tenant_id = $1 AND ${isOld} AND NOT ${isLive} ORDER BY m.id LIMIT ${stepMessages}`,
      [tenantId, days],
    )
    const { rows: next } = await client.query<{ id: Uuid; isReady: boolean }>(
      `SELECT m.id, ${isOld} AND NOT ${isLive} AS "isReady" FROM valija.messages AS m
       WHERE m.tenant_id = $1 AND m.id < valija.lowest_uuid(now() - make_interval(days => $2))
         AND m.id > coalesce((SELECT redacted_to FROM valija.tenant_redactions WHERE tenant_id = $1), '00000000-0000-0000-0000-000000000000')
       ORDER BY m.id LIMIT ${stepMessages}`,
      [tenantId, days],
    )
    // All at once: messages come before digests for whoever takes both, as erasures do.
    await redact(
      client,
      tenantId,
      [...late, ...next.filter(({ isReady }) => isReady)].map(({ id }) => id),
    )
    const last = next.at(-1)
    if (last)
      await passTo(
        client,
        tenantId,
        last.id,
        next.filter(({ isReady }) => !isReady).map(({ id }) => id),
      )
    return inbox + late.length + next.length
  })
}

async function passTo(
  client: pg.PoolClient,
  tenantId: Uuid,
  last: Uuid,
  left: readonly Uuid[],
): Promise<void> {
  await client.query(
    `INSERT INTO valija.tenant_redactions (tenant_id, redacted_to) VALUES ($1, $2)
     ON CONFLICT (tenant_id) DO UPDATE SET redacted_to = excluded.redacted_to`,
    [tenantId, last],
  )
  await client.query(
    'INSERT INTO valija.unredacted_messages (tenant_id, message_id) SELECT $1, unnest($2::uuid[]) ON CONFLICT DO NOTHING',
    [tenantId, left],
  )
}

/**
 * Forgets how far content is gone of tenants that keep it again, so that all of it is looked at anew where they change their mind; and messages that
 * are gone, with their day for instance, some at once.
 *
 * @returns how many messages: ask until it is none
 */
export async function forgetRedactions(engine: pg.Pool): Promise<number> {
  await engine.query(
    `DELETE FROM valija.tenant_redactions AS r USING valija.tenants AS t WHERE t.id = r.tenant_id AND t.redact_after_days IS NULL`,
  )
  const { rowCount } = await engine.query(
    `DELETE FROM valija.unredacted_messages WHERE (tenant_id, message_id) IN (
       SELECT u.tenant_id, u.message_id FROM valija.unredacted_messages AS u JOIN valija.tenants AS t ON t.id = u.tenant_id
       WHERE t.redact_after_days IS NULL OR (SELECT m.id FROM valija.messages AS m WHERE m.id = u.message_id) IS NULL LIMIT ${stepRows})`,
  )
  return rowCount ?? 0
}

/** @param ids by rising id */
async function redact(client: pg.PoolClient, tenantId: Uuid, ids: readonly Uuid[]): Promise<void> {
  const [first, last] = [ids[0], ids.at(-1)]
  if (first === undefined || last === undefined) return
  const bounds = [ids, first, last]
  await client.query(
    `UPDATE valija.messages SET subject = '', metadata = '{}', redacted_at = coalesce(redacted_at, now()) WHERE id = ANY ($1::uuid[]) AND id BETWEEN $2::uuid AND $3::uuid`,
    bounds,
  )
  await client.query(
    'DELETE FROM valija.bodies WHERE message_id = ANY ($1::uuid[]) AND message_id BETWEEN $2::uuid AND $3::uuid',
    bounds,
  )
  await client.query(
    `UPDATE valija.attempts SET report = report || '{"transcript": []}' WHERE message_id = ANY ($1::uuid[]) AND id > $2`,
    [ids, earliestIdOf(first)],
  )
  await client.query(
    `UPDATE valija.events SET data = data || '{"metadata": {}}' WHERE message_id = ANY ($1::uuid[]) AND id > $2 AND data -> 'metadata' <> '{}'`,
    [ids, earliestIdOf(first)],
  )
  for (const table of ['sensitive_messages', 'unredacted_messages'])
    await client.query(`DELETE FROM valija.${table} WHERE tenant_id = $1 AND message_id = ANY ($2::uuid[])`, [
      tenantId,
      ids,
    ])
  await digestAnew(client, tenantId, ids)
}

/**
 * Deletes some more old mails of a tenant with all that was written of them.
 *
 * @param place null: from the oldest on
 * @returns where to go on, so that what has to stay is met once in a walk
 */
export function deleteOldMessages(
  database: Database,
  tenantId: Uuid,
  days: number,
  place: RetentionPlace,
): Promise<RetentionPlace> {
  return inTurn(
    database,
    tenantId,
    async (client) => {
      const { rows } = await client.query<{ id: Uuid; mayGo: boolean }>(
        `SELECT m.id, ${isOld} AND NOT ${isLive} AND NOT EXISTS (
             SELECT FROM valija.events AS e CROSS JOIN LATERAL (
               SELECT FROM valija.webhooks AS w JOIN valija.webhook_outbox AS o ON o.webhook_id = w.id AND o.event_id = e.id
               WHERE w.tenant_id = $1) AS untold
             WHERE e.message_id = m.id AND e.id > $4::uuid) AS "mayGo"
         FROM valija.messages AS m WHERE m.tenant_id = $1 AND m.id < valija.lowest_uuid(now() - make_interval(days => $2)) AND m.id > $3
         ORDER BY m.id LIMIT ${stepMessages}`,
        [tenantId, days, place ?? firstId, place === null ? firstId : earliestIdOf(place)],
      )
      await deleteMessages(
        client,
        tenantId,
        rows.filter(({ mayGo }) => mayGo).map(({ id }) => id),
      )
      return rows.length < stepMessages ? null : (rows.at(-1)?.id ?? null)
    },
    null,
  )
}

const firstId = '00000000-0000-0000-0000-000000000000'

/** @param ids by rising id */
async function deleteMessages(client: pg.PoolClient, tenantId: Uuid, ids: readonly Uuid[]): Promise<void> {
  const [first, last] = [ids[0], ids.at(-1)]
  if (first === undefined || last === undefined) return
  const withinMs = uuidTimeMs(last) + recipientsWithinMs
  const { rows: recipients } = await client.query<{ id: Uuid }>(
    'DELETE FROM valija.recipients WHERE message_id = ANY ($1::uuid[]) AND id BETWEEN $2::uuid AND $3::uuid RETURNING id',
    [ids, first, lowestUuidAt(withinMs)],
  )
  await client.query('DELETE FROM valija.taken_reports WHERE recipient_id = ANY ($1::uuid[])', [
    recipients.map(({ id }) => id),
  ])
  for (const table of ['attempts', 'events'])
    await client.query(`DELETE FROM valija.${table} WHERE message_id = ANY ($1::uuid[]) AND id > $2`, [
      ids,
      earliestIdOf(first),
    ])
  await client.query(
    'DELETE FROM valija.bodies WHERE message_id = ANY ($1::uuid[]) AND message_id BETWEEN $2::uuid AND $3::uuid',
    [ids, first, last],
  )
  await client.query(
    'DELETE FROM valija.messages WHERE id = ANY ($1::uuid[]) AND id BETWEEN $2::uuid AND $3::uuid',
    [ids, first, last],
  )
  for (const table of ['sensitive_messages', 'unredacted_messages'])
    await client.query(`DELETE FROM valija.${table} WHERE tenant_id = $1 AND message_id = ANY ($2::uuid[])`, [
      tenantId,
      ids,
    ])
}

/**
 * Deletes what else is old of a tenant, some rows of each kind: what endpoints were told in vain, tries, events about no message, the inbox, former entries of
 * the suppression list, digests of messages that are gone.
 *
 * @returns how many rows: ask until it is none
 */
export function deleteOldTraces(database: Database, tenantId: Uuid, days: number): Promise<number> {
  return inTurn(database, tenantId, async (client) => {
    const values = [tenantId, days]
    let count = 0
    for (const text of traceSql)
      count += (await client.query({ text, values, ...answerWithin(longQueryTimeoutMs) })).rowCount ?? 0
    return (
      count +
      (await deleteOldRows(client, 'inbox', tenantId, days)) +
      (await deleteOldRows(client, 'suppression_removals', tenantId, days))
    )
  })
}

const before = 'valija.lowest_uuid(now() - make_interval(days => $2))'
const traceSql = [
  `DELETE FROM valija.webhook_outbox WHERE (webhook_id, event_id) IN (
     SELECT o.webhook_id, o.event_id FROM valija.webhooks AS w JOIN valija.webhook_outbox AS o ON o.webhook_id = w.id
     WHERE w.tenant_id = $1 AND (w.status = 'disabled' OR o.tries > 0) AND o.event_id < ${before} LIMIT ${stepRows})`,
  `DELETE FROM valija.webhook_tries WHERE id = ANY (ARRAY(
     SELECT t.id FROM valija.webhooks AS w CROSS JOIN LATERAL (
       SELECT id FROM valija.webhook_tries WHERE webhook_id = w.id AND id < ${before} LIMIT ${stepRows}) AS t
     WHERE w.tenant_id = $1 LIMIT ${stepRows})) AND id < ${before}`,
  `DELETE FROM valija.events WHERE id = ANY (ARRAY(
     SELECT e.id FROM valija.events AS e WHERE e.tenant_id = $1 AND e.message_id IS NULL AND e.id < ${before}
       AND NOT EXISTS (SELECT FROM valija.webhooks AS w JOIN valija.webhook_outbox AS o ON o.webhook_id = w.id AND o.event_id = e.id
         WHERE w.tenant_id = $1) LIMIT ${stepRows})) AND id < ${before}`,
  `DELETE FROM valija.message_digests WHERE tenant_id = $1 AND last_id = ANY (ARRAY(
     SELECT last_id FROM valija.message_digests WHERE tenant_id = $1 AND last_id < ${before} ORDER BY last_id LIMIT ${stepRows}))`,
]

async function deleteOldRows(
  client: pg.PoolClient,
  table: 'inbox' | 'suppression_removals',
  tenantId: Uuid,
  days: number,
): Promise<number> {
  const isGone = table === 'inbox' ? '' : 'AND removed_at < now() - make_interval(days => $2)'
  const { rowCount } = await client.query(
    `DELETE FROM valija.${table} WHERE id = ANY (ARRAY(
       SELECT id FROM valija.${table} WHERE tenant_id = $1 AND id < ${before} ${isGone} ORDER BY id LIMIT ${stepRows}))`,
    [tenantId, days],
  )
  return rowCount ?? 0
}

/** Two workers would wait for each other's rows. */
function inTurn(
  database: Database,
  tenantId: Uuid,
  work: (client: pg.PoolClient) => Promise<number>,
): Promise<number>
function inTurn<T>(
  database: Database,
  tenantId: Uuid,
  work: (client: pg.PoolClient) => Promise<T>,
  otherwise: T,
): Promise<T>
function inTurn<T>(
  database: Database,
  tenantId: Uuid,
  work: (client: pg.PoolClient) => Promise<T | number>,
  otherwise: T | number = 0,
): Promise<T | number> {
  return asEngine(database, async (client) => {
    const { rows } = await client.query<{ isOurs: boolean }>(
      `SELECT pg_try_advisory_xact_lock(hashtextextended('valija.tenant_retention ' || $1::uuid, 0)) AS "isOurs"`,
      [tenantId],
    )
    return rows[0]?.isOurs ? work(client) : otherwise
  })
}
