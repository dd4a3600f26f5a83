/**
 * The sweep: finds what a crash, a lost hint or a flushed queue left behind (docs/ARCHITECTURE.md, "Crash table").
 *
 * Every few seconds: leases that ran out are due at once; the queue's epoch is compared, and when it is missing or another
 * one, all admitted rows wait again at once; rows admitted for over 30 s wait again. A doubled hint is harmless: only an admitted row can be leased.
 */
import { randomUUID } from 'node:crypto'
import {
  type Database,
  type HintQueue,
  readInstanceValue,
  readmitAll,
  readmitOlderThan,
  releaseExpiredLeases,
  type Wake,
  writeInstanceValue,
} from '@valija/store'
import { createSleeper } from './sleeper.ts'

export interface Sweep {
  start(): void
  stop(): Promise<void>
}

export interface SweepDependencies {
  database: Database
  queue: HintQueue
  wake: Wake
  log: (fields: { count: number }, text: string) => void
  onError: (error: Error) => void
}

/** The epoch that this database expects in the queue's store; another one, or none, means that the store lost what it held. */
const epochName = 'queue_epoch'
const sweepEveryMs = 2_000
/**
 * A hint is worked on within milliseconds. After this long it was lost with its process, or the workers are so far behind that
 * its rows had better be dispatched anew, fairly.
 */
const hintLostAfterMs = 30_000

export function createSweep({ database, queue, wake, log, onError }: SweepDependencies): Sweep {
  const report = (count: number, text: string) => {
    if (count === 0) return
    log({ count }, text)
    wake.send('dispatch')
  }
  const checkEpoch = async () => {
    if (!queue.isUp) return
    const expected = await readInstanceValue(database, epochName)
    const found = await queue.readEpoch()
    if (found !== null && found === expected) return
    const epoch = randomUUID()
    // What this database expects is written last: if we die before, the two differ and the next sweep does it all again.
    await queue.writeEpoch(epoch)
    report(
      await readmitAll(database.engine),
      'the queue had lost its hints: all admitted deliveries wait again',
    )
    await writeInstanceValue(database, epochName, epoch)
  }
  const checkHints = async () => {
    const count = await readmitOlderThan(database.engine, hintLostAfterMs)
    report(count, 'hints were lost or late: their deliveries wait again')
  }
  const round = async () => {
    report(await releaseExpiredLeases(database.engine), 'leases ran out: their deliveries are due again')
    await checkEpoch()
    await checkHints()
    return sweepEveryMs
  }
  const sleeper = createSleeper({ round, onError, afterErrorMs: sweepEveryMs })
  return {
    start: () => {
      queue.onReconnect(sleeper.wake)
      sleeper.wake()
    },
    stop: () => sleeper.stop(),
  }
}
