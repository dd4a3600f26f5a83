/**
 * One step of an erasure: some of the person's mails, or one mail to several, or the rest. Each step is one transaction, and the row of the
 * erasure is locked in it: two workers do not do the same, and a crash repeats one step, which finds nothing of what it did.
 *
 * A recipient that is not at its end is left for later. With the recipient go its attempts and events, and, when nobody else had it, the mail's
 * content. Rows are taken in settle's order: the recipients, then the messages (change-message.ts).
 */
import { createAddressEraser, erasedDomain, lowestUuidAt, type Uuid, uuidTimeMs } from '@valija/core'
import type pg from 'pg'
import { asEngine, type Database } from './database.ts'
import { dueNowSql } from './due-now.ts'
import {
  type ErasedMails,
  eraseAttempts,
  eraseEvents,
  eraseFromInbox,
  eraseKeys,
  eraseReplies,
  type HideKey,
  namedTags,
} from './erase-mail-rows.ts'
import { eraseOpenMessage, readyMessages } from './erase-open-message.ts'
import { eraseTraces, renameCountedTags } from './erase-traces.ts'
import { noteErased, type PendingErasure, pendingColumns } from './erasures.ts'
import { digestAnew } from './message-digests.ts'
import { recipientsWithinMs } from './read-messages.ts'

/** Recipients of one step. With their attempts, events and tries of webhooks some hundred rows. */
const stepRecipients = 25
/** Fewer of mails that went to many: in all not more recipients than this, or one mail. */
const stepOthers = 500
/** Mails that are being sent now are looked at again after this, and mails that others are still to get. */
const soonMs = 2_000
const laterMs = 60_000

/** `more`: there is more to do at once. `waiting`: what is left is being sent to somebody. `done`, or `gone`: nothing is left for us. */
export type ErasureProgress = 'more' | 'waiting' | 'done' | 'gone'

/** Makes one step. @param hide for idempotency keys that name the person */
export async function stepErasure(database: Database, id: Uuid, hide: HideKey): Promise<ErasureProgress> {
  return asEngine(database, async (client) => {
    const { rows } = await client.query<PendingErasure>(
      `SELECT ${pendingColumns} FROM valija.erasures WHERE id = $1 AND status = 'pending' FOR UPDATE SKIP LOCKED`,
      [id],
    )
    const erasure = rows[0]
    if (erasure === undefined) return 'gone'
    const found = await nextRecipients(client, erasure)
    const last = found.at(-1)
    if (last === undefined) return endPass(client, erasure)
    await eraseSome(
      client,
      erasure,
      found.filter(({ isLive }) => !isLive),
      hide,
    )
    // Behind all others that are due: of many that take long each has its turn.
    await client.query(
      `UPDATE valija.erasures SET done_id = $2, failures = 0, next_at = ${dueNowSql} WHERE id = $1`,
      [id, last.id],
    )
    return 'more'
  })
}

interface Found {
  id: Uuid
  messageId: Uuid
  isLive: boolean
}

async function nextRecipients(
  client: pg.PoolClient,
  { tenantId, emailKey, boundId, doneId }: PendingErasure,
): Promise<Found[]> {
  const { rows } = await client.query<Found & { others: number }>(
    `SELECT r.id, r.message_id AS "messageId", EXISTS (SELECT FROM valija.deliveries AS d WHERE d.recipient_id = r.id) AS "isLive",
       coalesce((SELECT m.recipient_count FROM valija.messages AS m WHERE m.id = r.message_id), 0) AS others
     FROM valija.recipients AS r
     WHERE r.tenant_id = $1 AND r.email_key = $2 AND r.id > $3 AND r.id <= $4 ORDER BY r.id LIMIT ${stepRecipients}`,
    [tenantId, emailKey, doneId, boundId],
  )
  let total = 0
  return rows.filter(({ others }, index) => {
    total += others
    return index === 0 || total <= stepOthers
  })
}

/**
 * All were looked at. What was live meanwhile, or was committed late, is met by the next pass, from the beginning; mails to several are looked at
 * until everybody has their end.
 */
async function endPass(client: pg.PoolClient, erasure: PendingErasure): Promise<ErasureProgress> {
  const { id, doneId, openMessageIds } = erasure
  const start = await nextRecipients(client, { ...erasure, doneId: firstId })
  if (start.some(({ isLive }) => !isLive)) {
    if (doneId === firstId) return 'more'
    await client.query('UPDATE valija.erasures SET done_id = DEFAULT WHERE id = $1', [id])
    return 'more'
  }
  const ready = await readyMessages(client, erasure)
  // One in each transaction: its deliveries are ours until that ends.
  for (const message of ready) if (await eraseOpenMessage(client, erasure, message)) return 'more'
  if (ready.length > 0) return wait(client, id, soonMs)
  if (!(await eraseTraces(client, erasure))) return 'more'
  if (start.length > 0) return wait(client, id, soonMs)
  if (openMessageIds.length > 0) return wait(client, id, laterMs)
  await renameCountedTags(client, erasure)
  await client.query(
    `UPDATE valija.erasures SET status = 'done', email_key = NULL, named_tags = DEFAULT, named_since = NULL, being_sent = 0,
       completed_at = greatest(now(), requested_at) WHERE id = $1`,
    [id],
  )
  return 'done'
}

const firstId = '00000000-0000-0000-0000-000000000000'

async function wait(client: pg.PoolClient, id: Uuid, pauseMs: number): Promise<'waiting'> {
  await client.query(
    `UPDATE valija.erasures SET done_id = DEFAULT, failures = 0, next_at = now() + $2 * interval '1 millisecond' WHERE id = $1`,
    [id, pauseMs],
  )
  return 'waiting'
}

/** Erases recipients that are at their end, with what was written of them. */
async function eraseSome(
  client: pg.PoolClient,
  erasure: PendingErasure,
  some: Found[],
  hide: HideKey,
): Promise<void> {
  if (some.length === 0) return
  const recipientIds = some.map(({ id }) => id)
  const messageIds = [...new Set(some.map(({ messageId }) => messageId))].sort()
  const eraser = createAddressEraser(erasure.emailKey, erasure.placeholder)
  await client.query(
    `UPDATE valija.recipients SET email = $2, email_key = $2, domain = '${erasedDomain}', reply = NULL
     WHERE id = ANY ($1::uuid[]) AND id BETWEEN $3::uuid AND $4::uuid`,
    [recipientIds, erasure.placeholder, recipientIds[0], recipientIds.at(-1)],
  )
  await eraseReplies(client, { messageIds, eraser })
  const emptied = await lockMessages(client, messageIds)
  const kept = messageIds.filter((id) => !emptied.includes(id))
  const mails = { tenantId: erasure.tenantId, messageIds, recipientIds, emptied, eraser }
  const bodies = await emptyMessages(client, emptied)
  const tags = await eraseWords(client, mails)
  const attempts = await eraseAttempts(client, mails)
  const events = await eraseEvents(client, mails)
  await eraseFromInbox(client, mails)
  await eraseKeys(client, mails, hide)
  await digestAnew(client, erasure.tenantId, messageIds)
  await client.query(
    'UPDATE valija.erasures SET open_message_ids = open_message_ids || $2::uuid[] WHERE id = $1',
    [erasure.id, kept],
  )
  await noteErased(client, erasure.id, {
    ...{ recipients: some.length, bodies, attempts, events: events.count },
    namedTags: [...tags, ...events.namedTags],
    sinceId: messageIds[0] ?? firstId,
  })
}

/** @returns those of them that nobody is left of who was not erased */
async function lockMessages(client: pg.PoolClient, messageIds: readonly Uuid[]): Promise<Uuid[]> {
  const [first, last] = [messageIds[0], messageIds.at(-1)]
  if (first === undefined || last === undefined) return []
  await client.query(
    'SELECT FROM valija.messages WHERE id = ANY ($1::uuid[]) AND id BETWEEN $2::uuid AND $3::uuid ORDER BY id FOR UPDATE',
    [messageIds, first, last],
  )
  // By a statement that begins with the lock in hand: another erasure may have taken the rest of them meanwhile. Named by an array besides the
  // bounds, which are there for the partitions: by them alone all between them would be read.
  const { rows } = await client.query<{ id: Uuid }>(
    `SELECT m.id FROM unnest($1::uuid[]) AS m (id) WHERE NOT EXISTS (
       SELECT FROM valija.recipients AS r
       WHERE r.message_id = m.id AND r.message_id = ANY ($1::uuid[]) AND r.id BETWEEN $2::uuid AND $3::uuid AND r.domain <> '${erasedDomain}')`,
    [messageIds, first, lowestUuidAt(uuidTimeMs(last) + recipientsWithinMs)],
  )
  return rows.map(({ id }) => id)
}

/** What was said to those who are erased. */
async function emptyMessages(client: pg.PoolClient, messageIds: readonly Uuid[]): Promise<number> {
  if (messageIds.length === 0) return 0
  const sorted = [...messageIds].sort()
  const bounds = [sorted, sorted[0], sorted.at(-1)]
  await client.query('DELETE FROM valija.sensitive_messages WHERE message_id = ANY ($1::uuid[])', [sorted])
  const { rowCount } = await client.query(
    'DELETE FROM valija.bodies WHERE message_id = ANY ($1::uuid[]) AND message_id BETWEEN $2::uuid AND $3::uuid',
    bounds,
  )
  return rowCount ?? 0
}

/**
 * Subject and metadata of mails to nobody else go, and the address out of those of the others.
 *
 * @returns the tags that named the person
 */
async function eraseWords(
  client: pg.PoolClient,
  { messageIds, emptied, eraser }: ErasedMails,
): Promise<string[]> {
  const bounds = [messageIds, messageIds[0], messageIds.at(-1)]
  const { rows } = await client.query<{ id: Uuid; subject: string; tags: string[]; metadata: object }>(
    'SELECT id, subject, tags, metadata FROM valija.messages WHERE id = ANY ($1::uuid[]) AND id BETWEEN $2::uuid AND $3::uuid',
    bounds,
  )
  const written = rows.map(({ id, subject, tags, metadata }) => ({
    id,
    subject: emptied.includes(id) ? '' : eraser.text(subject),
    tags: tags.map((tag) => eraser.text(tag)),
    metadata: emptied.includes(id) ? {} : eraser.json(metadata),
  }))
  await client.query(
    `UPDATE valija.messages AS m SET subject = input.subject, erased_at = CASE WHEN m.id = ANY ($8::uuid[]) THEN now() ELSE m.erased_at END, metadata = input.metadata::jsonb,
       tags = ARRAY(SELECT jsonb_array_elements_text(input.tags::jsonb))
     FROM unnest($4::uuid[], $5::text[], $6::text[], $7::text[]) AS input (id, subject, tags, metadata)
     WHERE m.id = input.id AND m.id = ANY ($1::uuid[]) AND m.id BETWEEN $2::uuid AND $3::uuid`,
    [
      ...bounds,
      written.map(({ id }) => id),
      written.map(({ subject }) => subject),
      written.map(({ tags }) => JSON.stringify(tags)),
      written.map(({ metadata }) => JSON.stringify(metadata)),
      emptied,
    ],
  )
  return rows.flatMap(({ tags }) => namedTags(tags, eraser))
}
