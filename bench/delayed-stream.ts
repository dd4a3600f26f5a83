/** A far-away socket: what comes and what goes arrives half a round-trip time later, in order, so TLS too has its round trips. */
import type net from 'node:net'
import { Duplex } from 'node:stream'

export class DelayedStream extends Duplex {
  readonly #socket: net.Socket
  readonly #halfMs: number

  constructor(socket: net.Socket, roundTripMs: number) {
    super()
    this.#socket = socket
    this.#halfMs = roundTripMs / 2
    socket.on('data', (chunk: Buffer) => this.#later(() => this.push(chunk)))
    socket.on('end', () => this.#later(() => this.push(null)))
    socket.on('close', () => this.#later(() => this.destroy()))
  }

  /** Timers of the same length end in the order in which they began. */
  #later(act: () => unknown): void {
    setTimeout(() => {
      if (!this.destroyed) act()
    }, this.#halfMs)
  }

  override _read(): void {}

  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.#later(() => this.#socket.write(chunk))
    done()
  }

  override _final(done: () => void): void {
    this.#later(() => this.#socket.end())
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy()
    done(error)
  }
}
