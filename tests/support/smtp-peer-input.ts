/** What a scripted SMTP peer (smtp-peer.ts) reads: lines, and bodies up to their final dot. */
import type net from 'node:net'

/** The session is over: cut by the script, or gone. */
export class Over extends Error {}

/** Bytes of a connection, to be taken by line or up to a mark. Survives the change to TLS. */
export class Input {
  private held: Buffer = Buffer.alloc(0)
  private isEnded = false
  private wake: () => void = () => undefined

  listenTo(socket: net.Socket): void {
    this.held = Buffer.alloc(0)
    socket.on('data', (chunk: Buffer) => {
      this.held = Buffer.concat([this.held, chunk])
      this.wake()
    })
    socket.on('error', () => undefined) // a reset by the other side ends in "close" as well
    socket.on('close', () => {
      this.isEnded = true
      this.wake()
    })
  }

  /** The bytes before the mark; the mark is taken too. `onGrowth` sees how many bytes wait. */
  async upTo(mark: string, onGrowth: (bytes: number) => void = () => undefined): Promise<Buffer> {
    for (;;) {
      onGrowth(this.held.length)
      const end = this.held.indexOf(mark)
      if (end >= 0) {
        const taken = this.held.subarray(0, end)
        this.held = this.held.subarray(end + mark.length)
        return taken
      }
      if (this.isEnded) throw new Over()
      const { promise, resolve } = Promise.withResolvers<void>()
      this.wake = resolve
      await promise
    }
  }

  /** DATA's content: up to CRLF.CRLF, where the first CRLF is the one behind DATA when the body is empty. */
  async body(onGrowth: (bytes: number) => void): Promise<Buffer> {
    this.held = Buffer.concat([Buffer.from('\r\n'), this.held])
    const stuffed = await this.upTo('\r\n.\r\n', onGrowth)
    const text = stuffed.subarray(2).toString('latin1').replace(/^\./gm, '')
    return Buffer.from(stuffed.length > 2 ? `${text}\r\n` : '', 'latin1')
  }
}
