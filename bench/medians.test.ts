import { expect, test } from 'vitest'
import { medianOf, rowsOf } from './medians.ts'
import { type Measurement, noFigures, type Section } from './phase.ts'
import { quantiles } from './quantiles.ts'

const measured = (
  round: number,
  section: Section,
  system: string,
  deliveredPerS: number,
  bases: Record<string, string> = {},
): Measurement => {
  const phase = { ...noFigures, mails: 10, deliveredPerS, cpuMsPerMail: { worker: round }, memoryMb: {} }
  return { round, section, system, bases, phase }
}

const twoRounds = [1, 2].flatMap((round) => [
  measured(round, 'whole', 'script', 100 * round),
  measured(round, 'whole', 'ours', 300, { '× script': 'script', '× absent': 'absent' }),
  measured(round, 'backlog', 'ours', 50 * round, { '× script': 'script' }),
])

test('a ratio is to the base of the same round, and missing where there is none', () => {
  const ours = rowsOf(twoRounds, 'whole').filter(({ system }) => system === 'ours')
  expect(ours.map(({ ratios }) => ratios)).toEqual([{ '× script': 3 }, { '× script': 1.5 }])
})

test('a base that the section does not have is that of the whole way', () => {
  expect(rowsOf(twoRounds, 'backlog').map(({ ratios }) => ratios)).toEqual([
    { '× script': 0.5 },
    { '× script': 0.5 },
  ])
})

test('each figure has its own median, a ratio that of the rounds’ ratios', () => {
  const [script, ours] = medianOf(rowsOf(twoRounds, 'whole'))
  expect(script?.phase.deliveredPerS).toBe(150)
  expect(ours).toMatchObject({ system: 'ours', ratios: { '× script': 2.25 } })
  expect(ours?.phase).toMatchObject({ deliveredPerS: 300, acceptedPerS: null, cpuMsPerMail: { worker: 1.5 } })
})

test('of 100 values p99 is the second largest', () => {
  const values = Array.from({ length: 100 }, (_, index) => 100 - index)
  expect(quantiles(values)).toEqual({ p50Ms: 50, p95Ms: 95, p99Ms: 99, maxMs: 100 })
})
