import { expect, test } from 'vitest'
import { createMetrics } from './metrics.ts'

test('counts, distributions and levels are exposed, with the process as label', async () => {
  const metrics = await createMetrics('worker')
  metrics
    .count({ name: 'valija_attempts_total', help: 'Attempts.', labels: ['outcome'] })
    .add({ outcome: 'delivered' }, 2)
  metrics.distribution({ name: 'valija_accept_seconds', help: 'Accept.' }).observe({}, 0.003)
  metrics.level({ name: 'valija_sessions', help: 'Open sessions.' }).set({}, 4)
  metrics.observedLevel({ name: 'valija_waiting', help: 'Waiting.' }, async () => 7)
  const text = await metrics.exposition()
  expect(text).toContain('valija_attempts_total{outcome="delivered",process="worker"} 2')
  expect(text).toContain('valija_accept_seconds_bucket{le="0.005",process="worker"} 1')
  expect(text).toContain('valija_sessions{process="worker"} 4')
  expect(text).toContain('valija_waiting{process="worker"} 7')
  expect(text).toContain('process_resident_memory_bytes{process="worker"}')
})

test('levels with labels are those that were found this time', async () => {
  const metrics = await createMetrics('api')
  let found = [{ labels: { provider: 'google' }, value: 2 }]
  metrics.observedLevels({ name: 'valija_sites', help: 'Sites.', labels: ['provider'] }, async () => found)
  expect(await metrics.exposition()).toContain('valija_sites{provider="google",process="api"} 2')
  found = []
  expect(await metrics.exposition()).not.toContain('valija_sites{')
})

test('two processes in one do not count together', async () => {
  const [api, worker] = [await createMetrics('api'), await createMetrics('worker')]
  api.count({ name: 'valija_things_total', help: 'Things.' }).add({})
  worker.count({ name: 'valija_things_total', help: 'Things.' }).add({}, 5)
  expect(await api.exposition()).toContain('valija_things_total{process="api"} 1')
})

test('what two parts of a process count by one definition is one number; another of that name is refused', async () => {
  const metrics = await createMetrics('start')
  const things = { name: 'valija_things_total', help: 'Things.' } as const
  metrics.count(things).add({})
  metrics.count(things).add({}, 2)
  expect(await metrics.exposition()).toContain('valija_things_total{process="start"} 3')
  expect(() => metrics.count({ ...things })).toThrow('already been registered')
})

test('a label without bound is refused', async () => {
  const metrics = await createMetrics('api')
  expect(() => metrics.count({ name: 'valija_x_total', help: 'X.', labels: ['tenant_id'] })).toThrow(
    'have no bound',
  )
})
