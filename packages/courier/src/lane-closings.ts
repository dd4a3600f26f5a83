/**
 * Sessions that are being closed. The socket is free when it is closed; the place among the connections that a peer allows a little later, when the
 * peer has seen that. Were the socket kept for as long, a worker that has to close and open a session for each mail would have most of its
 * sockets closing at any time.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Lane } from './site-state.ts'

/** A connection that we have closed is seen by its peer a little later: until then it counts among those that the peer allows. */
const goneAfterMs = 100

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
  #sockets = 0

  /** Sockets that will be free soon. */
  get sockets(): number {
    return this.#sockets
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
    scope.closing += 1
    this.#sockets += 1
    await session.close()
    this.#sockets -= 1
    closing.onClosed()
    if (closing.isSeenLater) await delay(goneAfterMs)
    grant.release()
    scope.closing -= 1
    closing.onGone()
  }
}
