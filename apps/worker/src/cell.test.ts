import { defaultDeadlines } from '@valija/courier'
import { expect, test } from 'vitest'
import { deliveryLimitMs, outcomeOf } from './cell.ts'

test('a process that crashes or hangs says something of its mail; one that is ended from outside nothing', () => {
  const bySignal = (signalCode: NodeJS.Signals) => outcomeOf({ exitCode: null, signalCode })
  expect(['SIGABRT', 'SIGSEGV', 'SIGBUS'].map((signal) => bySignal(signal as NodeJS.Signals))).toEqual(
    Array(3).fill('crashed'),
  )
  expect(bySignal('SIGALRM')).toBe('hung')
  expect([bySignal('SIGKILL'), bySignal('SIGTERM')]).toEqual(['stopped', 'stopped'])
  const byCode = (exitCode: number | null) => outcomeOf({ exitCode, signalCode: null })
  expect([byCode(1), byCode(134), byCode(0), byCode(null)]).toEqual([
    'crashed',
    'crashed',
    'stopped',
    'stopped',
  ])
})

test('a mail of the largest size has the time that its conversation may take', () => {
  const { bodyMs, bodyMsPerMegabyte, dotMs } = defaultDeadlines
  const handOverMs = bodyMs + 40 * bodyMsPerMegabyte + dotMs
  expect(deliveryLimitMs({ maxMessageSizeBytes: 40_000_000 })).toBeGreaterThan(handOverMs)
})
