/**
 * What the operator decides of mail that may have been delivered after the time that PostgreSQL was set back to (docs/operations.md, "Backup and
 * restore"): it is held, and then sent again, or ended as uncertain. Mail of an at-most-once tenant is never sent again.
 */
import { createJudge, type IdSource, isEnd, type MailLog, type RetryPolicy, uuidTimeMs } from '@valija/core'
import {
  admitRestored,
  countWorkers,
  type Database,
  type DatabaseClock,
  deleteOrphans,
  holdRestored,
  type Leadership,
  leaderBeatMs,
  leaseDeliveries,
  openLeadership,
  type RestoredFilter,
  readRestorePoint,
  releaseRestored,
  settleAttempts,
  type Wake,
} from '@valija/store'
import { restoredReport } from './failed-report.ts'
import { discard, type JudgeDependencies, judgeAttempt } from './judge-attempt.ts'
import { logSettled } from './settle-desk.ts'

/** Of a foundation. */
export interface RestoreParts {
  database: Database
  clock: Pick<DatabaseClock, 'nowMs'>
  nextId: IdSource
  wake: Pick<Wake, 'send'>
}

/** What ends mail tells of it. */
export interface EndParts extends RestoreParts {
  mailLog: Pick<MailLog, 'attempted' | 'ended'>
}

const endedAtOnce = 200

/** A worker would go on sending what is to be held. */
export class WorkersRunError extends Error {
  override name = 'WorkersRunError'
}

/** A time at which the database cannot have been lost. */
export class LossTimeError extends Error {
  override name = 'LossTimeError'
}

/**
 * Holds it, before any worker runs. It leads meanwhile, so that a worker that starts admits nothing; one that has taken by then what was not held yet
 * is told of.
 *
 * @param lostAt when the database was lost; null: everything that is due by now
 * @returns how many, and up to which time what was due is among them
 * @throws {WorkersRunError}
 * @throws {LossTimeError} for one that is still to come, or earlier than what came back: most likely it is of another time zone
 */
export async function holdAfterRestore(
  { database }: Pick<RestoreParts, 'database'>,
  lostAt: Date | null,
): Promise<{ held: number; dueBy: Date }> {
  const { engine } = database
  const dueBy = await judgeLossTime(engine, lostAt)
  const workers = await countWorkers(engine)
  if (workers > 0)
    throw new WorkersRunError(`${workers === 1 ? 'A worker runs' : `${workers} workers run`} ${stopFirst}`)
  const led = await whileLeading(database.url, async (leadership) => {
    const held = await holdRestored(engine, dueBy)
    return { held, isAlone: leadership.isLeading && (await countWorkers(engine)) === 1 }
  })
  if (led === null) throw new WorkersRunError(`A worker runs ${stopFirst}`)
  if (led.isAlone) return { held: led.held, dueBy }
  throw new WorkersRunError(
    `A worker came while mail was being held, or PostgreSQL was away: ${led.held} recipients are held, and what it took before may have been sent. Stop all workers, and say it again.`,
  )
}

/** The dispatchers of workers that come meanwhile stand by. @returns null: somebody leads */
async function whileLeading<T>(
  databaseUrl: string,
  work: (leadership: Leadership) => Promise<T>,
): Promise<T | null> {
  // Whether its connection has stood is asked at the end.
  const leadership = openLeadership(databaseUrl, 'dispatch', () => undefined)
  let beat: NodeJS.Timeout | undefined
  try {
    if (!(await leadership.isHeld())) return null
    beat = setInterval(() => void leadership.isHeld().catch(() => undefined), leaderBeatMs)
    return await work(leadership)
  } finally {
    clearInterval(beat)
    await leadership.close()
  }
}

const stopFirst = 'on this database: stop all of them first, and hold what is there before one starts.'

async function judgeLossTime(engine: Database['engine'], lostAt: Date | null): Promise<Date> {
  const { now, newestEvent, isHolding } = await readRestorePoint(engine)
  if (lostAt === null) return now
  if (lostAt > now)
    throw new LossTimeError(`${lostAt.toISOString()} is still to come: it is ${now.toISOString()} (UTC).`)
  const newest = newestEvent === null ? null : new Date(uuidTimeMs(newestEvent))
  // Said again, what has come since is no sign of anything.
  if (newest !== null && lostAt < newest && !isHolding)
    throw new LossTimeError(
      `The database was not lost at ${lostAt.toISOString()}: what came back goes up to ${newest.toISOString()} (UTC). If an API or a worker ran here since then and that is of it, leave out --lost-at: all is held.`,
    )
  return lostAt
}

/** Sends it again, with the same Message-ID and bytes; what is to go at most once has its end instead. */
export async function releaseAfterRestore(
  foundation: EndParts,
  filter: RestoredFilter,
): Promise<{ released: number; ended: number }> {
  const ended = await endAll(foundation, filter, true)
  const released = await releaseRestored(foundation.database.engine, filter)
  foundation.wake.send('dispatch')
  return { released, ended }
}

/** Has it ended: failed, and perhaps delivered. */
export async function endAfterRestore(foundation: EndParts, filter: RestoredFilter): Promise<number> {
  return endAll(foundation, filter, false)
}

/** Nothing is tried again, so none of it is asked. */
const noRetries: RetryPolicy = { networkScheduleMs: [] }

async function endAll(
  { database, clock, nextId, wake, mailLog }: EndParts,
  filter: RestoredFilter,
  onlyAtMostOnce: boolean,
): Promise<number> {
  const judge = createJudge([])
  const judging: JudgeDependencies = {
    nextId,
    nowMs: clock.nowMs,
    judge,
    retryPolicy: noRetries,
    random: () => 0,
  }
  let ended = 0
  for (;;) {
    const ids = await admitRestored(database.engine, filter, { onlyAtMostOnce, limit: endedAtOnce })
    if (ids.length === 0) return ended
    const { deliveries, orphans } = await leaseDeliveries(database.engine, ids, false)
    await deleteOrphans(database.engine, orphans)
    const ends = deliveries.map((delivery) => {
      if (isEnd(delivery.status)) return { delivery, settlement: discard(delivery), report: undefined }
      const report = restoredReport(delivery.route)
      return { delivery, settlement: judgeAttempt(judging, delivery, report, () => null), report }
    })
    const { settled, hasWebhooks } = await settleAttempts(
      database.engine,
      ends.map(({ settlement }) => settlement),
    )
    if (hasWebhooks) wake.send('webhooks')
    for (const { delivery, settlement, report } of ends)
      if (settled.has(delivery.recipientId)) logSettled(mailLog, delivery, settlement, report)
    ended += settled.size
  }
}
