/** From what was measured to what a table shows: ratios within a round, and medians over the rounds. */
import type { Measurement, Phase, Section } from './phase.ts'
import type { Quantiles } from './quantiles.ts'

export interface Row {
  round: number
  system: string
  phase: Phase
  /** By name; one whose base was not measured in this round is missing. */
  ratios: Record<string, number>
}

/** Rows of a section, in the order in which they were measured, with ratios to the bases of the same round. */
export function rowsOf(measurements: Measurement[], section: Section): Row[] {
  return measurements
    .filter((measurement) => measurement.section === section)
    .map(({ round, system, phase, bases }) => {
      const ratios: Record<string, number> = {}
      for (const [name, base] of Object.entries(bases)) {
        const of = (where: Section) =>
          measurements.find((m) => m.round === round && m.section === where && m.system === base)?.phase
        const ratio = divide(rate(phase), rate(of(section) ?? of('whole')))
        if (ratio !== null) ratios[name] = ratio
      }
      return { round, system, phase, ratios }
    })
}

/** What a phase is about: deliveries where there are any, else answers. */
export const rate = (phase: Phase | undefined): number | null =>
  phase?.deliveredPerS ?? phase?.acceptedPerS ?? null

function divide(a: number | null, b: number | null): number | null {
  return a === null || b === null ? null : a / b
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
