/** Which charts a report has, and what of the data each of them shows. */
import { type BarChart, drawBars } from './charts.ts'
import type { GrowthRow } from './growth.ts'
import { medianOf, type Row, rowsOf } from './medians.ts'
import type { Measurement } from './phase.ts'

export interface Figure {
  title: string
  /** Its name in the folder of the charts. */
  file: string
  svg: string
}

/** Of the rounds, their medians; a chart without data is left out. */
export function drawResults(measurements: Measurement[]): Figure[] {
  const lines = (rows: Row[], barsOf: (row: Row) => BarChart['lines'][number]['bars']) =>
    medianOf(rows).map((row) => ({ label: row.system, bars: barsOf(row) }))
  const whole = rowsOf(measurements, 'whole')
  const open = rowsOf(measurements, 'open')
  return [
    figure('delivered', {
      title: 'End to end: delivered and recorded',
      unit: 'mails per second',
      lines: lines(whole, ({ phase }) => [{ name: 'delivered', value: phase.deliveredPerS ?? 0 }]),
    }),
    figure('processor', {
      title: 'End to end: what a mail costs',
      unit: 'CPU ms for each mail',
      lines: lines(whole, ({ phase }) =>
        Object.entries(phase.cpuMsPerMail)
          .filter(([name]) => name !== 'load' && name !== 'sink')
          .map(([name, value]) => ({ name, value })),
      ),
      isStacked: true,
      digits: 2,
    }),
    figure('hand-off', {
      title: 'Half load: from the 202 to the receiver’s last reply',
      unit: 'ms',
      lines: lines(open, ({ phase: { handOff } }) => [
        { name: 'p50', value: handOff?.p50Ms ?? 0 },
        { name: 'p95', value: handOff?.p95Ms ?? 0 },
        { name: 'p99', value: handOff?.p99Ms ?? 0 },
      ]),
      digits: 1,
    }),
  ].flat()
}

export function drawGrowth(rows: GrowthRow[]): Figure[] {
  const count = (number: number) => number.toLocaleString('en')
  const lines = (pick: (state: GrowthRow['empty']) => number) =>
    rows.map(({ waiting, domains, tenants, queue, empty, full }) => ({
      label: `${count(waiting)} waiting, ${count(domains)} domains, ${count(tenants)} tenants, ${queue}`,
      bars: [
        { name: 'empty', value: pick(empty) },
        { name: 'full', value: pick(full) },
      ],
    }))
  return [
    figure('growth-delivered', {
      title: 'With so many waiting: delivering',
      unit: 'mails per second',
      lines: lines(({ deliveredPerS }) => deliveredPerS),
    }),
    figure('growth-answer', {
      title: 'With so many waiting: request → 202',
      unit: 'p99, ms',
      lines: lines(({ answer }) => answer.p99Ms),
      digits: 1,
    }),
    figure('growth-memory', {
      title: 'With so many waiting: memory of the worker',
      unit: 'MB',
      lines: lines(({ memoryMb }) => memoryMb.worker ?? 0),
    }),
  ].flat()
}

function figure(name: string, chart: BarChart): Figure[] {
  if (chart.lines.length === 0) return []
  return [{ title: chart.title, file: `${name}.svg`, svg: drawBars(chart) }]
}
