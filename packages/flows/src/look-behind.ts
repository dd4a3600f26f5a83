/**
 * Mails that stand behind others whose domains have all they may have their turn too: all that is due is looked through for them, a slice at a time, so
 * that nobody else's mail waits for the look. (All of a million at once took 0.4 s, in which nothing else was admitted.)
 */
import {
  type AdmittedRow,
  admitRows,
  findEndsOfLooks,
  type InFlight,
  type LookOf,
  oldest,
  type Quota,
  type TurnClient,
} from '@valija/store'

/** Its look takes some 30 ms: less than the workers have in hand. */
const usualSlice = 50_000
/** Of the time, a twentieth; and once a second where all is looked through at once. */
const restFactor = 20
const everyMs = 1_000
/** Looks at the same slice, before what is behind it has its turn. */
const mostStays = 3

/** Where the next look at a stream begins. */
interface Place {
  from: Date | null
  /** Behind it all is looked at at once. */
  isWhole: boolean
  /** How often it was looked at from here, and enough was found. */
  stays: number
}

const front: Place = { from: null, isWhole: false, stays: 0 }

export interface LookBehind {
  /** Whether it is time for another one. */
  isDue(): boolean
  /** Admits what the next slice of each quota's stream has. */
  admit: (
    client: TurnClient,
    quotas: readonly Quota[],
    inFlight: readonly InFlight[],
  ) => Promise<AdmittedRow[]>
}

export function createLookBehind(slice = usualSlice): LookBehind {
  /** Of streams that are not looked through to their end. */
  const places = new Map<string, Place>()
  let afterMs = Number.NEGATIVE_INFINITY

  /** The streams that are looked at together share the slice. */
  const looksFor = (quotas: readonly Quota[]): LookOf => {
    const rows = Math.ceil(slice / quotas.length)
    const looks = new Map(
      quotas.map(nameOf).map((name) => {
        const { from, isWhole } = places.get(name) ?? front
        return [name, { from, rows: isWhole ? null : rows }]
      }),
    )
    return (quota) => looks.get(nameOf(quota)) ?? { from: null, rows }
  }
  /** @returns whether any of them has more behind what was looked at */
  const goOn = async (client: TurnClient, quotas: readonly Quota[], lookOf: LookOf): Promise<boolean> => {
    const parts = quotas.filter((quota) => lookOf(quota).rows !== null)
    const ends = await findEndsOfLooks(client, parts, lookOf)
    for (const name of quotas.map(nameOf)) places.delete(name)
    parts.forEach((quota, index) => {
      const end = ends[index]
      if (!end) return
      // Where more than a slice is due at the very same time, all of that and what follows is one look.
      const isWhole = end.getTime() === lookOf(quota).from?.getTime()
      places.set(nameOf(quota), { from: end, isWhole, stays: 0 })
    })
    return ends.some((end) => end !== null)
  }
  /** Where as many were found as may be admitted there may be others like them: the same once more, but not for long. */
  const mayStay = (quota: Quota, found: number): boolean => {
    const place = places.get(nameOf(quota)) ?? front
    if (found < quota.count || place.stays >= mostStays) return false
    places.set(nameOf(quota), { ...place, stays: place.stays + 1 })
    return true
  }
  return {
    isDue: () => performance.now() >= afterMs,
    admit: async (client, quotas, inFlight) => {
      const startedAtMs = performance.now()
      const lookOf = looksFor(quotas)
      const rows = await admitRows(client, quotas, inFlight, lookOf)
      const found = Map.groupBy(rows, nameOf)
      const passed = quotas.filter((quota) => !mayStay(quota, found.get(nameOf(quota))?.length ?? 0))
      const isMore = await goOn(client, passed, lookOf)
      const now = performance.now()
      afterMs = now + Math.max(isMore ? 0 : everyMs, (now - startedAtMs) * restFactor)
      return rows
    },
  }
}

/** For each row to admit, so many of the oldest are looked at: some may be for a domain that has enough in flight. */
const lookAhead = 8

/** Admits the oldest that may go; of a stream in front of which none may, what stands behind, when it is time for that. */
export async function admitOldest(
  behind: LookBehind,
  client: TurnClient,
  quotas: readonly Quota[],
  inFlight: readonly InFlight[],
): Promise<AdmittedRow[]> {
  const rows = await admitRows(client, quotas, inFlight, oldest(lookAhead))
  const served = new Set(rows.map(nameOf))
  const others = quotas.filter((quota) => !served.has(nameOf(quota)))
  if (others.length === 0 || !behind.isDue()) return rows
  return [...rows, ...(await behind.admit(client, others, inFlight))]
}

function nameOf({ tenantId, stream }: { tenantId: string; stream: string }): string {
  return `${tenantId}/${stream}`
}
