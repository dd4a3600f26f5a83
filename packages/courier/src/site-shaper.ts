/**
 * What the site scheduler asks before it opens a connection and before each mail: the limits of a receiving site over all
 * workers (DESIGN 4.15, 4.16). Kept in PostgreSQL by whoever implements it; here is only what scheduling needs to know.
 */
import type { ShapingScope } from './destination.ts'

export interface SiteShaper {
  /** What holds now for this worker, from memory. */
  limitsOf(scope: ShapingScope): SiteNow
  /** The right to one more connection. Ask again not before `retryAtMs`. Never rejects. */
  takeConnection(scope: ShapingScope): Promise<ConnectionGrant>
  /**
   * The right to begin one mail.
   *
   * @returns null: now; else a promise that resolves when it may begin, within seconds. What is farther away is `pausedUntilMs`
   */
  takeMail(scope: ShapingScope): Promise<unknown> | null
  /** Called with a scope's key when its limits have changed, such as at the end of a suspension; returns how to stop. */
  onChange(listener: (scopeKey: string) => void): () => void
}

export interface SiteNow {
  /** Of this worker, at most. */
  connections: number
  mailsPerConnection: number
  /** Nothing may begin before this (`steadyNowMs()`); 0: nothing is in the way. */
  pausedUntilMs: number
}

export type ConnectionGrant =
  | {
      isGranted: true
      /** False when it was lost (this worker was silent too long): the connection may carry no further mail. */
      isValid(): boolean
      release(): void
    }
  | { isGranted: false; retryAtMs: number }

/** A shaper that limits nothing but connections: for tests, and for what is shaped by nobody. */
export function createFixedShaper(limits: { connections: number; mailsPerConnection: number }): SiteShaper {
  const now: SiteNow = { ...limits, pausedUntilMs: 0 }
  const grant: ConnectionGrant = { isGranted: true, isValid: () => true, release: () => {} }
  return {
    limitsOf: () => now,
    takeConnection: async () => grant,
    takeMail: () => null,
    onChange: () => () => {},
  }
}
