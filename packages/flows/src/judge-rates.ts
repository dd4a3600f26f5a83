/**
 * Raises alarms of tenants' rates, ends them, and holds bulk mail whose rates are so bad that all who share our addresses would suffer:
 * core/alarm-policy.ts decides, store/judge-rates.ts writes it down and tells it.
 */
import {
  type AlarmLimits,
  alarmWindowHours,
  alarmWords,
  judgeAlarms,
  judgePause,
  pauseWords,
  usualAlarmLimits,
} from '@valija/core'
import { type Database, type JudgedStream, judgeRates, type Verdict, type Wake } from '@valija/store'

/** Rates of a day: nothing changes much in less. */
export const judgeEveryMs = 30_000

export interface RateJudgeParts {
  database: Database
  wake: Pick<Wake, 'send'>
  /** Told of each tenant whose bulk mail is held from now on. */
  onPaused: (tenantId: string) => void
}

export async function judgeTenantRates(
  { database, wake, onPaused }: RateJudgeParts,
  notWithinMs = judgeEveryMs,
): Promise<void> {
  const { paused, hasWebhooks } = await judgeRates(database.engine, notWithinMs, verdictOf)
  if (hasWebhooks) wake.send('webhooks')
  for (const tenantId of paused) onPaused(tenantId)
}

function verdictOf({ tenantId, stream, counts, countsToPause, raised, ...tenant }: JudgedStream): Verdict {
  const limits = limitsOf(tenant)
  const pause = countsToPause && judgePause(countsToPause, limits)
  return {
    alarms: judgeAlarms(counts, limits, new Set(raised)).map((change) => ({
      tenantId,
      stream,
      change,
      words: alarmWords(change.alarm, stream),
    })),
    pause: pause && {
      tenantId,
      pause: { ...pause, hours: alarmWindowHours },
      words: pauseWords(pause.reason),
    },
  }
}

function limitsOf({ isDefault, limits }: Pick<JudgedStream, 'isDefault' | 'limits'>): AlarmLimits {
  return { ...usualAlarmLimits(isDefault), ...limits }
}
