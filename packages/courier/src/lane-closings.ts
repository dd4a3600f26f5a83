/**
 * Sessions that are being closed. The socket is free when it is closed; the place among the connections that a peer allows a little later, when the
 * peer has seen that. Were the socket kept for as long, a worker that has to close and open a session for each mail would have most of its
 * sockets closing at any time.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Lane } from './site-state.ts'

/** A connection that we have closed is seen by its peer a little later: until then it counts among those that the peer allows. */
const goneAfterMs = 100

/** A peer that has not answered QUIT in this time may let us wait for as long as we would: nobody counts on its socket. */
const soonMs = 500

export interface Closing {
  /** The peer counts connections, and sees the end of one later than we do. */
  isSeenLater: boolean
  /** The socket is closed. */
  onClosed: () => void
  /** The place is given up as well. */
  onGone: () => void
}

export class LaneClosings<Job> {
  readonly #underWay = new Set<Promise<void>>()
  readonly #sockets = new Set<{ sinceMs: number }>()

  get sockets(): number {
    return this.#sockets.size
  }

  /** Sockets that will be free in a moment, without those whose peer keeps us waiting. */
  get socketsSoonFree(): number {
    const sinceMs = performance.now() - soonMs
    let count = 0
    for (const socket of this.#sockets) if (socket.sinceMs >= sinceMs) count += 1
    return count
  }

  /** Resolves when the place is given up. */
  close(lane: Lane<Job>, closing: Closing): Promise<void> {
    const gone = this.#close(lane, closing)
    this.#underWay.add(gone)
    return gone.finally(() => this.#underWay.delete(gone))
  }

  async settle(): Promise<void> {
    await Promise.all(this.#underWay)
  }

  async #close({ session, grant, site }: Lane<Job>, closing: Closing): Promise<void> {
    const { scope } = site
    const socket = { sinceMs: performance.now() }
    this.#sockets.add(socket)
    scope.closing += 1
    try {
      await session.close()
    } finally {
      this.#sockets.delete(socket)
      try {
        closing.onClosed()
        if (closing.isSeenLater) await delay(goneAfterMs)
      } finally {
        grant.release()
        scope.closing -= 1
        closing.onGone()
      }
    }
  }
}
