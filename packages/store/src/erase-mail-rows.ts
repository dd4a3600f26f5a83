/** What was written of mails to a person who is erased: attempts, events and what endpoints answered to them, the inbox, answers of idempotency keys. */
import { randomBytes } from 'node:crypto'
import type { AddressEraser, Uuid } from '@valija/core'
import { erasedDomain, formatId, lowestUuidAt, spellingsOfDomain, uuidTimeMs } from '@valija/core'
import type pg from 'pg'
import { idempotencyKeptMs } from './idempotency-keys.ts'
import { earliestIdOf } from './message-ids.ts'
import { recipientsWithinMs } from './read-messages.ts'

/** Mails of one step, by rising id. */
export interface ErasedMails {
  tenantId: Uuid
  messageIds: readonly Uuid[]
  recipientIds: readonly Uuid[]
  /** Those of which nobody is left who was not erased. */
  emptied: readonly Uuid[]
  eraser: AddressEraser
}

/** Of rows about others only those are of interest in which one of these stands, which it does in the address however that is written. */
const domainsOf = ({ eraser }: ErasedMails) => spellingsOfDomain(eraser.emailKey)
const naming = (text: string, domains: string) =>
  `EXISTS (SELECT FROM unnest(${domains}::text[]) AS spelling (domain) WHERE strpos(lower(${text}), spelling.domain) > 0)`

/** What is written of a message has no id below this. */
const earliest = ({ messageIds }: ErasedMails) => earliestIdOf(messageIds[0] ?? lowestUuidAt(0))

/** What the receiving server said goes with the conversation: it names the mailbox in words of its own. */
export async function eraseAttempts(client: pg.PoolClient, mails: ErasedMails): Promise<number> {
  const { rows } = await client.query<{ id: Uuid; recipientId: Uuid; report: object }>(
    `SELECT id, recipient_id AS "recipientId", report FROM valija.attempts
     WHERE message_id = ANY ($1::uuid[]) AND id > $2
       AND (recipient_id = ANY ($3::uuid[]) OR ${naming('report::text', '$4')})`,
    [mails.messageIds, earliest(mails), mails.recipientIds, domainsOf(mails)],
  )
  const reports = rows.flatMap(({ id, recipientId, report }) => {
    const isTheirs = mails.recipientIds.includes(recipientId)
    const erased = mails.eraser.json(isTheirs ? { ...report, reply: null, transcript: [] } : report)
    const text = JSON.stringify(erased)
    return text === JSON.stringify(report) ? [] : [{ id, text }]
  })
  await writeJson(client, { table: 'attempts', column: 'report' }, reports)
  return reports.length
}

/**
 * Attempts that a worker wrote down although it had lost its lease: when the person was erased meanwhile, what servers said goes at once. The
 * recipients are locked first: an erasure that has them has ended by then, or reads these attempts when it has them.
 */
export async function eraseLateAttempts(
  client: pg.PoolClient,
  recipientIds: readonly Uuid[],
  attemptIds: readonly Uuid[],
): Promise<void> {
  if (recipientIds.length === 0) return
  const sorted = [...recipientIds].sort()
  const { rows } = await client.query<{ id: Uuid; isErased: boolean }>(
    `SELECT id, domain = '${erasedDomain}' AS "isErased" FROM valija.recipients
     WHERE id = ANY ($1::uuid[]) AND id BETWEEN $2::uuid AND $3::uuid ORDER BY id FOR SHARE`,
    [sorted, sorted[0], sorted.at(-1)],
  )
  const erased = rows.filter(({ isErased }) => isErased).map(({ id }) => id)
  if (erased.length === 0) return
  await client.query(
    `UPDATE valija.attempts SET report = report || '{"reply": null, "transcript": []}'
     WHERE id = ANY ($1::uuid[]) AND recipient_id = ANY ($2::uuid[])`,
    [attemptIds, erased],
  )
}

/**
 * What servers said of others to whom the same mail went may name the person as well. Messages are named by an array besides the bounds, which are
 * there for the partitions (settle-attempts.ts).
 */
export async function eraseReplies(
  client: pg.PoolClient,
  mails: Pick<ErasedMails, 'messageIds' | 'eraser'>,
): Promise<void> {
  const [first, last] = [mails.messageIds[0], mails.messageIds.at(-1)]
  if (first === undefined || last === undefined) return
  const bounds = [mails.messageIds, first, lowestUuidAt(uuidTimeMs(last) + recipientsWithinMs)]
  const { rows } = await client.query<{ id: Uuid; reply: string }>(
    `SELECT id, reply FROM valija.recipients
     WHERE message_id = ANY ($1::uuid[]) AND id BETWEEN $2::uuid AND $3::uuid AND reply IS NOT NULL`,
    bounds,
  )
  for (const { id, reply } of rows) {
    const text = mails.eraser.text(reply)
    if (text !== reply)
      await client.query('UPDATE valija.recipients SET reply = $2 WHERE id = $1', [id, text])
  }
}

/**
 * Events of these recipients, and of all of a mail that has none left; and what endpoints answered when they were told of them.
 *
 * @returns how many were changed, and the tags among what was in them that name the person
 */
export async function eraseEvents(
  client: pg.PoolClient,
  mails: ErasedMails,
): Promise<{ count: number; namedTags: string[] }> {
  const recipients = new Set(mails.recipientIds.map((id) => formatId('recipient', id)))
  const { rows } = await client.query<{ id: Uuid; messageId: Uuid; data: EventData }>(
    `SELECT id, message_id AS "messageId", data FROM valija.events WHERE message_id = ANY ($1::uuid[]) AND id > $2
       AND (data ->> 'recipient_id' = ANY ($3::text[]) OR message_id = ANY ($4::uuid[]) OR ${naming('data::text', '$5')})`,
    [mails.messageIds, earliest(mails), [...recipients], mails.emptied, domainsOf(mails)],
  )
  const events = rows.flatMap(({ id, messageId, data }) => {
    const isTheirs = recipients.has(String(data.recipient_id))
    const isEmptied = mails.emptied.includes(messageId)
    // The list, which stays, has the address.
    const { reply: _, suppression_id: __, ...rest } = data
    const kept: EventData = isTheirs ? { ...rest, email: mails.eraser.placeholder } : data
    const erased = mails.eraser.json(isEmptied && 'metadata' in kept ? { ...kept, metadata: {} } : kept)
    const text = JSON.stringify(erased)
    return text === JSON.stringify(data) ? [] : [{ id, text }]
  })
  await writeJson(client, { table: 'events', column: 'data' }, events)
  await eraseAnswers(
    client,
    mails.tenantId,
    events.map(({ id }) => id),
  )
  return { count: events.length, namedTags: rows.flatMap(({ data }) => namedTags(data.tags, mails.eraser)) }
}

/** Those of a mail's tags that name the person. */
export function namedTags(tags: unknown, eraser: AddressEraser): string[] {
  return Array.isArray(tags) ? tags.filter((tag) => eraser.text(tag) !== tag) : []
}

type EventData = Record<string, unknown>

/** The tries of one batch are made at once; so far apart their ids may be. */
const batchWithinMs = 1_000

/** Endpoints may answer with what they were told, to a batch with what any event of it says. */
export async function eraseAnswers(
  client: pg.PoolClient,
  tenantId: Uuid,
  eventIds: readonly Uuid[],
): Promise<void> {
  const sorted = [...eventIds].sort()
  const [first] = sorted
  if (first === undefined) return
  const { rows } = await client.query<{ id: Uuid; webhookId: Uuid; batchId: Uuid | null }>(
    `UPDATE valija.webhook_tries SET response_start = NULL
     WHERE webhook_id = ANY (ARRAY(SELECT id FROM valija.webhooks WHERE tenant_id = $1)) AND event_id = ANY ($2::uuid[]) AND id > $3
       AND response_start IS NOT NULL
     RETURNING id, webhook_id AS "webhookId", batch_id AS "batchId"`,
    [tenantId, sorted, earliestIdOf(first)],
  )
  const batches = new Map(rows.flatMap((row) => (row.batchId === null ? [] : [[row.batchId, row]])))
  for (const { id, webhookId, batchId } of batches.values()) {
    const [fromMs, untilMs] = [uuidTimeMs(id) - batchWithinMs, uuidTimeMs(id) + batchWithinMs]
    await client.query(
      `UPDATE valija.webhook_tries SET response_start = NULL
       WHERE webhook_id = $1 AND batch_id = $2 AND id BETWEEN $3 AND $4 AND response_start IS NOT NULL`,
      [webhookId, batchId, lowestUuidAt(fromMs), lowestUuidAt(untilMs)],
    )
  }
}

/**
 * What endpoints answered to requests that were under way while their tenant had somebody erased, for tries that are on record without it: it is
 * kept where the event, or each event of the batch, names nobody who is erased. The events are locked first: an erasure that has them has ended by then, or takes the answers away when
 * it has them.
 */
export async function keepAnswers(
  pool: pg.Pool,
  tries: readonly { id: Uuid; eventId: Uuid; batchId: Uuid | null; responseStart: string | null }[],
): Promise<void> {
  const answered = tries.filter(({ responseStart }) => responseStart !== null)
  const sorted = answered.map(({ id }) => id).sort()
  if (sorted.length === 0) return
  await pool.query(
    `WITH kept AS MATERIALIZED (
       SELECT id FROM valija.events WHERE id = ANY ($2::uuid[]) AND strpos(data::text, '@${erasedDomain}') = 0 ORDER BY id FOR SHARE
     ), answer AS (
       SELECT input.id, input.response_start, bool_and(kept.id IS NOT NULL) OVER (PARTITION BY coalesce(input.batch_id, input.id)) AS is_kept
       FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[]) AS input (id, event_id, batch_id, response_start)
       LEFT JOIN kept ON kept.id = input.event_id
     )
     UPDATE valija.webhook_tries AS made SET response_start = answer.response_start FROM answer
     WHERE answer.is_kept AND made.id = answer.id AND made.id = ANY ($1::uuid[]) AND made.id BETWEEN $5::uuid AND $6::uuid`,
    [
      answered.map(({ id }) => id),
      answered.map(({ eventId }) => eventId),
      answered.map(({ batchId }) => batchId),
      answered.map(({ responseStart }) => responseStart),
      sorted[0],
      sorted.at(-1),
    ],
  )
}

async function writeJson(
  client: pg.PoolClient,
  { table, column }: { table: 'attempts' | 'events'; column: string },
  rows: { id: Uuid; text: string }[],
): Promise<void> {
  const sorted = rows.map(({ id }) => id).sort()
  if (sorted.length === 0) return
  await client.query(
    `UPDATE valija.${table} AS row SET ${column} = input.text::jsonb FROM unnest($1::uuid[], $2::text[]) AS input (id, text)
     WHERE row.id = input.id AND row.id = ANY ($1::uuid[]) AND row.id BETWEEN $3::uuid AND $4::uuid`,
    [rows.map(({ id }) => id), rows.map(({ text }) => text), sorted[0], sorted.at(-1)],
  )
}

/** What the capture route caught: mails to the person go. */
export async function eraseFromInbox(client: pg.PoolClient, mails: ErasedMails): Promise<void> {
  await client.query(
    'DELETE FROM valija.inbox WHERE message_id = ANY ($1::uuid[]) AND tenant_id = $2 AND (rcpt_keys = ARRAY[$3] OR message_id = ANY ($4::uuid[]))',
    [mails.messageIds, mails.tenantId, mails.eraser.emailKey, mails.emptied],
  )
}

/** Copies of a mail that others got: they name the person in parts that are encoded, and were caught to be looked at for a while. */
export async function eraseCopies(
  client: pg.PoolClient,
  { tenantId, messageId }: { tenantId: Uuid; messageId: Uuid },
): Promise<void> {
  await client.query('DELETE FROM valija.inbox WHERE message_id = $1 AND tenant_id = $2', [
    messageId,
    tenantId,
  ])
}

/** What an idempotency key that names somebody is kept by (`hiddenKey`). */
export type HideKey = (tenantId: Uuid, key: string) => string

/**
 * The stored 202 of each key names the recipients. What was asked for can be tried out by its hash, which gives way to a random one: a repetition is then
 * told that the key is used, and nothing is sent again. A key that names the person itself goes; that of a mail that went to others, who would get
 * it once more, is hidden until its time is over. Found by the time until which they are kept.
 */
export async function eraseKeys(client: pg.PoolClient, mails: ErasedMails, hide: HideKey): Promise<void> {
  const { rows } = await client.query<{ key: string; messageId: Uuid; response: string }>(
    `SELECT k.key, m.id AS "messageId", k.response
     FROM (SELECT id, coalesce(send_at, created_at) + $4 * interval '1 millisecond' AS until FROM valija.messages
       WHERE id = ANY ($1::uuid[]) AND id BETWEEN $2::uuid AND $3::uuid) AS m
     CROSS JOIN LATERAL (SELECT key, response FROM valija.idempotency_keys
       WHERE expires_at = m.until AND tenant_id = $5 AND message_id = m.id) AS k`,
    [mails.messageIds, mails.messageIds[0], mails.messageIds.at(-1), idempotencyKeptMs, mails.tenantId],
  )
  for (const { key, messageId, response } of rows) {
    // Also as a part of a longer word: `welcome-ann@example.org`.
    const isNaming = key.toLowerCase().includes(mails.eraser.emailKey) || mails.eraser.text(key) !== key
    const name = isNaming ? hide(mails.tenantId, key) : key
    if (isNaming) {
      // Under the hidden name there is one already where a version before this one took the key for a new one.
      const gone = mails.emptied.includes(messageId) ? [key, name] : [name]
      await client.query(
        'DELETE FROM valija.idempotency_keys WHERE tenant_id = $1 AND key = ANY ($2::text[])',
        [mails.tenantId, gone],
      )
      if (gone.includes(key)) continue
    }
    await client.query(
      'UPDATE valija.idempotency_keys SET key = $3, response = $4, body_hash = $5 WHERE tenant_id = $1 AND key = $2',
      [mails.tenantId, key, name, mails.eraser.text(response), randomBytes(32)],
    )
  }
}
