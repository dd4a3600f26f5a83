/**
 * What is still done to an accepted message: stopped, or moved to another time.
 *
 * Rows are taken in settle's order (the deliveries by rising recipient id, then the recipients, then the message), and nothing is decided before
 * they are: whoever leases skips them meanwhile, and whoever settles waits. A row that is leased is left alone, whatever its worker is
 * doing: only that worker knows whether the mail has gone out, and gives it back if it has not (packages/flows/src/recall-mail.ts).
 */
import {
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
import { eventExpressions, eventParameters, type NewEvent } from './new-events.ts'

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
  hasWebhooks: boolean
}

/** Recipients are made in the same moment as their message. */
const recipientsWithinMs = 3_600_000

/** Makes the event of a recipient's change. */
export type TellChange = (message: HeldMessage, recipient: HeldRecipient, seq: number) => NewEvent

/**
 * Stops every recipient that nobody is sending to.
 *
 * @returns null for a message that is unknown or another tenant's
 */
export async function cancelMessage(
  database: Database,
  { tenantId, messageId }: { tenantId: Uuid; messageId: Uuid },
  tell: TellChange,
): Promise<ChangeOutcome | null> {
  return asEngine(database, async (client) => {
    const message = await holdMessage(client, tenantId, messageId)
    if (message === null) return null
    const changed = message.recipients.filter((recipient) => canChange(recipient, 'cancel'))
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
    return outcomeOf(message, changed, stateAfter('cancel'), rows[0]?.isTold ?? false)
  })
}

/** Nobody is sending to it, and its state allows the step. */
function canChange({ state, status }: HeldRecipient, event: 'cancel' | 'reschedule'): boolean {
  return state !== null && state !== 'leased' && statesBefore(event).includes(status)
}

function outcomeOf(
  { recipients }: HeldMessage,
  changed: HeldRecipient[],
  status: RecipientState,
  hasWebhooks: boolean,
): ChangeOutcome {
  return {
    changed,
    hasWebhooks,
    recipients: recipients.map((recipient) => {
      const isLeased = recipient.state === 'leased'
      const present = changed.includes(recipient) ? status : shownState(recipient.status, isLeased)
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
             coalesce(d.crashes > 0 OR d.dot_epoch IS NOT NULL, false) AS "isUncertain"
           FROM valija.recipients AS r LEFT JOIN valija.deliveries AS d ON d.recipient_id = r.id
           WHERE r.message_id = $1 AND r.tenant_id = $2 AND r.id > $1 AND r.id < $3
           ORDER BY r.ordinal`,
    values: [messageId, tenantId, last],
  })
  return { ...message, recipients }
}
