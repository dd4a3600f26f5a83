/**
 * The leases that this worker holds: renewed together, and known to be ours by the monotonic clock alone, so that asking
 * "is it still mine?" just before DATA costs nothing and is true even after the process was paused (DESIGN 4.5).
 */
import type { Uuid } from '@valija/core'
import { type Database, leaseMs, renewLeases } from '@valija/store'

export interface HeldLease {
  readonly recipientId: Uuid
  readonly messageId: Uuid
  readonly tenantId: Uuid
  readonly epoch: number
  /** By the monotonic clock, in milliseconds; kept short of the database's end by a margin. */
  validUntilMs: number
  /** Somebody cancels or moves the message, or suspends the tenant (recall-mail.ts): no longer valid, though the row is ours until it is given back. */
  isRecalled: boolean
  /** A mark is being written that its final dot went out (dot-marks.ts): it is not recalled any more. */
  isEnding: boolean
  /** Told when it is dropped: what came of it is on record, or nothing ever will be from here. */
  onDropped?: () => void
}

export interface HeldLeases {
  /** @param askedAtMs the monotonic clock before the lease was asked for: it cannot have begun earlier */
  add(
    delivery: Pick<HeldLease, 'recipientId' | 'messageId' | 'tenantId' | 'epoch'>,
    askedAtMs: number,
  ): HeldLease
  drop(lease: HeldLease): void
  isValid(lease: HeldLease): boolean
  /** It was not dropped yet. */
  holds(lease: HeldLease): boolean
  /** Of the leases that are meant none is valid any more; whether there were any. */
  recall(isMeant: (lease: Pick<HeldLease, 'messageId' | 'tenantId'>) => boolean): boolean
  readonly size: number
  /** Resolves when there is room, asking each time that a lease has gone. */
  waitUntil(hasRoom: () => boolean): Promise<void>
  stop(): void
}

const renewEveryMs = 10_000
/** For the time between our check and the peer's reading of the final dot. */
const marginMs = 5_000

export function createHeldLeases(database: Database, onError: (error: Error) => void): HeldLeases {
  const held = new Map<Uuid, HeldLease>()
  let waiters: (() => void)[] = []

  const renew = async () => {
    const leases = [...held.values()]
    if (leases.length === 0) return
    const askedAtMs = performance.now()
    const renewed = await renewLeases(database.engine, leases)
    for (const lease of leases) {
      const renewal = renewed.get(lease.recipientId)
      if (renewal === 'renewed') lease.validUntilMs = askedAtMs + leaseMs - marginMs
      else if (renewal === undefined) lease.validUntilMs = 0
      // A busy one is being settled: it holds as long as it did.
    }
  }
  const timer = setInterval(() => void renew().catch(onError), renewEveryMs)
  return {
    add: ({ recipientId, messageId, tenantId, epoch }, askedAtMs) => {
      const validUntilMs = askedAtMs + leaseMs - marginMs
      const lease: HeldLease = {
        recipientId,
        messageId,
        tenantId,
        epoch,
        validUntilMs,
        isRecalled: false,
        isEnding: false,
      }
      held.set(recipientId, lease)
      return lease
    },
    drop: (lease) => {
      if (held.get(lease.recipientId) === lease) held.delete(lease.recipientId)
      lease.onDropped?.()
      const woken = waiters
      waiters = []
      for (const wake of woken) wake()
    },
    isValid: (lease) => !lease.isRecalled && performance.now() < lease.validUntilMs,
    holds: (lease) => held.get(lease.recipientId) === lease,
    recall: (isMeant) => {
      const recalled = [...held.values()].filter((lease) => isMeant(lease) && !lease.isEnding)
      for (const lease of recalled) lease.isRecalled = true
      return recalled.length > 0
    },
    get size() {
      return held.size
    },
    waitUntil: async (hasRoom) => {
      while (!hasRoom()) await new Promise<void>((resolve) => waiters.push(resolve))
    },
    stop: () => clearInterval(timer),
  }
}
