/**
 * bench/RESULTS.md, written by the run that measured it: what was run, on what, and the medians of its rounds. Names of machines
 * and paths are left out on purpose.
 */
import { statfsSync } from 'node:fs'
import os from 'node:os'
import { goalsTable, realisticPerS } from './goals.ts'
import type { Idle } from './idle.ts'
import { table } from './markdown.ts'
import { medianOf, type Row, rate, rowsOf, totalCpu } from './medians.ts'
import { apart, type Measurement, type Phase, type Section } from './phase.ts'
import type { Failure } from './progress.ts'
import type { Singles } from './singles.ts'
import type { SinkOptions } from './sink.ts'
import type { QueueBackend } from './valija.ts'

export interface Results {
  command: string
  date: Date
  queues: QueueBackend[]
  mails: number
  rounds: number
  connections: number
  requestBytes: number
  /** As it was asked for; where nothing is, the sink is near, quick and without TLS. */
  sink: Partial<SinkOptions>
  versions: Record<string, string>
  /** Systems that there was nothing to measure of, and why. */
  absent: string[]
  measurements: Measurement[]
  singles: Record<string, Singles>
  idle: Idle | null
  /** What there are no figures of, because a mail was lost or doubled, or it did not get so far. */
  failures: Failure[]
  /** What is missing so far, or will be for good; null: the run came to its end. */
  unfinished: string | null
  /** By hand: what is in the way of goals that are not reached; null: there is no such file beside the report. */
  shortfalls: string | null
}

const filesystems: Record<number, string> = {
  61267: 'ext4',
  16914836: 'tmpfs (fsync costs nothing there)',
  2035054128: 'overlay',
  1481003842: 'xfs',
  2435016766: 'btrfs',
}

const sections: { section: Section; title: string; note: string }[] = [
  {
    section: 'whole',
    title: 'End to end: request → 202 → SMTP → recorded',
    note: 'delivered/s: from the first request to the commit of the last result. × nodemailer: its pool in one process. × usual stack: what most people write, one API and one worker. What signs with RSA is beside the one that signs with RSA.',
  },
  {
    section: 'open',
    title: 'An open load: half of what was delivered per second',
    note: 'Requests at fixed times, whether answers come or not. Request → 202 begins when the request was due; 202 → sink is what a mail waits and takes with us until the receiver has answered its final dot, which takes it no time.',
  },
  {
    section: 'accept',
    title: 'Accepting alone (no worker runs)',
    note: 'bare Fastify: a route that validates the same body.',
  },
  {
    section: 'backlog',
    title: 'Delivering alone: a backlog (nothing is accepted meanwhile)',
    note: 'From the first mail at the sink.',
  },
  {
    section: 'mails',
    title: 'Other mails, end to end',
    note: 'A one-time code, a page of 100 KB, a receipt with 200 KB of PDF; unsigned, by one worker.',
  },
  {
    section: 'exchangers',
    title: 'To the recipients’ own mail exchangers, end to end',
    note: 'The receipts go to so many domains in turn, each with an exchanger at an address of its own.',
  },
  {
    section: 'realistic',
    title: 'A realistic run, end to end',
    note: 'RSA-2048, TLS 1.3, 1,000 exchangers in turn, 40 ms round trips, mails of 100 KB. Warm: a worker may have a conversation with each exchanger (`VALIJA_WORKER_CONCURRENCY=1000`), and they are open when it begins. Cold: as delivered, sessions give way to others; connections/mail says how many were fresh.',
  },
  {
    section: 'tarpit',
    title: 'A tenth of the destinations holds us up',
    note: 'Receipts to 100 exchangers in turn, of which 10 are well, or take a mail and never answer. The figures are of mails to the other 90, each of which came once. delivered/s in a closed loop; 202 → sink in an open load, in both runs at half of what was delivered per second with all well.',
  },
]

export function formatResults(results: Results, charts: { title: string; file: string }[]): string {
  const { measurements } = results
  const parts = [
    heading(results),
    goalsSection(results),
    ...charts.map(({ title, file }) => `![${title}](${file})`),
    ...sections.flatMap(({ section, title, note }) => {
      const rows = rowsOf(measurements, section)
      if (rows.length === 0) return []
      return [`## ${title}`, note, figures(rows), ...ratiosOf(rows), ...extra(section, rows)]
    }),
    ...perMailSection(measurements),
    ...memorySection(measurements),
    ...singlesSection(results.singles),
    ...(results.idle ? [idleSection(results.idle)] : []),
  ]
  return `${parts.join('\n\n')}\n`
}

/** Processors, memory and system; no names. */
export function describeMachine(): string {
  const cpu = os.cpus()
  return [
    `${cpu.length} × ${cpu[0]?.model ?? 'unknown'}`,
    `${(os.totalmem() / 2 ** 30).toFixed(0)} GB`,
    `${os.type()} ${os.release().split('-')[0]}`,
  ].join(', ')
}

export function describeVersions(versions: Record<string, string>): string {
  return Object.entries(versions)
    .map((version) => version.join(' '))
    .join(', ')
}

export function describeDurability(): string {
  const { type } = statfsSync(os.tmpdir())
  return `PostgreSQL with fsync and synchronous_commit on, on ${filesystems[type] ?? `file system type ${type}`}; the 202 follows the commit`
}

/** What a reader must know before any figure: what is missing, and why. */
export function warnings({ unfinished, failures }: Pick<Results, 'unfinished' | 'failures'>): string[] {
  return [
    ...(unfinished === null ? [] : [`**Unfinished: ${unfinished}.**`]),
    ...failures.map(({ name, reason }) => `**Void, and no figures of it: ${name}: ${reason}**`),
  ].flatMap((line) => [line, ''])
}

function heading(results: Results): string {
  const lines = table(
    ['', ''],
    [
      ['date', results.date.toISOString()],
      ['command', `\`${results.command}\``],
      ['machine', describeMachine()],
      ['versions', describeVersions(results.versions)],
      ['durability', describeDurability()],
      [
        'mail',
        `where nothing else is said a receipt in text and HTML: ${results.requestBytes} octets of JSON, one recipient, unsigned, no TLS`,
      ],
      [
        'load',
        `${results.mails} mails in each phase, and as many as a table says where it is others (the same for all that a ratio compares); ${results.connections} connections, one request at a time on each`,
      ],
      [
        'rounds',
        `${results.rounds}, in each of which every system has its turn; single mails and the idle system once`,
      ],
      [
        'processes',
        'one API, one worker where no number is given, PostgreSQL, load and sink on the same machine, one installation anew for each line',
      ],
      [
        'sink',
        [
          'our own (sink.ts), which knows mails by their number; Postfix’s smtp-sink only counts them',
          ...describeSink(results.sink),
        ].join('; '),
      ],
      ...(results.absent.length > 0 ? [['not measured', results.absent.join('; ')]] : []),
    ],
  )
  return [
    '# Benchmark results',
    '',
    ...warnings(results),
    'Written by `npm run bench`. Every mail arrived exactly once, or there would be no figures of it. On a shared machine rates move',
    'with what else runs; CPU ms per mail and the ratios within one round are what to compare.',
    '',
    lines,
  ].join('\n')
}

function describeSink({ roundTripMs = 0, pauseMs = 0, tls = false }: Partial<SinkOptions>): string[] {
  return [
    ...(roundTripMs > 0 ? [`${roundTripMs} ms round trips`] : []),
    ...(pauseMs > 0 ? [`${pauseMs} ms from a final dot to its reply`] : []),
    ...(tls ? ['TLS 1.3 offered'] : []),
  ]
}

function goalsSection(results: Results): string {
  const note = `What this is meant to reach, unsigned and with one worker where nothing else is said; medians.`
  const link =
    results.shortfalls === null ? '' : ` What is in the way: [${results.shortfalls}](${results.shortfalls}).`
  return ['## Goals', '', `${note}${link}`, '', goalsTable(results, results.queues)].join('\n')
}

/** A column, if any row has something to show in it. */
type Column = [title: string, digits: number, pick: (row: Row) => number | null]

const quantileColumns = (title: string, pick: (phase: Phase) => Phase['answer']): Column[] => [
  [`${title}: p50 ms`, 1, ({ phase }) => pick(phase)?.p50Ms ?? null],
  ['p95', 1, ({ phase }) => pick(phase)?.p95Ms ?? null],
  ['p99', 1, ({ phase }) => pick(phase)?.p99Ms ?? null],
]

function figures(rows: Row[]): string {
  const names = [...new Set(rows.flatMap(({ phase }) => Object.keys(phase.cpuMsPerMail)))]
  const isToExchangers = rows.some(({ phase }) => (phase.connectionsPerMail ?? 0) > 0.1)
  const columns: Column[] = [
    ['mails', 0, ({ phase }) => phase.mails],
    ['accepted/s', 0, ({ phase }) => phase.acceptedPerS],
    ...quantileColumns('request → 202', (phase) => phase.answer),
    ...quantileColumns('202 → sink', (phase) => phase.handOff),
    ['delivered/s', 0, ({ phase }) => phase.deliveredPerS],
    ['CPU ms/mail', 2, ({ phase }) => totalCpu(phase)],
    ...[...names.filter((name) => !apart.has(name)), ...apart].map(
      (name): Column => [name, 3, ({ phase }) => phase.cpuMsPerMail[name] ?? null],
    ),
    ...(isToExchangers
      ? [['connections/mail', 2, ({ phase }) => phase.connectionsPerMail] satisfies Column]
      : []),
  ]
  return grid(rows, columns)
}

/** Of what was compared within a round: one line for each system, and a column for each figure that both have. */
function ratiosOf(rows: Row[]): string[] {
  const names = [...new Set(rows.flatMap(({ ratios }) => Object.keys(ratios)))].sort()
  const lines = medianOf(rows)
    .filter(({ ratios }) => Object.keys(ratios).length > 0)
    .map(({ system, ratios }) => [system, ...names.map((name) => show(ratios[name] ?? null, 2))])
  if (lines.length === 0) return []
  const plain = names.some((name) => name.startsWith('× plain'))
    ? ' Plain: the same unsigned, by one worker, with the queue that is measured first.'
    : ''
  const note = `Medians of the ratios within a round, which need not be the ratio of two medians above. Rates: more is better; CPU ms, p99, memory and octets: less is.${plain}`
  return [note, table(['', ...names], lines)]
}

/** A bound from outside has no row of its own. */
function extra(section: Section, rows: Row[]): string[] {
  if (section !== 'realistic') return []
  const lines = medianOf(rows).map(
    ({ system, phase }) =>
      `- ${system}: ${show((phase.deliveredPerS ?? 0) / realisticPerS, 2)} × ${realisticPerS}/s`,
  )
  return [
    `Beside half of the 750/s that KumoMTA publishes for itself on 2 cores and 4 GB:\n\n${lines.join('\n')}`,
  ]
}

/** Medians; columns that are empty throughout are left out. Of rates also the least and the most: how far rounds differ. */
function grid(rows: Row[], columns: Column[]): string {
  const shown = columns.filter(([, , pick]) => rows.some((row) => pick(row) !== null))
  const isRepeated = new Set(rows.map(({ round }) => round)).size > 1
  const lines = medianOf(rows).map((row) => [
    row.system,
    ...shown.map(([, digits, pick]) => show(pick(row), digits)),
    ...(isRepeated ? [rangeOf(rows.filter(({ system }) => system === row.system))] : []),
  ])
  const columnNames = [
    'system',
    ...shown.map(([title]) => title),
    ...(isRepeated ? ['rates of all rounds'] : []),
  ]
  return table(columnNames, lines)
}

function rangeOf(rows: Row[]): string {
  const rates = rows.map(({ phase }) => rate(phase) ?? 0)
  return `${Math.min(...rates).toFixed(0)} to ${Math.max(...rates).toFixed(0)}`
}

/** Medians only: one line for each system of a section; phases of one system are never mixed. */
function byName(rows: Row[], pick: (phase: Phase) => Record<string, number>, digits: number): string {
  const shown = medianOf(rows).filter(({ phase }) => Object.keys(pick(phase)).length > 0)
  const names = [...new Set(shown.flatMap(({ phase }) => Object.keys(pick(phase))))]
  const lines = shown.map(({ system, phase }) => [
    system,
    ...names.map((name) => show(pick(phase)[name] ?? null, digits)),
  ])
  return lines.length === 0 ? '' : table(['', ...names], lines)
}

function perMailSection(measurements: Measurement[]): string[] {
  const pick = ({ bytesPerMail }: Phase) => bytesPerMail
  const parts = [
    [
      'Of PostgreSQL, end to end: what files grew by until the mail was delivered and recorded; the body is one of them.',
      byName(rowsOf(measurements, 'whole'), pick, 0),
    ],
    [
      'Of Redis: memory while the mail waits, accepted and not delivered.',
      byName(rowsOf(measurements, 'accept'), pick, 0),
    ],
  ].filter(([, lines]) => lines !== '')
  return parts.length === 0 ? [] : ['## What a mail takes', 'Octets for each mail, medians.', ...parts.flat()]
}

function memorySection(measurements: Measurement[]): string[] {
  const pick = ({ memoryMb }: Phase) => memoryMb
  const parts = sections.flatMap(({ section, title }) => {
    const lines = byName(rowsOf(measurements, section), pick, 0)
    return lines === '' ? [] : [`${title}:`, lines]
  })
  const note = 'MB at the end of a phase (proportional set size; all processes of a kind), medians.'
  return parts.length === 0 ? [] : ['## Memory', note, ...parts]
}

function singlesSection(singles: Results['singles']): string[] {
  const lines = Object.entries(singles).map(([queue, { answer, handOff }]) => [
    `Valija, queue in ${queue}`,
    ...[answer, handOff].flatMap(({ p50Ms, p99Ms, maxMs }) => [p50Ms, p99Ms, maxMs].map((ms) => show(ms, 1))),
  ])
  if (lines.length === 0) return []
  const columns = ['', 'request → 202: p50 ms', 'p99', 'max', '202 → taken by the sink: p50 ms', 'p99', 'max']
  const note = 'A one-time code of 1 KB at a time.'
  return ['## Single mails on an idle system', note, table(columns, lines)]
}

function idleSection({ cpuMsPerS, memoryMb, readyMs }: Idle): string {
  return [
    '## `npm start`, idle',
    '',
    `${cpuMsPerS.toFixed(1)} ms of CPU for each second, ${memoryMb.toFixed(0)} MB resident in all (proportional set size, PostgreSQL included); ready ${(readyMs / 1000).toFixed(1)} s after the command with a new data folder.`,
  ].join('\n')
}

function show(value: number | null, digits: number): string {
  return value === null ? '' : value.toFixed(digits)
}
