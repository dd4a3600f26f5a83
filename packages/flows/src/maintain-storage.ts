/**
 * Housekeeping, by any worker, now and then: the partitions of the next days, those beyond the retention, idempotency keys and
 * TLS policies whose time is over, counts and reports of long ago, what disabled endpoints were never told, what mailboxes were remembered
 * for, which reports were taken, what was taken off suppression lists long ago, quarantines that are over, digests of old messages, and secrets that an
 * older key has sealed; mail of tenants with a shorter retention; and bodies of sensitive messages that an older worker left. More often: digests of new messages (digest-messages.ts), and
 * what is to be erased (erasure-rounds.ts).
 * Doing it twice at the same time is harmless. A step that fails keeps no other from its turn.
 */
import type { Sealer } from '@valija/core'
import {
  countStrayRows,
  type Database,
  dropOldPartitions,
  ensurePartitions,
  forgetOldAudit,
  forgetOldDigests,
  forgetOldDomainReports,
  forgetOldErasures,
  forgetOldFaults,
  forgetOldInboxMails,
  forgetOldKeys,
  forgetOldReports,
  forgetOldStats,
  forgetOldStsPolicies,
  forgetOldTlsReports,
  forgetOldUsage,
  forgetRedactions,
  forgetRemovals,
  forgetUntoldEvents,
  liftQuarantines,
  type QuarantinePlace,
  sweepSensitiveBodies,
  type Wake,
} from '@valija/store'
import { digestRounds } from './digest-messages.ts'
import { type ErasureRoundParts, erasureRounds } from './erasure-rounds.ts'
import { sealAnew } from './seal-anew.ts'
import { createSleeper } from './sleeper.ts'
import { tenantRetentionRounds } from './tenant-retention.ts'

export interface Maintenance {
  start(): void
  stop(): Promise<void>
}

export interface MaintenanceDependencies extends Omit<ErasureRoundParts, 'isStopped'> {
  database: Database
  wake: Pick<Wake, 'send' | 'on'>
  sealer: Sealer
  /** How long bodies, and how long messages, attempts and events are kept, in milliseconds. */
  retention: { contentMs: number; historyMs: number }
  log: (fields: { count: number }, text: string) => void
  /** Told of what goes as it should. */
  tell: (fields: { count: number }, text: string) => void
  onError: (error: Error) => void
}

const everyMs = 15 * 60_000
const afterErrorMs = 60_000
/** While a tenant has old mail left. */
const whileUnfinishedMs = 1_000
/** While processes are being restarted with another secret key. */
const whileResealingMs = 5_000
/** While an older key is listed: a process that still seals with it may come late. */
const whileOlderKeysMs = 60_000

export function createMaintenance(dependencies: MaintenanceDependencies): Maintenance {
  const { database, wake, sealer, retention, log, tell, onError } = dependencies
  const stopping = new AbortController()
  const isStopped = () => stopping.signal.aborted
  /** Does a bounded piece of work again until there is none left. Returns how much was done. */
  const exhaust = async (work: () => Promise<number>): Promise<number> => {
    let total = 0
    for (let done = 1; done > 0 && !isStopped(); total += done) done = await work()
    return total
  }
  const retentionRound = tenantRetentionRounds({ database, stop: stopping.signal, onError })
  const round = async () => {
    let hasFailed = false
    let pauseMs = everyMs
    const keepRetentions = async () => {
      const result = await retentionRound()
      if (result === 'unfinished') pauseMs = whileUnfinishedMs
      if (result === 'failed') hasFailed = true
    }
    const steps = stepsOf({ database, retention, exhaust, log, isStopped, keepRetentions })
    for (const step of steps) {
      if (isStopped()) break
      try {
        await step()
      } catch (error) {
        hasFailed = true
        onError(error as Error)
      }
    }
    return hasFailed ? afterErrorMs : pauseMs
  }
  const sealRound = async () => {
    const parts = { database, sealer, log: tell, onError, isStopped }
    return (await sealAnew(parts)) === 'unfinished' ? whileResealingMs : whileOlderKeysMs
  }
  const digestRound = digestRounds({ database, stop: stopping.signal })
  const erasures = createSleeper({
    round: erasureRounds({ ...dependencies, isStopped }),
    onError,
    afterErrorMs,
  })
  const stopHearing = wake.on('erasures', () => erasures.wake())
  const sleepers = [
    erasures,
    createSleeper({ round, onError, afterErrorMs }),
    createSleeper({ round: digestRound, onError, afterErrorMs }),
  ]
  if (sealer.fingerprints.length > 1)
    sleepers.push(createSleeper({ round: sealRound, onError, afterErrorMs }))
  return {
    start: () => {
      for (const sleeper of sleepers) sleeper.wake()
    },
    stop: async () => {
      stopping.abort()
      stopHearing()
      await Promise.all(sleepers.map((sleeper) => sleeper.stop()))
    },
  }
}

/** What endpoints are no longer told of comes before the days that it keeps. */
function stepsOf({
  database,
  retention,
  exhaust,
  log,
  isStopped,
  keepRetentions,
}: Pick<MaintenanceDependencies, 'database' | 'retention' | 'log'> & {
  exhaust: (work: () => Promise<number>) => Promise<number>
  isStopped: () => boolean
  keepRetentions: () => Promise<void>
}): (() => Promise<unknown>)[] {
  const { engine } = database
  return [
    () => ensurePartitions(engine),
    () => exhaust(() => sweepSensitiveBodies(engine)),
    () => exhaust(() => forgetOldKeys(engine)),
    () => exhaust(() => forgetOldStsPolicies(engine)),
    () => exhaust(() => forgetOldTlsReports(engine)),
    () => exhaust(() => forgetOldInboxMails(engine, retention.contentMs)),
    () => exhaust(() => forgetUntoldEvents(engine, retention.historyMs)),
    () => exhaust(() => forgetOldFaults(engine)),
    () => exhaust(() => forgetOldUsage(engine)),
    () => exhaust(() => forgetOldAudit(engine, retention.historyMs)),
    () => exhaust(() => forgetRemovals(engine, retention.historyMs)),
    () => exhaust(() => forgetOldReports(engine, retention.historyMs)),
    () => exhaust(() => forgetOldDomainReports(engine, retention.historyMs)),
    () => exhaust(() => forgetOldErasures(engine, retention.historyMs)),
    keepRetentions,
    () => exhaust(() => forgetOldStats(engine)),
    async () => {
      let place: QuarantinePlace | null = null
      do place = await liftQuarantines(engine, place)
      while (place !== null && !isStopped())
    },
    async () => {
      const dropped = await exhaust(() => dropOldPartitions(engine, retention))
      if (dropped > 0) log({ count: dropped }, 'partitions beyond the retention were dropped')
    },
    () => exhaust(() => forgetOldDigests(engine, retention.historyMs)),
    () => exhaust(() => forgetRedactions(engine)),
    async () => {
      const strayRows = await countStrayRows(engine)
      if (strayRows > 0)
        log({ count: strayRows }, 'rows stand in a default partition: their day had none of its own')
    },
  ]
}
