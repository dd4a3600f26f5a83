/** How soon all goes on after a fault: measured from when the broken thing was started again, or went on. */
import type { FaultEntry } from './ledgers.ts'

/** The oldest delivery that is due and in nobody's hands, looked at again and again. */
export interface BacklogSample {
  atMs: number
  oldestMs: number
}

export interface RecoveryTimes {
  /**
   * Until the next 2xx to any client, the next mail at the sink, and until the oldest due mail is younger than 5 s again. The first not of
   * faults that end while all comes to rest: nobody posts then, and the next 2xx tells when the load began again.
   */
  acceptedMs: number[]
  deliveredMs: number[]
  calmMs: number[]
}

export type Recovery = Record<string, RecoveryTimes>

/** The oldest due mail of a system that is not behind. */
const calmBelowMs = 5_000

export interface Happenings {
  faults: readonly FaultEntry[]
  /** In any order. */
  acceptedAtMs: readonly number[]
  /** When clients began to post: at first, and after each rest. */
  loadAtMs: readonly number[]
  deliveredAtMs: readonly number[]
  backlog: readonly BacklogSample[]
}

export function measureRecovery(happenings: Happenings): Recovery {
  const { faults, acceptedAtMs, loadAtMs, deliveredAtMs, backlog } = happenings
  const accepted = acceptedAtMs.toSorted((one, other) => one - other)
  const delivered = deliveredAtMs.toSorted((one, other) => one - other)
  const calm = backlog.filter(({ oldestMs }) => oldestMs < calmBelowMs).map(({ atMs }) => atMs)
  const recovery: Recovery = {}
  for (const { kind, victim, untilMs } of faults) {
    const name = `${kind} ${victim}`
    const times = recovery[name] ?? { acceptedMs: [], deliveredMs: [], calmMs: [] }
    recovery[name] = times
    for (const [list, key] of [
      [accepted, 'acceptedMs'],
      [delivered, 'deliveredMs'],
      [calm, 'calmMs'],
    ] as const) {
      const next = firstFrom(list, untilMs)
      if (next === undefined) continue
      const isRestBetween = loadAtMs.some((atMs) => untilMs < atMs && atMs <= next)
      if (key === 'acceptedMs' && isRestBetween) continue
      times[key].push(next - untilMs)
    }
  }
  return recovery
}

function firstFrom(sorted: readonly number[], atMs: number): number | undefined {
  let [low, high] = [0, sorted.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((sorted[middle] ?? 0) < atMs) low = middle + 1
    else high = middle
  }
  return sorted[low]
}
