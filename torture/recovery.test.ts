import { expect, test } from 'vitest'
import type { FaultEntry } from './ledgers.ts'
import { measureRecovery } from './recovery.ts'

const killedUntil = (untilMs: number): FaultEntry => ({
  kind: 'kill',
  victim: 'api',
  life: '',
  atMs: untilMs - 1,
  untilMs,
  detail: '',
})

test('recovery goes from the end of a fault to the next 2xx, the next mail, and the next look that finds nothing old', () => {
  const times = measureRecovery({
    faults: [killedUntil(100)],
    acceptedAtMs: [400, 90, 130],
    loadAtMs: [0],
    deliveredAtMs: [100],
    backlog: [
      { atMs: 110, oldestMs: 9_000 },
      { atMs: 300, oldestMs: 4_000 },
    ],
  })
  expect(times).toEqual({ 'kill api': { acceptedMs: [30], deliveredMs: [0], calmMs: [200] } })
})

test('the next 2xx is no recovery when the load had been stopped and began anew in between', () => {
  const acceptedAtMs = [50, 9_000]
  const of = (loadAtMs: number[]) =>
    measureRecovery({ faults: [killedUntil(100)], acceptedAtMs, loadAtMs, deliveredAtMs: [], backlog: [] })[
      'kill api'
    ]?.acceptedMs
  expect(of([0])).toEqual([8_900])
  expect(of([0, 8_990])).toEqual([])
})
