/** bench/GROWTH.md: the lines of growth.ts beside the bounds that they are to keep. */
import { type Bound, boundText, judged, shortBy } from './goals.ts'
import { deliveredFactor, type GrowthRow } from './growth.ts'
import { table } from './markdown.ts'
import type { Failure } from './progress.ts'
import { describeDurability, describeMachine, describeVersions, warnings } from './report.ts'

/**
 * Of the goals: with a million waiting. Flat means that memory does not follow what waits; how much of it a Node process holds
 * moves by a fifth between two runs of the same.
 */
const bounds = {
  answer: { atMost: 2 },
  rate: { atLeast: 0.9 },
  memory: { atMost: 1.25 },
} satisfies Record<string, Bound>

export interface GrowthResults {
  command: string
  date: Date
  versions: Record<string, string>
  /** Accepted, and delivered, for each measurement. */
  mails: number
  rows: GrowthRow[]
  failures: Failure[]
  unfinished: string | null
}

export function formatGrowth(results: GrowthResults, charts: { title: string; file: string }[]): string {
  const facts = [
    ['date', results.date.toISOString()],
    ['command', `\`${results.command}\``],
    ['machine', describeMachine()],
    ['versions', describeVersions(results.versions)],
    ['durability', describeDurability()],
    [
      'mails',
      `${results.mails} accepted at a fixed rate, then ${results.mails * deliveredFactor} delivered, for each figure`,
    ],
  ]
  return [
    '# As work grows',
    '',
    ...warnings(results),
    'Written by `npm run bench -- --growth`. Each line is an installation of its own, measured with nothing waiting but what is delivered for a figure (empty), and again with',
    'as many mails waiting as it says (full), which came by `POST /send/batch`. Accepting is measured while no worker runs, delivering by one',
    'worker while nothing is accepted. One domain is delivered by a smarthost; more have an exchanger each, so with 10,000 of them nearly every mail opens a connection of its own. Domains and tenants are spread over with one queue only.',
    'Before each figure PostgreSQL has vacuumed, analysed and written a checkpoint; what Valija catches up with itself (statistics, digests for searches) is in the figures.',
    '',
    table(['', ''], facts),
    '',
    ...goals(results.rows),
    ...charts.map(({ title, file }) => `![${title}](${file})\n`),
    '## Rates',
    '',
    table(
      [
        ...planColumns,
        '202 p99 ms: empty',
        'full',
        `ratio (${boundText(bounds.answer)})`,
        'delivered/s: empty',
        'full',
        `ratio (${boundText(bounds.rate)})`,
      ],
      results.rows.map(rateCells),
    ),
    '',
    '## Memory',
    '',
    `MB, proportional set size at the end of delivering. Of API and worker full ÷ empty, where flat is ${boundText(bounds.memory)}; PostgreSQL's share of its buffers fills with what it reads.`,
    '',
    table(
      [
        ...planColumns,
        ...['API', 'worker'].flatMap((name) => [`${name}: empty`, 'full', 'ratio']),
        ...['PostgreSQL', 'Redis'].flatMap((name) => [`${name}: empty`, 'full']),
      ],
      results.rows.map(memoryCells),
    ),
    '',
  ].join('\n')
}

const planColumns = ['waiting', 'domains', 'tenants', 'queue']

/** Of the lines with most waiting: the goals are about those. */
function goals(rows: GrowthRow[]): string[] {
  const most = Math.max(...rows.map(({ waiting }) => waiting))
  const lines = rows.filter(({ waiting }) => waiting === most)
  if (lines.length === 0) return []
  const line = (what: string, bound: Bound, of: (row: GrowthRow) => number | null) => [
    what,
    boundText(bound),
    ...lines.map((row) => judged(of(row), bound)),
  ]
  return [
    '## Goals',
    '',
    `With ${most.toLocaleString('en')} waiting, beside none.`,
    '',
    table(
      ['', 'goal', ...lines.map(({ queue }) => `queue in ${queue}`)],
      [
        line('request → 202, p99', bounds.answer, answerRatio),
        line('delivered per second', bounds.rate, rateRatio),
        line('memory of the API: flat', bounds.memory, (row) => memoryRatio(row, 'api')),
        line('memory of the worker: flat', bounds.memory, (row) => memoryRatio(row, 'worker')),
      ],
    ),
    '',
  ]
}

const answerRatio = ({ empty, full }: GrowthRow) => full.answer.p99Ms / empty.answer.p99Ms
const rateRatio = ({ empty, full }: GrowthRow) => full.deliveredPerS / empty.deliveredPerS

function memoryRatio({ empty, full }: GrowthRow, name: string): number | null {
  const [before, after] = [empty.memoryMb[name], full.memoryMb[name]]
  return before === undefined || after === undefined ? null : after / before
}

function planCells({ waiting, domains, tenants, queue }: GrowthRow): string[] {
  return [...[waiting, domains, tenants].map((count) => count.toLocaleString('en')), queue]
}

function rateCells(row: GrowthRow): string[] {
  const { empty, full } = row
  return [
    ...planCells(row),
    empty.answer.p99Ms.toFixed(1),
    full.answer.p99Ms.toFixed(1),
    marked(answerRatio(row), bounds.answer),
    empty.deliveredPerS.toFixed(0),
    full.deliveredPerS.toFixed(0),
    marked(rateRatio(row), bounds.rate),
  ]
}

function memoryCells(row: GrowthRow): string[] {
  const both = (name: string) => [row.empty, row.full].map(({ memoryMb }) => memoryMb[name]?.toFixed(0) ?? '')
  const compared = (name: string) => [...both(name), marked(memoryRatio(row, name), bounds.memory)]
  return [...planCells(row), ...compared('api'), ...compared('worker'), ...both('postgres'), ...both('redis')]
}

/** In bold: beyond its bound. */
function marked(ratio: number | null, bound: Bound): string {
  if (ratio === null) return ''
  return shortBy(ratio, bound) <= 0 ? ratio.toFixed(2) : `**${ratio.toFixed(2)}**`
}
