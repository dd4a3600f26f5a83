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
  expect(ours.map(({ ratios }) => ratios)).toEqual([
    { '× script: rate': 3, '× script: CPU ms': 1 },
    { '× script: rate': 1.5, '× script: CPU ms': 1 },
  ])
})

test('a base that the section does not have is that of the whole way', () => {
  expect(rowsOf(twoRounds, 'backlog').map(({ ratios }) => ratios['× script: rate'])).toEqual([0.5, 0.5])
})

test('what both have is compared, the measuring programs’ CPU time apart, and nothing else', () => {
  const base = measured(1, 'whole', 'script', 100)
  const ours = measured(1, 'whole', 'ours', 100, { '× script': 'script' })
  base.phase.cpuMsPerMail = { script: 2, load: 50 }
  ours.phase.cpuMsPerMail = { api: 1, worker: 2, sink: 50 }
  base.phase.memoryMb = { script: 100 }
  ours.phase.memoryMb = { api: 150, worker: 150 }
  ours.phase.bytesPerMail = { bodies: 2_000 }
  const [, row] = rowsOf([base, ours], 'whole')
  expect(row?.ratios).toEqual({ '× script: rate': 1, '× script: CPU ms': 1.5, '× script: memory': 3 })
})

test('each figure has its own median, a ratio that of the rounds’ ratios', () => {
  const [script, ours] = medianOf(rowsOf(twoRounds, 'whole'))
  expect(script?.phase.deliveredPerS).toBe(150)
  expect(ours).toMatchObject({ system: 'ours', ratios: { '× script: rate': 2.25 } })
  expect(ours?.phase).toMatchObject({ deliveredPerS: 300, acceptedPerS: null, cpuMsPerMail: { worker: 1.5 } })
})

test('of 100 values p99 is the second largest', () => {
  const values = Array.from({ length: 100 }, (_, index) => 100 - index)
  expect(quantiles(values)).toEqual({ p50Ms: 50, p95Ms: 95, p99Ms: 99, maxMs: 100 })
})
