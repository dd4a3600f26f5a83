/**
 * How much may wait: per tenant, then in all. Beyond it a send is refused before any work is done for it, so a tenant that
 * floods us is told to wait, and the others send on.
 *
 * What is held (bulk mail that is paused, a suspended tenant's) counts for neither: it does not shrink until somebody lets it go, and one-time
 * codes are not to wait for that. Only the tenant's bulk mail is held against both together, so what is held has an end as well.
 *
 * Known from memory, so a refusal costs nothing: the latest count of all processes (store/queue-depth.ts), asked for at most
 * once a second by those who send, and what this process has accepted since. What others accept between two counts is not known,
 * so a limit can be passed by about a second's worth (with a million waiting, three): it is a bound on disk and patience, not on
 * correctness. Nobody is refused from a count that is old because nobody asked: then the refusal waits for the next one.
 */
import { type Caller, ProductError, type Stream, type Uuid } from '@valija/core'
import { type Database, type QueueDepth, readQueueDepth } from '@valija/store'

export interface QueueLimits {
  /**
   * Resolves at once, or soon when the answer is no and the count is old.
   *
   * @throws {ProductError} queue_full for the tenant, or for its bulk mail alone; overloaded for all
   */
  check(caller: Waiter, stream: Stream): Promise<void>
  /** So many recipients of the tenant were accepted and wait. */
  note(tenantId: Uuid, stream: Stream, recipients: number): void
}

type Waiter = Pick<Caller, 'tenantId' | 'queuedLimit'>

/** The stream of a message as it is asked for. */
export function streamOf({ stream }: { stream?: Stream | undefined }): Stream {
  return stream ?? 'transactional'
}

export interface QueueLimitParts {
  database: Database
  /** Recipients that may wait: of a tenant that has no limit of its own, and of all; 0: any number. */
  limits: { perTenant: number; total: number }
  onError: (error: Error) => void
}

const askEveryMs = 1_000
/** A process that is asked all the time has not asked PostgreSQL for this long only when that did not answer. */
const oldMs = 2_000
/** Clients are asked to come back when this share of the limit is free again: not one by one. */
const roomShare = 0.01
const retryAfterS = { least: 5, unknown: 30, most: 300 }

export function createQueueLimits({ database, limits, onError }: QueueLimitParts): QueueLimits {
  const accepted = { transactional: createRecentSums(), bulk: createRecentSums() }
  const watch = createDepthWatch(database, onError, (sinceMs) => {
    for (const sums of Object.values(accepted)) sums.forgetBefore(sinceMs)
  })
  /** What the tenant has waiting, and what of it is held. */
  const waitingOf = (tenantId: Uuid) => {
    const { depth } = watch
    const heldThen = depth?.held.get(tenantId)
    const bulk = accepted.bulk.of(tenantId)
    const others = (depth?.tenants.get(tenantId) ?? 0) + accepted.transactional.of(tenantId)
    // Whether what came since is held is not known: it is as what came before.
    return heldThen === undefined ? { own: others + bulk, held: 0 } : { own: others, held: heldThen + bulk }
  }
  /** Why the caller is refused by what is known; null when it is not. */
  const findRefusal = ({ tenantId, queuedLimit }: Waiter, stream: Stream) => {
    const { own, held } = waitingOf(tenantId)
    const limit = queuedLimit ?? limits.perTenant
    const source = queuedLimit === null ? 'VALIJA_MAX_QUEUED_PER_TENANT' : 'limits.queued of the tenant'
    if (limit > 0 && own >= limit) {
      return new ProductError('queue_full', {
        detail: `About ${own} recipients of this tenant wait to be sent to, and ${limit} may (${source}).`,
        retryAfterS: comeBackS(watch, { waiting: own, limit }, (known) => known.tenants.get(tenantId) ?? 0),
      })
    }
    if (limit > 0 && stream === 'bulk' && own + held >= limit) {
      return new ProductError('queue_full', {
        detail: `The bulk mail of this tenant is held until the operator lets it go: about ${held} recipients wait for that, and ${own} to be sent to, and ${limit} may together (${source}). Transactional mail is accepted.`,
        retryAfterS: retryAfterS.most,
      })
    }
    const { depth } = watch
    const heldSince = depth ? [...depth.held.keys()].reduce((sum, id) => sum + accepted.bulk.of(id), 0) : 0
    const total = (depth?.total ?? 0) + accepted.transactional.total + accepted.bulk.total - heldSince
    if (limits.total === 0 || total < limits.total) return null
    return new ProductError('overloaded', {
      detail: `The queue of this installation is full: ${limits.total} recipients may wait (VALIJA_MAX_QUEUED).`,
      retryAfterS: comeBackS(watch, { waiting: total, limit: limits.total }, (known) => known.total),
    })
  }
  return {
    check: async (caller, stream) => {
      const asked = watch.askSometimes()
      if (findRefusal(caller, stream) === null) return
      if (performance.now() - watch.answeredAtMs > oldMs) await asked
      const refusal = findRefusal(caller, stream)
      if (refusal !== null) throw refusal
    },
    note: (tenantId, stream, recipients) => accepted[stream].add(tenantId, recipients),
  }
}

/** Seconds until there is room, if the queue goes on to shrink as it did between the last two counts. */
function comeBackS(
  { depth, before }: Pick<DepthWatch, 'depth' | 'before'>,
  { waiting, limit }: { waiting: number; limit: number },
  of: (known: QueueDepth) => number,
): number {
  if (depth === null || before === null) return retryAfterS.unknown
  const perMs = (of(before) - of(depth)) / (depth.countedAtMs - before.countedAtMs)
  if (perMs <= 0) return retryAfterS.unknown
  const seconds = Math.ceil((waiting - limit * (1 - roomShare)) / perMs / 1_000)
  return Math.min(retryAfterS.most, Math.max(retryAfterS.least, seconds))
}

type DepthWatch = ReturnType<typeof createDepthWatch>

/**
 * The latest count and the one before it, asked for at most once a second.
 *
 * @param onCount from when on it does not know what came, by `performance.now()`
 */
function createDepthWatch(
  database: Database,
  onError: (error: Error) => void,
  onCount: (sinceMs: number) => void,
) {
  let depth: QueueDepth | null = null
  let before: QueueDepth | null = null
  let askedAtMs = Number.NEGATIVE_INFINITY
  let answeredAtMs = Number.NEGATIVE_INFINITY
  let asking: Promise<void> | null = null

  const ask = async () => {
    const next = await readQueueDepth(database.engine)
    answeredAtMs = performance.now()
    if (next.countedAtMs === depth?.countedAtMs) return
    before = depth
    depth = next
    onCount(performance.now() - next.ageMs)
  }
  return {
    /** Never rejects: what is not known now is as it was. */
    askSometimes: (): Promise<void> => {
      const nowMs = performance.now()
      if (asking === null && nowMs - askedAtMs >= askEveryMs) {
        askedAtMs = nowMs
        asking = ask()
          .catch(onError)
          .finally(() => {
            asking = null
          })
      }
      return asking ?? Promise.resolve()
    },
    get depth() {
      return depth
    },
    get before() {
      return before
    },
    get answeredAtMs() {
      return answeredAtMs
    },
  }
}

/** Sums by tenant of what came lately, in slices of time, so that old ones can be forgotten. */
function createRecentSums() {
  const sliceMs = 50
  let slices: { sinceMs: number; sums: Map<Uuid, number> }[] = []
  const totals = new Map<Uuid, number>()
  let total = 0
  const count = (tenantId: Uuid, by: number) => {
    total += by
    const sum = (totals.get(tenantId) ?? 0) + by
    if (sum === 0) totals.delete(tenantId)
    else totals.set(tenantId, sum)
  }
  return {
    add: (tenantId: Uuid, by: number) => {
      if (by === 0) return
      const nowMs = performance.now()
      let slice = slices.at(-1)
      if (slice === undefined || nowMs - slice.sinceMs > sliceMs) {
        slice = { sinceMs: nowMs, sums: new Map() }
        slices.push(slice)
      }
      slice.sums.set(tenantId, (slice.sums.get(tenantId) ?? 0) + by)
      count(tenantId, by)
    },
    /** A slice goes when all of it is older. */
    forgetBefore: (ms: number) => {
      const old = slices.filter((slice) => slice.sinceMs + sliceMs < ms)
      slices = slices.filter((slice) => slice.sinceMs + sliceMs >= ms)
      for (const { sums } of old) for (const [tenantId, by] of sums) count(tenantId, -by)
    },
    of: (tenantId: Uuid) => totals.get(tenantId) ?? 0,
    get total() {
      return total
    },
  }
}
