/**
 * Hands a mail's bytes to the SMTP client so that nothing is sent without permission, and so that it is known whether the
 * final dot went out.
 *
 * The client takes a stream and pipes it into its dot-stuffing transform once DATA was answered. This stream brings its own
 * pipe: it asks the gate before the first byte, waits until the kernel has taken the whole body, and asks again before
 * it ends the transform, which is what writes the final dot. So no permission is older than the few bytes it permits.
 */

import { Readable, type Writable } from 'node:stream'
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises'

export interface BodyGate {
  /** Before the first byte. False: nothing may be sent (and the gate's owner has dropped the connection). */
  mayBegin(): boolean
  /** Waited for before the final dot. Must not reject. */
  beforeEnd?(): Promise<void>
  /** Immediately before the final dot. */
  mayEnd(): boolean
  /** Bytes that the connection below has not handed to the kernel; null when the connection is gone. */
  unsentBytes(): number | null
}

/** The transform copies what it is given: a piece bounds that copy. */
const pieceBytes = 256 * 1024

export class GatedBody extends Readable {
  readonly #bytes: Buffer
  readonly #gate: BodyGate

  constructor(bytes: Buffer, gate: BodyGate) {
    super()
    this.#bytes = bytes
    this.#gate = gate
  }

  /** Never read from: `pipe` writes. */
  override _read(): void {}

  override pipe<T extends NodeJS.WritableStream>(destination: T): T {
    void this.#write(destination as unknown as Writable & { readableLength: number })
    return destination
  }

  /** Ends early, and for good, when the gate closes or the connection is gone; never rejects. */
  async #write(transform: Writable & { readableLength: number }): Promise<void> {
    if (!this.#gate.mayBegin()) return
    for (let at = 0; at < this.#bytes.length; at += pieceBytes) {
      // Settles when the transform has room again; never, when the connection goes: the promise is then forgotten.
      await new Promise<unknown>((resolve) =>
        transform.write(this.#bytes.subarray(at, at + pieceBytes), resolve),
      )
    }
    for (let turn = 0; ; turn += 1) {
      const unsent = this.#gate.unsentBytes()
      if (unsent === null) return
      if (unsent === 0 && transform.readableLength === 0) break
      // A fast peer's kernel has room within a turn or two; a slow one is looked at every few milliseconds.
      await (turn < 20 ? nextTurn() : delay(5))
    }
    await this.#gate.beforeEnd?.()
    if (this.#gate.unsentBytes() === null) return
    if (this.#gate.mayEnd()) transform.end()
  }
}
