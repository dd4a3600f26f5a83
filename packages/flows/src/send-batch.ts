/**
 * POST /send/batch: many messages, accepted in one commit. Strict: all of them or none. Permissive: all that can be.
 *
 *   stored answers → queue limits → render templates → validate and authorise each → refused in strict mode for the fault of one → accept → hint
 *
 * Whole batches follow one another, one transaction at a time, beside the lines of single messages (send-message.ts): a batch may take
 * a second, and a one-time code does not wait for it.
 *
 * Measured with a thousand messages of 10 KB, each with a file of 5 KB (a body of 17 MB): 0.7 s of the API's processor time and 0.2 s of
 * PostgreSQL's; 1.4 s until the 202 at the best of ten, on two cores that had six times as much to do.
 */
import { setTimeout as delay, setImmediate } from 'node:timers/promises'
import {
  type Caller,
  erasurePurpose,
  errorCatalogue,
  type MailLog,
  type MessageInput,
  ProductError,
  type Sealer,
} from '@valija/core'
import {
  acceptBatch,
  asProductError,
  type BatchOutcome,
  type Database,
  findStoredAnswers,
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
import type { Allowances, Drawn } from './allowances.ts'
import { refuseBatch, refuseNeverFittingBatch } from './batch-refusal.ts'
import { type Batcher, createBatcher } from './batcher.ts'
import {
  addressesOf,
  type BuiltMessage,
  type IdempotencyClaim,
  type NamedClaim,
  nameClaim,
  suppressRecipients,
} from './build-message.ts'
import { type PrepareParts, prepareMessage } from './prepare-message.ts'
import { type QueueLimits, streamOf } from './queue-limits.ts'
import { countLive, tellAccepted } from './tell-accepted.ts'
import type { TemplateDesk } from './template-desk.ts'
import { announceLimits } from './watch-deadlines.ts'

/** A message of a batch, or why it is refused already. */
export type BatchEntry = { input: MessageInput; claim: IdempotencyClaim | null } | ProductError

type BatchAnswer = { body: string; isReplay: boolean } | ProductError

export interface BatchDeskParts extends PrepareParts {
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

interface BatchJob {
  items: readonly BuiltMessage[]
  isStrict: boolean
  isPatient: boolean
  answerByMs: number
}

/** So many whole batches wait for their transaction at most. */
const maxWaiting = 20
/** Reading a thousand messages takes some tenths of a second: others have the event loop in between. */
const turnMs = 10

export function createBatchDesk(parts: BatchDeskParts) {
  const { database, nextId, queueLimits } = parts
  const signingKeys = parts.sealer.signingKeys(erasurePurpose)
  const write = async ([job]: BatchJob[]) => {
    const { items, isStrict, isPatient, answerByMs } = job!
    const suppress = (item: BuiltMessage, hits: Parameters<typeof suppressRecipients>[1]) =>
      suppressRecipients(item, hits, nextId)
    const limits = { directShare, commitByMs: answerByMs - commitReserveMs }
    const outcome = await acceptBatch(database.engine, { items, suppress, isStrict, isPatient }, limits)
    if (outcome.kind === 'written') {
      parts.admission.hint(outcome.admitted)
      if (outcome.hasWaiting) parts.admission.wakeDispatcher()
      if (outcome.hasWebhooks) parts.wake.send('webhooks')
      announceLimits(
        parts.wake,
        items.map(({ row }) => row),
      )
    }
    return [outcome]
  }
  const line = createBatcher<BatchJob, BatchOutcome<BuiltMessage>>(write, {
    maxItems: 1,
    maxWeight: Number.POSITIVE_INFINITY,
    weigh: () => 0,
    isItemsFault: () => false,
    line: acceptLine(maxWaiting),
  })

  const accept = createPatientAccept(line)

  const send = async (
    caller: Caller,
    entries: readonly BatchEntry[],
    { isStrict, answerByMs }: { isStrict: boolean; answerByMs: number },
  ): Promise<BatchAnswer[]> => {
    const { answers, sameAs } = joinRepeated(entries)
    const named = nameClaims(signingKeys, caller, entries)
    const findOpen = () =>
      named.flatMap((entry, index) =>
        entry === null || answers[index] !== null || sameAs.has(index) ? [] : [{ ...entry, index }],
      )
    await findAnswers(database, caller, findOpen(), answers)
    const open = findOpen()
    if (open.length > 0) {
      refuseSuspended(caller)
      await checkQueue(queueLimits, caller, { open, isStrict, answers })
    }
    const prepared = await prepareAll(parts, caller, findOpen(), answers)
    const all = () => answers.map((answer, index) => answer ?? repeated(answers[sameAs.get(index) ?? index]))
    if (isStrict) refuseWhole(all())
    const { built, giveBack } = await drawFor(parts.allowances, caller, { prepared, isStrict, answers })
    if (built.length > 0) {
      const items = built.map(({ item }) => item)
      const outcome = await accept({ items, isStrict, answerByMs }).catch(async (error: unknown) => {
        if (isSurelyNotKept(error)) await giveBack(built)
        throw error
      })
      await giveBack(built.filter((_, position) => !isAccepted(outcome, position)))
      noteOutcome(parts, caller, { outcome, built, answers })
      if (isStrict) refuseWhole(all())
    }
    return all().map((answer) => answer ?? new ProductError('internal'))
  }
  return { send, drain: line.drain }
}

/** Waits for others that work on the same keys; then permissive batches go without what is still worked on, and strict ones not at all. */
function createPatientAccept(line: Batcher<BatchJob, BatchOutcome<BuiltMessage>>) {
  return async (job: Omit<BatchJob, 'isPatient'>): Promise<BatchOutcome<BuiltMessage>> => {
    const waitUntilMs = performance.now() + inProgressWaitMs
    for (;;) {
      const isPatient = performance.now() < waitUntilMs
      const outcome = await line.add({ ...job, isPatient }).catch((error: unknown) => {
        throw asProductError(error)
      })
      // A place among batches with many keys is waited for as long as one's turn is: then the line refuses.
      const isOver = outcome.kind === 'busy' && !isPatient
      if (isOver || outcome.kind === 'refused' || outcome.kind === 'written') return outcome
      await delay(inProgressProbeMs)
    }
  }
}

type Answers = (BatchAnswer | null)[]

/**
 * What is known at once: refusals, and messages whose key stood before in the same batch. One that is the same is sent once, and has the
 * first one's answer.
 *
 * @returns sameAs which message has the answer of which earlier one
 */
function joinRepeated(entries: readonly BatchEntry[]) {
  const answers: Answers = entries.map((entry) => (entry instanceof ProductError ? entry : null))
  const sameAs = new Map<number, number>()
  const firsts = new Map<string, { index: number; bodyHash: Buffer }>()
  entries.forEach((entry, index) => {
    if (entry instanceof ProductError || entry.claim === null) return
    const { key, bodyHash } = entry.claim
    const first = firsts.get(key)
    if (first === undefined) firsts.set(key, { index, bodyHash })
    else if (first.bodyHash.equals(bodyHash)) sameAs.set(index, first.index)
    else answers[index] = reused(`Message ${first.index} of this batch is another one with the same key.`)
  })
  return { answers, sameAs }
}

/** Null for those that are refused already. */
function nameClaims(signingKeys: readonly Buffer[], { tenantId }: Caller, entries: readonly BatchEntry[]) {
  return entries.map((entry) => {
    if (entry instanceof ProductError) return null
    return { ...entry, claim: entry.claim && nameClaim(signingKeys, tenantId, entry.claim) }
  })
}

function reused(detail?: string): ProductError {
  return new ProductError('idempotency_key_reused', detail === undefined ? {} : { detail })
}

/** A message that is there twice was answered before, as far as its second is concerned. */
function repeated(answer: BatchAnswer | null | undefined): BatchAnswer | null {
  return answer instanceof ProductError || !answer ? (answer ?? null) : { ...answer, isReplay: true }
}

/** @throws {ProductError} when one is refused: with all that is wrong with all of them */
function refuseWhole(answers: Answers): void {
  const refusals = answers.flatMap((answer, index) =>
    answer instanceof ProductError ? [{ index, error: answer }] : [],
  )
  if (refusals.length > 0) throw refuseBatch(refusals)
}

interface OpenEntry {
  input: MessageInput
  claim: NamedClaim | null
  index: number
}

/** Notes the stored answers: what was accepted once is not judged again, though its send_at is over meanwhile. */
async function findAnswers(
  database: Database,
  { tenantId }: Caller,
  open: readonly OpenEntry[],
  answers: Answers,
): Promise<void> {
  const keys = new Map(
    open.flatMap(({ claim }) =>
      claim === null ? [] : [[claim.key, [claim.key, ...claim.hiddenNames]] as const],
    ),
  )
  if (keys.size === 0) return
  const stored = await findStoredAnswers(database.engine, tenantId, keys).catch((error: unknown) => {
    throw asProductError(error)
  })
  for (const { claim, index } of open) {
    const known = claim === null ? undefined : stored.get(claim.key)
    if (known === undefined) continue
    const isSame = known.bodyHash.equals(claim!.bodyHash)
    answers[index] = isSame ? { body: known.response, isReplay: true } : reused()
  }
}

/**
 * Refuses all of them, or of a permissive batch its bulk mail alone where only that has no room: then the refusals are noted.
 *
 * @throws {ProductError} queue_full, overloaded
 */
async function checkQueue(
  queueLimits: QueueLimits,
  caller: Caller,
  { open, isStrict, answers }: { open: readonly OpenEntry[]; isStrict: boolean; answers: Answers },
): Promise<void> {
  const bulk = open.filter(({ input }) => streamOf(input) === 'bulk')
  const isMixed = bulk.length < open.length
  if (isMixed) await queueLimits.check(caller, 'transactional')
  if (bulk.length === 0) return
  await queueLimits.check(caller, 'bulk').catch((error: unknown) => {
    if (isStrict || !isMixed || !(error instanceof ProductError)) throw error
    for (const { index } of bulk) answers[index] = error
  })
}

interface BuiltEntry {
  item: BuiltMessage
  index: number
}

/**
 * Validates, authorises and builds each, and notes the refusals.
 *
 * @throws {ProductError} what is no message's fault
 */
async function prepareAll(
  parts: BatchDeskParts,
  caller: Caller,
  open: readonly OpenEntry[],
  answers: Answers,
): Promise<BuiltEntry[]> {
  const prepareParts = { ...parts, routes: refreshedOnce(parts.routes) }
  const built: BuiltEntry[] = []
  const rendered = await parts.templates.renderMessages(
    caller,
    open.map(({ input }) => input),
  )
  let turnEndMs = performance.now() + turnMs
  for (const [position, { claim, index }] of open.entries()) {
    const input = rendered[position]!
    if (input instanceof ProductError) {
      answers[index] = input
      continue
    }
    if (performance.now() > turnEndMs) {
      await setImmediate()
      turnEndMs = performance.now() + turnMs
    }
    try {
      built.push({ item: await prepareMessage(prepareParts, caller, input, claim), index })
    } catch (error) {
      if (!(error instanceof ProductError) || errorCatalogue[error.code].status >= 500) throw error
      answers[index] = error
    }
  }
  return built
}

/** A thousand messages with a route that is not there ask for it once. */
function refreshedOnce(routes: PrepareParts['routes']): PrepareParts['routes'] {
  let refreshed: Promise<void> | null = null
  return {
    get present() {
      return routes.present
    },
    refresh: () => {
      refreshed ??= routes.refresh()
      return refreshed
    },
  }
}

/**
 * Draws what the messages need from the caller's limits: for all of a strict batch together, for each of a permissive one by itself.
 *
 * @returns built those that may be accepted; the others' refusals are noted
 * @throws {ProductError} where a strict batch is beyond a limit: for now, or for ever
 */
async function drawFor(
  allowances: Allowances,
  caller: Caller,
  { prepared, isStrict, answers }: { prepared: BuiltEntry[]; isStrict: boolean; answers: Answers },
) {
  const needed = prepared.map(({ item }) => addressesOf(item))
  if (isStrict) refuseNeverFittingBatch(caller, needed)
  const drawn: (Drawn | ProductError)[] = isStrict
    ? prepared.length > 0
      ? new Array<Drawn>(prepared.length).fill(await allowances.drawAll(caller, needed))
      : []
    : await allowances.drawEach(caller, needed)
  const ways = new Map<BuiltEntry, Drawn>()
  prepared.forEach((entry, position) => {
    const outcome = drawn[position]!
    if (outcome instanceof ProductError) answers[entry.index] = outcome
    else ways.set(entry, outcome)
  })
  const giveBack = (entries: readonly BuiltEntry[]) =>
    allowances.giveBack(
      caller,
      entries.map((entry) => ({ drawn: ways.get(entry)!, messages: [addressesOf(entry.item)] })),
    )
  return { built: [...ways.keys()], giveBack }
}

function isAccepted(outcome: BatchOutcome<BuiltMessage>, position: number): boolean {
  return outcome.kind === 'written' && outcome.results[position]?.kind === 'accepted'
}

/** @throws {ProductError} idempotency_in_progress */
function noteOutcome(
  { mailLog, queueLimits }: BatchDeskParts,
  { tenantId }: Caller,
  { outcome, built, answers }: { outcome: BatchOutcome<BuiltMessage>; built: BuiltEntry[]; answers: Answers },
): void {
  if (outcome.kind === 'busy' || outcome.kind === 'crowded') throw inProgress()
  built.forEach(({ index }, position) => {
    const result = outcome.results[position]
    if (!result) return
    if (result.kind === 'accepted') {
      tellAccepted(mailLog, result.item)
      answers[index] = { body: result.item.answer, isReplay: false }
    } else if (result.kind === 'replay') answers[index] = { body: result.response, isReplay: true }
    else answers[index] = result.kind === 'reused' ? reused() : inProgress()
  })
  if (outcome.kind !== 'written') return
  const admitted = new Set(outcome.admitted)
  for (const result of outcome.results) {
    if (result.kind !== 'accepted') continue
    const { recipients, stream } = result.item.row
    const sent = recipients.filter(({ id }) => admitted.has(id)).length
    queueLimits.note(tenantId, stream, countLive(result.item) - sent)
  }
}

function inProgress(): ProductError {
  const detail = 'Another request is working on a message with the same idempotency_key.'
  return new ProductError('idempotency_in_progress', { detail, retryAfterS: 1 })
}
