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
  type Wake,
} from '@valija/store'
import type { Admission } from './admit-deliveries.ts'
import { createBatcher } from './batcher.ts'
import { buildMessage, type IdempotencyClaim, type SendOptions } from './build-message.ts'
import type { SenderDomains } from './sender-domains.ts'

export interface SendDesk {
  /**
   * Accepts one message for good, or throws.
   *
   * @throws {ProductError} invalid_request, message_too_large, domain_not_verified, key_restricted, idempotency_key_reused,
   *   idempotency_in_progress, database_unavailable
   */
  send(caller: Caller, input: MessageInput, idempotency: IdempotencyClaim | null): Promise<SendAnswer>
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
  admission: Admission
  wake: Pick<Wake, 'send'>
  mailLog: MailLog
  options: SendOptions
}

/** A repeated request waits this long for the first one's answer (docs/api-guide.md). */
const inProgressWaitMs = 2_000
const inProgressProbeMs = 50

/** A batch: about what one statement carries without making the first of it wait; larger messages go alone, in a line of their own. */
const batchLimits = { maxItems: 200, maxWeight: 256 * 1024 }
/** What a recipient costs beside its message's body, in octets. */
const recipientWeight = 1024
/** Rows of a tenant that may be admitted without the dispatcher: a few full hints. */
const directShare = 128

export function createSendDesk(dependencies: SendDeskDependencies): SendDesk {
  const { database, admission } = dependencies
  const acceptance = createAcceptance(dependencies)
  /** Claims under way in this process: `tenant key` → its hash and its end. */
  const underWay = new Map<string, { bodyHash: Buffer; end: Promise<SendAnswer> }>()

  const send = async (caller: Caller, input: MessageInput, claim: IdempotencyClaim | null) => {
    if (claim) {
      const stored = await findAnswer(database, caller.tenantId, claim)
      if (stored !== null) return stored
    }
    const message = await prepare(dependencies, caller, input, claim)
    const deadline = performance.now() + inProgressWaitMs
    for (;;) {
      const result = await acceptance.accept(message.row).catch((error: unknown) => {
        throw asProductError(error)
      })
      if (result.kind === 'accepted') {
        dependencies.mailLog.accepted(message.logged)
        return { body: message.answer, isReplay: false }
      }
      if (result.kind === 'replay') return { body: result.response, isReplay: true }
      if (result.kind === 'reused') throw new ProductError('idempotency_key_reused')
      if (performance.now() > deadline) throw new ProductError('idempotency_in_progress', { retryAfterS: 1 })
      await new Promise<void>((resolve) => setTimeout(resolve, inProgressProbeMs))
    }
  }

  /** Requests with one key meet here before they meet in the database: the first works, the others wait for its answer. */
  const sendInTurn = async (caller: Caller, input: MessageInput, claim: IdempotencyClaim) => {
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
    const work = send(caller, input, claim)
    underWay.set(name, { bodyHash: claim.bodyHash, end: work })
    try {
      return await work
    } finally {
      underWay.delete(name)
    }
  }

  return {
    send: (caller, input, claim) => (claim ? sendInTurn(caller, input, claim) : send(caller, input, null)),
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
  await authorise(dependencies.senderDomains, caller, checked.value)
  assertRoute(caller, options.delivery)
  return buildMessage({ caller, message: checked.value, claim, nowMs, nextId, options })
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

/** A key's own route must be one that mail can take here: what has none would wait until its time is over. */
function assertRoute({ route }: Caller, delivery: string): void {
  if (route === null || route === 'capture' || route === delivery) return
  throw new ProductError('key_restricted', {
    detail: `The key is bound to the route ${route}, which is not set up here.`,
  })
}

/** The accept transactions: messages that arrive together share one. */
function createAcceptance({ database, admission, wake }: SendDeskDependencies) {
  const accept = async (messages: NewMessage[]) => {
    const { results, hasWaiting, hasWebhooks } = await acceptMessages(database.engine, messages, {
      directShare,
    })
    admission.hint(results.flatMap((result) => (result.kind === 'accepted' ? result.admitted : [])))
    if (hasWaiting) admission.wakeDispatcher()
    if (hasWebhooks) wake.send('webhooks')
    return results
  }
  const limits = { ...batchLimits, weigh: weightOf, isItemsFault: isDataError }
  // Two lines, so that a small message never waits for a large one's octets.
  const small = createBatcher(accept, limits)
  const large = createBatcher(accept, limits)
  return {
    accept: (message: NewMessage) => (weightOf(message) > batchLimits.maxWeight ? large : small).add(message),
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
