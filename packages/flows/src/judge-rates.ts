/** Raises alarms of tenants' rates, and ends them: core/alarm-policy.ts decides, store/judge-rates.ts writes it down and tells it. */
import { type AlarmLimits, alarmWords, judgeAlarms, usualAlarmLimits } from '@valija/core'
import { type AlarmVerdict, type Database, type JudgedStream, judgeRates, type Wake } from '@valija/store'

/** Rates of a day: nothing changes much in less. */
export const judgeEveryMs = 30_000

/** @returns how many alarms began or are over */
export async function raiseAlarms(
  { database, wake }: { database: Database; wake: Wake },
  notWithinMs = judgeEveryMs,
): Promise<number> {
  const { changes, hasWebhooks } = await judgeRates(database.engine, notWithinMs, verdictsOf)
  if (hasWebhooks) wake.send('webhooks')
  return changes
}

function verdictsOf({ tenantId, stream, counts, raised, ...tenant }: JudgedStream): AlarmVerdict[] {
  return judgeAlarms(counts, limitsOf(tenant), new Set(raised)).map((change) => ({
    tenantId,
    stream,
    change,
    words: alarmWords(change.alarm, stream),
  }))
}

function limitsOf({ isDefault, limits }: Pick<JudgedStream, 'isDefault' | 'limits'>): AlarmLimits {
  return { ...usualAlarmLimits(isDefault), ...limits }
}
