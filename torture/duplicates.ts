/**
 * Why a mail came once more: what happened between its final dot and the moment that its result should have been on record. A
 * duplicate that nothing explains is a fault of the product (I4).
 */
import type { FaultEntry, SinkEntry } from './ledgers.ts'

export const duplicateCauses = {
  cut: 'the receiver took the mail and cut the connection without an answer',
  killed: 'the worker was killed between the final dot and its settle',
  killedWaiting: 'the worker was killed while it kept results for a PostgreSQL that was away',
  paused: 'the worker was stopped between the final dot and its settle, for longer than its lease',
  postgres: 'PostgreSQL was away between the final dot and the settle, for longer than the lease',
  unexplained: 'unexplained',
} as const
export type DuplicateCause = keyof typeof duplicateCauses

/** A result is on record well within this, when PostgreSQL and the worker are there. */
const settleWithinMs = 10_000
/** Our clock is read when the sink has read the dot; it may have been written a little before. */
const readingMs = 2_000
/** A lease is renewed every 10 s and holds 30 s, of which 5 s are kept back. */
const shortestLeaseMs = 15_000

/** Explains why a mail that came whole was sent again. */
export function createExplainer(faults: readonly FaultEntry[]) {
  const byLife = Map.groupBy(faults, (fault) => fault.life)
  const postgresAway = faults.filter(({ victim }) => victim === 'postgres')
  /** How long PostgreSQL was away between two times, in all. */
  const awayMs = (fromMs: number, toMs: number) =>
    postgresAway.reduce(
      (sum, { atMs, untilMs }) => sum + Math.max(0, Math.min(untilMs, toMs) - Math.max(atMs, fromMs)),
      0,
    )

  return (mail: SinkEntry): DuplicateCause => {
    if (mail.answer === 'cut') return 'cut'
    const own = byLife.get(mail.ehlo.replace('.torture.test', '')) ?? []
    const pauses = own.filter(({ kind }) => kind === 'pause')
    const end = own.find(({ kind }) => kind !== 'pause')
    // What it held back while it, or PostgreSQL, stood still is not late.
    const hinderedMs = (untilMs: number) =>
      awayMs(mail.answeredMs, untilMs) + sumWithin(pauses, mail.answeredMs, untilMs)
    if (end && end.atMs > mail.atMs - readingMs) {
      const isSoon = end.atMs - mail.answeredMs - hinderedMs(end.atMs) < settleWithinMs
      if (isSoon) return awayMs(mail.answeredMs, end.atMs) > 0 ? 'killedWaiting' : 'killed'
    }
    const isPaused = ({ atMs, untilMs }: FaultEntry) =>
      untilMs - atMs > shortestLeaseMs &&
      atMs > mail.atMs - readingMs &&
      atMs - mail.answeredMs - awayMs(mail.answeredMs, atMs) < settleWithinMs
    if (pauses.some(isPaused)) return 'paused'
    if (awayMs(mail.answeredMs, mail.answeredMs + 2 * shortestLeaseMs) > shortestLeaseMs) return 'postgres'
    return 'unexplained'
  }
}

function sumWithin(faults: readonly FaultEntry[], fromMs: number, toMs: number): number {
  return faults.reduce(
    (sum, { atMs, untilMs }) => sum + Math.max(0, Math.min(untilMs, toMs) - Math.max(atMs, fromMs)),
    0,
  )
}
