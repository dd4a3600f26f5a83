/**
 * Tells of mails that are late, and ends those whose time is over, at the time and not when somebody comes to them next: whatever they wait
 * for, and in whichever line.
 *
 * Every worker watches, on a timer at the earliest of these times; of several, whoever has a row first tells of it. A limit of a mail that is accepted
 * meanwhile comes by `deadlines`; the end of its time is never nearer than the safety sweep. What waits in a worker's own lines it gives
 * back itself (withdraw-deliveries.ts).
 */
import { type IdSource, type Reason, reasonMeanings, type Uuid } from '@valija/core'
import {
  admitExpired,
  type Database,
  type DatabaseClock,
  findLate,
  type LateDelivery,
  msUntilDeadline,
  type NewEvent,
  tellLate,
  type Wake,
} from '@valija/store'
import { eventData } from './event-data.ts'
import type { ExplainedView } from './explain-message.ts'
import { unlessStopped } from './pause.ts'
import { createSleeper } from './sleeper.ts'

export interface DeadlineWatch {
  start(): void
  stop(): Promise<void>
}

export interface DeadlineWatchDependencies {
  database: Database
  clock: Pick<DatabaseClock, 'nowMs'>
  nextId: IdSource
  wake: Wake
  /** Why a message's recipients wait. */
  explain: (tenantId: Uuid, messageId: Uuid) => Promise<ExplainedView[] | null>
  /** Leases these and ends them; resolves when they have ended, with how many have. */
  endExpired: (recipientIds: Uuid[]) => Promise<number>
  onError: (error: Error) => void
}

/** A wake-up that was lost costs no more than this. Shorter than the shortest ttl_seconds, so none is needed for those. */
const sweepMs = 15_000
/** A row was busy this moment: it is looked at again after this. */
const againMs = 50
const lateAtOnce = 100
const expiredAtOnce = 200
/** Of so many late messages at a time it is found out what they wait for, some ten queries each; of many the same is true of all. */
const explainedAtOnce = 5

export function createDeadlineWatch(dependencies: DeadlineWatchDependencies): DeadlineWatch {
  const { database, clock, wake, onError } = dependencies
  const stopping = new AbortController()
  let nextAtMs = Number.POSITIVE_INFINITY
  const round = async () => {
    // What is announced while we look is looked at again, since we may have looked before it was there.
    nextAtMs = Number.POSITIVE_INFINITY
    await tellAllLate(dependencies, stopping.signal)
    const ms = (await msUntilDeadline(database.engine)) ?? sweepMs
    const pauseMs = Math.max(againMs, Math.min(ms, sweepMs))
    nextAtMs = clock.nowMs() + pauseMs
    return pauseMs
  }
  const sleeper = createSleeper({ round, onError, afterErrorMs: 1_000 })
  let stopListening = () => {}
  return {
    start: () => {
      // Its payload is a time; without one it is now.
      stopListening = wake.on('deadlines', (payload) => {
        if (Number(payload) < nextAtMs) sleeper.wake()
      })
      sleeper.wake()
    },
    stop: async () => {
      stopListening()
      stopping.abort()
      await sleeper.stop()
    },
  }
}

/**
 * After messages were accepted: the first of their limits.
 *
 * @param rows as accepted
 */
export function announceLimits(wake: Pick<Wake, 'send'>, rows: readonly { lateAtMs: number | null }[]): void {
  const limits = rows.flatMap(({ lateAtMs }) => lateAtMs ?? [])
  // By the second: what is accepted together is told once.
  if (limits.length > 0) wake.send('deadlines', `${Math.floor(Math.min(...limits) / 1_000) * 1_000}`)
}

/**
 * Goes on while there are more and some of them end: what a deliverer that is stopping gives back would be found again and again. A stop waits for
 * none of them, since whoever ends them waits for PostgreSQL.
 */
async function endAllExpired(
  { database, endExpired }: DeadlineWatchDependencies,
  stopping: AbortSignal,
): Promise<void> {
  while (!stopping.aborted) {
    const ids = await admitExpired(database.engine, expiredAtOnce)
    if (ids.length === 0) return
    const ended = await unlessStopped(stopping, endExpired(ids))
    if (ended === 'stopped' || ended === 0 || ids.length < expiredAtOnce) return
  }
}

/** Of all that are late, and ends meanwhile what is over. */
async function tellAllLate(dependencies: DeadlineWatchDependencies, stopping: AbortSignal): Promise<void> {
  for (let isMore = true; isMore && !stopping.aborted; ) {
    isMore = await tellSomeLate(dependencies)
    // However many there are to be told of, what is over ends at its time.
    await endAllExpired(dependencies, stopping)
  }
}

/** @returns whether there may be more */
async function tellSomeLate(dependencies: DeadlineWatchDependencies): Promise<boolean> {
  const { database, wake } = dependencies
  const found = await findLate(database.engine, lateAtOnce)
  if (found.length === 0) return false
  const views = await explainSome(dependencies, found)
  const ids = found.map(({ recipientId }) => recipientId)
  const { looked, hasWebhooks } = await tellLate(database.engine, ids, (late) =>
    tell(dependencies, late, views),
  )
  if (hasWebhooks) wake.send('webhooks')
  return looked > 0 && found.length === lateAtOnce
}

type Views = ReadonlyMap<Uuid, ExplainedView[]>

async function explainSome(
  { explain, onError }: DeadlineWatchDependencies,
  found: readonly { tenantId: Uuid; messageId: Uuid }[],
): Promise<Views> {
  const messages = new Map(found.map(({ messageId, tenantId }) => [messageId, tenantId]))
  const views = new Map<Uuid, ExplainedView[]>()
  for (const [messageId, tenantId] of [...messages].slice(0, explainedAtOnce)) {
    try {
      views.set(messageId, (await explain(tenantId, messageId)) ?? [])
    } catch (error) {
      // It is told in any case.
      onError(error as Error)
    }
  }
  return views
}

function tell({ nextId, clock }: DeadlineWatchDependencies, late: LateDelivery, views: Views): NewEvent {
  const { messageId, recipientId, tenantId, email, status, reason, attempts, nextAttemptAt } = late
  const view = views.get(messageId)?.find((shown) => shown.email === email)
  const message = { ...late, id: messageId }
  return {
    id: nextId(),
    tenantId,
    type: 'message.late',
    messageId,
    createdAtMs: clock.nowMs(),
    data: {
      ...eventData(message, { id: recipientId, email }, late.simulation, late.seq + 1),
      not_handed_off_within: late.afterSeconds,
      status,
      attempts,
      ...(reason !== null && { reason }),
      ...(view ? wordsOfView(view) : wordsOfReason(reason)),
      ...(nextAttemptAt !== null && { next_attempt_at: nextAttemptAt.toISOString() }),
    },
  }
}

/** As GET /messages/:id/explain says it. */
function wordsOfView({ summary, because, remedy }: ExplainedView): object {
  const [cause] = because
  return {
    ...(cause && { waits_for: cause.kind }),
    explanation: cause ? `${summary} ${cause.detail}` : summary,
    remedy,
  }
}

function wordsOfReason(reason: string | null): object {
  const words = reason === null ? undefined : reasonMeanings[reason as Reason]
  return words ? { explanation: words.meaning, remedy: words.remedy } : {}
}
