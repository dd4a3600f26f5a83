/**
 * The dispatcher: admits what waits, fairly, and keeps the queue filled only a little ahead of the workers, so that a row
 * decided on early never stands in front of one that arrives later and matters more (DESIGN 4.14).
 *
 * One process leads (an advisory lock on a connection of the leader's own); the others stand by. Woken by `dispatch`, by a
 * timer at the earliest due time, and by a safety sweep.
 */
import { createFairShare } from '@valija/core'
import {
  admitRows,
  countAdmitted,
  type Database,
  findWaitingStreams,
  type HintQueue,
  type Leadership,
  msUntilDue,
  type Wake,
} from '@valija/store'
import type { Admission } from './admit-deliveries.ts'
import { createSleeper } from './sleeper.ts'

export interface Dispatcher {
  start(): void
  stop(): Promise<void>
}

export interface DispatcherDependencies {
  database: Database
  wake: Wake
  queue: HintQueue
  leadership: Leadership
  admission: Admission
  onError: (error: Error) => void
}

/**
 * Rows admitted and not leased yet, in all: they are out of the dispatcher's hands, so a later row of another tenant waits for
 * them. What the workers take in some tens of milliseconds at full speed.
 */
const window = 128
/** A standby looks this often whether the leader still does its work, and takes over what is overdue by this. */
const standbyMs = 5_000
/** Safety sweep: nothing waits longer than this for a wake-up that was lost. */
const sweepMs = 15_000

export function createDispatcher({
  database,
  wake,
  queue,
  leadership,
  admission,
  onError,
}: DispatcherDependencies): Dispatcher {
  const fairShare = createFairShare()

  /** One round; returns how long to sleep after it. */
  const round = async (): Promise<number> => {
    // Hints could not be given; the reconnect wakes us.
    if (!queue.isUp) return sweepMs
    if (!(await leadership.isHeld())) {
      // A leader that is stopped keeps its lock. Two at once are less fair, but never wrong.
      const dueInMs = await msUntilDue(database.engine)
      if (dueInMs === null || dueInMs > -standbyMs) return standbyMs
    }
    for (;;) {
      const waiting = await findWaitingStreams(database.engine)
      if (waiting.length === 0) break
      const room = window - (await countAdmitted(database.engine, window))
      // The workers wake us as soon as they have taken some.
      if (room <= 0) return sweepMs
      const quotas = fairShare.divide(waiting, room)
      const rows = quotas.length === 0 ? [] : await admitRows(database.engine, quotas)
      admission.hint(interleave(rows).map((row) => row.recipientId))
      if (rows.length === 0 && quotas.length > 0) break
    }
    return Math.min(sweepMs, (await msUntilDue(database.engine)) ?? sweepMs)
  }
  const sleeper = createSleeper({ round, onError, afterErrorMs: 1_000 })
  let stopListening = () => {}
  return {
    start: () => {
      stopListening = wake.on('dispatch', sleeper.wake)
      queue.onReconnect(sleeper.wake)
      sleeper.wake()
    },
    stop: async () => {
      stopListening()
      await sleeper.stop()
    },
  }
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
