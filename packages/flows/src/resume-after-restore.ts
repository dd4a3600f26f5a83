/**
 * What the operator decides of mail that may have been delivered after the time that PostgreSQL was set back to (docs/operations.md, "Backup and
 * restore"): it is held, and then sent again, or ended as uncertain. Mail of an at-most-once tenant is never sent again.
 */
import { createJudge, type IdSource, isEnd, type RetryPolicy } from '@valija/core'
import {
  admitRestored,
  countWorkers,
  type Database,
  type DatabaseClock,
  deleteOrphans,
  holdRestored,
  leaseDeliveries,
  type RestoredFilter,
  releaseRestored,
  settleAttempts,
  type Wake,
} from '@valija/store'
import { lostReport } from './failed-report.ts'
import { discard, type JudgeDependencies, judgeAttempt } from './judge-attempt.ts'

/** Of a foundation. */
export interface RestoreParts {
  database: Database
  clock: Pick<DatabaseClock, 'nowMs'>
  nextId: IdSource
  wake: Pick<Wake, 'send'>
}

const endedAtOnce = 200

/** A worker would go on sending what is to be held. */
export class WorkersRunError extends Error {
  override name = 'WorkersRunError'
}

/**
 * Holds it, before any worker runs.
 *
 * @param lostAt when the database was lost; null: everything that is due by now
 * @throws {WorkersRunError}
 */
export async function holdAfterRestore(
  { database }: Pick<RestoreParts, 'database'>,
  lostAt: Date | null,
): Promise<number> {
  const workers = await countWorkers(database.engine)
  if (workers > 0)
    throw new WorkersRunError(
      `${workers === 1 ? 'A worker runs' : `${workers} workers run`} on this database: stop all of them first, and hold what is there before one starts.`,
    )
  return holdRestored(database.engine, lostAt)
}

/** Sends it again, with the same Message-ID and bytes; what is to go at most once has its end instead. */
export async function releaseAfterRestore(
  foundation: RestoreParts,
  filter: RestoredFilter,
): Promise<{ released: number; ended: number }> {
  const ended = await endAll(foundation, filter, true)
  const released = await releaseRestored(foundation.database.engine, filter)
  foundation.wake.send('dispatch')
  return { released, ended }
}

/** Has it ended: failed, and perhaps delivered. */
export async function endAfterRestore(foundation: RestoreParts, filter: RestoredFilter): Promise<number> {
  return endAll(foundation, filter, false)
}

/** Nothing is tried again, so none of it is asked. */
const noRetries: RetryPolicy = { networkScheduleMs: [] }

const detail = 'The database was set back to an earlier time: this mail may have been delivered after that.'

async function endAll(
  { database, clock, nextId, wake }: RestoreParts,
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
    const settlements = deliveries.map((delivery) =>
      isEnd(delivery.status)
        ? discard(delivery)
        : judgeAttempt(judging, delivery, lostReport(delivery.route, 'restored', detail, true), () => null),
    )
    const { settled, hasWebhooks } = await settleAttempts(database.engine, settlements)
    if (hasWebhooks) wake.send('webhooks')
    ended += settled.size
  }
}
