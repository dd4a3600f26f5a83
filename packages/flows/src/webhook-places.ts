/**
 * How many tries may be under way at once, in all and to one endpoint, and whether a place that comes free is worth a claim.
 *
 * Places are of two kinds. Most are for endpoints that are well; the rest is for troubled ones, which fail or are slow. So
 * hundreds of dead endpoints delay the others no more than one does, and no crowd of healthy ones keeps a dead one from being
 * tried again.
 */
import type { Uuid } from '@valija/core'
import type { ClaimedWebhook, ClaimOptions } from '@valija/store'

export interface PlaceLimits {
  /** Tries at once to endpoints that are well, and to those that fail or are slow. */
  places: number
  troubledPlaces: number
  /** Tries at once to one endpoint; a failing one gets a single one. */
  triesPerEndpoint: number
  /** An answer that took longer makes its endpoint a slow one, until one is quicker; in milliseconds. */
  slowMs: number
}

/** What a claim asks for. */
export type Demand = Pick<ClaimOptions, 'busy' | 'slow' | 'room' | 'troubledRoom' | 'triesPerEndpoint'>

export interface Places {
  demand(): Demand
  /** Takes the places of what a claim brought; to be called after every claim, also for nothing. */
  take(demand: Demand, claimed: readonly ClaimedWebhook[]): void
  /** The endpoint's place is free. True: it may have more that is due. */
  leaveEndpoint(webhook: ClaimedWebhook, isSuccess: boolean, durationMs: number): boolean
  /** The place among all is free: the try is settled. True: some endpoint may have more that is due. */
  leave(webhook: ClaimedWebhook): boolean
}

export function createPlaces(limits: PlaceLimits): Places {
  const busy = new Map<Uuid, number>()
  /** Endpoints that once took all that they were offered, while they have tries under way. */
  const crowded = new Set<Uuid>()
  const slow = new Set<Uuid>()
  let room = limits.places
  let troubledRoom = limits.troubledPlaces
  /** The last claim took all that it was offered, so it may have left rows. */
  let isShort = { well: false, troubled: false }

  return {
    demand: () => ({
      busy: new Map(busy),
      slow: [...slow],
      room,
      troubledRoom,
      triesPerEndpoint: limits.triesPerEndpoint,
    }),
    // What was offered counts, not what is free by now: tries have ended while the claim was under way.
    take: (demand, claimed) => {
      const taken = new Map(demand.busy)
      let troubled = 0
      for (const { webhookId, isTroubled, isFailing } of claimed) {
        busy.set(webhookId, (busy.get(webhookId) ?? 0) + 1)
        const tries = (taken.get(webhookId) ?? 0) + 1
        taken.set(webhookId, tries)
        if (tries >= (isFailing ? 1 : limits.triesPerEndpoint)) crowded.add(webhookId)
        if (isTroubled) troubled += 1
      }
      room -= claimed.length - troubled
      troubledRoom -= troubled
      isShort = {
        well: claimed.length - troubled >= demand.room,
        troubled: troubled >= demand.troubledRoom,
      }
    },
    leaveEndpoint: ({ webhookId }, isSuccess, durationMs) => {
      if (durationMs > limits.slowMs) slow.add(webhookId)
      else slow.delete(webhookId)
      const tries = (busy.get(webhookId) ?? 1) - 1
      const wasCrowded = crowded.has(webhookId)
      if (tries > 0) busy.set(webhookId, tries)
      else {
        busy.delete(webhookId)
        crowded.delete(webhookId)
      }
      // After a failure the next claim offers it fewer places than this one did, perhaps none until now.
      return wasCrowded || !isSuccess
    },
    leave: ({ isTroubled }) => {
      if (isTroubled) troubledRoom += 1
      else room += 1
      return isTroubled ? isShort.troubled : isShort.well
    },
  }
}
