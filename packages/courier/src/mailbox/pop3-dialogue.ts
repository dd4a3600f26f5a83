/**
 * POP3's lines (RFC 1939 section 3): a command, its one-line answer, and answers of many lines that end with a dot. Nothing is kept beyond its
 * bound, and each exchange has a total deadline, so neither a line without an end nor a drip holds us.
 */
import type net from 'node:net'
import { MailboxFailure } from './mailbox.ts'

/** Of an answer: RFC 2449 section 4 allows 512 octets; some servers say more in an error. */
const maxLineBytes = 4_096
const lf = 0x0a
const dot = 0x2e

export interface Pop3Answer {
  isOk: boolean
  /** What stands behind +OK or -ERR. */
  text: string
}

export class Pop3Dialogue {
  #socket: net.Socket
  #unread: Buffer = Buffer.alloc(0)
  #failure: MailboxFailure | null = null
  #wake: () => void = () => {}

  constructor(socket: net.Socket) {
    this.#socket = this.#listenTo(socket)
  }

  /** Octets behind an answer that was read, which nobody has asked for. */
  get hasUnread(): boolean {
    return this.#unread.length > 0 || this.#socket.readableLength > 0
  }

  /** The bare connection, for a TLS handshake; `use` is given what came of it. */
  release(): net.Socket {
    this.#socket.removeListener('readable', this.#onEvent)
    return this.#socket
  }

  use(socket: net.Socket): void {
    this.#socket = this.#listenTo(socket)
  }

  /** Waits for the server's first octets. @throws {MailboxFailure} connection_lost */
  async hasSpokenWithin(limitMs: number): Promise<boolean> {
    let isOver = false
    const timer = setTimeout(() => {
      isOver = true
      this.#wake()
    }, limitMs)
    try {
      while (!this.hasUnread && !isOver) await this.#news()
      return this.hasUnread
    } finally {
      clearTimeout(timer)
    }
  }

  /** Runs an exchange within so many milliseconds. */
  async within<T>(limitMs: number, what: string, exchange: () => Promise<T>): Promise<T> {
    const timer = setTimeout(() => {
      this.#fail(new MailboxFailure('timeout', `${what} took longer than ${Math.round(limitMs / 1000)} s`))
    }, limitMs)
    try {
      return await exchange()
    } finally {
      clearTimeout(timer)
    }
  }

  /** Says a command and reads its one-line answer. */
  ask(command: string): Promise<Pop3Answer> {
    this.#socket.write(`${command}\r\n`)
    return this.readAnswer()
  }

  /** The greeting, or the answer to what was said before. */
  async readAnswer(): Promise<Pop3Answer> {
    const line = await this.#readLine()
    const [, status, text = ''] = /^(\+OK|-ERR)(?: (.*))?$/i.exec(line.toString('utf8')) ?? []
    if (status === undefined)
      throw this.#fail(new MailboxFailure('protocol', `no answer of POP3: ${line.toString('latin1')}`))
    return { isOk: status.toUpperCase() === '+OK', text }
  }

  /** The lines of an answer of many, up to the dot. */
  async readLines(maxLines: number): Promise<string[] | 'too_many'> {
    const lines: string[] = []
    for (;;) {
      const line = await this.#readLine()
      if (line.length === 1 && line[0] === dot) return lines
      if (lines.length === maxLines) return 'too_many'
      lines.push(line.toString('latin1'))
    }
  }

  /** An answer of many lines as octets, without the dots that were put in front (section 3); what is beyond `maxBytes` is read and dropped. */
  async readBody(maxBytes: number): Promise<{ bytes: Buffer; isCut: boolean }> {
    const kept: Buffer[] = []
    let keptBytes = 0
    let isCut = false
    let isLineStart = true
    for (;;) {
      const part = await this.#readPart(isLineStart)
      if (part === 'end') return { bytes: Buffer.concat(kept), isCut }
      isLineStart = part[part.length - 1] === lf
      const room = maxBytes - keptBytes
      isCut ||= part.length > room
      // A copy: what is kept must not keep whole packets.
      if (room > 0) kept.push(Buffer.from(part.subarray(0, room)))
      keptBytes += Math.min(room, part.length)
    }
  }

  close(): void {
    this.#fail(new MailboxFailure('connection_lost', 'the session was closed'))
  }

  /** The next piece of a body, a line at most; `end` for the line that is only a dot. */
  async #readPart(isLineStart: boolean): Promise<Buffer | 'end'> {
    while (this.#unread.length === 0) await this.#more()
    if (isLineStart && this.#unread[0] === dot) {
      while (this.#unread.length < 3 && this.#unread.indexOf(lf) < 0) await this.#more()
      const lineEnd = this.#unread.indexOf(lf)
      const isLone = lineEnd === 1 || (lineEnd === 2 && this.#unread[1] === 0x0d)
      this.#take(isLone ? lineEnd + 1 : 1)
      if (isLone) return 'end'
    }
    const lineEnd = this.#unread.indexOf(lf)
    return this.#take(lineEnd < 0 ? this.#unread.length : lineEnd + 1)
  }

  async #readLine(): Promise<Buffer> {
    let lineEnd = this.#unread.indexOf(lf)
    while (lineEnd < 0) {
      if (this.#unread.length > maxLineBytes) break
      await this.#more()
      lineEnd = this.#unread.indexOf(lf)
    }
    if (lineEnd < 0 || lineEnd > maxLineBytes)
      throw this.#fail(new MailboxFailure('protocol', `a line of more than ${maxLineBytes} octets`))
    const line = this.#take(lineEnd + 1).subarray(0, lineEnd)
    return line.at(-1) === 0x0d ? line.subarray(0, -1) : line
  }

  #take(length: number): Buffer {
    const taken = this.#unread.subarray(0, length)
    this.#unread = this.#unread.subarray(length)
    return taken
  }

  /** Waits for octets. */
  async #more(): Promise<void> {
    for (;;) {
      if (this.#failure !== null) throw this.#failure
      const chunk: Buffer | null = this.#socket.read()
      if (chunk !== null) {
        this.#unread = this.#unread.length === 0 ? chunk : Buffer.concat([this.#unread, chunk])
        return
      }
      await this.#news()
    }
  }

  /** Resolves when something has happened. */
  async #news(): Promise<void> {
    if (this.#failure !== null) throw this.#failure
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#wake = resolve
    await promise
  }

  #listenTo(socket: net.Socket): net.Socket {
    const lost = (detail: string) => () => this.#fail(new MailboxFailure('connection_lost', detail))
    socket.on('readable', this.#onEvent)
    socket.on('error', (error) => this.#fail(new MailboxFailure('connection_lost', error.message)))
    socket.on('end', lost('the server closed the connection'))
    socket.on('close', lost('the connection was closed'))
    return socket
  }

  #onEvent = (): void => this.#wake()

  /** The first failure is the one that is told. */
  #fail(failure: MailboxFailure): MailboxFailure {
    this.#failure ??= failure
    this.#socket.destroy()
    this.#wake()
    return this.#failure
  }
}
