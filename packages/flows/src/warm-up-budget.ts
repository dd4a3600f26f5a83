/**
 * Rights to send from addresses that warm up, as this worker has drawn them from PostgreSQL in chunks (packages/store/src/warm-ups.ts):
 * a chunk is a twentieth of an hour's cap, so that several workers share it and a mail seldom waits for a query.
 */
import { type WarmUpPlan, warmUpCaps } from '@valija/core'
import { type Database, drawFromWarmUp, type WarmUpKey } from '@valija/store'

export interface WarmUpBudget {
  /**
   * The right to send one mail. Asked again for the same recipient before its outcome is known, it is the same right.
   *
   * @returns 0, or in how many milliseconds there may be another one
   */
  take(key: WarmUpKey, plan: WarmUpPlan, recipientId: string): Promise<number>
  /**
   * Counts what came of a recipient's right, if it has one.
   *
   * @param outcome null: it says nothing of the address
   */
  count(recipientId: string, outcome: 'handed_off' | 'deferred' | null): void
  /** Writes the counts down that no draw has taken with it. */
  close(): Promise<void>
}

interface Account extends WarmUpKey {
  plan: WarmUpPlan
  /** Rights left, and until when they may be used (`performance.now()`). */
  rights: number
  validUntilMs: number
  emptyUntilMs: number
  chunk: number
  outcomes: { handedOff: number; deferred: number }
  drawing: Promise<void> | null
}

const chunksOfAnHour = 20
const maxChunk = 100
/** Counts that no draw takes with it are written after this. */
const flushMs = 5_000
/** Rights of recipients whose outcome this worker never learns are forgotten beyond so many. */
const maxHeld = 10_000

export function createWarmUpBudget(database: Database, onError: (error: Error) => void): WarmUpBudget {
  const accounts = new Map<string, Account>()
  /** By recipient: the account whose right it holds. */
  const held = new Map<string, string>()
  const nameOf = ({ sourceId, provider }: WarmUpKey) => `${sourceId} ${provider}`
  let timer: NodeJS.Timeout | undefined

  const accountOf = (key: WarmUpKey, plan: WarmUpPlan): Account => {
    const known = accounts.get(nameOf(key))
    if (known !== undefined) return Object.assign(known, { plan })
    const account = {
      ...key,
      plan,
      rights: 0,
      validUntilMs: 0,
      emptyUntilMs: 0,
      chunk: 1,
      outcomes: { handedOff: 0, deferred: 0 },
      drawing: null,
    }
    accounts.set(nameOf(key), account)
    return account
  }
  const flush = async () => {
    timer = undefined
    const dirty = [...accounts.values()].filter(({ outcomes }) => outcomes.handedOff + outcomes.deferred > 0)
    await Promise.all(dirty.map((account) => draw(database, account, 0).catch(onError)))
  }
  return {
    take: async (key, plan, recipientId) => {
      const name = nameOf(key)
      if (held.get(recipientId) === name) return 0
      const account = accountOf(key, plan)
      for (;;) {
        const nowMs = performance.now()
        if (account.rights > 0 && nowMs < account.validUntilMs) break
        if (nowMs < account.emptyUntilMs) return account.emptyUntilMs - nowMs
        account.drawing ??= draw(database, account, account.chunk).finally(() => {
          account.drawing = null
        })
        await account.drawing
      }
      account.rights--
      held.set(recipientId, name)
      const oldest = held.size > maxHeld ? held.keys().next() : null
      if (oldest && !oldest.done) held.delete(oldest.value)
      return 0
    },
    count: (recipientId, outcome) => {
      const account = accounts.get(held.get(recipientId) ?? '')
      held.delete(recipientId)
      if (outcome === null || account === undefined) return
      account.outcomes[outcome === 'deferred' ? 'deferred' : 'handedOff']++
      timer ??= setTimeout(() => void flush(), flushMs)
    },
    close: async () => {
      clearTimeout(timer)
      await flush()
    },
  }
}

/** Takes the counts to PostgreSQL and rights back. What is counted meanwhile goes with the next. */
async function draw(database: Database, account: Account, wanted: number): Promise<void> {
  const { outcomes } = account
  account.outcomes = { handedOff: 0, deferred: 0 }
  const drawn = await drawFromWarmUp(database, account, account.plan, outcomes, wanted).catch(
    (error: unknown) => {
      account.outcomes.handedOff += outcomes.handedOff
      account.outcomes.deferred += outcomes.deferred
      throw error
    },
  )
  const nowMs = performance.now()
  if (drawn === null) {
    // The source is gone; the choice will be made anew without it.
    account.emptyUntilMs = nowMs + 1_000
    return
  }
  const caps = warmUpCaps(account.plan, drawn.state.stage)
  account.chunk = Math.min(maxChunk, Math.max(1, Math.ceil((caps?.hour ?? Infinity) / chunksOfAnHour)))
  if ('retryInMs' in drawn) {
    if (wanted > 0) account.emptyUntilMs = nowMs + drawn.retryInMs
  } else if (drawn.granted > 0) {
    const isValid = nowMs < account.validUntilMs
    account.rights = drawn.granted + (isValid ? account.rights : 0)
    account.validUntilMs = nowMs + drawn.hourLeftMs
  }
}
