/**
 * What is still done to an accepted message: stopped, or moved to another time.
 *
 * Rows are taken in settle's order (the deliveries by rising recipient id, then the recipients, then the message), and nothing is decided before
 * they are: whoever leases skips them meanwhile, and whoever settles waits. A row that is leased is left alone, whatever its worker is
 * doing: only that worker knows whether the mail has gone out, and gives it back if it has not (packages/flows/src/recall-mail.ts).
 */
import {
  apply,
  type DeliveryState,
  lowestUuidAt,
  type RecipientState,
  type Simulation,
  type Stream,
  shownState,
  stateAfter,
  statesBefore,
  type Uuid,
  uuidTimeMs,
} from '@valija/core'
import type pg from 'pg'
import { asEngine, type Database } from './database.ts'
import { dueNowSql } from './due-now.ts'
import { idempotencyKeptMs } from './idempotency-keys.ts'
import { isUncertainSql } from './lease-deliveries.ts'
import { eventExpressions, eventParameters, type NewEvent } from './new-events.ts'
import { restoredMarkSql } from './restored-mark.ts'
import { dropSensitiveBodies } from './sensitive-bodies.ts'
import { answerWithin, longQueryTimeoutMs } from './watch-connection.ts'

/** A message whose rows are ours until the transaction ends. */
export interface HeldMessage {
  id: Uuid
  tenantId: Uuid
  fromDomain: string
  stream: Stream
  tags: string[]
  metadata: Record<string, string>
  createdAt: Date
  sendAt: Date | null
  expiresAt: Date
  /** In the order in which they were given. */
  recipients: HeldRecipient[]
}

export interface HeldRecipient {
  id: Uuid
  email: string
  status: RecipientState
  /** The number of its last event. */
  seq: number
  attempts: number
  simulation: Simulation | null
  /** What the queue knows of it; null: nothing is left to be done. */
  state: DeliveryState | null
  /** The last worker that had it ended before it told what came of it: the mail may have gone out. */
  isUncertain: boolean
}

/** What became of a request to change a message. */
export interface ChangeOutcome {
  /** Recipients that were changed now. */
  changed: HeldRecipient[]
  /** All of them, in order, as they are now. */
  recipients: { email: string; status: RecipientState; isLeased: boolean }[]
  /** When its time began to count before. */
  startBefore: Date
  hasWebhooks: boolean
}

/** Recipients are made in the same moment as their message. */
const recipientsWithinMs = 3_600_000

/** Makes the event of a recipient's change. */
export type TellChange = (message: HeldMessage, recipient: HeldRecipient, seq: number) => NewEvent

/**
 * Stops every recipient that nobody is sending to.
 *
 * @param isMeant only these; absent: all
 * @returns null for a message that is unknown or another tenant's
 */
export async function cancelMessage(
  database: Database,
  { tenantId, messageId }: { tenantId: Uuid; messageId: Uuid },
  tell: TellChange,
  isMeant: (recipientId: Uuid) => boolean = () => true,
): Promise<ChangeOutcome | null> {
  return asEngine(database, async (client) => {
    const message = await holdMessage(client, tenantId, messageId)
    if (message === null) return null
    const changed = message.recipients.filter(
      (recipient) => isMeant(recipient.id) && canChange(recipient, 'cancel'),
    )
    const ids = changed.map(({ id }) => id).sort()
    const events = changed.map((recipient) => tell(message, recipient, recipient.seq + 1))
    const { rows } = await client.query<{ isTold: boolean }>({
      name: 'cancel-recipients',
      text: `
WITH ended AS (
  DELETE FROM valija.deliveries WHERE recipient_id = ANY ($1::uuid[])
), recipient AS (
  UPDATE valija.recipients SET status = '${stateAfter('cancel')}', reason = NULL, next_attempt_at = NULL, seq = seq + 1
  WHERE id = ANY ($1::uuid[]) AND id BETWEEN $2::uuid AND $3::uuid
), ${eventExpressions(4)}
SELECT EXISTS (SELECT FROM outbox) AS "isTold"`,
      values: [ids, ids[0], ids.at(-1), ...eventParameters(events)],
    })
    if (changed.length > 0) await dropSensitiveBodies(client, [messageId])
    return outcomeOf(message, changed, () => stateAfter('cancel'), rows[0]?.isTold ?? false)
  })
}

/** When a message is to be sent instead. */
export interface Move {
  /** Its send_at; now or in the past: at once. */
  startMs: number
  isAtOnce: boolean
  /** It was moved by this very request: it is left alone. */
  isChanged: (recipientId: Uuid) => boolean
  /** When its time began to count before this request changed anything: by that it is dated. Absent: as now. */
  startBefore?: Date | undefined
  /**
   * Dates the stored mail anew: it has never been on its way, and must not arrive as one of another day.
   *
   * @param from the dates that it may have if they are ours
   * @returns null when it has a date of its sender's own
   */
  redate: (content: Buffer, from: readonly Date[], to: Date) => Buffer | null
}

/**
 * Moves every recipient that nobody is sending to; what is held after a restore stays held. What is counted from the start moves along: the expiry, and for how long
 * the idempotency key is kept.
 *
 * @returns null for a message that is unknown or another tenant's
 */
export async function moveMessage(
  database: Database,
  { tenantId, messageId }: { tenantId: Uuid; messageId: Uuid },
  move: Move,
  tell: TellChange,
): Promise<ChangeOutcome | null> {
  return asEngine(database, async (client) => {
    const message = await holdMessage(client, tenantId, messageId)
    if (message === null) return null
    const changed = message.recipients.filter(
      (recipient) => canChange(recipient, 'reschedule') && !move.isChanged(recipient.id),
    )
    if (changed.length === 0) return outcomeOf(message, [], movedState(move), false)
    const isTold = await writeMove(client, message, changed, move, tell)
    await moveKey(client, message, move.startMs)
    const isUntouched = message.recipients.every(
      ({ attempts, state, isUncertain }) => attempts === 0 && state !== 'leased' && !isUncertain,
    )
    if (isUntouched) await redateBody(client, message, move)
    return outcomeOf(message, changed, movedState(move), isTold)
  })
}

/** What a moved recipient is: one that was tried before and goes at once stays deferred. */
function movedState({ isAtOnce }: Move): (recipient: HeldRecipient) => RecipientState {
  if (!isAtOnce) return () => stateAfter('reschedule')
  return ({ status }) => apply(status, 'due') ?? status
}

/** When the time of a message that is held begins to count. */
function startOf({ createdAt, sendAt }: HeldMessage): Date {
  return sendAt ?? createdAt
}

async function writeMove(
  client: pg.PoolClient,
  message: HeldMessage,
  changed: HeldRecipient[],
  { startMs, isAtOnce }: Move,
  tell: TellChange,
): Promise<boolean> {
  const ids = changed.map(({ id }) => id).sort()
  const events = changed.map((recipient) => tell(message, recipient, recipient.seq + 1))
  const { rows } = await client.query<{ isTold: boolean }>({
    name: 'move-recipients',
    text: `
WITH message AS (
  UPDATE valija.messages SET send_at = $5::timestamptz, expires_at = $6::timestamptz WHERE id = $4::uuid
), delivery AS (
  UPDATE valija.deliveries AS d SET state = 'waiting', admitted_at = NULL, hold = ${restoredMarkSql('d')}, starts_at = $5::timestamptz, expires_at = $6::timestamptz,
    late_at = late_at + ($6::timestamptz - expires_at),
    due_at = CASE WHEN $7::boolean THEN least(due_at, ${dueNowSql}) ELSE $5::timestamptz END
  WHERE recipient_id = ANY ($1::uuid[])
), recipient AS (
  UPDATE valija.recipients
  SET status = CASE WHEN NOT $7::boolean THEN '${stateAfter('reschedule')}'
      WHEN status = ANY (ARRAY[${wordList(statesBefore('due'))}]) THEN '${stateAfter('due')}' ELSE status END,
    next_attempt_at = CASE WHEN NOT $7::boolean OR attempts > 0 THEN $5::timestamptz END, seq = seq + 1
  WHERE id = ANY ($1::uuid[]) AND id BETWEEN $2::uuid AND $3::uuid
), ${eventExpressions(8)}
SELECT EXISTS (SELECT FROM outbox) AS "isTold"`,
    values: [
      ids,
      ids[0],
      ids.at(-1),
      message.id,
      new Date(startMs),
      new Date(startMs + message.expiresAt.getTime() - startOf(message).getTime()),
      isAtOnce,
      ...eventParameters(events),
    ],
  })
  return rows[0]?.isTold ?? false
}

const wordList = (words: readonly string[]) => words.map((word) => `'${word}'`).join(', ')

/** The answer that was given for the message's key is kept from its start on; found by the time at which it was to go. */
async function moveKey(client: pg.PoolClient, message: HeldMessage, startMs: number): Promise<void> {
  await client.query({
    name: 'move-key',
    text: `UPDATE valija.idempotency_keys SET expires_at = $3
           WHERE expires_at = $4 AND tenant_id = $1 AND message_id = $2`,
    values: [
      message.tenantId,
      message.id,
      new Date(startMs + idempotencyKeptMs),
      new Date(startOf(message).getTime() + idempotencyKeptMs),
    ],
  })
}

async function redateBody(
  client: pg.PoolClient,
  message: HeldMessage,
  { redate, startMs, startBefore = startOf(message) }: Move,
): Promise<void> {
  const { rows } = await client.query<{ content: Buffer }>({
    name: 'read-moved-body',
    text: 'SELECT content FROM valija.bodies WHERE message_id = $1',
    values: [message.id],
    ...answerWithin(longQueryTimeoutMs),
  })
  // An earlier move may have left its date as it was: a worker had one of its recipients all the while.
  const content = rows[0] && redate(rows[0].content, [startBefore, message.createdAt], new Date(startMs))
  if (!content) return
  await client.query({
    name: 'redate-body',
    text: 'UPDATE valija.bodies SET content = $2 WHERE message_id = $1',
    values: [message.id, content],
    ...answerWithin(longQueryTimeoutMs),
  })
}

/** Nobody is sending to it, and its state allows the step. */
function canChange({ state, status }: HeldRecipient, event: 'cancel' | 'reschedule'): boolean {
  return state !== null && state !== 'leased' && statesBefore(event).includes(status)
}

function outcomeOf(
  message: HeldMessage,
  changed: HeldRecipient[],
  stateOf: (recipient: HeldRecipient) => RecipientState,
  hasWebhooks: boolean,
): ChangeOutcome {
  return {
    changed,
    hasWebhooks,
    startBefore: startOf(message),
    recipients: message.recipients.map((recipient) => {
      const isLeased = recipient.state === 'leased'
      const present = changed.includes(recipient)
        ? stateOf(recipient)
        : shownState(recipient.status, isLeased)
      return { email: recipient.email, status: present, isLeased }
    }),
  }
}

async function holdMessage(
  client: pg.PoolClient,
  tenantId: Uuid,
  messageId: Uuid,
): Promise<HeldMessage | null> {
  await client.query({
    name: 'hold-deliveries',
    text: `SELECT FROM valija.deliveries WHERE message_id = $1 AND tenant_id = $2 ORDER BY recipient_id FOR UPDATE`,
    values: [messageId, tenantId],
  })
  const last = lowestUuidAt(uuidTimeMs(messageId) + recipientsWithinMs)
  await client.query({
    name: 'hold-recipients',
    text: `SELECT FROM valija.recipients WHERE message_id = $1 AND tenant_id = $2 AND id > $1 AND id < $3 ORDER BY id FOR UPDATE`,
    values: [messageId, tenantId, last],
  })
  const found = await client.query<Omit<HeldMessage, 'recipients'>>({
    name: 'hold-message',
    text: `SELECT id, tenant_id AS "tenantId", from_domain AS "fromDomain", stream, tags, metadata, created_at AS "createdAt",
             send_at AS "sendAt", expires_at AS "expiresAt"
           FROM valija.messages WHERE id = $1 AND tenant_id = $2 FOR UPDATE`,
    values: [messageId, tenantId],
  })
  const message = found.rows[0]
  if (message === undefined) return null
  // Asked only now: a statement sees what was committed before it began, and the locks were waited for.
  const { rows: recipients } = await client.query<HeldRecipient>({
    name: 'read-held-recipients',
    text: `SELECT r.id, r.email, r.status, r.seq, r.attempts, d.simulation, d.state,
             coalesce(${isUncertainSql('d')}, false) AS "isUncertain"
           FROM valija.recipients AS r LEFT JOIN valija.deliveries AS d ON d.recipient_id = r.id
           WHERE r.message_id = $1 AND r.tenant_id = $2 AND r.id > $1 AND r.id < $3
           ORDER BY r.ordinal`,
    values: [messageId, tenantId, last],
  })
  return { ...message, recipients }
}
