/**
 * Mails that end their worker: when a mail is suspected of it, and when it is given up.
 *
 * A lease that runs out says that a worker died, hung or was stopped, not which of the hundreds of mails in its hands was to
 * blame, if any: the machine may be short of memory, or somebody may have used `kill -9`. So having part in crashes makes a mail
 * a suspect and never ends it. A suspect is delivered by a process that has nothing else to do, whose end costs nobody
 * else anything and leaves no doubt; only that can give it up.
 */

/** Leases in a row that ran out under a mail, from which on it is delivered alone. */
export const crashesOfSuspect = 3

/**
 * Processes of its own that a suspect may end before it is given up. Only those count that crash by themselves: one that somebody
 * kills, or the system for want of memory, says nothing of the mail. One that hangs suffices.
 */
export const triesAlone = 2

const pauseMs = { first: 5_000, longest: 300_000 }

/** How long a suspect whose process was ended from outside rests, in milliseconds, so that a machine in need comes to breath. */
export function pauseAfterCrashes(crashes: number): number {
  return Math.min(pauseMs.longest, pauseMs.first * 2 ** Math.max(0, crashes - crashesOfSuspect))
}

/** Mails that a worker gives up within `givenUpWindowMs`: whatever ends more of them than that is not in the mails. */
export const mostGivenUp = 20
export const givenUpWindowMs = 600_000

/** Says whether one more mail may be given up, and counts it if so. */
export function createGivingUp(nowMs: () => number): () => boolean {
  const given: number[] = []
  return () => {
    while (given[0] !== undefined && given[0] <= nowMs() - givenUpWindowMs) given.shift()
    if (given.length >= mostGivenUp) return false
    given.push(nowMs())
    return true
  }
}
