/**
 * The sweep: finds what a crash, a lost hint or a flushed queue left behind (docs/ARCHITECTURE.md, "Crash table").
 *
 * Every few seconds: leases that ran out are due at once; the queue's epoch is compared, and when it is missing or another
 * one, all admitted rows wait again at once; rows admitted for over 30 s wait again; what workers have of suspended tenants is recalled. A doubled hint is harmless: only an admitted row can be leased.
 */
import { randomUUID } from 'node:crypto'
import {
  type Database,
  findHeldInHand,
  type HintQueue,
  readInstanceValue,
  readmitAll,
  readmitOlderThan,
  releaseExpiredLeases,
  type Wake,
  writeInstanceValue,
} from '@valija/store'
import { recallOfTenant } from './recall-mail.ts'
import { createSleeper } from './sleeper.ts'
import { createClockWatch } from './watch-clock.ts'

export interface Sweep {
  start(): void
  stop(): Promise<void>
}

export interface SweepDependencies {
  database: Database
  queue: HintQueue
  wake: Wake
  log: (fields: { count: number } | { jump_ms: number }, text: string) => void
  /** Told when hints were given and nobody took them: it may be this worker that takes none. */
  onLostHints: () => void
  /** PostgreSQL takes no results from this worker, and so perhaps from none. */
  isHeldUp: () => boolean
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
/**
 * After a time in which PostgreSQL could not be asked, or took no results (a full disk, a failover), leases are over whose workers hold what
 * came of them, and write it within half a second. They come first, or those mails would be sent again; as after a start of PostgreSQL
 * (store/admission.ts).
 */
const afterTroubleMs = 5_000

export function createSweep(dependencies: SweepDependencies): Sweep {
  const { database, queue, wake, log, onLostHints, isHeldUp, onError } = dependencies
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
    if (count > 0) onLostHints()
  }
  const clock = createClockWatch(database, wake, log)
  let troubleAtMs = Number.NEGATIVE_INFINITY
  const canEndLeases = async () => {
    try {
      const isBelievable = await clock.canBelieveLeases()
      if (isHeldUp()) troubleAtMs = performance.now()
      return isBelievable && performance.now() - troubleAtMs >= afterTroubleMs
    } catch (error) {
      troubleAtMs = performance.now()
      throw error
    }
  }
  const endLeases = async () => {
    const { count, suspects } = await releaseExpiredLeases(database.engine)
    report(count, 'leases ran out: their deliveries are due again')
    report(suspects, 'deliveries had part in too many crashes in a row: each is tried alone')
  }
  const round = async () => {
    if (await canEndLeases()) await endLeases()
    await checkEpoch()
    await checkHints()
    for (const tenantId of await findHeldInHand(database)) wake.send('recall', recallOfTenant(tenantId))
    // Last: it may take long or fail, and nothing of the above waits for it.
    report(await clock.repair(), 'times lay ahead that could not: a clock was set back')
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
