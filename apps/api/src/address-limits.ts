/**
 * What one client address may ask for, in this process's memory: how many requests in a minute (VALIJA_MAX_REQUESTS_PER_ADDRESS), and
 * how many with a key that is none. Beyond that it is answered 429 before anything is looked up in PostgreSQL, so that whoever floods us with guesses takes
 * no connection from those who have keys. Keys that were right lately go on, from any address: many clients may be behind one.
 *
 * An IPv6 address counts with all of its /64.
 */
import { type Caller, hashApiKey, ProductError, peerOf } from '@valija/core'
import { createBudgets, rememberKeys } from '@valija/flows'

export interface AddressLimits {
  /**
   * Lets a request in, if its address may ask.
   *
   * @param find who it is, by its key
   * @throws {ProductError} rate_limited, and what `find` throws
   */
  letIn(ip: string, authorization: string | undefined, find: () => Promise<Caller>): Promise<Caller>
}

const minuteMs = 60_000
/** Somebody who has set up a key wrongly, in a loop, learns so often enough. */
export const wrongKeysPerMinute = 1_000
/** Of so many addresses, and keys, at once: some MB. */
const remembered = 10_000

/** @param perMinute requests of an address; 0: any number */
export function createAddressLimits(perMinute: number): AddressLimits {
  const requests = createBudgets({ count: perMinute, perMs: minuteMs, remembered })
  const wrongKeys = createBudgets({ count: wrongKeysPerMinute, perMs: minuteMs, remembered })
  const rightKeys = new Set<string>()
  const nameOf = rememberKeys((authorization) => hashApiKey(authorization).toString('base64'))
  const noteRight = (name: string) => {
    rightKeys.delete(name)
    rightKeys.add(name)
    const oldest = rightKeys.size > remembered ? rightKeys.keys().next() : null
    if (oldest && !oldest.done) rightKeys.delete(oldest.value)
  }
  return {
    letIn: async (ip, authorization, find) => {
      const peer = peerOf(ip)
      const overMs = perMinute === 0 ? 0 : requests.take(peer)
      if (overMs > 0) throw refusal(`More than ${perMinute} requests of ${peer} in a minute`, overMs)
      const name = authorization === undefined ? '' : nameOf(authorization)
      const spentMs = wrongKeys.spentMs(peer)
      if (spentMs > 0 && !rightKeys.has(name)) throw tooManyWrong(peer, spentMs)
      try {
        const caller = await find()
        noteRight(name)
        return caller
      } catch (error) {
        if (!(error instanceof ProductError) || error.code !== 'invalid_key') throw error
        rightKeys.delete(name)
        const leftMs = wrongKeys.take(peer)
        throw leftMs > 0 ? tooManyWrong(peer, leftMs) : error
      }
    },
  }
}

function tooManyWrong(peer: string, ms: number): ProductError {
  return refusal(`More than ${wrongKeysPerMinute} requests of ${peer} in a minute had no valid key`, ms)
}

function refusal(what: string, ms: number): ProductError {
  const detail = `${what}.`
  return new ProductError('rate_limited', { detail, retryAfterS: Math.max(1, Math.ceil(ms / 1_000)) })
}
