/**
 * POST /send and everything that means the same: validate → authorise → accept → hint to the workers.
 *
 * The answer is given after the commit and before the hint: from there on the row in PostgreSQL is what counts, and the
 * sweep finds it should this process die.
 */
import {
  type Caller,
  type FieldFault,
  type IdSource,
  invalidRequest,
  isEnd,
  type MailLog,
  type MessageInput,
  ProductError,
  type Uuid,
  type ValidatedMessage,
  validateMessage,
} from '@valija/core'
import {
  acceptMessages,
  asProductError,
  type Database,
  type DatabaseClock,
  findStoredAnswer,
  isDataError,
  type NewMessage,
  type SuppressionHit,
  type Wake,
} from '@valija/store'
import { acceptRoute } from './accept-route.ts'
import type { Admission } from './admit-deliveries.ts'
import { createBatcher } from './batcher.ts'
import {
  type BuiltMessage,
  buildMessage,
  type IdempotencyClaim,
  type SendOptions,
  suppressRecipients,
} from './build-message.ts'
import type { QueueLimits } from './queue-limits.ts'
import type { RouteDirectory } from './route-directory.ts'
import type { SenderDomains } from './sender-domains.ts'

export interface SendDesk {
  /**
   * Accepts one message for good, or throws.
   *
   * @param answerByMs by `performance.now()`: then the caller is answered without us, so nothing is begun or committed any more
   *   shortly before it
   * @throws {ProductError} invalid_request, message_too_large, domain_not_verified, key_restricted, idempotency_key_reused,
   *   idempotency_in_progress, queue_full, overloaded, database_unavailable
   */
  send(
    caller: Caller,
    input: MessageInput,
    idempotency: IdempotencyClaim | null,
    answerByMs: number,
  ): Promise<SendAnswer>
  /**
   * The rows that such a message would become, by the same rules, without accepting it.
   *
   * @throws {ProductError} invalid_request, message_too_large, domain_not_verified, key_restricted, database_unavailable
   */
  prepare(caller: Caller, input: MessageInput): Promise<NewMessage>
  /** Resolves when every acceptance under way has been answered and hinted. */
  drain(): Promise<void>
}

export interface SendAnswer {
  /** The 202's JSON, byte for byte. */
  body: string
  isReplay: boolean
}

export interface SendDeskDependencies {
  database: Database
  clock: DatabaseClock
  nextId: IdSource
  senderDomains: SenderDomains
  routes: Pick<RouteDirectory, 'present' | 'refresh'>
  admission: Admission
  wake: Pick<Wake, 'send'>
  mailLog: MailLog
  queueLimits: QueueLimits
  options: SendOptions
}

/** A repeated request waits this long for the first one's answer (docs/api-guide.md). */
const inProgressWaitMs = 2_000
const inProgressProbeMs = 50

/** A batch: about what one statement carries without making the first of it wait; larger messages go alone, in a line of their own. */
const batchLimits = { maxItems: 200, maxWeight: 256 * 1024 }
/** A message with its time. */
interface Timely {
  row: NewMessage
  answerByMs: number
}

/** What COMMIT has for its answer: one that comes too late leaves the client in the dark. */
const commitReserveMs = 1_000
/**
 * A batch that begins has at least so long until its commit: half of what an answer may take, so that a PostgreSQL that needs some
 * seconds for a batch takes one after the other, instead of none because each holds somebody who has waited too long already.
 */
const batchTimeMs = 4_000
/**
 * What may wait for its batch while PostgreSQL is slow: more than a second's worth at full speed. The octets of what waits are the
 * process's byte budget's affair.
 */
const acceptLine = {
  maxItems: 5_000,
  beginByMs: ({ answerByMs }: Timely) => answerByMs - commitReserveMs - batchTimeMs,
  refuse: (why: 'full' | 'late') =>
    new ProductError('overloaded', {
      detail:
        why === 'full'
          ? 'Too many messages wait to be written: the database takes them more slowly than they come.'
          : 'The message waited too long to be written: the database is slow.',
      retryAfterS: 5,
    }),
}
/** What a recipient costs beside its message's body, in octets. */
const recipientWeight = 1024
/** Rows of a tenant that may be admitted without the dispatcher: a few full hints. */
const directShare = 128

export function createSendDesk(dependencies: SendDeskDependencies): SendDesk {
  const { database, admission, nextId } = dependencies
  const acceptance = createAcceptance(dependencies)
  /** Claims under way in this process: `tenant key` → its hash and its end. */
  const underWay = new Map<string, { bodyHash: Buffer; end: Promise<SendAnswer> }>()

  const send: SendDesk['send'] = async (caller, input, claim, answerByMs) => {
    if (claim) {
      const stored = await findAnswer(database, caller.tenantId, claim)
      if (stored !== null) return stored
    }
    await dependencies.queueLimits.check(caller)
    let message = await prepare(dependencies, caller, input, claim)
    const hits = new Map<Uuid, SuppressionHit>()
    const deadline = performance.now() + inProgressWaitMs
    for (;;) {
      const result = await acceptance.accept({ row: message.row, answerByMs })
      if (result.kind === 'accepted') {
        tellAccepted(dependencies.mailLog, message)
        dependencies.queueLimits.note(caller.tenantId, countLive(message) - result.admitted.length)
        return { body: message.answer, isReplay: false }
      }
      if (result.kind === 'replay') return { body: result.response, isReplay: true }
      if (result.kind === 'reused') throw new ProductError('idempotency_key_reused')
      if (result.kind === 'suppressed') {
        for (const [recipientId, hit] of result.hits) hits.set(recipientId, hit)
        message = suppressRecipients(message, hits, nextId)
        continue
      }
      if (performance.now() > deadline) throw new ProductError('idempotency_in_progress', { retryAfterS: 1 })
      await new Promise<void>((resolve) => setTimeout(resolve, inProgressProbeMs))
    }
  }

  /** Requests with one key meet here before they meet in the database: the first works, the others wait for its answer. */
  const sendInTurn = async (
    caller: Caller,
    input: MessageInput,
    claim: IdempotencyClaim,
    answerByMs: number,
  ) => {
    const name = `${caller.tenantId} ${claim.key}`
    const deadline = performance.now() + inProgressWaitMs
    for (;;) {
      const other = underWay.get(name)
      if (other === undefined) break
      if (!other.bodyHash.equals(claim.bodyHash)) throw new ProductError('idempotency_key_reused')
      const end = await endWithin(other.end, deadline - performance.now())
      if (end === 'late') throw new ProductError('idempotency_in_progress', { retryAfterS: 1 })
      if (end !== 'failed') return { body: end.body, isReplay: true }
    }
    const work = send(caller, input, claim, answerByMs)
    underWay.set(name, { bodyHash: claim.bodyHash, end: work })
    try {
      return await work
    } finally {
      underWay.delete(name)
    }
  }

  return {
    send: (caller, input, claim, answerByMs) =>
      claim ? sendInTurn(caller, input, claim, answerByMs) : send(caller, input, null, answerByMs),
    prepare: async (caller, input) => (await prepare(dependencies, caller, input, null)).row,
    drain: async () => {
      await acceptance.drain()
      await admission.drain()
    },
  }
}

async function findAnswer(
  database: Database,
  tenantId: Uuid,
  claim: IdempotencyClaim,
): Promise<SendAnswer | null> {
  const stored = await findStoredAnswer(database.engine, tenantId, claim.key).catch((error: unknown) => {
    throw asProductError(error)
  })
  if (stored === null) return null
  if (!stored.bodyHash.equals(claim.bodyHash)) throw new ProductError('idempotency_key_reused')
  return { body: stored.response, isReplay: true }
}

/** Validates and authorises, and builds the rows and the answer. */
async function prepare(
  dependencies: SendDeskDependencies,
  caller: Caller,
  input: MessageInput,
  claim: IdempotencyClaim | null,
) {
  const { clock, nextId, options } = dependencies
  const nowMs = clock.nowMs()
  const checked = validateMessage(input, {
    maxMessageSizeBytes: options.maxMessageSizeBytes,
    now: new Date(nowMs),
  })
  if (!checked.ok) throw refusal(checked)
  const message = checked.value
  const way = await acceptRoute(dependencies.routes, caller, message, options.delivery)
  // Whoever may send from any domain may while nothing leaves the machine.
  const sender = way.delivery === 'capture' ? caller : { ...caller, isDefaultTenant: false }
  await authorise(dependencies.senderDomains, sender, message)
  return buildMessage({ caller, message, way, claim, nowMs, nextId, options })
}

/** Those that have no end yet. */
function countLive({ row }: BuiltMessage): number {
  return row.recipients.reduce((count, { status }) => (isEnd(status) ? count : count + 1), 0)
}

/** A recipient that is suppressed has its end with the acceptance. */
function tellAccepted(mailLog: MailLog, { logged, row }: BuiltMessage): void {
  mailLog.accepted(logged)
  for (const { id, email, status, reason } of row.recipients) {
    if (!isEnd(status)) continue
    const { messageId, tenantId } = logged
    mailLog.ended({ messageId, recipientId: id, tenantId, email, outcome: status, reason: reason ?? '' })
  }
}

function refusal(checked: {
  code: 'invalid_request' | 'message_too_large'
  errors: FieldFault[]
}): ProductError {
  if (checked.code === 'invalid_request') return invalidRequest(checked.errors)
  const detail = checked.errors[0]?.message
  return new ProductError('message_too_large', { errors: checked.errors, ...(detail && { detail }) })
}

/** Every address that a reader sees as the sender must be of a domain that this tenant may use. */
async function authorise(
  senderDomains: SenderDomains,
  caller: Caller,
  message: ValidatedMessage,
): Promise<void> {
  const senders = [message.from, message.rawFrom, message.rawSender].flatMap((mailbox) => mailbox ?? [])
  for (const domain of new Set(senders.map((mailbox) => mailbox.address.domain))) {
    await senderDomains.check(caller, domain)
  }
  if (caller.recipients.length === 0) return
  const allowed = new Set(caller.recipients)
  const faults = message.recipients.flatMap(({ address, type }) =>
    allowed.has(`${address.key}@${address.domain}`) || allowed.has(`@${address.domain}`)
      ? []
      : [{ path: `/${type}`, message: `This key may not send to ${address.email}.` }],
  )
  if (faults.length > 0) {
    throw new ProductError('key_restricted', { detail: 'The key has a list of recipients.', errors: faults })
  }
}

/** The accept transactions: messages that arrive together share one. */
function createAcceptance({ database, admission, wake }: SendDeskDependencies) {
  const accept = async (batch: Timely[]) => {
    const messages = batch.map(({ row }) => row)
    const commitByMs = Math.min(...batch.map(({ answerByMs }) => answerByMs)) - commitReserveMs
    const limits = { directShare, commitByMs }
    const { results, hasWaiting, hasWebhooks } = await acceptMessages(database.engine, messages, limits)
    admission.hint(results.flatMap((result) => (result.kind === 'accepted' ? result.admitted : [])))
    if (hasWaiting) admission.wakeDispatcher()
    if (hasWebhooks) wake.send('webhooks')
    return results
  }
  const limits = {
    ...batchLimits,
    weigh: ({ row }: Timely) => weightOf(row),
    isItemsFault: isDataError,
    line: acceptLine,
  }
  // Two lines, so that a small message never waits for a large one's octets.
  const small = createBatcher(accept, limits)
  const large = createBatcher(accept, limits)
  return {
    accept: (message: Timely) => {
      const line = weightOf(message.row) > batchLimits.maxWeight ? large : small
      return line.add(message).catch((error: unknown) => {
        throw asProductError(error)
      })
    },
    drain: () => Promise.all([small.drain(), large.drain()]),
  }
}

function weightOf(message: NewMessage): number {
  return message.body.length + recipientWeight * message.recipients.length
}

/** What the promise comes to within the time. */
async function endWithin<T>(promise: Promise<T>, ms: number): Promise<T | 'failed' | 'late'> {
  let timer: NodeJS.Timeout | undefined
  const tooLong = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), Math.max(0, ms))
  })
  try {
    return await Promise.race([promise.catch(() => 'failed' as const), tooLong])
  } finally {
    clearTimeout(timer)
  }
}
