/**
 * bench/RESULTS.md, written by the run that measured it: what was run, on what, and the medians of its rounds. Names of machines
 * and paths are left out on purpose.
 */
import { statfsSync } from 'node:fs'
import os from 'node:os'
import type { Idle } from './idle.ts'
import { table } from './markdown.ts'
import type { Cpu } from './measure.ts'
import { medianOf, type Row, rate, rowsOf } from './medians.ts'
import type { Measurement, Phase, Section } from './phase.ts'
import type { Singles } from './singles.ts'
import type { SinkOptions } from './sink.ts'

export interface Results {
  command: string
  date: Date
  mails: number
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
}

/** Measuring programs: on the same cores, but no part of what is measured. */
const apart = new Set(['load', 'sink'])

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
    note: 'delivered/s: from the first request to the commit of the last result. Ratios: to the system of that name in the same round; signed with RSA to the one that signs with RSA.',
  },
  {
    section: 'open',
    title: 'An open load: half of what was delivered per second',
    note: 'Requests at fixed times, whether answers come or not. Request → 202 begins when the request was due; 202 → sink is what a mail waits and takes with us until the receiver has answered its final dot, which takes it no time.',
  },
  {
    section: 'accept',
    title: 'Accepting alone (no worker runs)',
    note: 'Ratio: to a bare Fastify route that validates the same body, in the same round.',
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
    note: 'RSA-2048, TLS 1.3, 1,000 exchangers, 40 ms round trips, mails of 100 KB.',
  },
]

export function formatResults(results: Results, charts: { title: string; file: string }[]): string {
  const { measurements } = results
  const parts = [
    heading(results),
    ...charts.map(({ title, file }) => `![${title}](${file})`),
    ...sections.flatMap(({ section, title, note }) => {
      const rows = rowsOf(measurements, section)
      return rows.length === 0 ? [] : [`## ${title}\n\n${note}\n\n${figures(rows)}`]
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

function heading(results: Results): string {
  const type = statfsSync(os.tmpdir()).type
  const versions = Object.entries(results.versions).map((version) => version.join(' '))
  const lines = table(
    ['', ''],
    [
      ['date', results.date.toISOString()],
      ['command', `\`${results.command}\``],
      ['machine', describeMachine()],
      ['versions', versions.join(', ')],
      [
        'durability',
        `PostgreSQL with fsync and synchronous_commit on, on ${filesystems[type] ?? `file system type ${type}`}; the 202 follows the commit`,
      ],
      [
        'mail',
        `where nothing else is said a receipt in text and HTML: ${results.requestBytes} octets of JSON, one recipient, unsigned, no TLS`,
      ],
      [
        'load',
        `${results.mails} mails in each phase, ${results.connections} connections, one request at a time on each`,
      ],
      [
        'processes',
        'one API, one worker where no number is given, PostgreSQL, load and sink on the same machine, one installation anew for each line',
      ],
      ...describeSink(results.sink),
      ...(results.absent.length > 0 ? [['not measured', results.absent.join('; ')]] : []),
    ],
  )
  return [
    '# Benchmark results',
    '',
    'Written by `npm run bench`. Every mail arrived exactly once, or there would be no figures. On a shared machine rates move',
    'with what else runs; CPU ms per mail and the ratios within one round are what to compare.',
    '',
    lines,
  ].join('\n')
}

function describeSink({ roundTripMs = 0, pauseMs = 0, tls = false }: Partial<SinkOptions>): string[][] {
  const facts = [
    ...(roundTripMs > 0 ? [`${roundTripMs} ms round trips`] : []),
    ...(pauseMs > 0 ? [`${pauseMs} ms from a final dot to its reply`] : []),
    ...(tls ? ['TLS 1.3 offered'] : []),
  ]
  return facts.length === 0 ? [] : [['sink', facts.join(', ')]]
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
  const ratios = [...new Set(rows.flatMap((row) => Object.keys(row.ratios)))]
  const columns: Column[] = [
    ['accepted/s', 0, ({ phase }) => phase.acceptedPerS],
    ...quantileColumns('request → 202', (phase) => phase.answer),
    ...quantileColumns('202 → sink', (phase) => phase.handOff),
    ['delivered/s', 0, ({ phase }) => phase.deliveredPerS],
    ...ratios.map((name): Column => [name, 2, (row) => row.ratios[name] ?? null]),
    ['CPU ms/mail', 2, ({ phase }) => total(phase.cpuMsPerMail)],
    ...[...names.filter((name) => !apart.has(name)), ...apart].map(
      (name): Column => [name, 3, ({ phase }) => phase.cpuMsPerMail[name] ?? null],
    ),
  ]
  return grid(rows, columns)
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

/** Medians only: one line for each system of one of the sections. */
function byName(measurements: Measurement[], pick: (phase: Phase) => Record<string, number>, digits: number) {
  const rows = medianOf([...rowsOf(measurements, 'whole'), ...rowsOf(measurements, 'accept')]).filter(
    ({ phase }) => Object.keys(pick(phase)).length > 0,
  )
  const names = [...new Set(rows.flatMap(({ phase }) => Object.keys(pick(phase))))]
  const lines = rows.map(({ system, phase }) => [
    system,
    ...names.map((name) => show(pick(phase)[name] ?? null, digits)),
  ])
  return lines.length === 0 ? null : table(['', ...names], lines)
}

function perMailSection(measurements: Measurement[]): string[] {
  const lines = byName(measurements, ({ bytesPerMail }) => bytesPerMail, 0)
  const note =
    'Octets for each mail, medians. Of PostgreSQL: what files grew by until the mail was delivered and recorded; the body is one of them. Of Redis: memory while the mail waits.'
  return lines === null ? [] : [`## What a mail takes\n\n${note}\n\n${lines}`]
}

function memorySection(measurements: Measurement[]): string[] {
  const lines = byName(measurements, ({ memoryMb }) => memoryMb, 0)
  const note = 'MB at the end of a phase (proportional set size; all processes of a kind), medians.'
  return lines === null ? [] : [`## Memory\n\n${note}\n\n${lines}`]
}

function total(cpu: Cpu): number {
  return Object.entries(cpu).reduce((sum, [name, ms]) => (apart.has(name) ? sum : sum + ms), 0)
}

function singlesSection(singles: Results['singles']): string[] {
  const lines = Object.entries(singles).map(([queue, { answer, handOff }]) => [
    `Valija, queue in ${queue}`,
    ...[answer, handOff].flatMap(({ p50Ms, p99Ms, maxMs }) => [p50Ms, p99Ms, maxMs].map((ms) => show(ms, 1))),
  ])
  if (lines.length === 0) return []
  const columns = ['', 'request → 202: p50 ms', 'p99', 'max', '202 → taken by the sink: p50 ms', 'p99', 'max']
  return [`## Single mails on an idle system\n\n${table(columns, lines)}`]
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
