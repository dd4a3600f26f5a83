/**
 * Who is admitted next: deficit round-robin over tenants by weight, then over each tenant's streams (transactional : bulk =
 * 4 : 1), work-conserving (DESIGN 4.14). A tenant's million bulk mails delay neither another tenant nor its own
 * one-time codes.
 *
 * Shares are fractions: what a tenant could not use of one row is its deficit and counts the next time, so with more
 * tenants than room they take turns.
 */
import type { Uuid } from './ids.ts'
import type { Stream } from './stream.ts'

export interface WaitingShare {
  tenantId: Uuid
  weight: number
  stream: Stream
}

export interface ShareQuota {
  tenantId: Uuid
  stream: Stream
  count: number
}

export interface FairShare {
  /**
   * Divides `room` rows among what waits.
   *
   * @param waiting each stream that has at least one row waiting and due
   */
  divide(waiting: readonly WaitingShare[], room: number): ShareQuota[]
}

const streamWeights: Record<Stream, number> = { transactional: 4, bulk: 1 }

export function createFairShare(): FairShare {
  /** `tenant/stream` → the fraction of a row that it is owed. */
  let owed = new Map<string, number>()
  return {
    divide: (waiting, room) => {
      const tenants = Map.groupBy(waiting, (share) => share.tenantId)
      const totalWeight = [...tenants.values()].reduce((sum, shares) => sum + (shares[0]?.weight ?? 0), 0)
      const stillOwed = new Map<string, number>()
      const quotas: ShareQuota[] = []
      for (const shares of tenants.values()) {
        const streamTotal = shares.reduce((sum, share) => sum + streamWeights[share.stream], 0)
        for (const { tenantId, weight, stream } of shares) {
          const name = `${tenantId}/${stream}`
          const part = (weight / totalWeight) * (streamWeights[stream] / streamTotal)
          const due = room * part + (owed.get(name) ?? 0)
          const count = Math.floor(due)
          stillOwed.set(name, due - count)
          if (count > 0) quotas.push({ tenantId, stream, count })
        }
      }
      // Who has nothing waiting is owed nothing: a deficit is not a savings account.
      owed = stillOwed
      return quotas
    },
  }
}
