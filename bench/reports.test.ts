import { expect, test } from 'vitest'
import { formatGrowth } from './growth-report.ts'
import { type Measurement, noFigures, type Section } from './phase.ts'
import { describeAllocations } from './profile.ts'
import { formatResults, type Results } from './report.ts'

const answer = { p50Ms: 1, p95Ms: 2, p99Ms: 3, maxMs: 4 }

function measured(section: Section, memoryMb: Record<string, number>): Measurement {
  const phase = { ...noFigures, mails: 10, acceptedPerS: 100, answer, cpuMsPerMail: { api: 1 }, memoryMb }
  return { round: 1, section, system: 'Valija, queue in postgres', bases: {}, phase }
}

const results: Results = {
  command: 'npm run bench',
  date: new Date(0),
  queues: ['postgres'],
  mails: 10,
  rounds: 2,
  connections: 1,
  requestBytes: 1,
  sink: {},
  versions: { Node: '1', Postfix: '2' },
  absent: [],
  measurements: [measured('whole', { api: 200, worker: 300 }), measured('accept', { api: 100 })],
  singles: {},
  idle: null,
  failures: [],
  unfinished: null,
  shortfalls: null,
}

test('a report that is not whole says so before anything else, and what it has no figures of', () => {
  const failures = [{ name: 'round 2 of 2: Postfix', reason: 'a mail came twice' }]
  const text = formatResults({ ...results, failures, unfinished: '1 of 2 rounds' }, [])
  const [, , first, , second] = text.split('\n')
  expect(first).toBe('**Unfinished: 1 of 2 rounds.**')
  expect(second).toBe('**Void, and no figures of it: round 2 of 2: Postfix: a mail came twice**')
  expect(formatResults(results, [])).not.toContain('**Unfinished')
})

test('memory of one phase is never mixed with that of another', () => {
  const text = formatResults(results, [])
  const memory = text.slice(text.indexOf('## Memory'))
  expect(memory).toContain('| Valija, queue in postgres | 200 | 300 |')
  expect(memory).toContain('| Valija, queue in postgres | 100 |')
})

test('what is in the way is linked where it was written down', () => {
  expect(formatResults(results, [])).not.toContain('What is in the way')
  expect(formatResults({ ...results, shortfalls: 'SHORTFALLS.md' }, [])).toContain(
    '[SHORTFALLS.md](SHORTFALLS.md)',
  )
})

test('growth is judged by the lines with most waiting, memory of API and worker too', () => {
  const state = (deliveredPerS: number, p99Ms: number, worker: number) => {
    const memoryMb = { api: 100, worker, postgres: 50 }
    return { answer: { ...answer, p99Ms }, deliveredPerS, memoryMb }
  }
  const row = (waiting: number, full: ReturnType<typeof state>) => {
    return { waiting, domains: 1, tenants: 1, queue: 'postgres' as const, empty: state(100, 10, 100), full }
  }
  const rows = [row(10, state(10, 100, 500)), row(1_000, state(95, 30, 126))]
  const text = formatGrowth(
    { command: '', date: new Date(0), versions: {}, mails: 1, rows, failures: [], unfinished: null },
    [],
  )
  const goals = text.slice(text.indexOf('## Goals'), text.indexOf('## Rates'))
  expect(goals).toContain('| request → 202, p99 | ≤ 2 | **3.00: over by 50 %** |')
  expect(goals).toContain('| delivered per second | ≥ 0.9 | 0.95: met |')
  expect(goals).toContain('| memory of the API: flat | ≤ 1.25 | 1.00: met |')
  expect(goals).toContain('| memory of the worker: flat | ≤ 1.25 | **1.26: over by 1 %** |')
})

test('allocations are told by who made them, the largest first', () => {
  const node = (functionName: string, url: string, selfSize: number, children: Node[] = []): Node => {
    return { callFrame: { functionName, url, lineNumber: 4 }, selfSize, children }
  }
  type Node = Parameters<typeof describeAllocations>[0]['head']
  const megabyte = 2 ** 20
  const head = node('(root)', '', 0, [
    node('small', 'file:///x/node_modules/pg/lib/a.js', megabyte),
    node('large', 'file:///x/node_modules/pg/lib/a.js', 3 * megabyte, [
      node('small', 'file:///x/node_modules/pg/lib/a.js', megabyte),
    ]),
  ])
  const text = describeAllocations({ head })
  expect(text).toContain('allocated 5 MB')
  expect(text).toContain('100.0 %        5 MB  pg')
  expect(text.indexOf('3 MB  large')).toBeLessThan(text.indexOf('2 MB  small'))
})
