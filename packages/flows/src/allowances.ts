/**
 * Limits of usage at work: a request or a message draws what it needs from all limits that hold for its caller, or is refused by the one
 * that lasts longest. Whoever has no limits pays nothing; the draws of those who have go together, as accepts do (store/usage.ts).
 *
 * Where a row is locked for longer than a draw takes (another process has stopped in the middle of one), the draws that met it are made
 * again, each tenant's in a line of its own, for as long as that has any: only who needs that row waits for it, or is refused.
 */
import {
  type Caller,
  isQuota,
  ProductError,
  type UsageLimit,
  type UsageState,
  type Uuid,
  usageLimits,
} from '@valija/core'
import {
  asProductError,
  type Database,
  type Draw,
  type DrawnTake,
  type DrawResult,
  drawUsage,
  giveBackUsage,
  isLockTimeout,
  type TakeState,
  type Wake,
} from '@valija/store'
import { type Batcher, createBatcher } from './batcher.ts'

/** What a message needs: the addresses of its recipients, in the form in which they are compared. */
export type Addresses = readonly string[]

/** What was drawn for messages. */
export interface Drawn {
  /** What of it is these messages'. */
  takesFor(messages: readonly Addresses[]): DrawnTake[]
}

export interface Allowances {
  /**
   * Counts a request.
   *
   * @throws {ProductError} rate_limited, overloaded, database_unavailable
   */
  countRequest(caller: Caller): Promise<void>
  /**
   * Draws for messages together: all of it or nothing.
   *
   * @throws {ProductError} rate_limited, quota_exceeded, overloaded, database_unavailable
   */
  drawAll(caller: Caller, messages: readonly Addresses[]): Promise<Drawn>
  /** Draws for each message by itself, in their order; a refusal stands in its place. */
  drawEach(caller: Caller, messages: readonly Addresses[]): Promise<(Drawn | ProductError)[]>
  /** For messages that are not accepted after all, however they were drawn for, in one transaction. Never rejects. */
  giveBack(caller: Pick<Caller, 'tenantId'>, unused: readonly Unused[]): Promise<void>
}

export interface Unused {
  drawn: Drawn
  messages: readonly Addresses[]
}

/** Draws that go together: their rows are locked for three round trips. */
const batchLimits = { maxItems: 200, maxWeight: 2_000 }
/** More than a second's worth. */
const maxWaiting = 5_000
/** A draw that has not begun by then is refused: its client is about to be told that it took too long. */
const patienceMs = 4_000

/** For a row that another process has: all tenants together wait for it, then only its own. */
const lockWaitMs = { together: 100, alone: 1_000 }

const nothingDrawn: Drawn = { takesFor: () => [] }

export interface AllowanceParts {
  database: Database
  wake: Pick<Wake, 'send'>
  onError: (error: Error) => void
}

export function createAllowances({ database, wake, onError }: AllowanceParts): Allowances {
  const line = createDrawLines(async (draws, waitMs) => {
    const { results, hasWebhooks } = await drawUsage(database, draws, waitMs)
    if (hasWebhooks) wake.send('webhooks')
    return results
  })
  const draw = async (caller: Caller, takes: Draw['takes']): Promise<TakeState[]> => {
    const item = { draw: { tenantId: caller.tenantId, takes }, beginByMs: performance.now() + patienceMs }
    const result = await line.add(item).catch((error: unknown) => {
      throw asProductError(error)
    })
    const { seen } = caller.limits
    seen.splice(0, seen.length, ...latestStates([...seen, ...result.states]))
    if (result.kind === 'refused') throw refusalOf(result.by)
    return result.states
  }
  const drawAll: Allowances['drawAll'] = async (caller, messages) => {
    const { usage } = caller.limits
    const takes = takesOf(usage, messages)
    if (takes.length === 0) return nothingDrawn
    const states = await draw(caller, takes)
    const resetAtMs = new Map(states.map((state) => [nameOf(state, state.emailKey), state.resetAtMs]))
    return {
      takesFor: (unused) =>
        takesOf(usage, unused).map((take) => ({
          ...take,
          resetAtMs: resetAtMs.get(nameOf(take.limit, take.emailKey)) ?? 0,
        })),
    }
  }
  return {
    countRequest: async (caller) => {
      const limits = caller.limits.usage.filter(({ name }) => usageLimits[name].counts === 'requests')
      if (limits.length === 0) return
      await draw(
        caller,
        limits.map((limit) => ({ limit, emailKey: '', amount: 1 })),
      )
    },
    drawAll,
    drawEach: (caller, messages) =>
      Promise.all(
        messages.map((message) =>
          drawAll(caller, [message]).catch((error: unknown) => {
            if (error instanceof ProductError) return error
            throw error
          }),
        ),
      ),
    giveBack: async ({ tenantId }, unused) => {
      const takes = sumTakes(unused.flatMap(({ drawn, messages }) => drawn.takesFor(messages)))
      if (takes.length > 0) await giveBackUsage(database, tenantId, takes).catch(onError)
    },
  }
}

/** One for each limit, address and window. */
function sumTakes(takes: readonly DrawnTake[]): DrawnTake[] {
  const sums = new Map<string, DrawnTake>()
  for (const take of takes) {
    const name = `${nameOf(take.limit, take.emailKey)} ${take.resetAtMs}`
    sums.set(name, { ...take, amount: take.amount + (sums.get(name)?.amount ?? 0) })
  }
  return [...sums.values()]
}

interface TimelyDraw {
  draw: Draw
  beginByMs: number
}

type DrawLine = Batcher<TimelyDraw, DrawResult>

/** One line for all tenants, and for a while one for each that had to wait for a row. */
function createDrawLines(
  run: (draws: readonly Draw[], waitMs: number) => Promise<readonly DrawResult[]>,
): Pick<DrawLine, 'add'> {
  const limits = {
    ...batchLimits,
    weigh: ({ draw }: TimelyDraw) => draw.takes.length,
    isItemsFault: () => false,
    line: {
      maxItems: maxWaiting,
      beginByMs: ({ beginByMs }: TimelyDraw) => beginByMs,
      refuse: () => slow(),
    },
  }
  const runAll = (items: readonly TimelyDraw[], waitMs: number) =>
    run(
      items.map(({ draw }) => draw),
      waitMs,
    )
  const alone = new Map<Uuid, DrawLine>()
  const addAlone = (item: TimelyDraw): Promise<DrawResult> => {
    const { tenantId } = item.draw
    let own = alone.get(tenantId)
    if (own === undefined) {
      own = createBatcher<TimelyDraw, DrawResult>(async (items) => {
        try {
          return await runAll(items, lockWaitMs.alone)
        } catch (error) {
          throw isLockTimeout(error) ? slow(error) : error
        }
      }, limits)
      alone.set(tenantId, own)
    }
    const result = own.add(item)
    void own.drain().then(() => alone.delete(tenantId))
    return result
  }
  const together = createBatcher<TimelyDraw, DrawResult>(async (items) => {
    try {
      return await runAll(items, lockWaitMs.together)
    } catch (error) {
      if (!isLockTimeout(error)) throw error
      return items.map(addAlone)
    }
  }, limits)
  return {
    add: (item) => (alone.has(item.draw.tenantId) ? addAlone(item) : together.add(item)),
  }
}

function slow(cause?: unknown): ProductError {
  return new ProductError('overloaded', { detail: 'The database is slow.', retryAfterS: 5, cause })
}

function nameOf({ ownerId, name }: UsageLimit, emailKey: string): string {
  return `${ownerId} ${name} ${emailKey}`
}

function takesOf(limits: readonly UsageLimit[], messages: readonly Addresses[]): Draw['takes'] {
  const addresses = messages.flat()
  if (addresses.length === 0) return []
  return limits.flatMap((limit) => {
    const { counts } = usageLimits[limit.name]
    if (counts === 'recipients') return [{ limit, emailKey: '', amount: addresses.length }]
    if (counts !== 'address') return []
    const sums = new Map<string, number>()
    for (const address of addresses) sums.set(address, (sums.get(address) ?? 0) + 1)
    return [...sums].map(([emailKey, amount]) => ({ limit, emailKey, amount }))
  })
}

function refusalOf(by: TakeState): ProductError {
  const { of, name, value, left, resetAtMs, resetInMs, emailKey } = by
  const { counts } = usageLimits[name]
  const what = counts === 'address' ? `messages to ${emailKey}` : counts
  const detail = `limits.${name} of the ${of} is ${value} ${what}, and ${left} of them ${left === 1 ? 'is' : 'are'} left until ${timeOf(resetAtMs)}.`
  return new ProductError(isQuota(name) ? 'quota_exceeded' : 'rate_limited', {
    detail,
    retryAfterS: Math.max(1, Math.ceil(resetInMs / 1_000)),
    limit: { of, name, value, left, resets_at: timeOf(resetAtMs) },
  })
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString()
}

/** Of each limit the latest that was found; of one that counts addresses, that with least left. */
function latestStates(seen: readonly UsageState[]): UsageState[] {
  const latest = new Map<string, UsageState>()
  for (const state of seen) {
    const name = `${state.of} ${state.name}`
    const known = latest.get(name)
    if (known && usageLimits[state.name].counts === 'address' && known.left < state.left) continue
    latest.set(name, state)
  }
  return [...latest.values()]
}
