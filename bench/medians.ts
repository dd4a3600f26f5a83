/** From what was measured to what a table shows: ratios within a round, and medians over the rounds. */
import { apart, type Measurement, type Phase, type Section } from './phase.ts'
import type { Quantiles } from './quantiles.ts'

/** What a phase is about: deliveries where there are any, else answers. */
export const rate = (phase: Phase): number | null => phase.deliveredPerS ?? phase.acceptedPerS

/** CPU ms for each mail of all processes that are measured. */
export const totalCpu = ({ cpuMsPerMail }: Phase): number =>
  sum(Object.entries(cpuMsPerMail).flatMap(([name, ms]) => (apart.has(name) ? [] : [ms])))

const total = (values: Record<string, number>): number | null =>
  Object.keys(values).length === 0 ? null : sum(Object.values(values))

/** Figures that can be compared, by the names that the report shows. */
export const comparable = {
  rate,
  'CPU ms': totalCpu,
  '202 p99': ({ answer }: Phase) => answer?.p99Ms ?? null,
  'hand-off p99': ({ handOff }: Phase) => handOff?.p99Ms ?? null,
  memory: ({ memoryMb }: Phase) => total(memoryMb),
  octets: ({ bytesPerMail }: Phase) => total(bytesPerMail),
} satisfies Record<string, (phase: Phase) => number | null>

/** `× <base>: <figure>`. */
export type Ratios = Record<string, number>

export interface Row {
  round: number
  system: string
  phase: Phase
  /** One whose base was not measured in this round, or has no such figure, is missing. */
  ratios: Ratios
}

/** Rows of a section, in the order in which they were measured, with ratios to the bases of the same round. */
export function rowsOf(measurements: Measurement[], section: Section): Row[] {
  return measurements
    .filter((measurement) => measurement.section === section)
    .map(({ round, system, phase, bases }) => {
      const of = (where: Section, base: string) =>
        measurements.find((m) => m.round === round && m.section === where && m.system === base)?.phase
      const ratios = Object.entries(bases).map(([name, base]) => {
        const other = of(section, base) ?? of('whole', base)
        return base === system || other === undefined ? {} : ratiosOf(name, phase, other)
      })
      return { round, system, phase, ratios: Object.assign({}, ...ratios) as Ratios }
    })
}

function ratiosOf(base: string, phase: Phase, other: Phase): Ratios {
  const ratios: Ratios = {}
  for (const [name, pick] of Object.entries(comparable)) {
    const [ours, theirs] = [pick(phase), pick(other)]
    if (ours !== null && theirs !== null && theirs > 0) ratios[`${base}: ${name}`] = ours / theirs
  }
  return ratios
}

/** One row for each system. Each figure's own median; a ratio's is the median of the rounds' ratios. */
export function medianOf(rows: Row[]): Row[] {
  return [...Map.groupBy(rows, (row) => row.system)].map(([system, group]) => {
    const of = (pick: (row: Row) => number | null | undefined) => median(group.map(pick))
    const byName = (pick: (row: Row) => Record<string, number>) => {
      const names = new Set(group.flatMap((row) => Object.keys(pick(row))))
      return Object.fromEntries([...names].map((name) => [name, of((row) => pick(row)[name]) ?? 0]))
    }
    const ofQuantiles = (pick: (row: Row) => Quantiles | null): Quantiles | null =>
      group.every((row) => pick(row) === null)
        ? null
        : {
            p50Ms: of((row) => pick(row)?.p50Ms) ?? 0,
            p95Ms: of((row) => pick(row)?.p95Ms) ?? 0,
            p99Ms: of((row) => pick(row)?.p99Ms) ?? 0,
            maxMs: of((row) => pick(row)?.maxMs) ?? 0,
          }
    return {
      round: 0,
      system,
      ratios: byName((row) => row.ratios),
      phase: {
        mails: of(({ phase }) => phase.mails) ?? 0,
        acceptedPerS: of(({ phase }) => phase.acceptedPerS),
        deliveredPerS: of(({ phase }) => phase.deliveredPerS),
        answer: ofQuantiles(({ phase }) => phase.answer),
        handOff: ofQuantiles(({ phase }) => phase.handOff),
        cpuMsPerMail: byName(({ phase }) => phase.cpuMsPerMail),
        memoryMb: byName(({ phase }) => phase.memoryMb),
        bytesPerMail: byName(({ phase }) => phase.bytesPerMail),
        connectionsPerMail: of(({ phase }) => phase.connectionsPerMail),
      },
    }
  })
}

function median(values: (number | null | undefined)[]): number | null {
  const sorted = values.filter((value) => value != null).sort((a, b) => a - b)
  const middle = sorted.length >> 1
  if (sorted.length === 0) return null
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

function sum(values: number[]): number {
  return values.reduce((so, value) => so + value, 0)
}
