import { expect, test } from 'vitest'
import { goalsTable, judged, shortBy } from './goals.ts'
import { type Measurement, noFigures, type Section } from './phase.ts'

const entry = (
  section: Section,
  system: string,
  rates: { acceptedPerS?: number; deliveredPerS?: number },
  bases: Record<string, string> = {},
): Measurement => {
  const phase = { ...noFigures, mails: 10, cpuMsPerMail: {}, memoryMb: {}, ...rates }
  return { round: 1, section, system, bases, phase }
}

const measurements = [
  entry('accept', 'bare Fastify', { acceptedPerS: 1_000 }),
  entry('accept', 'Valija, queue in postgres', { acceptedPerS: 900 }, { '× bare Fastify': 'bare Fastify' }),
  entry('whole', 'nodemailer pool', { deliveredPerS: 500 }),
  entry('whole', 'Valija, queue in postgres', { deliveredPerS: 600 }, { '× nodemailer': 'nodemailer pool' }),
]
const shown = goalsTable({ measurements, singles: {}, idle: null }, ['postgres', 'redis'])
const lineOf = (word: string) => shown.split('\n').find((line) => line.includes(word))

test('a goal is met, or short by what part of it is missing; what a run did not measure is not judged', () => {
  expect(lineOf('bare Fastify')).toMatch(/\| ≥ 0\.8 \| 0\.90: met \| not measured \|$/)
  expect(lineOf('nodemailer’s pool |')).toMatch(/\| ≥ 3 \| \*\*1\.20: short by 60 %\*\* \| not measured \|$/)
  expect(lineOf('resident')).toMatch(/\| not measured \| not measured \|$/)
})

test('at the bound it is kept on either side, and a miss is never told as 0 %', () => {
  expect([shortBy(0.9, { atLeast: 0.9 }), shortBy(2, { atMost: 2 })]).toEqual([0, 0])
  expect(judged(10.01, { atMost: 10 }, { unit: 'ms' })).toBe('**10.01 ms: over by 1 %**')
})
