/** Which faults happen when: made from the seed before anything starts. */
import type { FaultName } from './options.ts'
import { createRandom, type Random } from './random.ts'

export const victims = ['api', 'worker', 'redis', 'postgres'] as const
export type Victim = (typeof victims)[number]

export interface PlannedFault {
  /** `restart` is SIGTERM, as for a new version. */
  kind: 'kill' | 'pause' | 'flush' | 'restart'
  victim: Victim
  /** Which of several processes. */
  slot: number
  /** Since the round began. */
  atMs: number
  /** How long it is away: until it is started again, or goes on. */
  forMs: number
}

/** So many API and worker processes each: two, and one more in a walk, which dies at no crash point. */
export const slotsOf = ({ walk }: { walk: boolean }): number => (walk ? 3 : 2)

/** The one that goes on while the others walk from point to point. */
export const isSteady = (options: { walk: boolean }, slot: number): boolean =>
  options.walk && slot === slotsOf(options) - 1

/** Of a kill: until the supervisor starts the program again. */
const downMs: Record<Victim, [number, number]> = {
  api: [0, 500],
  worker: [0, 500],
  redis: [100, 3_000],
  postgres: [100, 2_500],
}

/** A worker is stopped for seconds, or for longer than its leases hold. */
const pauseMs: Record<Victim, [number, number]> = {
  api: [500, 5_000],
  worker: [500, 8_000],
  redis: [500, 8_000],
  postgres: [500, 6_000],
}
const pauseBeyondLeaseMs: [number, number] = [34_000, 42_000]

/**
 * So many kills in every round and one other fault, each kind as often as the next. In a walk they meet the processes that do not walk,
 * and one of those that do is asked to end, for there are points on that way too.
 */
export function planFaults(options: {
  seed: number
  rounds: number
  roundMs: number
  kills: number
  faults: ReadonlySet<FaultName>
  queue: 'redis' | 'postgres'
  walk: boolean
}): PlannedFault[][] {
  const { seed, rounds, roundMs, kills, faults, queue, walk } = options
  const last = slotsOf(options) - 1
  const random = createRandom(seed, 'faults')
  const present = victims.filter((victim) => victim !== 'redis' || queue === 'redis')
  const deaths = present
    .filter((victim) => faults.has(victim))
    .map((victim) => ({ kind: 'kill' as const, victim }))
  const others = [
    ...(faults.has('pause') ? present.map((victim) => ({ kind: 'pause' as const, victim })) : []),
    ...(faults.has('pause') ? [{ kind: 'pause' as const, victim: 'worker' as const }] : []),
    ...(faults.has('flush') && queue === 'redis'
      ? [{ kind: 'flush' as const, victim: 'redis' as const }]
      : []),
  ]
  const [kill, other] = [createDeck(random, deaths), createDeck(random, others)]
  let workerPauses = 0
  const timed = ({ kind, victim }: { kind: PlannedFault['kind']; victim: Victim }): PlannedFault => {
    const isLong = kind === 'pause' && victim === 'worker' && workerPauses++ % 2 === 0
    const bounds = kind === 'kill' ? downMs[victim] : isLong ? pauseBeyondLeaseMs : pauseMs[victim]
    return {
      kind,
      victim,
      slot: walk ? last : random.whole(0, last),
      atMs: random.whole(0, roundMs),
      forMs: kind === 'flush' ? 0 : random.whole(...bounds),
    }
  }
  const restart = (round: number): PlannedFault[] => {
    if (!walk) return []
    const victim = round % 2 === 0 ? 'worker' : 'api'
    return [
      { kind: 'restart', victim, slot: random.whole(0, last - 1), atMs: random.whole(0, roundMs), forMs: 0 },
    ]
  }
  return Array.from({ length: rounds }, (_, round) =>
    [...Array.from({ length: kills }, kill), other()]
      .flatMap((fault) => (fault === null ? [] : [timed(fault)]))
      .concat(restart(round))
      .sort((one, next) => one.atMs - next.atMs),
  )
}

/** Cards are dealt until there are none, then shuffled again. */
function createDeck<T>(random: Random, cards: readonly T[]): () => T | null {
  let rest: T[] = []
  return () => {
    if (rest.length === 0) rest = random.shuffled(cards)
    return rest.pop() ?? null
  }
}
