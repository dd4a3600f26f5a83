/**
 * The dispatcher: admits what waits, fairly, and keeps the queue filled only a little ahead of the workers, so that a row
 * decided on early never stands in front of one that arrives later and matters more (DESIGN 4.14).
 *
 * What the workers hold is shared as well: never all of it is given out, so that whoever comes next is taken at once and does not
 * wait until a slow receiver is done with somebody else's mail.
 *
 * One process leads (an advisory lock on a connection of the leader's own); the others stand by. Woken by `dispatch`, by a
 * timer at the earliest due time, and by a safety sweep.
 */
import { createFairShare, type Division, type FairShare } from '@valija/core'
import {
  admitInTurn,
  countInFlight,
  type Database,
  findWaitingStreams,
  type InFlight,
  type Leadership,
  leaderBeatMs,
  msUntilDue,
  type WaitingStream,
  type Wake,
} from '@valija/store'
import type { Admission } from './admit-deliveries.ts'
import { type DomainPace, withoutSoonAnswered } from './domain-pace.ts'
import type { HandedQueue } from './hint-by-hand.ts'
import { admitOldest, createLookBehind } from './look-behind.ts'
import { laterPayload, roomPayload } from './settle-desk.ts'
import { createSleeper } from './sleeper.ts'

export interface Dispatcher {
  start(): void
  /** Hears that workers have taken rows or are done with some. False: another process leads, and is to be told. */
  takeRoom(): boolean
  stop(): Promise<void>
}

export interface DispatcherDependencies {
  database: Database
  wake: Pick<Wake, 'on'>
  queue: Pick<HandedQueue, 'isUp' | 'isByHand' | 'onReconnect'>
  leadership: Leadership
  admission: Pick<Admission, 'hint'>
  /** Of this process's own worker: the others are taken to hear as much. */
  pace: Pick<DomainPace, 'perSecond'>
  /** How many rows a worker can hold at a time. */
  rowsPerWorker: number
  onError: (error: Error) => void
}

/**
 * Rows admitted and not leased yet, in all: they are out of the dispatcher's hands, so a later row of another tenant waits for
 * them. What the workers take in some tens of milliseconds at full speed.
 */
const window = 128
/** Of what the workers can hold, this part is given out; the rest is there for whoever comes next. */
const givenOut = 3 / 4
/**
 * While rows are left, rounds follow one another so that each admits a third of what is in flight then: begun for each few rows that workers are
 * done with, rounds and hints of a handful would take more of PostgreSQL than the mails. Whoever comes new is not kept waiting by it.
 */
const rest = { part: 1 / 3, firstMs: 5, longestMs: 50 }
/** A standby looks this often whether the leader still does its work. */
const standbyMs = 1_000
/** It takes over what is overdue by this, when the leader has not shown itself for as long. */
const overdueMs = 2_000
/** Safety sweep: nothing waits longer than this for a wake-up that was lost. */
const sweepMs = 15_000
/** How many workers there are is asked this often. */
const countWorkersEveryMs = 2_000
/** Who delivers by hand for so long lets another one lead: perhaps only its own way to the queue is broken. */
const longestAloneMs = 15_000
/** By then another one has seen that nobody leads. */
const yieldMs = 5_000

export function createDispatcher(dependencies: DispatcherDependencies): Dispatcher {
  const { wake, queue, leadership, onError } = dependencies
  /** Rows wait that are due: what the workers are done with makes room for them. */
  let leavesDue = false
  let restMs = rest.firstMs
  let admittedAtMs = 0
  const admit = createAdmitter(dependencies, () => {
    // Already now: what is settled while we look may be what there is room for.
    leavesDue = true
  })
  const yields = createYielding(dependencies)
  const round = async (): Promise<number> => {
    leavesDue = false
    // Hints could not be given; the reconnect wakes us.
    if (!queue.isUp) return sweepMs
    if (await yields()) return yieldMs
    if (await standsBy(dependencies)) return standbyMs
    const sinceMs = performance.now() - admittedAtMs
    admittedAtMs += sinceMs
    const admitted = await admit()
    leavesDue = admitted !== null
    restMs = admitted === null ? rest.firstMs : restAfter(restMs, admitted.part, sinceMs)
    // There may be room for more yet, whatever the workers say.
    if (admitted !== null) return admitted.part > 0 ? restMs : leaderBeatMs
    return Math.min(sweepMs, (await msUntilDue(dependencies.database.engine)) ?? sweepMs)
  }
  const sleeper = createSleeper({ round, onError, afterErrorMs: 1_000, restMs: () => restMs })
  let stopListening = () => {}
  let isStopped = false
  return {
    start: () => {
      stopListening = wake.on('dispatch', (payload) => {
        const isOfRest = leavesDue && (payload === roomPayload || payload === laterPayload)
        if (isOfRest) sleeper.nudge()
        else if (payload !== roomPayload) sleeper.wake()
      })
      queue.onReconnect(sleeper.wake)
      sleeper.wake()
    },
    takeRoom: () => {
      if (isStopped || !leadership.isLeading) return false
      if (leavesDue) sleeper.nudge()
      return true
    },
    stop: async () => {
      isStopped = true
      stopListening()
      await sleeper.stop()
    },
  }
}

/**
 * How long to rest for the next round to admit as much as it should; no more than twice as long as before, and no less than half.
 *
 * @param part what was admitted of what is in flight now
 * @param sinceMs in which time workers had made room for it
 */
function restAfter(restMs: number, part: number, sinceMs: number): number {
  const wantedMs = (sinceMs * rest.part) / part
  return Math.min(rest.longestMs, Math.max(1, restMs / 2, Math.min(2 * restMs, wantedMs)))
}

/** Whether another process leads and does what it should. One that is stopped keeps its lock: two at once are less fair, but never wrong. */
async function standsBy({ database, leadership }: DispatcherDependencies): Promise<boolean> {
  if (await leadership.isHeld()) return false
  const dueInMs = await msUntilDue(database.engine)
  if (dueInMs === null || dueInMs > -overdueMs) return true
  const { leaderQuietMs } = await leadership.look()
  return leaderQuietMs !== null && leaderQuietMs < overdueMs
}

/** @returns a function that says whether this process now lets another one lead */
function createYielding({ queue, leadership }: DispatcherDependencies): () => Promise<boolean> {
  let aloneSinceMs: number | null = null
  let yieldsUntilMs = Number.NEGATIVE_INFINITY
  return async () => {
    const now = performance.now()
    if (now < yieldsUntilMs) return true
    if (!queue.isByHand) aloneSinceMs = null
    else aloneSinceMs ??= now
    if (aloneSinceMs === null || now - aloneSinceMs < longestAloneMs) return false
    aloneSinceMs = null
    if ((await leadership.look()).live < 2) return false
    await leadership.resign()
    yieldsUntilMs = now + yieldMs
    return true
  }
}

/** @returns a function that admits what may be admitted now; null when no due row is left, else which part of all that is in flight now was admitted by it */
function createAdmitter(
  { database, queue, leadership, admission, pace, rowsPerWorker }: DispatcherDependencies,
  onWaiting: () => void,
) {
  const fairShare = createFairShare()
  let workers = 1
  let countedAtMs = Number.NEGATIVE_INFINITY
  const countWorkers = async (): Promise<number> => {
    // The others get no hints now, so there is room for what one can hold.
    if (queue.isByHand) return 1
    if (performance.now() - countedAtMs >= countWorkersEveryMs) {
      workers = Math.max(1, (await leadership.look()).live)
      countedAtMs = performance.now()
    }
    return workers
  }
  const behind = createLookBehind()
  return async (): Promise<{ part: number } | null> => {
    const waiting = await findWaitingStreams(database.engine)
    if (waiting.length === 0) return null
    onWaiting()
    const working = await countWorkers()
    const { rows, underWay, keep } = await admitInTurn(database.engine, async (client) => {
      const counted = await countInFlight(client)
      const division = share(fairShare, waiting, counted, working * rowsPerWorker)
      if (division === null) return { rows: [], underWay: counted }
      const { quotas, keep } = division
      if (quotas.length === 0) return { rows: [], underWay: counted, keep }
      const unanswered = withoutSoonAnswered(counted, (domain) => working * pace.perSecond(domain))
      return { rows: await admitOldest(behind, client, quotas, unanswered), underWay: counted, keep }
    })
    keep?.()
    // The workers wake us as soon as they have taken some, or are done with some.
    if (rows.length === 0) return { part: 0 }
    admission.hint(interleave(rows).map((row) => row.recipientId))
    return { part: rows.length / (inFlightOf(underWay) + rows.length) }
  }
}

const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0)
const inFlightOf = (entries: readonly InFlight[]) =>
  sum(entries.map(({ admitted, leased }) => admitted + leased))

/**
 * @param most rows that all workers can hold together
 * @returns null: there is no room
 */
function share(
  fairShare: FairShare,
  waiting: readonly WaitingStream[],
  underWay: readonly InFlight[],
  most: number,
): Division | null {
  const nameOf = ({ tenantId, stream }: { tenantId: string; stream: string }) => `${tenantId}/${stream}`
  const streams = Map.groupBy(underWay, nameOf)
  const inFlight = inFlightOf(underWay)
  const shares = waiting.map((stream) => ({
    ...stream,
    inFlight: inFlightOf(streams.get(nameOf(stream)) ?? []),
  }))
  const given = Math.floor(most * givenOut)
  const ofWaiting = sum(shares.map((entry) => entry.inFlight))
  const capacity = given - (inFlight - ofWaiting)
  // Whoever comes to what others hold already takes of the rest. Only where more wait than that has rows, they take turns.
  const free = (shares.length <= most - given ? most : given) - inFlight
  const room = Math.min(window - sum(underWay.map(({ admitted }) => admitted)), free)
  return room <= 0 ? null : fairShare.divide(shares, room, capacity)
}

/** Takes turns between tenants, so that a hint does not hold one tenant's rows only and a queue never has a tenant in a row. */
function interleave<Row extends { tenantId: string; stream: string }>(rows: readonly Row[]): Row[] {
  const groups = [...Map.groupBy(rows, (row) => `${row.tenantId}/${row.stream}`).values()]
  const longest = Math.max(0, ...groups.map((group) => group.length))
  const result: Row[] = []
  for (let turn = 0; turn < longest; turn++) {
    for (const group of groups) {
      const row = group[turn]
      if (row) result.push(row)
    }
  }
  return result
}
