/**
 * Suspects: deliveries under which workers died, hung or were stopped several times in a row (core/crash-policy.ts). Each is given,
 * alone, to a *cell*: a process that has nothing else in hand. If it lives, the mail has gone its usual way, and the cell takes
 * the next one. If it hangs, the mail is given up; if it crashes, it is tried once more in a new cell before that. A cell that is
 * ended from outside (`kill -9`, the system for want of memory) says nothing of the mail, which is given back for longer each time.
 * And when many crash, whatever it is, it is not in the mails: no more of them are given up, and they wait.
 *
 * After a bad minute of the machine nearly all suspects are innocent, and there are as many as workers had leases. A cell lives
 * on from mail to mail, so an innocent one costs what its conversation takes (about 20 ms to a quick server, after 1 to 2 s for the first),
 * and never a second copy of anybody's mail, which trying several at once would. Two cells at most work beside each other,
 * the second as soon as somebody waits, so that a slow receiver delays the other suspects less; what finds the line full is due again in a
 * moment, and other workers have cells of their own.
 */
import { crashesOfSuspect, createGivingUp, pauseAfterCrashes, steadyNowMs, triesAlone } from '@valija/core'
import { countCrash, type Database, isDotMarked, type LeasedDelivery, renewLeases } from '@valija/store'
import { askPatiently } from './ask-patiently.ts'
import type { GiveBackDesk } from './give-back.ts'
import type { HeldLease, HeldLeases } from './held-leases.ts'

/**
 * What became of a cell with a delivery: it is settled or given back (`done`); the process ended before that by itself, by a crash or
 * because it hung; or somebody else ended it, we included (`stopped`).
 */
export type CellOutcome = 'done' | 'crashed' | 'hung' | 'stopped'

/** A process of its own that delivers one mail at a time. */
export interface Cell {
  /** Resolves when there is an outcome; never rejects. */
  deliver(delivery: LeasedDelivery): Promise<CellOutcome>
  /** Cuts the conversation under way, as an uncertain end where it is one. */
  hurry(): void
  /** Ends the process in peace. */
  close(): Promise<void>
}

/** Leases of it ran out so often in a row that it is delivered alone. */
export function isSuspect({ crashes }: Pick<LeasedDelivery, 'crashes'>): boolean {
  return crashes >= crashesOfSuspect
}

export interface Isolation {
  /** Takes a suspect over: it is delivered alone, given up, or given back. */
  take(delivery: LeasedDelivery, lease: HeldLease): void
  /** Gives back what is not begun and meets the condition. */
  giveBackIf(condition: (delivery: LeasedDelivery) => boolean): void
  /** Gives back what is not begun, and takes no more. */
  stop(): void
  /** Resolves when every cell has ended. */
  drain(): Promise<void>
  hurry(): void
  /** Suspects in hand. */
  readonly size: number
}

export interface IsolationDependencies {
  database: Database
  leases: Pick<HeldLeases, 'drop'>
  backDesk: Pick<GiveBackDesk, 'giveBack'>
  /** @throws {Error} when the process does not come up, which is no mail's fault */
  openCell: () => Promise<Cell>
  /** Ends a mail. `isPastDot`: its last process was about to send the final dot. */
  giveUp: (delivery: LeasedDelivery, lease: HeldLease, end: { cells: number; isPastDot: boolean }) => void
  /** Ends the waiting for a PostgreSQL that is away. */
  stopping: AbortSignal
  onError: (error: Error) => void
}

interface Suspect {
  delivery: LeasedDelivery
  lease: HeldLease
}

/** What suspects that find no room here are held back by, as explain reads it. */
export const crashesMark = 'crashes:'
const mostCells = 2
const mostWaiting = 64
/** What finds no room is due again after this; without a cell, after this and longer with every time that none came up. */
const laterMs = 5_000
const longestLaterMs = 300_000
/** An idle cell ends after this: what found no room comes again before. */
const idleMs = 15_000

export function createIsolation(dependencies: IsolationDependencies): Isolation {
  const { backDesk, onError } = dependencies
  const line = createLine()
  const lanes = new Set<Promise<void>>()
  const cells = new Set<Cell>()
  const mayGiveUp = createGivingUp(steadyNowMs)
  let begun = 0
  let failedInRow = 0

  const open = async (): Promise<Cell> => {
    const cell = await dependencies.openCell()
    failedInRow = 0
    cells.add(cell)
    return cell
  }
  const runLane = async (): Promise<void> => {
    let cell: Cell | null = null
    for (let suspect = await line.next(); suspect; suspect = await line.next()) {
      begun += 1
      const before: Cell | null = cell
      try {
        cell = await tryAlone(dependencies, suspect, cell, {
          open,
          mayGiveUp,
          isStopped: () => line.isClosed,
        })
      } catch (error) {
        // No cell came up, or PostgreSQL stays away: nothing of this mail.
        cell = null
        onError(error as Error)
        const pauseMs = Math.min(longestLaterMs, laterMs * 2 ** failedInRow)
        failedInRow += 1
        backDesk.giveBack([suspect.lease], steadyNowMs() + pauseMs, crashesMark)
      }
      begun -= 1
      if (before !== null && before !== cell) cells.delete(before)
    }
    await cell?.close()
    if (cell !== null) cells.delete(cell)
  }
  return {
    take: (delivery, lease) => {
      if (line.isClosed) return backDesk.giveBack([lease], 0, null)
      if (line.size >= mostWaiting) return backDesk.giveBack([lease], steadyNowMs() + laterMs, crashesMark)
      const isAwaited = line.add({ delivery, lease })
      if (isAwaited || lanes.size >= mostCells) return
      const lane = runLane()
        .catch(onError)
        .finally(() => lanes.delete(lane))
      lanes.add(lane)
    },
    giveBackIf: (condition) => {
      giveAllBack(
        backDesk,
        line.withdraw(({ delivery }) => condition(delivery)),
      )
    },
    stop: () => giveAllBack(backDesk, line.close()),
    drain: async () => {
      await Promise.all(lanes)
    },
    hurry: () => {
      for (const cell of cells) cell.hurry()
    },
    get size() {
      return line.size + begun
    },
  }
}

function giveAllBack(backDesk: Pick<GiveBackDesk, 'giveBack'>, suspects: readonly Suspect[]): void {
  const untouched = suspects.map(({ lease }) => lease)
  backDesk.giveBack(untouched, 0, null)
}

/** Suspects that wait for a cell, and the cells that wait for a suspect. */
function createLine() {
  let waiting: Suspect[] = []
  const idle = new Set<() => void>()
  let isClosed = false
  return {
    /** @returns whether an idle cell waited for it */
    add: (suspect: Suspect): boolean => {
      waiting.push(suspect)
      const [wake] = idle
      if (wake === undefined) return false
      idle.delete(wake)
      wake()
      return true
    },
    /** Undefined: none came for a while, or none will. */
    next: async (): Promise<Suspect | undefined> => {
      if (waiting.length === 0 && !isClosed) {
        const { promise, resolve } = Promise.withResolvers<void>()
        const timer = setTimeout(resolve, idleMs)
        idle.add(resolve)
        await promise
        clearTimeout(timer)
        idle.delete(resolve)
      }
      return waiting.shift()
    },
    withdraw: (isMeant: (suspect: Suspect) => boolean): Suspect[] => {
      const withdrawn = waiting.filter(isMeant)
      waiting = waiting.filter((suspect) => !isMeant(suspect))
      return withdrawn
    },
    /** @returns those that nobody has begun with */
    close: (): Suspect[] => {
      isClosed = true
      for (const wake of idle) wake()
      return waiting.splice(0)
    },
    get isClosed() {
      return isClosed
    },
    get size() {
      return waiting.length
    },
  }
}

interface Lane {
  open: () => Promise<Cell>
  mayGiveUp: () => boolean
  isStopped: () => boolean
}

/** @returns the cell that may take the next one; null when there is none left */
async function tryAlone(
  dependencies: IsolationDependencies,
  suspect: Suspect,
  given: Cell | null,
  { open, mayGiveUp, isStopped }: Lane,
): Promise<Cell | null> {
  const { database, leases, backDesk, giveUp, stopping, onError } = dependencies
  const { delivery, lease } = suspect
  let cell = given
  for (let tries = 1; ; tries += 1) {
    cell ??= await open()
    const outcome = await cell.deliver(delivery)
    if (outcome === 'done') {
      leases.drop(lease)
      return cell
    }
    cell = null
    const renewed = await askPatiently(() => renewLeases(database.engine, [lease]), stopping)
    if (!renewed.has(lease.recipientId)) {
      // It was settled or given back before the process ended.
      leases.drop(lease)
      return null
    }
    if (isStopped()) {
      backDesk.giveBack([lease], 0, null)
      return null
    }
    if (outcome === 'stopped') return rest(dependencies, suspect)
    const isPastDot = await askPatiently(() => isDotMarked(database.engine, lease), stopping)
    const isGuilty = outcome === 'hung' || tries === triesAlone
    if (!isGuilty && !(isPastDot && delivery.atMostOnce)) continue
    if (!mayGiveUp()) {
      onError(new Error('so many mails were given up lately that the fault is not theirs: suspects wait'))
      return rest(dependencies, suspect)
    }
    giveUp(delivery, lease, { cells: tries, isPastDot })
    return null
  }
}

/** The mail waits, for longer each time. If its final dot was marked and must not be repeated, whoever leases it next ends it. */
async function rest(
  { database, backDesk, stopping }: IsolationDependencies,
  { delivery, lease }: Suspect,
): Promise<null> {
  await askPatiently(() => countCrash(database.engine, lease), stopping)
  backDesk.giveBack([lease], steadyNowMs() + pauseAfterCrashes(delivery.crashes + 1), crashesMark)
  return null
}
