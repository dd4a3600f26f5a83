/**
 * bench/RESULTS.md, written by the run that measured it: what was run, on what, each round and the median. Names of machines
 * and paths are left out on purpose.
 */
import { statfsSync } from 'node:fs'
import os from 'node:os'
import type { Idle } from './idle.ts'
import type { Cpu } from './measure.ts'
import type { Singles } from './singles.ts'
import type { Phase, ValijaRun } from './systems.ts'
import type { QueueBackend } from './valija.ts'

export interface Round {
  fastify: Phase
  nodemailer: Phase
  valija: Partial<Record<QueueBackend, ValijaRun>>
}

export interface Results {
  command: string
  date: Date
  mails: number
  connections: number
  requestBytes: number
  mailBytes: number
  versions: Record<string, string>
  rounds: Round[]
  singles: Partial<Record<QueueBackend, Singles>>
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

export function formatResults(results: Results): string {
  const sections = [
    heading(results),
    ...(results.rounds.length > 0
      ? [wholeSection(results.rounds), acceptSection(results.rounds), backlogSection(results.rounds)]
      : []),
    ...singlesSection(results.singles),
    ...(results.idle ? [idleSection(results.idle)] : []),
  ]
  return `${sections.join('\n\n')}\n`
}

function heading(results: Results): string {
  const cpu = os.cpus()
  const type = statfsSync(os.tmpdir()).type
  const facts = [
    ['date', results.date.toISOString()],
    ['command', `\`${results.command}\``],
    [
      'machine',
      `${cpu.length} × ${cpu[0]?.model ?? 'unknown'}, ${(os.totalmem() / 2 ** 30).toFixed(0)} GB, ${os.type()} ${os.release().split('-')[0]}, load before ${os.loadavg()[0]?.toFixed(1)}`,
    ],
    [
      'versions',
      Object.entries(results.versions)
        .map(([name, version]) => `${name} ${version}`)
        .join(', '),
    ],
    [
      'durability',
      `PostgreSQL with fsync and synchronous_commit on, on ${filesystems[type] ?? `file system type ${type}`}; the 202 follows the commit`,
    ],
    [
      'mail',
      `a receipt in text and HTML: ${results.requestBytes} octets of JSON, ${results.mailBytes} octets as sent, one recipient, unsigned, no TLS`,
    ],
    [
      'load',
      `${results.mails} mails in each phase, ${results.connections} connections, one request at a time on each`,
    ],
    [
      'processes',
      'one API, one worker, PostgreSQL, load and sink on the same machine, one installation anew for each round',
    ],
  ]
  const lines = facts.map(([name, text]) => `| ${name} | ${text} |`)
  return [
    '# Benchmark results',
    '',
    'Written by `npm run bench`. Every mail arrived exactly once, or there would be no figures. On a shared machine rates move',
    'with what else runs; CPU ms per mail and the ratios within one round are what to compare.',
    '',
    '| | |',
    '|---|---|',
    ...lines,
  ].join('\n')
}

type Row = { system: string; phase: Phase; ratio: number | null }

function wholeSection(rounds: Round[]): string {
  return section({
    title: 'End to end: request → 202 → SMTP → recorded',
    note: 'delivered/s: from the first request to the commit of the last result. Ratio: to nodemailer’s pool in the same round.',
    ratioName: '× nodemailer',
    rounds: rounds.map((round) => [
      { system: 'nodemailer pool', phase: round.nodemailer, ratio: 1 },
      ...valijaRows(
        round,
        (run) => run.whole,
        (phase) => divide(phase.deliveredPerS, round.nodemailer.deliveredPerS),
      ),
    ]),
  })
}

function acceptSection(rounds: Round[]): string {
  return section({
    title: 'Accepting alone (no worker runs)',
    note: 'Ratio: to a bare Fastify route that validates the same body, in the same round.',
    ratioName: '× bare Fastify',
    rounds: rounds.map((round) => [
      { system: 'bare Fastify', phase: round.fastify, ratio: 1 },
      ...valijaRows(
        round,
        (run) => run.accept,
        (phase) => divide(phase.acceptedPerS, round.fastify.acceptedPerS),
      ),
    ]),
  })
}

function backlogSection(rounds: Round[]): string {
  return section({
    title: 'Delivering alone: a backlog (nothing is accepted meanwhile)',
    note: 'From the first mail at the sink. Ratio: to nodemailer’s pool in the same round.',
    ratioName: '× nodemailer',
    rounds: rounds.map((round) =>
      valijaRows(
        round,
        (run) => run.backlog,
        (phase) => divide(phase.deliveredPerS, round.nodemailer.deliveredPerS),
      ),
    ),
  })
}

function valijaRows(
  round: Round,
  pick: (run: ValijaRun) => Phase,
  ratio: (phase: Phase) => number | null,
): Row[] {
  return Object.entries(round.valija).map(([queue, run]) => {
    const phase = pick(run)
    return { system: `Valija, queue in ${queue}`, phase, ratio: ratio(phase) }
  })
}

function section(parts: { title: string; note: string; ratioName: string; rounds: Row[][] }): string {
  const { title, note, ratioName, rounds } = parts
  const cpuNames = [...new Set(rounds.flat().flatMap(({ phase }) => Object.keys(phase.cpuMsPerMail)))]
  const ours = cpuNames.filter((name) => !apart.has(name))
  const columns = [
    'round',
    'system',
    'accepted/s',
    '202 p50 ms',
    '202 p99 ms',
    'delivered/s',
    ratioName,
    'CPU ms/mail',
    ...ours,
    ...apart,
  ]
  const cells = (round: string, { system, phase, ratio }: Row) => [
    round,
    system,
    show(phase.acceptedPerS, 0),
    show(phase.answerP50Ms, 0),
    show(phase.answerP99Ms, 0),
    show(phase.deliveredPerS, 0),
    show(ratio, 2),
    show(total(phase.cpuMsPerMail), 2),
    ...[...ours, ...apart].map((name) => show(phase.cpuMsPerMail[name] ?? null, 3)),
  ]
  const rows = rounds.flatMap((round, index) => round.map((row) => cells(String(index + 1), row)))
  const systems = [...new Set(rounds.flat().map((row) => row.system))]
  const medians = systems.map((system) =>
    cells('**median**', medianRow(rounds.flat().filter((row) => row.system === system))),
  )
  const table = [columns, columns.map(() => '---'), ...rows, ...medians].map(
    (row) => `| ${row.join(' | ')} |`,
  )
  return [`## ${title}`, '', note, '', ...table].join('\n')
}

/** Each figure's own median; a ratio's is the median of the rounds' ratios. */
function medianRow(rows: Row[]): Row {
  const of = (pick: (row: Row) => number | null) => {
    const values = rows
      .map(pick)
      .filter((value) => value !== null)
      .sort((a, b) => a - b)
    const middle = values.length >> 1
    if (values.length === 0) return null
    return values.length % 2 === 1 ? values[middle]! : (values[middle - 1]! + values[middle]!) / 2
  }
  const names = Object.keys(rows[0]?.phase.cpuMsPerMail ?? {})
  return {
    system: rows[0]?.system ?? '',
    ratio: of((row) => row.ratio),
    phase: {
      acceptedPerS: of(({ phase }) => phase.acceptedPerS),
      deliveredPerS: of(({ phase }) => phase.deliveredPerS),
      answerP50Ms: of(({ phase }) => phase.answerP50Ms),
      answerP99Ms: of(({ phase }) => phase.answerP99Ms),
      cpuMsPerMail: Object.fromEntries(
        names.map((name) => [name, of(({ phase }) => phase.cpuMsPerMail[name] ?? null) ?? 0]),
      ),
    },
  }
}

function total(cpu: Cpu): number {
  return Object.entries(cpu).reduce((sum, [name, ms]) => (apart.has(name) ? sum : sum + ms), 0)
}

function singlesSection(singles: Results['singles']): string[] {
  const entries = Object.entries(singles)
  if (entries.length === 0) return []
  const rows = entries.map(([queue, { answer, handOff }]) => {
    const cells = [answer, handOff].flatMap(({ p50Ms, p99Ms, maxMs }) =>
      [p50Ms, p99Ms, maxMs].map((ms) => show(ms, 1)),
    )
    return `| ${[`Valija, queue in ${queue}`, ...cells].join(' | ')} |`
  })
  const columns = ['', 'request → 202: p50 ms', 'p99', 'max', '202 → taken by the sink: p50 ms', 'p99', 'max']
  return [
    [
      '## Single mails on an idle system',
      '',
      ...[columns, columns.map(() => '---')].map((row) => `| ${row.join(' | ')} |`),
      ...rows,
    ].join('\n'),
  ]
}

function idleSection({ cpuMsPerS, memoryMb, readyMs }: Idle): string {
  return [
    '## `npm start`, idle',
    '',
    `${cpuMsPerS.toFixed(1)} ms of CPU for each second, ${memoryMb.toFixed(0)} MB resident in all (proportional set size, PostgreSQL included); ready ${(readyMs / 1000).toFixed(1)} s after the command with a new data folder.`,
  ].join('\n')
}

function divide(a: number | null, b: number | null): number | null {
  return a === null || b === null ? null : a / b
}

function show(value: number | null, digits: number): string {
  return value === null ? '' : value.toFixed(digits)
}
