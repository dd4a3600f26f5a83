/** What a run came to: a table for people, a page for docs/. */
import os from 'node:os'
import { duplicateCauses } from './duplicates.ts'
import { byFile } from './point-tally.ts'
import type { Result } from './run.ts'
import { rules } from './verdict.ts'

export const isRed = ({ verdict }: Result): boolean => verdict.findings.length > 0

/** Rows of a name and a value. */
export function summarise(result: Result): [string, string][] {
  const { verdict, points, options, faults, drains, rounds, durationS } = result
  const { accepted, unknown, duplicates } = verdict
  const duplicated = Object.values(duplicates).reduce((sum, count) => sum + count, 0)
  const slowest = Math.max(0, ...drains.map(({ tookMs }) => tookMs))
  return [
    ['verdict', isRed(result) ? 'RED' : 'green'],
    ['seed', `${options.seed}`],
    ...(options.without === null ? [] : [['guard taken out', options.without] as [string, string]]),
    [
      'rounds',
      `${rounds} of at least ${options.roundMs / 1000} s, ${(durationS / 60).toFixed(1)} min in all`,
    ],
    ...Object.entries(faults)
      .sort()
      .map(([name, count]): [string, string] => [`fault: ${name}`, `${count}`]),
    ['crash points', pointsLine(points)],
    ['accepted', `${accepted.recipients} recipients of ${accepted.messages} messages`],
    ['answered after repetition', `${accepted.retried}, of them ${accepted.replays} with the stored answer`],
    ['never learned', `${unknown.messages}, of which ${unknown.found} had been accepted`],
    ['delivered', `${verdict.delivered}`],
    ['bounced, as they should', `${verdict.bounced}`],
    ['lost', `${verdict.lost}`],
    ['at most once', onceLine(verdict.once)],
    ['duplicates', `${duplicated}, at most ${verdict.mostDuplicatesPerKill} for one kill`],
    ...Object.entries(duplicateCauses).map(([cause, text]): [string, string] => [
      `duplicates: ${text}`,
      `${duplicates[cause as keyof typeof duplicates]}`,
    ]),
    ['differing bytes', `${verdict.differing}`],
    ['longest way to rest', `${(slowest / 1000).toFixed(1)} s`],
  ]
}

function pointsLine({ enumerated, passed, killedAt, deaths, inCells }: Result['points']): string {
  return `${enumerated} enumerated, ${passed} passed, ${killedAt} of these died at, in ${deaths} deaths; ${inCells.length} more passed only in cells`
}

function onceLine({ delivered, uncertain, uncertainCame, doubled }: Result['verdict']['once']): string {
  return `${delivered} delivered, ${uncertain} failed as uncertain (${uncertainCame} of these had come), ${doubled} came twice`
}

/** Which points were passed and not died at, and which were not reached, by file. */
function pointLines({ points: { enumerated, spared, inCells, unreached } }: Result): string[] {
  if (enumerated === 0) return []
  return [
    ...byFile(spared).map((line) => `passed, not died at: ${line}`),
    ...byFile(inCells).map((line) => `passed only in cells: ${line}`),
    ...byFile(unreached).map((line) => `never reached: ${line}`),
  ]
}

/** Recovery times by fault: median and longest, in seconds. */
export function recoveryRows({ recovery }: Result): string[][] {
  return Object.entries(recovery)
    .sort()
    .map(([name, times]) => [name, ...[times.acceptedMs, times.deliveredMs, times.calmMs].map(medianAndMost)])
}

function medianAndMost(list: readonly number[]): string {
  if (list.length === 0) return '-'
  const sorted = list.toSorted((one, other) => one - other)
  const seconds = (ms: number) => (ms / 1000).toFixed(1)
  return `${seconds(sorted[Math.floor(sorted.length / 2)] ?? 0)} / ${seconds(sorted.at(-1) ?? 0)}`
}

/** For the terminal. */
export function printable(result: Result): string {
  const rows = summarise(result)
  const width = Math.max(...rows.map(([name]) => name.length))
  const lines = rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`)
  const recovery = recoveryRows(result).map(
    ([name = '', accepted = '', delivered = '', calm = '']) =>
      `  ${name.padEnd(18)} ${accepted.padEnd(14)} ${delivered.padEnd(14)} ${calm}`,
  )
  return [
    ...lines,
    'recovery, s, median / longest',
    `  ${'after'.padEnd(18)} ${'a 2xx'.padEnd(14)} ${'a delivery'.padEnd(14)} oldest due mail < 5 s`,
    ...recovery,
    ...(result.options.walk ? pointLines(result) : []),
    ...findingLines(result),
  ].join('\n')
}

const shownFindings = 10

function findingLines({ verdict }: Result): string[] {
  const groups = Map.groupBy(verdict.findings, ({ rule }) => rule)
  return [...groups].flatMap(([rule, list]) => [
    `BROKEN ${rule} (${rules[rule]}): ${list.length} times`,
    ...list.slice(0, shownFindings).map(({ what }) => `  ${what.slice(0, 2_000)}`),
  ])
}

/** The table of a page in docs/. */
export function markdown(result: Result, version: string): string {
  const machine = `${os.cpus().length} cores, ${Math.round(os.totalmem() / 2 ** 30)} GB, Node ${process.version}`
  return [
    `Version ${version}, queue in ${result.options.queue}, ${result.options.rate} messages a second, on ${machine}.`,
    '',
    '| | |',
    '|---|---|',
    ...summarise(result).map(([name, value]) => `| ${name} | ${value} |`),
    '',
    'Recovery, in seconds, median / longest, from when the broken thing was started again or went on. Rounds overlap: the next fault is often there already.',
    '',
    '| after | the next 2xx | the next delivery | oldest due mail under 5 s |',
    '|---|---|---|---|',
    ...recoveryRows(result).map((row) => `| ${row.join(' | ')} |`),
    '',
  ].join('\n')
}
