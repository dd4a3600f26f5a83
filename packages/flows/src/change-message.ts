/**
 * Stopping and moving an accepted message: what is not being sent this moment is changed, the rest is told per recipient.
 *
 * A worker may hold thousands of leases that wait for their site. It is asked to give back those of this message whose mail
 * has not gone out (recall-mail.ts), and is given a moment for it; what it keeps is being sent.
 */
import { setTimeout as delay } from 'node:timers/promises'
import {
  type FieldFault,
  type IdSource,
  isEnd,
  type MailLog,
  ProductError,
  type RecipientState,
  stateAfter,
  type Uuid,
} from '@valija/core'
import { redateRaw } from '@valija/mail'
import {
  type ChangeOutcome,
  cancelMessage,
  type Database,
  type DatabaseClock,
  decodeBody,
  encodeBody,
  type HeldMessage,
  type HeldRecipient,
  moveMessage,
  type NewEvent,
  type Wake,
} from '@valija/store'
import { eventData } from './event-data.ts'

export interface MessageDesk {
  /**
   * Stops every recipient that nobody is sending to. Done twice, it has been done once.
   *
   * @throws {ProductError} not_found; already_sending when none was stopped, now or before
   */
  cancel(tenantId: Uuid, messageId: Uuid): Promise<void>
  /**
   * Moves every recipient that nobody is sending to to another time.
   *
   * @param sendAt null: at once
   * @throws {ProductError} not_found; already_sending when none was moved
   */
  move(tenantId: Uuid, messageId: Uuid, sendAt: Date | null): Promise<void>
}

export interface MessageDeskParts {
  database: Database
  clock: Pick<DatabaseClock, 'nowMs'>
  nextId: IdSource
  wake: Pick<Wake, 'send'>
  mailLog: Pick<MailLog, 'ended'>
}

/** A worker that has nothing but this to do gives rows back within some ten milliseconds; one whose event loop is busy, within a second. */
const recallPausesMs = [20, 40, 80, 160, 300, 400, 500]

export function createMessageDesk(parts: MessageDeskParts): MessageDesk {
  return {
    cancel: async (tenantId, messageId) => {
      const target = { tenantId, messageId }
      const outcome = await changeAll(parts, messageId, () =>
        cancelMessage(parts.database, target, tellCancelled(parts)),
      )
      const cancelled = stateAfter('cancel')
      for (const { id, email } of outcome.changed) {
        parts.mailLog.ended({ ...target, recipientId: id, email, outcome: cancelled, reason: '' })
      }
      if (outcome.recipients.every(({ status }) => status !== cancelled)) throw refusal(outcome)
    },
    move: async (tenantId, messageId, sendAt) => {
      const startMs = Math.floor(sendAt?.getTime() ?? parts.clock.nowMs())
      const move = { startMs, isAtOnce: sendAt === null, redate }
      let startBefore: Date | undefined
      const outcome = await changeAll(parts, messageId, async (isChanged) => {
        const turn = await moveMessage(
          parts.database,
          { tenantId, messageId },
          { ...move, isChanged, startBefore },
          tellMoved(parts, startMs),
        )
        startBefore ??= turn?.startBefore
        return turn
      })
      if (outcome.changed.length === 0) throw refusal(outcome)
      parts.wake.send('dispatch')
      // Its limit has moved along.
      parts.wake.send('deadlines')
    },
  }
}

/**
 * Changes what can be changed, again while workers give more of it back.
 *
 * @param change is told what has been changed in an earlier turn: it stands, and may be on its way by now
 */
async function changeAll(
  { wake }: MessageDeskParts,
  messageId: Uuid,
  change: (isChanged: (recipientId: Uuid) => boolean) => Promise<ChangeOutcome | null>,
): Promise<ChangeOutcome> {
  const changed: HeldRecipient[] = []
  for (let turn = 0; ; turn++) {
    const outcome = await change((recipientId) => changed.some(({ id }) => id === recipientId))
    if (outcome === null) throw new ProductError('not_found', { detail: 'There is no such message.' })
    changed.push(...outcome.changed)
    if (outcome.hasWebhooks) wake.send('webhooks')
    const pauseMs = recallPausesMs[turn]
    if (pauseMs === undefined || outcome.recipients.every(({ isLeased }) => !isLeased)) {
      return { ...outcome, changed }
    }
    // Each time: one that was lost, or came before its worker knew of the lease, does nothing.
    wake.send('recall', messageId)
    await delay(pauseMs)
  }
}

/** Makes the event of a recipient that was stopped. */
export function tellCancelled({ nextId, clock }: Pick<MessageDeskParts, 'nextId' | 'clock'>) {
  return (message: HeldMessage, recipient: HeldRecipient, seq: number): NewEvent => ({
    id: nextId(),
    tenantId: message.tenantId,
    type: 'message.cancelled',
    messageId: message.id,
    createdAtMs: clock.nowMs(),
    data: {
      ...eventData(message, recipient, recipient.simulation, seq),
      ...(recipient.isUncertain && uncertainty),
    },
  })
}

function tellMoved({ nextId, clock }: MessageDeskParts, startMs: number) {
  return (message: HeldMessage, recipient: HeldRecipient, seq: number): NewEvent => ({
    id: nextId(),
    tenantId: message.tenantId,
    type: 'message.scheduled',
    messageId: message.id,
    createdAtMs: clock.nowMs(),
    data: {
      ...eventData(message, recipient, recipient.simulation, seq),
      send_at: new Date(startMs).toISOString(),
    },
  })
}

function redate(content: Buffer, from: readonly Date[], to: Date): Buffer | null {
  const body = decodeBody(content)
  if (body.kind === 'fields') {
    return encodeBody({ ...body, composition: { ...body.composition, date: to } })
  }
  const bytes = redateRaw(body.bytes, from, to)
  return bytes && encodeBody({ ...body, bytes })
}

const uncertainty = {
  uncertain: true,
  explanation:
    'A worker that had the mail ended before it told what came of it: it may have been delivered before it was cancelled.',
  remedy: 'Find out whether it arrived, by its Message-ID, if it matters.',
}

function refusal({ recipients }: ChangeOutcome): ProductError {
  return new ProductError('already_sending', {
    detail: 'No recipient could be changed.',
    errors: recipients.map(
      ({ email, status }, index): FieldFault => ({
        path: `/recipients/${index}`,
        message: isEnd(status) ? endOf(email, status) : `${email} is being sent this moment.`,
      }),
    ),
  })
}

const endOf = (email: string, status: RecipientState) => `${email} has its end already: ${status}.`
