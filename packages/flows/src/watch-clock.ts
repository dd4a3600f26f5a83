/**
 * Whether somebody set PostgreSQL's clock: it is compared with the monotonic one, which goes on evenly. A machine that was
 * suspended looks the same from here, and what is done then does no harm to it.
 */
import { type Database, leaseMs, readDatabaseNow, repairFutureTimes, type Wake } from '@valija/store'

export interface ClockWatch {
  /**
   * Whether ends of leases can be believed: not just after the clock was set forward, when leases are over that their workers still
   * hold. They renew them every 10 s, so after a lease's time all that are held are right again.
   */
  canBelieveLeases(): Promise<boolean>
  /**
   * Puts right what a clock that was set back left behind, when there is reason to.
   *
   * @returns how many rows
   * @throws what PostgreSQL throws: then it is done again after a pause
   */
  repair(): Promise<number>
}

/** Less than this is no jump: leases have a margin of 5 s for it. */
const toleranceMs = 4_000
/** Other processes are told, or find out within 30 s (store/clock.ts), and write the old time until then. */
const repairForMs = 60_000
/** The pause after a repair that failed; twice as long after each. */
const afterFailureMs = 30_000
/** A clock that was set just before this start is not noticed here: by then those who hold leases have renewed them. */
const strangerForMs = 12_000

export function createClockWatch(
  database: Database,
  wake: Wake,
  log: (fields: { jump_ms: number }, text: string) => void,
): ClockWatch {
  let offsetMs: number | null = null
  let unbelievableUntilMs = performance.now() + strangerForMs
  // At the start nobody knows what happened before: once.
  let repairUntilMs = Number.POSITIVE_INFINITY
  let repairFromMs = 0
  let failures = 0

  const measure = async () => {
    const before = performance.now()
    const nowMs = await readDatabaseNow(database.engine)
    const after = performance.now()
    const jumpMs = offsetMs === null ? 0 : nowMs - (before + after) / 2 - offsetMs
    // A slow answer says less: it may be of any moment of the wait.
    if (Math.abs(jumpMs) <= toleranceMs + (after - before) / 2) {
      if (after - before < toleranceMs) offsetMs = nowMs - (before + after) / 2
      return
    }
    offsetMs = nowMs - (before + after) / 2
    wake.send('clock')
    log({ jump_ms: Math.round(jumpMs) }, 'the clock of PostgreSQL was set, or this machine was suspended')
    if (jumpMs > 0) unbelievableUntilMs = after + leaseMs
    else [repairUntilMs, repairFromMs] = [after + repairForMs, 0]
  }
  return {
    canBelieveLeases: async () => {
      await measure()
      return performance.now() >= unbelievableUntilMs
    },
    repair: async () => {
      const nowMs = performance.now()
      if (nowMs > repairUntilMs || nowMs < repairFromMs) return 0
      repairFromMs = nowMs + afterFailureMs * 2 ** failures
      failures += 1
      const repaired = await repairFutureTimes(database.engine)
      ;[repairFromMs, failures] = [0, 0]
      if (repairUntilMs === Number.POSITIVE_INFINITY) repairUntilMs = 0
      return repaired
    },
  }
}
