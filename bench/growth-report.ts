/** bench/GROWTH.md: the lines of growth.ts beside the bounds that they are to keep. */
import type { GrowthRow } from './growth.ts'
import { table } from './markdown.ts'
import { describeMachine } from './report.ts'

/** Of the goals: with a million waiting. */
const bounds = { answerRatio: 2, rateRatio: 0.9 }

export interface GrowthResults {
  command: string
  date: Date
  /** Accepted, and delivered, for each measurement. */
  mails: number
  rows: GrowthRow[]
}

export function formatGrowth(results: GrowthResults, charts: { title: string; file: string }[]): string {
  const facts = [
    ['date', results.date.toISOString()],
    ['command', `\`${results.command}\``],
    ['machine', describeMachine()],
    ['mails', `${results.mails} accepted at a fixed rate, then as many delivered, for each figure`],
  ]
  const columns = [
    'waiting',
    'domains',
    'tenants',
    'queue',
    '202 p99 ms: empty',
    'full',
    `ratio (≤ ${bounds.answerRatio})`,
    'delivered/s: empty',
    'full',
    `ratio (≥ ${bounds.rateRatio})`,
    'API MB: empty',
    'full',
    'worker MB: empty',
    'full',
  ]
  return [
    '# As work grows',
    '',
    'Written by `npm run bench -- --growth`. Each line is an installation of its own, measured with nothing waiting (empty), and again with',
    'as many mails waiting as it says (full). Accepting is measured while no worker runs, delivering by one worker while nothing is accepted.',
    'One domain is delivered by a smarthost; more have an exchanger each. Memory is the proportional set size at the end.',
    '',
    table(['', ''], facts),
    '',
    ...charts.map(({ title, file }) => `![${title}](${file})\n`),
    table(columns, results.rows.map(cells)),
    '',
  ].join('\n')
}

function cells({ waiting, domains, tenants, queue, empty, full }: GrowthRow): string[] {
  const answers = full.answer.p99Ms / empty.answer.p99Ms
  const rates = full.deliveredPerS / empty.deliveredPerS
  const memory = (name: string) => [empty, full].map(({ memoryMb }) => (memoryMb[name] ?? 0).toFixed(0))
  return [
    ...[waiting, domains, tenants].map((count) => count.toLocaleString('en')),
    queue,
    empty.answer.p99Ms.toFixed(1),
    full.answer.p99Ms.toFixed(1),
    judged(answers, answers <= bounds.answerRatio),
    empty.deliveredPerS.toFixed(0),
    full.deliveredPerS.toFixed(0),
    judged(rates, rates >= bounds.rateRatio),
    ...memory('api'),
    ...memory('worker'),
  ]
}

function judged(ratio: number, isWithin: boolean): string {
  return isWithin ? ratio.toFixed(2) : `**${ratio.toFixed(2)}**`
}
