import { createMailLog } from '@valija/core'
import { meterMailLog, reportsCounted } from '@valija/flows'
import { createMetrics } from '@valija/runtime'
import { expect, test } from 'vitest'
import { createWorkerCounters } from './worker-counters.ts'

test('reports out of mailboxes count together with those that the same process takes over SMTP', async () => {
  const metrics = await createMetrics('start')
  const counters = [createWorkerCounters(metrics), { reports: metrics.count(reportsCounted) }]
  for (const each of counters) {
    const log = meterMailLog(
      createMailLog(() => undefined),
      each,
    )
    log.reportIgnored({ kind: 'bounce', reason: 'repeated', via: 'any', sizeBytes: 1 })
  }
  expect(await metrics.exposition()).toContain(
    'valija_reports_total{kind="bounce",outcome="repeated",process="start"} 2',
  )
})
