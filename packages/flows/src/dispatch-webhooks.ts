/**
 * Telling endpoints what happened: claims due webhooks, posts them, settles what came of it (docs/api-guide.md, "Events and
 * webhooks"; 4.2 to 4.4).
 *
 * Any number of dispatchers share the work through leases. Nothing polls: a claim follows a wake-up, a place that came free
 * where more was due, the earliest due time (which is also the earliest end of a dead worker's lease), and, in case all of
 * these were missed, the sweep.
 *
 * What a kill -9 leaves: after the claim, a lease; after the post, a lease and an endpoint that was told and will be told again
 * with the same webhook-id; after the settle, nothing.
 *
 * A process without a free socket asks nobody: what it had claimed is due again soon, for others too, as if it had not been, and it
 * claims nothing meanwhile.
 */
import { setTimeout as delay } from 'node:timers/promises'
import {
  formatId,
  type IdSource,
  type Sealer,
  type Uuid,
  type WebhookPolicy,
  webhookPolicy,
} from '@valija/core'
import { noSocketPauseMs } from '@valija/courier'
import {
  type ClaimedWebhook,
  claimWebhookBatches,
  claimWebhooks,
  type Database,
  type DisabledReason,
  type DisabledWebhook,
  disableWebhooks,
  isPassingDatabaseError,
  nextWebhookDueInMs,
  releaseWebhook,
  settleWebhookTries,
  type Wake,
} from '@valija/store'
import { createBatcher } from './batcher.ts'
import { createPlaces, type Demand, type PlaceLimits, type Places } from './webhook-places.ts'
import { createWakeTimer } from './webhook-timer.ts'
import { type TriedWebhook, tryWebhook, type WebhookHttp } from './webhook-try.ts'

export interface WebhookDispatcher {
  start(): void
  /** Claims no more; resolves when the tries under way are settled, at most one try's time-out later. */
  drain(): Promise<void>
}

/** One function per event, as in the mail log. */
export interface WebhookLog {
  webhookTried(entry: {
    eventId: Uuid
    webhookId: Uuid
    tenantId: Uuid
    number: number
    outcome: 'delivered' | 'failed'
    statusCode: number | null
    error: string | null
    durationMs: number
    /** Null after a success. */
    nextTryInMs: number | null
  }): void
  webhookDisabled(entry: { webhookId: Uuid; tenantId: Uuid; reason: DisabledReason }): void
  /** Something of ours failed; what was to be done is done later. */
  webhookTrouble(error: unknown): void
}

export interface WebhookLimits extends PlaceLimits {
  /** How long a worker may take for a try before another takes over, in milliseconds; longer than a try. */
  leaseMs: number
  /** One try ends after this, in milliseconds. */
  tryTimeoutMs: number
  /** The safety sweep, in milliseconds. */
  sweepMs: number
  policy: WebhookPolicy
}

/** 256 tries at once, a quarter of them for troubled endpoints. */
export const webhookLimits: WebhookLimits = {
  places: 192,
  troubledPlaces: 64,
  triesPerEndpoint: 8,
  slowMs: 3_000,
  leaseMs: 60_000,
  tryTimeoutMs: 15_000,
  sweepMs: 15_000,
  policy: webhookPolicy,
}

export interface WebhookDispatcherOptions {
  database: Database
  clock: { nowMs(): number }
  nextId: IdSource
  sealer: Sealer
  http: WebhookHttp
  wake: Pick<Wake, 'on' | 'send'>
  log: WebhookLog
  /** What differs from `webhookLimits`. */
  limits?: Partial<WebhookLimits>
}

/** After an error of the database nothing is claimed for this long, in milliseconds. */
const pauseMs = 1_000

/** Between two tries to settle while the database is away, in milliseconds. */
const settleAgainMs = 500

export function createWebhookDispatcher(options: WebhookDispatcherOptions): WebhookDispatcher {
  const limits: WebhookLimits = { ...webhookLimits, ...options.limits }
  const { database, wake, log } = options
  const places = createPlaces(limits)
  const underWay = new Set<Promise<void>>()
  const timer = createWakeTimer(() => {
    knowsNextDue = false
    claimSoon()
  })
  let stopListening = () => {}
  let isDraining = false
  let isWanted = false
  let knowsNextDue = false
  let claiming: Promise<void> | null = null
  const sockets = watchSockets(log)
  /** Never later than the sweep: it finds what was missed, whatever the reason. */
  const wakeIn = (inMs: number): void => {
    if (!isDraining) timer.arm(Math.min(inMs, limits.sweepMs))
  }
  const claimSoon = (): void => {
    isWanted = true
    const restMs = sockets.restMs()
    if (restMs > 0) wakeIn(restMs)
    else if (!isDraining) claiming ??= claimAll()
  }
  const tell = createTelling({
    ...{ options, limits, places, claimSoon, wakeIn, sockets },
    isDraining: () => isDraining,
  })
  const claimAll = async (): Promise<void> => {
    try {
      while (isWanted && !isDraining && sockets.restMs() <= 0) {
        isWanted = false
        await claimOnce()
      }
    } catch (error) {
      log.webhookTrouble(error)
      wakeIn(pauseMs)
    }
    claiming = null
  }
  const claimOnce = async (): Promise<void> => {
    if (!knowsNextDue) {
      knowsNextDue = true
      // Before the claim: what comes due between the two is claimed, and what comes due later wakes us.
      wakeIn(Math.ceil((await nextWebhookDueInMs(database.engine)) ?? limits.sweepMs))
    }
    const demand = places.demand()
    if (demand.room + demand.troubledRoom === 0) return
    const claimedAtMs = performance.now()
    const { claimed, nextBatchInMs, hasMoreBatches } = await claimBoth(options, limits.leaseMs, demand)
    if (nextBatchInMs !== null) wakeIn(nextBatchInMs)
    if (hasMoreBatches) isWanted = true
    places.take(demand, claimed)
    for (const webhook of claimed) keepTrack(underWay, tell(webhook, claimedAtMs))
  }
  return {
    start: () => {
      stopListening = wake.on('webhooks', claimSoon)
      claimSoon()
    },
    drain: async () => {
      isDraining = true
      stopListening()
      await claiming
      await Promise.all(underWay)
      timer.disarm()
    },
  }
}

function keepTrack(underWay: Set<Promise<void>>, telling: Promise<void>): void {
  const kept = telling.finally(() => underWay.delete(kept))
  underWay.add(kept)
}

interface Sockets {
  /** Nothing is claimed before this is over, since there was no socket for what was. */
  restMs(): number
  /** After each try: null, or why there was no socket for it. The operator is told of the first in a row. */
  note(want: string | null): void
}

function watchSockets(log: WebhookLog): Sockets {
  let restsUntilMs = 0
  let isTold = false
  return {
    restMs: () => restsUntilMs - performance.now(),
    note: (want) => {
      if (want !== null) restsUntilMs = performance.now() + noSocketPauseMs
      if (want !== null && !isTold) log.webhookTrouble(new Error(want))
      isTold = want !== null
    },
  }
}

/** Both kinds of endpoints. Batches have half of the places at most, so that neither kind keeps the other from its turn. */
async function claimBoth({ database, nextId }: WebhookDispatcherOptions, leaseMs: number, demand: Demand) {
  const half = { room: Math.ceil(demand.room / 2), troubledRoom: Math.ceil(demand.troubledRoom / 2) }
  const batches = await claimWebhookBatches(database.engine, { ...demand, ...half, leaseMs, nextId })
  const troubled = batches.claimed.filter((webhook) => webhook.isTroubled).length
  const well = batches.claimed.length - troubled
  const rest = { room: demand.room - well, troubledRoom: demand.troubledRoom - troubled }
  const single = await claimWebhooks(database.engine, { ...demand, ...rest, leaseMs })
  return {
    claimed: [...batches.claimed, ...single],
    nextBatchInMs: batches.nextInMs,
    /** They took all that they were offered, so there may be more, and places are left for these. */
    hasMoreBatches: batches.claimed.length > 0 && (well === half.room || troubled === half.troubledRoom),
  }
}

interface TellingParts {
  options: WebhookDispatcherOptions
  limits: WebhookLimits
  places: Places
  claimSoon: () => void
  wakeIn: (inMs: number) => void
  sockets: Sockets
  isDraining: () => boolean
}

/** One webhook's way from the claim to the settle. Never rejects: what fails leaves a lease, and its end brings the row back. */
function createTelling(parts: TellingParts) {
  const { options, limits, places, claimSoon, wakeIn, sockets, isDraining } = parts
  const ports = { ...options, policy: limits.policy, timeoutMs: limits.tryTimeoutMs }
  const settle = createSettling(options, limits, isDraining)
  return async (webhook: ClaimedWebhook, claimedAtMs: number): Promise<void> => {
    let isInEndpoint = true
    const leaveEndpoint = (isSuccess: boolean, durationMs: number) => {
      if (isInEndpoint && places.leaveEndpoint(webhook, isSuccess, durationMs)) claimSoon()
      isInEndpoint = false
    }
    try {
      // The process stood still, or the database did: too late to be sure of the lease.
      if (performance.now() - claimedAtMs > limits.leaseMs - limits.tryTimeoutMs) return
      const tried = await tryWebhook(ports, webhook)
      sockets.note('untried' in tried ? tried.untried : null)
      if ('untried' in tried) return await releaseWebhook(options.database.engine, webhook, noSocketPauseMs)
      const { retryAfterMs, durationMs } = tried
      // A failing endpoint keeps its place until the next claim can know of the failure.
      if (retryAfterMs === null) leaveEndpoint(true, durationMs)
      await settle(tried)
      leaveEndpoint(false, durationMs)
      if (retryAfterMs !== null) wakeIn(retryAfterMs)
    } catch (error) {
      options.log.webhookTrouble(error)
    } finally {
      leaveEndpoint(false, 0)
      if (places.leave(webhook)) claimSoon()
    }
  }
}

/** Writes what came of tries: those that end while the last settle runs share the next one's commit. */
function createSettling(options: WebhookDispatcherOptions, limits: WebhookLimits, isDraining: () => boolean) {
  const { database, log } = options
  const settleBatch = async (batch: TriedWebhook[]): Promise<undefined[]> => {
    const records = batch.flatMap((tried) => tried.records)
    const failing = await settleWebhookTries(database.engine, records, limits.policy.disableAfterMs)
    const reasons = new Map<Uuid, DisabledReason>(failing.map((id) => [id, 'failing']))
    for (const { verdict, records: told } of batch)
      if (verdict.kind === 'disable') for (const { webhookId } of told) reasons.set(webhookId, 'gone')
    if (reasons.size > 0) await disable(options, reasons)
    return batch.map(() => undefined)
  }
  const batcher = createBatcher<TriedWebhook, undefined>(
    async (batch) => {
      const endMs = performance.now() + limits.leaseMs
      for (;;) {
        try {
          return await settleBatch(batch)
        } catch (error) {
          if (!isPassingDatabaseError(error) || isDraining() || performance.now() > endMs) throw error
          log.webhookTrouble(error)
          await delay(settleAgainMs)
        }
      }
    },
    {
      maxItems: 500,
      maxWeight: 500,
      weigh: (tried) => tried.records.length,
      isItemsFault: (error) => !isPassingDatabaseError(error),
    },
  )
  return async (tried: TriedWebhook): Promise<void> => {
    await batcher.add(tried)
    for (const { eventId, webhookId, tenantId, number, statusCode, error, durationMs } of tried.records)
      log.webhookTried({
        eventId,
        webhookId,
        tenantId,
        number,
        outcome: tried.retryAfterMs === null ? 'delivered' : 'failed',
        statusCode,
        error,
        durationMs,
        nextTryInMs: tried.retryAfterMs,
      })
  }
}

/** Gives endpoints up, and lets the tenants' other endpoints and event readers know. */
async function disable(
  { database, clock, nextId, wake, log }: WebhookDispatcherOptions,
  reasons: ReadonlyMap<Uuid, DisabledReason>,
): Promise<void> {
  const disabled = await disableWebhooks(database, reasons, (webhook) => ({
    id: nextId(),
    tenantId: webhook.tenantId,
    type: 'webhook.disabled',
    messageId: null,
    createdAtMs: clock.nowMs(),
    data: disabledData(webhook),
  }))
  for (const { id, tenantId, reason } of disabled) {
    log.webhookDisabled({ webhookId: id, tenantId, reason })
  }
  if (disabled.length > 0) wake.send('webhooks')
}

function disabledData({ id, url, reason, failingSince }: DisabledWebhook): object {
  return {
    webhook_id: formatId('webhook', id),
    url,
    reason,
    ...(failingSince ? { failing_since: failingSince.toISOString() } : {}),
  }
}
