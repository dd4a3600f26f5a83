/**
 * Mails that stand behind others whose domains have all they may have their turn too: all that is due is looked through for them, a slice at a time, so
 * that nobody else's mail waits for the look. (All of a million at once took 0.4 s, in which nothing else was admitted.)
 */
import {
  admitRows,
  findEndsOfLooks,
  type InFlight,
  type Look,
  type Quota,
  type TurnClient,
} from '@valija/store'

/** Of a stream. Its look takes some 30 ms: less than the workers have in hand. */
const usualSlice = 50_000
/** Of the time, a twentieth; and once a second where all is looked through at once. */
const restFactor = 20
const everyMs = 1_000

export interface LookBehind {
  /** Whether it is time for another one. */
  isDue(): boolean
  /** Admits what the next slice of each quota's stream has. */
  admit: (
    client: TurnClient,
    quotas: readonly Quota[],
    inFlight: readonly InFlight[],
  ) => ReturnType<typeof admitRows>
}

export function createLookBehind(slice = usualSlice): LookBehind {
  const front: Look = { from: null, rows: slice }
  /** Of streams that are not looked through to their end: the next look. */
  const nextLooks = new Map<string, Look>()
  let afterMs = Number.NEGATIVE_INFINITY
  const lookOf = (quota: Quota) => nextLooks.get(nameOf(quota)) ?? front

  /** @returns whether any of them has more behind what was looked at */
  const goOn = async (client: TurnClient, quotas: readonly Quota[]): Promise<boolean> => {
    const parts = quotas.filter((quota) => lookOf(quota).rows !== null)
    const ends = await findEndsOfLooks(client, parts, lookOf)
    const next = new Map(parts.map((quota, index) => [nameOf(quota), lookBehind(lookOf(quota), ends[index])]))
    for (const name of quotas.map(nameOf)) {
      const look = next.get(name)
      if (look) nextLooks.set(name, look)
      else nextLooks.delete(name)
    }
    return [...next.values()].some((look) => look !== null)
  }
  /** Where more than a slice is due at the very same time, all of that and what follows is one look. */
  const lookBehind = (look: Look, end: Date | null | undefined): Look | null => {
    if (!end) return null
    return { from: end, rows: end.getTime() === look.from?.getTime() ? null : slice }
  }
  return {
    isDue: () => performance.now() >= afterMs,
    admit: async (client, quotas, inFlight) => {
      const startedAtMs = performance.now()
      const rows = await admitRows(client, quotas, inFlight, lookOf)
      const found = new Set(rows.map(nameOf))
      // Where some were found there may be others like them: the same again.
      const isMore = await goOn(
        client,
        quotas.filter((quota) => !found.has(nameOf(quota))),
      )
      const now = performance.now()
      afterMs = now + Math.max(isMore ? 0 : everyMs, (now - startedAtMs) * restFactor)
      return rows
    },
  }
}

function nameOf({ tenantId, stream }: { tenantId: string; stream: string }): string {
  return `${tenantId}/${stream}`
}
