/**
 * Who is admitted next: deficit round-robin over tenants by weight, then over each tenant's streams (transactional : bulk =
 * 4 : 1), work-conserving (DESIGN 4.14). A tenant's million bulk mails delay neither another tenant nor its own
 * one-time codes.
 *
 * Two things are shared. The *room* of one round, and the *capacity*: how many rows the workers are to have in hand in all. Of
 * that each stream that waits gets its part and no more, however slow its receivers are: else whoever sends to a slow one
 * would come to hold all that there is, and the rest would wait for it. For the same reason one domain has only a part of that part.
 *
 * Shares are fractions: what a tenant could not use of one row is its deficit and counts the next time, so with more
 * tenants than room they take turns.
 */
import type { Uuid } from './ids.ts'
import { type Stream, streamWeights } from './stream.ts'

export interface WaitingShare {
  tenantId: Uuid
  weight: number
  stream: Stream
  /** Its rows that the workers have, or were told of. */
  inFlight: number
}

export interface ShareQuota {
  tenantId: Uuid
  stream: Stream
  count: number
  /** Of these and what it has in flight, so many may be for one domain: a dead one does not keep the stream's other mail waiting. */
  perDomain: number
}

export interface Division {
  quotas: ShareQuota[]
  /** Was carried out: from now on each is owed what is left. A transaction that was begun anew gave nobody anything and charges nobody. */
  keep(): void
}

export interface FairShare {
  /**
   * Divides `room` rows among what waits.
   *
   * @param waiting each stream that has at least one row waiting and due
   * @param capacity rows that these streams may have in flight together; each may have one in any case
   */
  divide(waiting: readonly WaitingShare[], room: number, capacity: number): Division
}

/** Of what a stream may have in flight, one domain has at most this part: with four dead ones, little goes on. */
const domainPart = 1 / 4

/** Sums of fractions come short of a whole by less than this. */
const rounding = 1e-9

export function createFairShare(): FairShare {
  /** `tenant/stream` → the fraction of a row that it is owed. */
  let owed = new Map<string, number>()
  return {
    divide: (waiting, room, capacity) => {
      const bounds = new Map(
        withParts(waiting).map(({ share, part }) => [share, atLeastOne(capacity * part)]),
      )
      const below = withParts(waiting.filter((share) => share.inFlight < (bounds.get(share) ?? 0)))
      const dues = below.map(({ share, part }) => {
        const name = `${share.tenantId}/${share.stream}`
        return { share, name, part, before: owed.get(name) ?? 0 }
      })
      // Where nobody would get a whole row yet, as many rounds as it takes for the first are done at once.
      const rounds = Math.max(
        1,
        Math.min(...dues.map(({ part, before }) => Math.ceil((1 - before) / (room * part)))),
      )
      const stillOwed = new Map<string, number>()
      const quotas: ShareQuota[] = []
      let left = Math.floor(room)
      const mostFirst = dues
        .map(({ part, before, ...rest }) => ({ ...rest, due: before + rounds * room * part }))
        .sort((a, b) => b.due - a.due)
      for (const { share, name, due } of mostFirst) {
        const { tenantId, stream, inFlight } = share
        const bound = bounds.get(share) ?? 0
        const lacks = bound - inFlight
        const count = Math.min(Math.floor(due + rounding), lacks, left)
        left -= count
        stillOwed.set(name, count === lacks ? Math.min(1, due - count) : due - count)
        if (count > 0) quotas.push({ tenantId, stream, count, perDomain: atLeastOne(bound * domainPart) })
      }
      const keep = () => {
        // Who has nothing waiting is owed nothing: a deficit is not a savings account.
        owed = stillOwed
      }
      return { quotas, keep }
    },
  }
}

const atLeastOne = (rows: number): number => Math.max(1, Math.floor(rows))

/** The part of the whole, between 0 and 1, that each stream is to have. */
function withParts(waiting: readonly WaitingShare[]): { share: WaitingShare; part: number }[] {
  const tenants = Map.groupBy(waiting, (share) => share.tenantId)
  const totalWeight = [...tenants.values()].reduce((sum, shares) => sum + (shares[0]?.weight ?? 0), 0)
  return [...tenants.values()].flatMap((shares) => {
    const streamTotal = shares.reduce((sum, share) => sum + streamWeights[share.stream], 0)
    return shares.map((share) => ({
      share,
      part: (share.weight / totalWeight) * (streamWeights[share.stream] / streamTotal),
    }))
  })
}
