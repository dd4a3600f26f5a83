/**
 * One SMTP connection as questions and answers.
 *
 * A command, or several in one write (RFC 2920), is asked and each has its own answer; a conversation that ends, in whatever way,
 * answers all that is still open with how it ended. So whoever uses it reads from top to bottom, and never meets an exception.
 *
 * An answer is handed on when the octets that came with it have all been looked at. What came too early or too much, such as a
 * reply to a body that was not sent yet, therefore ends the conversation before anybody can take it for an answer.
 */
import type net from 'node:net'
import tls from 'node:tls'
import type { Phase, TransportFailure } from '@valija/core'
import type { SmtpReply } from '@valija/mail'
import { Dialogue, type DialogueListener, type HeardReply, phaseOf, type Step } from './dialogue.ts'
import { ReplyReader } from './reply-reader.ts'
import { isAccepted, verdictOfRefusal } from './reply-verdict.ts'
import { failureVerdict, replyVerdict, type Verdict } from './report.ts'
import type { PhaseDeadlines } from './session.ts'
import { connectTls } from './tls-demand.ts'
import type { Transcript } from './transcript.ts'

/** The obstacle is the refusal, or how the conversation ended before a reply came. */
export type Answer = { reply: SmtpReply; obstacle: null } | { reply: SmtpReply | null; obstacle: Verdict }

export type Question = readonly [step: Step, line: string]

export interface EndPermission {
  /** Waited for when all but the last few octets are with the kernel; absent: nothing is. */
  beforeEnd?(): Promise<void>
  /** Asked then, immediately before these are written. */
  mayEnd(): boolean
}

export interface OutgoingBody extends EndPermission {
  /** What is written before the body, `BDAT n LAST`; empty after 354. */
  command: string
  bytes: Buffer
  /** What is written after it, the final dot; empty after BDAT, and where the body ends with it already. */
  end: string
}

/**
 * The end of a body is written together with so many octets before it. Whoever has answered all that was said has an empty
 * send buffer in front of it, which takes this at once (Linux has room for 10 segments and more): permission and last octet are
 * then one system call apart, and a mail of 10 KB is one write.
 */
export const lastWriteBytes = 16 * 1024

/** The larger rest goes in pieces, so that TLS encrypts no more than this ahead of the peer. */
const pieceBytes = 256 * 1024

export class SmtpWire implements DialogueListener {
  #socket: net.Socket
  readonly #dialogue: Dialogue
  readonly #deadlines: PhaseDeadlines
  #reader = new ReplyReader()
  readonly #open: ((answer: Answer) => void)[] = []
  #ended: Verdict | null = null
  #lastAnswered: Step | undefined
  #isInjected = false
  /** The last octet of a body has been handed to the socket, and taken by the kernel. */
  #isEndWritten = false
  #isEndTaken = false
  #isWritingChunk = false

  constructor(socket: net.Socket, deadlines: PhaseDeadlines, transcript: Transcript) {
    this.#socket = socket
    this.#deadlines = deadlines
    this.#dialogue = new Dialogue(deadlines, transcript, this)
    this.#listen()
  }

  get socket(): net.Socket {
    return this.#socket
  }

  get dialogue(): Dialogue {
    return this.#dialogue
  }

  /** How the conversation ended; null while it goes on. */
  get ended(): Verdict | null {
    return this.#ended
  }

  /** Nothing is under way, and the next command would be answered. */
  get isReady(): boolean {
    return this.#ended === null && this.#socket.writable && this.#open.length === 0 && this.#reader.isEmpty
  }

  /** Plaintext came behind the reply to STARTTLS: somebody is on the line, and plaintext is what they want. */
  get isInjected(): boolean {
    return this.#isInjected
  }

  /** Waits for what the peer says by itself. */
  greeting(): Promise<Answer> {
    this.#dialogue.expect('greeting')
    return this.#answer()
  }

  ask(step: Step, line: string): Promise<Answer> {
    return this.#write([[step, line]])[0] as Promise<Answer>
  }

  /** One write for all of them; the answers come in the same order. */
  askTogether(questions: readonly Question[]): Promise<Answer[]> {
    return Promise.all(this.#write(questions))
  }

  /** A piece of the body that has an answer of its own (RFC 3030 §2). */
  askChunk(bytes: Buffer): Promise<Answer> {
    const line = `BDAT ${bytes.length}`
    if (this.#isBroken()) return this.#answer()
    this.#dialogue.saidChunk(line, bytes.length)
    const answer = this.#answer()
    this.#socket.write(`${line}\r\n`, 'latin1')
    this.#isWritingChunk = true
    this.#writePieces(bytes, 0, () => {
      this.#isWritingChunk = false
    })
    return answer
  }

  /** The body, or its last piece, and the answer to the whole. */
  sendBody(body: OutgoingBody): Promise<Answer> {
    if (this.#isBroken()) return this.#answer()
    const { bytes, command } = body
    this.#isEndWritten = false
    this.#isEndTaken = false
    this.#dialogue.beginBody(bytes.length)
    const answer = this.#answer()
    const cut = Math.max(0, bytes.length - lastWriteBytes)
    if (cut === 0) {
      this.#writeEnd(body, bytes, command === '' ? '' : `${command}\r\n`)
    } else {
      if (command !== '') this.#socket.write(`${command}\r\n`, 'latin1')
      this.#writePieces(bytes.subarray(0, cut), 0, () => this.#writeEnd(body, bytes.subarray(cut), ''))
    }
    return answer
  }

  /** STARTTLS was answered: the handshake. */
  async secure(host: string, options: tls.ConnectionOptions): Promise<Verdict | null> {
    if (!this.#reader.isEmpty) this.onInjection()
    if (this.#ended !== null) return this.#ended
    const plain = this.#socket
    this.#unlisten()
    const secured = await connectTls(plain, host, options, this.#deadlines.tlsMs)
    if (!secured.ok) return this.end(secured.phase, secured.failure, secured.detail)
    if (this.#ended !== null) return this.#ended
    this.#socket = secured.socket
    this.#reader = new ReplyReader()
    this.#dialogue.advance()
    this.#listen()
    return null
  }

  /**
   * Drops the connection.
   *
   * @returns how it ended, which may be otherwise, and before
   */
  end(phase: Phase, failure: TransportFailure, detail: string): Verdict {
    return this.#endWith(failureVerdict(phase, failure, detail))
  }

  // What is heard

  onReply({ step, reply, firstLine, hasMixedCodes }: HeardReply): void {
    const isRefusal = reply !== null && reply.code >= 400
    if (reply === null || !(isRefusal || isAccepted(step, reply.code))) {
      this.end(phaseOf(step), 'protocol', `the peer answered ${JSON.stringify(firstLine)}`)
      return
    }
    this.#isEndWritten = false
    this.#lastAnswered = step
    this.#open.shift()?.({ reply, obstacle: isRefusal ? verdictOfRefusal(step, reply) : null })
    if (hasMixedCodes) {
      this.end(phaseOf(step), 'protocol', 'the lines of a reply carry different codes')
    } else if (step === 'body' || (step === 'chunk' && this.#isWritingChunk)) {
      this.end('body', 'protocol', 'the peer answered before it had the whole')
    } else if (reply.code === 421) {
      this.#endWith(replyVerdict(phaseOf(step), reply))
    }
  }

  onDeadline(step: Step): void {
    this.end(phaseOf(step), 'timeout', `the deadline for ${step.toUpperCase()} has passed`)
  }

  onInjection(): void {
    this.#isInjected = true
    this.end('tls', 'tls', 'the peer sent plaintext behind its reply to STARTTLS')
  }

  #onData = (chunk: Buffer): void => {
    const isBounded = this.#reader.read(chunk, (lines) => {
      if (this.#ended !== null) return
      const isUnasked = this.#dialogue.step === undefined
      this.#dialogue.heardServer(lines)
      if (isUnasked) this.#endUnasked()
    })
    if (!isBounded) this.#lose('protocol', 'the reply of the peer has no end')
  }

  #onError = (error: Error): void => this.#lose('connection_lost', error.message)

  #onEnd = (): void => this.#lose('connection_lost', 'the connection was closed')

  #listen(): void {
    this.#socket.on('data', this.#onData).on('error', this.#onError)
    this.#socket.on('end', this.#onEnd).on('close', this.#onEnd)
  }

  #unlisten(): void {
    this.#socket.removeListener('data', this.#onData).removeListener('error', this.#onError)
    this.#socket.removeListener('end', this.#onEnd).removeListener('close', this.#onEnd)
  }

  #endUnasked(): void {
    this.end(phaseOf(this.#lastAnswered), 'protocol', 'the peer said more than it was asked')
  }

  #lose(failure: TransportFailure, detail: string): void {
    this.end(phaseOf(this.#dialogue.step), failure, detail.slice(0, 500))
  }

  #endWith(verdict: Verdict): Verdict {
    if (this.#ended !== null) return this.#ended
    const ended = { ...verdict, isUncertain: this.#isUncertain() }
    this.#ended = ended
    this.#dialogue.end()
    this.#socket.on('error', () => {}).destroy()
    for (const answer of this.#open.splice(0)) answer({ reply: null, obstacle: ended })
    return ended
  }

  /**
   * The kernel has the last octet, and no answer was read (DESIGN 4.5). The callback of a write that succeeded at once comes a
   * moment later; until then the socket says that it holds nothing back, and under TLS, where it cannot say that, it is believed.
   */
  #isUncertain(): boolean {
    if (!this.#isEndWritten || this.#isEndTaken) return this.#isEndWritten
    const { errored, writableLength } = this.#socket
    return errored === null && (writableLength === 0 || this.#socket instanceof tls.TLSSocket)
  }

  // What is said

  #write(questions: readonly Question[]): Promise<Answer>[] {
    if (this.#isBroken()) return questions.map(() => this.#answer())
    let text = ''
    const answers: Promise<Answer>[] = []
    for (const [step, line] of questions) {
      this.#dialogue.said(step, line)
      answers.push(this.#answer())
      text += `${line}\r\n`
    }
    this.#socket.write(text, 'utf8')
    return answers
  }

  /** An answer that has begun although nothing was asked would be taken for the next one's. */
  #isBroken(): boolean {
    if (this.#ended === null && !this.#reader.isEmpty) {
      this.#endUnasked()
    }
    return this.#ended !== null
  }

  #answer(): Promise<Answer> {
    if (this.#ended !== null) return Promise.resolve({ reply: null, obstacle: this.#ended })
    return new Promise((resolve) => this.#open.push(resolve))
  }

  /** Each piece when the kernel has the one before; what is not taken before the conversation ends is never sent. */
  #writePieces(bytes: Buffer, from: number, then: () => void): void {
    const to = from + pieceBytes
    this.#socket.write(bytes.subarray(from, to), (error) => {
      if (error || this.#ended !== null) return
      if (to < bytes.length) this.#writePieces(bytes, to, then)
      else then()
    })
  }

  #writeEnd(body: OutgoingBody, rest: Buffer, before: string): void {
    if (body.beforeEnd) void body.beforeEnd().then(() => this.#writeLast(body, rest, before))
    else this.#writeLast(body, rest, before)
  }

  #writeLast({ command, end, mayEnd }: OutgoingBody, rest: Buffer, before: string): void {
    const isWhole = before === '' && end === ''
    const octets = isWhole
      ? rest
      : Buffer.concat([Buffer.from(before, 'latin1'), rest, Buffer.from(end, 'latin1')])
    if (!mayEnd()) return
    this.#isEndWritten = true
    this.#dialogue.endBody(command === '' ? '.' : command)
    this.#socket.write(octets, (error) => {
      if (!error) this.#isEndTaken = true
    })
  }
}
