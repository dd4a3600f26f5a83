/**
 * POST /send and everything that means the same: render its template → validate → authorise → accept → hint to the workers.
 *
 * The answer is given after the commit and before the hint: from there on the row in PostgreSQL is what counts, and the
 * sweep finds it should this process die.
 */
import {
  type Caller,
  erasurePurpose,
  type MailLog,
  type MessageDraft,
  ProductError,
  type Sealer,
  type Uuid,
} from '@valija/core'
import {
  acceptMessages,
  asProductError,
  type Database,
  findStoredAnswer,
  isDataError,
  type NewMessage,
  type SuppressionHit,
  type Wake,
} from '@valija/store'
import {
  acceptLine,
  commitReserveMs,
  directShare,
  inProgressProbeMs,
  inProgressWaitMs,
  isSurelyNotKept,
  refuseSuspended,
} from './accept-limits.ts'
import type { Admission } from './admit-deliveries.ts'
import type { Allowances } from './allowances.ts'
import { createBatcher } from './batcher.ts'
import {
  addressesOf,
  type BuiltMessage,
  type IdempotencyClaim,
  type NamedClaim,
  nameClaim,
  suppressRecipients,
} from './build-message.ts'
import { type MessageSource, type PrepareParts, prepareMessage } from './prepare-message.ts'
import { type QueueLimits, streamOf } from './queue-limits.ts'
import { type BatchEntry, createBatchDesk } from './send-batch.ts'
import { countLive, tellAccepted } from './tell-accepted.ts'
import type { TemplateDesk } from './template-desk.ts'
import { announceLimits } from './watch-deadlines.ts'

export interface SendDesk {
  /**
   * Accepts one message for good, or throws.
   *
   * @param answerByMs by `performance.now()`: then the caller is answered without us, so nothing is begun or committed any more
   *   shortly before it
   * @throws {ProductError} invalid_request, message_too_large, domain_not_verified, key_restricted, tenant_suspended, idempotency_key_reused,
   *   idempotency_in_progress, rate_limited, quota_exceeded, queue_full, overloaded, database_unavailable
   */
  send(
    caller: Caller,
    input: MessageSource,
    idempotency: IdempotencyClaim | null,
    answerByMs: number,
  ): Promise<SendAnswer>
  /**
   * Accepts messages together: one commit for all that are written.
   *
   * @param entries messages, or why they are refused already
   * @param how.isStrict all of them or none
   * @param how.answerByMs as for one
   * @returns per entry, in order, its answer, or why it is not accepted
   * @throws {ProductError} where nothing is accepted: in strict mode also for the fault of one, then with all faults of all
   */
  sendBatch(
    caller: Caller,
    entries: readonly BatchEntry[],
    how: { isStrict: boolean; answerByMs: number },
  ): Promise<(SendAnswer | ProductError)[]>
  /**
   * The rows that such a message would become, by the same rules, without accepting it.
   *
   * @throws {ProductError} invalid_request, message_too_large, domain_not_verified, key_restricted, database_unavailable
   */
  prepare(caller: Caller, input: MessageDraft): Promise<NewMessage>
  /** Resolves when every acceptance under way has been answered and hinted. */
  drain(): Promise<void>
}

export interface SendAnswer {
  /** The 202's JSON, byte for byte. */
  body: string
  isReplay: boolean
}

export interface SendDeskDependencies extends PrepareParts {
  database: Database
  admission: Admission
  wake: Pick<Wake, 'send'>
  mailLog: MailLog
  queueLimits: QueueLimits
  allowances: Allowances
  templates: Pick<TemplateDesk, 'renderMessages'>
  /** For keys of mails to somebody who was erased. */
  sealer: Pick<Sealer, 'signingKeys'>
}

/** A batch: about what one statement carries without making the first of it wait. */
const batchLimits = { maxItems: 200, maxWeight: 256 * 1024 }
/**
 * Larger messages have a line of their own, so that a small one never waits for their octets. Several share a commit too, up to what is written in some
 * tens of milliseconds. What is larger than that goes alone, in a third line.
 */
const large = { fromWeight: 64 * 1024, maxWeight: 2 * 1024 * 1024 }
/** A message with its time. */
interface Timely {
  row: NewMessage
  answerByMs: number
}

/** More than a second's worth at full speed. */
const maxWaiting = 5_000
/** What a recipient costs beside its message's body, in octets. */
const recipientWeight = 1024

export function createSendDesk(dependencies: SendDeskDependencies): SendDesk {
  const { admission } = dependencies
  const acceptance = createAcceptance(dependencies)
  const batches = createBatchDesk(dependencies)
  /** Claims under way in this process: `tenant key` → its hash and its end. */
  const underWay = new Map<string, { bodyHash: Buffer; end: Promise<SendAnswer> }>()

  const send = createSender(dependencies, acceptance)

  /** Of its own: what is called at the end would hold the input with whatever else `sendInTurn` hands to others. */
  const note = (name: string, bodyHash: Buffer, end: Promise<SendAnswer>) => {
    underWay.set(name, { bodyHash, end })
    return end.finally(() => underWay.delete(name))
  }
  /**
   * Requests with one key meet here before they meet in the database: the first works, the others wait for its answer.
   *
   * @param untilMs by `performance.now()`: so long they do
   */
  const sendInTurn = (
    caller: Caller,
    input: MessageSource,
    claim: IdempotencyClaim,
    answerByMs: number,
    untilMs = performance.now() + inProgressWaitMs,
  ): Promise<SendAnswer> => {
    const name = `${caller.tenantId} ${claim.key}`
    const other = underWay.get(name)
    if (other === undefined) return note(name, claim.bodyHash, send(caller, input, claim, answerByMs))
    if (!other.bodyHash.equals(claim.bodyHash))
      return Promise.reject(new ProductError('idempotency_key_reused'))
    return endWithin(other.end, untilMs - performance.now()).then((end) => {
      if (end === 'late') throw new ProductError('idempotency_in_progress', { retryAfterS: 1 })
      if (end !== 'failed') return { body: end.body, isReplay: true }
      return sendInTurn(caller, input, claim, answerByMs, untilMs)
    })
  }

  return {
    send: (caller, input, claim, answerByMs) =>
      claim ? sendInTurn(caller, input, claim, answerByMs) : send(caller, input, null, answerByMs),
    sendBatch: batches.send,
    prepare: async (caller, input) => (await prepareRendered(dependencies, caller, input, null)).row,
    drain: async () => {
      await Promise.all([acceptance.drain(), batches.drain()])
      await admission.drain()
    },
  }
}

/** A message that may be accepted, with what it has drawn of its sender's limits. */
interface Prepared {
  message: BuiltMessage
  giveBack: () => Promise<void>
}

/**
 * Sends one message for which no other request of this process is at work.
 *
 * While it waits for its commit nothing of it is held but the rows: neither what is awaited there nor what is called then has the input. With 128
 * requests on their way, each with a receipt of 10 KB, the garbage collector moved what all of them held from one place to another: of 129 µs of processor
 * time to parse and build one, 46 were for that (its octets 30, its texts 16).
 */
function createSender(
  dependencies: SendDeskDependencies,
  acceptance: Pick<Acceptance, 'accept'>,
): SendDesk['send'] {
  const { database, nextId } = dependencies
  const signingKeys = dependencies.sealer.signingKeys(erasurePurpose)
  const prepare = async (
    caller: Caller,
    input: MessageSource,
    given: IdempotencyClaim | null,
  ): Promise<SendAnswer | Prepared> => {
    const claim = given && nameClaim(signingKeys, caller.tenantId, given)
    const stored = claim && (await findAnswer(database, caller, claim))
    if (stored !== null) return stored
    refuseSuspended(caller)
    const { queueLimits } = dependencies
    await queueLimits.check(caller, 'readAgain' in input ? 'transactional' : streamOf(input))
    const message = await prepareRendered(dependencies, caller, input, claim)
    // What stream a message is of that is sent again is known when it is read.
    if ('readAgain' in input) await queueLimits.check(caller, message.row.stream)
    const needed = [addressesOf(message)]
    const { allowances } = dependencies
    const drawn = await allowances.drawAll(caller, needed)
    return { message, giveBack: () => allowances.giveBack(caller, [{ drawn, messages: needed }]) }
  }

  const accept = async (caller: Caller, { message, giveBack }: Prepared, answerByMs: number) => {
    try {
      const answer = await acceptOne(caller, message, answerByMs)
      if (answer.isReplay) await giveBack()
      return answer
    } catch (error) {
      if (isSurelyNotKept(error)) await giveBack()
      throw error
    }
  }

  const acceptOne = async (caller: Caller, built: BuiltMessage, answerByMs: number): Promise<SendAnswer> => {
    let message = built
    const hits = new Map<Uuid, SuppressionHit>()
    const deadline = performance.now() + inProgressWaitMs
    for (;;) {
      const result = await acceptance.accept({ row: message.row, answerByMs })
      if (result.kind === 'accepted') {
        tellAccepted(dependencies.mailLog, message)
        dependencies.queueLimits.note(
          caller.tenantId,
          message.row.stream,
          countLive(message) - result.admitted.length,
        )
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
  return (caller, input, given, answerByMs) =>
    prepare(caller, input, given).then((prepared) =>
      'body' in prepared ? prepared : accept(caller, prepared, answerByMs),
    )
}

async function prepareRendered(
  dependencies: SendDeskDependencies,
  caller: Caller,
  input: MessageSource,
  claim: NamedClaim | null,
): Promise<BuiltMessage> {
  if ('readAgain' in input || input.template === undefined)
    return prepareMessage(dependencies, caller, input, claim)
  const [message] = await dependencies.templates.renderMessages(caller, [input])
  if (message instanceof ProductError) throw message
  return prepareMessage(dependencies, caller, message!, claim)
}

async function findAnswer(
  database: Database,
  { tenantId }: Caller,
  claim: NamedClaim,
): Promise<SendAnswer | null> {
  const names = [claim.key, ...claim.hiddenNames]
  const stored = await findStoredAnswer(database.engine, tenantId, names).catch((error: unknown) => {
    throw asProductError(error)
  })
  if (stored === null) return null
  if (!stored.bodyHash.equals(claim.bodyHash)) throw new ProductError('idempotency_key_reused')
  return { body: stored.response, isReplay: true }
}

type Acceptance = ReturnType<typeof createAcceptance>

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
    announceLimits(wake, messages)
    return results
  }
  const limits = {
    ...batchLimits,
    weigh: ({ row }: Timely) => weightOf(row),
    isItemsFault: isDataError,
    line: acceptLine(maxWaiting),
  }
  const smallOnes = createBatcher(accept, limits)
  const largeOnes = createBatcher(accept, { ...limits, maxWeight: large.maxWeight })
  const hugeOnes = createBatcher(accept, { ...limits, maxItems: 1 })
  const lineFor = (message: NewMessage) => {
    const weight = weightOf(message)
    if (weight < large.fromWeight) return smallOnes
    return weight <= large.maxWeight ? largeOnes : hugeOnes
  }
  return {
    accept: (message: Timely) =>
      lineFor(message.row)
        .add(message)
        .catch((error: unknown) => {
          throw asProductError(error)
        }),
    drain: () => Promise.all([smallOnes, largeOnes, hugeOnes].map((line) => line.drain())),
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
