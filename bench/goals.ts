/**
 * What this is meant to reach, beside what a run measured: the goals that were set before anything was built, each as a ratio
 * within a run or as a figure of one. A run judges only what it measured.
 */
import type { Idle } from './idle.ts'
import { table } from './markdown.ts'
import { medianOf, type Row, rowsOf } from './medians.ts'
import type { Measurement, Section } from './phase.ts'
import { valijaName } from './rounds.ts'
import type { Singles } from './singles.ts'
import { tarpitNames } from './tarpit.ts'
import type { QueueBackend } from './valija.ts'
import { realisticName } from './variations.ts'

export interface Measured {
  measurements: Measurement[]
  singles: Record<string, Singles>
  idle: Idle | null
}

/** A bound, and which side of it is good. */
export type Bound = { atLeast: number } | { atMost: number }

interface Goal {
  what: string
  bound: Bound
  unit?: string
  digits?: number
  /** Null: not measured. */
  of(measured: Measured, queue: QueueBackend): number | null
}

/** Half of what KumoMTA publishes for its own on two cores and 4 GB: 750 mails a second. */
export const realisticPerS = 0.5 * 750

const kilobyte = 1_000

const goals: Goal[] = [
  {
    what: 'accepting alone: answers per second, × a bare Fastify route that validates the same body',
    bound: { atLeast: 0.8 },
    of: (measured, queue) => ratio(measured, 'accept', valijaName(queue), '× bare Fastify: rate'),
  },
  ...[
    { signing: 'unsigned', other: 'nodemailer', note: 'unsigned: × nodemailer’s pool', atLeast: 3 },
    { signing: 'unsigned', other: 'Postfix', note: 'unsigned: × Postfix as a relay', atLeast: 4 },
    { signing: 'rsa', other: 'nodemailer', note: 'RSA-2048: × nodemailer’s pool with its DKIM', atLeast: 4 },
    { signing: 'rsa', other: 'Postfix', note: 'RSA-2048: × Postfix, which does not sign', atLeast: 2 },
  ].map(({ signing, other, note, atLeast }): Goal => {
    const name = (queue: QueueBackend) => valijaName(queue, signing as 'unsigned' | 'rsa')
    return {
      what: `end to end, ${note}`,
      bound: { atLeast },
      of: (measured, queue) => ratio(measured, 'whole', name(queue), `× ${other}: rate`),
    }
  }),
  {
    what: 'the realistic run, warm: × half of KumoMTA’s published 750/s',
    bound: { atLeast: 1 },
    of: (measured, queue) => {
      const row = rowOf(measured, 'realistic', realisticName(queue, true))
      return row?.phase.deliveredPerS == null ? null : row.phase.deliveredPerS / realisticPerS
    },
  },
  ...(['p50Ms', 'p99Ms'] as const).map(
    (quantile): Goal => ({
      what: `half load: 202 → receiver, ${quantile.slice(0, 3)}`,
      bound: { atMost: quantile === 'p50Ms' ? 10 : 50 },
      unit: 'ms',
      digits: 1,
      of: (measured, queue) => rowOf(measured, 'open', valijaName(queue))?.phase.handOff?.[quantile] ?? null,
    }),
  ),
  {
    what: 'one mail on an idle system: 202 → receiver, p50',
    bound: { atMost: 10 },
    unit: 'ms',
    digits: 1,
    of: ({ singles }, queue) => singles[queue]?.handOff.p50Ms ?? null,
  },
  {
    what: 'a tenth of the destinations silent: what the others have delivered per second, × the same with all well',
    bound: { atLeast: 0.9 },
    of: (measured, queue) => tarpitRatio(measured, queue, 'rate'),
  },
  {
    what: 'the same: their 202 → receiver at half load, p99, × the same with all well',
    bound: { atMost: 2 },
    of: (measured, queue) => tarpitRatio(measured, queue, 'hand-off p99'),
  },
  ...[
    { what: 'write-ahead log of a mail', name: 'write-ahead log', atMost: 15 },
    { what: 'tables and indexes of a mail, besides its body', name: 'tables and indexes', atMost: 6 },
  ].map(
    ({ what, name, atMost }): Goal => ({
      what,
      bound: { atMost },
      unit: 'KB',
      digits: 1,
      of: (measured, queue) => {
        const bytes = rowOf(measured, 'whole', valijaName(queue))?.phase.bytesPerMail[name]
        return bytes === undefined ? null : bytes / kilobyte
      },
    }),
  ),
  {
    what: 'idle `npm start`: resident in all',
    bound: { atMost: 400 },
    unit: 'MB',
    digits: 0,
    of: ({ idle }, queue) => (queue === 'postgres' && idle ? idle.memoryMb : null),
  },
]

export function goalsTable(measured: Measured, queues: readonly QueueBackend[]): string {
  const rows = goals.map(({ what, bound, unit = '', digits = 2, of }) => [
    what,
    boundText(bound, unit),
    ...queues.map((queue) => judged(of(measured, queue), bound, { unit, digits })),
  ])
  const elsewhere = [
    'with 1,000,000 waiting: accepting, delivering, memory of API and workers',
    '',
    ...queues.map(() => '[GROWTH.md](GROWTH.md), by `npm run bench -- --growth`'),
  ]
  return table(['', 'goal', ...queues.map((queue) => `queue in ${queue}`)], [...rows, elsewhere])
}

export function boundText(bound: Bound, unit = ''): string {
  return ['atLeast' in bound ? `≥ ${bound.atLeast}` : `≤ ${bound.atMost}`, unit].join(' ').trim()
}

/** A figure, and whether it is good, or by what part of the bound it is not. */
export function judged(
  value: number | null,
  bound: Bound,
  { unit = '', digits = 2 }: { unit?: string; digits?: number } = {},
): string {
  if (value === null || Number.isNaN(value)) return 'not measured'
  const shown = `${value.toFixed(digits)} ${unit}`.trim()
  const short = shortBy(value, bound)
  if (short <= 0) return `${shown}: met`
  return `**${shown}: ${'atLeast' in bound ? 'short' : 'over'} by ${Math.max(1, Math.round(100 * short))} %**`
}

/** What part of the bound is missing, or too much; 0 or less: it is kept. */
export function shortBy(value: number, bound: Bound): number {
  return 'atLeast' in bound ? 1 - value / bound.atLeast : value / bound.atMost - 1
}

function rowOf({ measurements }: Measured, section: Section, system: string): Row | undefined {
  return medianOf(rowsOf(measurements, section)).find((row) => row.system === system)
}

function ratio(measured: Measured, section: Section, system: string, name: string): number | null {
  return rowOf(measured, section, system)?.ratios[name] ?? null
}

function tarpitRatio(measured: Measured, queue: QueueBackend, name: string): number | null {
  return ratio(measured, 'tarpit', tarpitNames.silent(queue), `× all well: ${name}`)
}
