/**
 * Logins at the submission listener: the password is an API key, judged as over HTTP; the user is anything.
 *
 * Guessing is slowed by the peer that does it, and by the beginning of the key that is guessed at (login-throttle.ts). What cannot be a key of
 * ours, by its form and checksum, costs no look at the database, and slows down such guesses only: beside a program with a wrong password
 * in it, another one at the same address logs in. So it is beside a program that repeats one key that was revoked, expired or may not send:
 * the peer is slowed by different keys that failed, a key that failed from there before by its own failures. A key that was right from this
 * address before waits for nobody's failures.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { type Caller, hashApiKey, isPlausibleApiKey, ProductError, peerOf } from '@valija/core'
import { type Authenticate, requireAccess } from '@valija/flows'
import { createLoginThrottle } from './login-throttle.ts'

/** Who is logged in. */
export interface Login {
  key: string
  /** As it was when last asked for. */
  caller: Caller
}

/** Why not: what was thrown, or for how long to stay away. */
export type LoginOutcome =
  | { kind: 'in'; login: Login }
  | { kind: 'refused'; error: unknown }
  | { kind: 'slowed'; retryAfterMs: number }

export interface Logins {
  logIn(password: string, ip: string): Promise<LoginOutcome>
  /**
   * Who it is now: keys are revoked while sessions are open.
   *
   * @throws {ProductError} as Authenticate does, and insufficient_scope
   */
  ask(login: Login, ip: string): Promise<Caller>
}

export interface LoginParts {
  authenticate: Authenticate
  /** Counts: `in`, `wrong`, `restricted`, `slowed`, `trouble`. */
  onLogin: (outcome: string) => void
  /** A peer is turned away: once in a quarter of an hour. */
  onSlowed: (peer: string) => void
}

/** Keys that were right, or were tried and not found to be, each with the peer that had it: a day's. */
const known = { most: 10_000, forMs: 86_400_000 }
const told = { most: 1_000, forMs: 900_000 }

export function createLogins({ authenticate, onLogin, onSlowed }: LoginParts): Logins {
  const throttle = createLoginThrottle()
  const rightOnes = createRecentSet(known)
  const triedOnes = createRecentSet(known)
  const slowedOnes = createRecentSet(told)
  const find = async (key: string, ip: string) => {
    const caller = await authenticate({ authorization: `Bearer ${key}`, tenant: undefined, ip })
    if (caller.isOperator) throw new ProductError('invalid_key', { detail: operatorsKey })
    requireAccess(caller, 'send')
    return caller
  }
  const judge = async (password: string, ip: string, isPlausible: boolean): Promise<LoginOutcome> => {
    try {
      if (!isPlausible) throw new ProductError('invalid_key', { detail: noKey })
      return { kind: 'in', login: { key: password, caller: await find(password, ip) } }
    } catch (error) {
      return { kind: 'refused', error }
    }
  }
  return {
    logIn: async (password, ip) => {
      const isPlausible = isPlausibleApiKey(password)
      const peer = peerOf(ip)
      const pair = `${peer} ${hashApiKey(password).toString('hex')}`
      const ofPeer = triedOnes.has(pair) ? `again ${pair}` : `peer ${peer}`
      const names = isPlausible ? [ofPeer, `key ${password.slice(0, hintLength)}`] : [`guess ${peer}`]
      const attempt = rightOnes.has(pair) ? null : throttle.begin(names)
      if (attempt !== null && attempt.waitMs === null) {
        onLogin('slowed')
        if (!slowedOnes.has(peer)) onSlowed(peer)
        slowedOnes.add(peer)
        return { kind: 'slowed', retryAfterMs: attempt.retryAfterMs }
      }
      triedOnes.add(pair)
      if (attempt?.waitMs) await delay(attempt.waitMs, undefined, { ref: false })
      const outcome = await judge(password, ip, isPlausible)
      const said = outcome.kind === 'refused' ? kindOf(outcome.error) : 'in'
      onLogin(said)
      // Of what we cannot find out nobody is guilty.
      if (said === 'in' || said === 'trouble') {
        attempt?.succeeded()
        triedOnes.delete(pair)
      }
      if (said === 'in') rightOnes.add(pair)
      else if (said !== 'trouble') rightOnes.delete(pair)
      return outcome
    },
    ask: ({ key }, ip) => find(key, ip),
  }
}

/** As GET /keys shows it. */
const hintLength = 8
const noKey = 'The password is not an API key of this installation; was it copied whole?'
const operatorsKey = 'The operator’s key sends nothing: use an API key of a tenant.'

function kindOf(error: unknown): 'wrong' | 'restricted' | 'trouble' {
  if (!(error instanceof ProductError)) return 'trouble'
  if (error.code === 'invalid_key') return 'wrong'
  return error.code === 'insufficient_scope' || error.code === 'key_restricted' ? 'restricted' : 'trouble'
}

function createRecentSet({ most, forMs }: { most: number; forMs: number }) {
  const times = new Map<string, number>()
  return {
    has: (name: string) => performance.now() - (times.get(name) ?? Number.NEGATIVE_INFINITY) < forMs,
    add: (name: string) => {
      times.delete(name)
      times.set(name, performance.now())
      const oldest = times.size > most ? times.keys().next() : null
      if (oldest && !oldest.done) times.delete(oldest.value)
    },
    delete: (name: string) => times.delete(name),
  }
}
