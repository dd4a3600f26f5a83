/** What is measured of any system, and how the figures of many rounds are kept. */
import type { Cpu } from './measure.ts'
import type { Quantiles } from './quantiles.ts'

/** One phase of one run. Rates per second, CPU in ms for each mail; null: not a question here. */
export interface Phase {
  mails: number
  acceptedPerS: number | null
  deliveredPerS: number | null
  /** From a request (in an open load: when it was due) to its answer. */
  answer: Quantiles | null
  /** From the answer to the sink's reply to the final dot. */
  handOff: Quantiles | null
  cpuMsPerMail: Cpu
  /** Proportional set size of each kind of process at the end. */
  memoryMb: Record<string, number>
  /** Octets for each mail, by what holds them. */
  bytesPerMail: Record<string, number>
  /** Connections that the sink took meanwhile, for each mail: 1 is a fresh one for every mail. */
  connectionsPerMail: number | null
}

/** Each is a table of the report. */
export type Section =
  | 'whole'
  | 'accept'
  | 'backlog'
  | 'open'
  | 'mails'
  | 'exchangers'
  | 'realistic'
  | 'tarpit'

export interface Measurement {
  round: number
  section: Section
  system: string
  /** The systems to compare with in the same round, by the name of the ratio. */
  bases: Record<string, string>
  phase: Phase
}

/** The figures of this run mean nothing. */
export class VoidRun extends Error {
  override name = 'VoidRun'
}

/** Measuring programs: on the same cores, but no part of what is measured. */
export const apart: ReadonlySet<string> = new Set(['load', 'sink'])

export const noFigures = {
  acceptedPerS: null,
  deliveredPerS: null,
  answer: null,
  handOff: null,
  bytesPerMail: {},
  connectionsPerMail: null,
}
