/**
 * A `Session` over nodemailer's SMTP client.
 *
 * The client writes the commands; what a reply means, and what becomes of the mail, is decided here, by the replies
 * themselves, because the client
 *   - takes 250 for a go-ahead to DATA (here: only 354, everything else drops the connection);
 *   - decides by the first line of a reply (here: by the last, and a reply whose lines disagree ends the session);
 *   - knows idle time-outs only (here: total deadlines, by `Dialogue`);
 *   - does not say whether the final dot had gone out when a connection broke (here: `GatedBody` knows);
 *   - takes an early reply, given while the body is on its way, for the final one (here: it ends the session);
 *   - skips empty lines one by one, off the front of a list: a megabyte of them kept it busy for minutes (here: too many in a
 *     row end the session).
 * Commands and replies are seen through the client's transaction log, which it writes before it acts.
 */
import { isAscii } from 'node:buffer'
import { createRequire } from 'node:module'
import type net from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Phase, TlsFacts, TransactionReport, TransportFailure } from '@valija/core'
import type { SmtpReply } from '@valija/mail'
import type { default as Connection } from 'nodemailer/lib/smtp-connection'
import type { Endpoint } from './connect.ts'
import type { SessionPeer } from './destination.ts'
import { Dialogue, type DialogueListener, type HeardReply, phaseOf, type Step } from './dialogue.ts'
import { dsnOf, findEnvelopeObstacle, mayRequireTls } from './envelope-commands.ts'
import { GatedBody } from './gated-body.ts'
import { findLoginObstacle } from './login-policy.ts'
import { isPublicAddress } from './network-guard.ts'
import { isAccepted, verdictOfRefusal } from './reply-verdict.ts'
import { failureVerdict, type OpeningFacts, replyVerdict, reportOfDialogue, type Verdict } from './report.ts'
import type { Envelope, Session, SessionTarget, TransactionContext, TransactionGuard } from './session.ts'
import type { SessionSetup } from './smtp-session.ts'
import { judgeTls, reasonOf } from './tls-demand.ts'
import { Transcript } from './transcript.ts'

/** By `require`, so that Node's `fetch` is not loaded with it, and at the start (packages/mail/src/compose.ts). */
const SMTPConnection: typeof import('nodemailer/lib/smtp-connection').default = createRequire(
  import.meta.url,
)('nodemailer/lib/smtp-connection')

/** A reply is a few lines; whoever sends more is not an SMTP server. */
const maxReplyBytes = 64 * 1024

/** More than anybody sends by mistake. */
const tooManyEmptyLines = /(?:\r?\n){100}/

/** The client's own timers must never be the first: ours say which phase it was. */
const neverMs = 24 * 60 * 60 * 1000

/** What the client's types leave out: where it hears every chunk, plain or decrypted. */
interface Hearing {
  _onData(chunk: Buffer): void
}

/** One thing that waits for its end: the opening, a mail, a RSET. */
interface Exchange {
  verdict: Verdict | null
  finish: () => void
  done: Promise<void>
}

interface Mail {
  guard: TransactionGuard
  sizeBytes: number
  isDotSent: boolean
}

export class NodemailerSession implements Session, DialogueListener {
  readonly #target: SessionTarget
  readonly #endpoint: Endpoint
  readonly #client: Connection
  readonly #dialogue: Dialogue
  #opening: OpeningFacts | null
  #exchange: Exchange | null = null
  #mail: Mail | null = null
  #tls: TlsFacts | null = null
  #closing: Promise<void> | null = null
  #isInjected = false
  sent = 0

  constructor(socket: net.Socket, setup: SessionSetup) {
    const { target, opening } = setup
    this.#target = target
    this.#endpoint = setup.endpoint
    this.#opening = opening
    this.#dialogue = new Dialogue(setup.deadlines, opening.transcript, this)
    this.#client = new SMTPConnection({
      connection: socket,
      host: target.host,
      port: target.port,
      name: target.ehloName,
      secure: target.secure,
      secured: target.secure,
      ignoreTLS: target.tls === 'off' || setup.isPlaintextTry,
      tls: setup.tlsOptions,
      maxResponseSize: maxReplyBytes,
      connectionTimeout: neverMs,
      greetingTimeout: neverMs,
      socketTimeout: neverMs,
      socketCloseTimeout: 0,
      transactionLog: true,
      logger: this.#createTap(),
    })
    this.#watchEmptyLines(this.#client as Connection & Hearing)
    this.#client.on('error', (error) => this.#finish(error))
    this.#client.on('end', () => this.#finish(new Error('the connection was closed')))
  }

  get peer(): SessionPeer {
    return { host: this.#endpoint.host, ip: this.#endpoint.ip }
  }

  get isUsable(): boolean {
    const socket = this.#client._socket
    return !this.#client.destroyed && this.#closing === null && !!socket && socket.writable
  }

  /** Plaintext came behind the reply to STARTTLS: somebody is on the line, and plaintext is what they want. */
  get isInjected(): boolean {
    return this.#isInjected
  }

  /**
   * Greeting, EHLO, STARTTLS and login.
   *
   * @returns null when mail can be sent
   */
  async start(): Promise<Verdict | null> {
    const greeted = this.#begin()
    this.#dialogue.expect('greeting')
    this.#client.connect((error) => this.#finish(error))
    await greeted.done
    if (greeted.verdict !== null) return this.#dropped(greeted.verdict)
    if (this.#client._socket) {
      const { facts, obstacle } = judgeTls(this.#client._socket, this.#target)
      this.#tls = facts
      if (obstacle !== null) return this.#dropped(failureVerdict('tls', 'tls', obstacle))
    }
    const { auth } = this.#target
    if (auth === null) return null
    const obstacle = findLoginObstacle({
      isOffered: this.#client.allowsAuth,
      isPrivatePeer: !isPublicAddress(this.#endpoint.ip),
      isTlsOff: this.#target.tls === 'off' && !this.#target.secure,
      tls: this.#tls,
    })
    if (obstacle !== null) return this.#dropped(obstacle)
    const login = this.#begin()
    this.#client.login({ user: auth.user, pass: auth.pass }, (error) => this.#finish(error))
    await login.done
    return login.verdict === null ? null : this.#dropped(login.verdict)
  }

  /** The report of an opening that failed with this verdict. */
  reportOpening(verdict: Verdict): TransactionReport {
    return this.#report(verdict, { route: this.#target.route }, null)
  }

  async send(
    envelope: Envelope,
    bytes: Buffer,
    guard: TransactionGuard,
    context: TransactionContext,
  ): Promise<TransactionReport> {
    if (this.#opening === null) {
      const ageMs = Date.now() - (context.startedAtMs ?? Date.now())
      this.#dialogue.transcript = new Transcript(Math.max(0, ageMs))
    }
    this.sent += 1
    const obstacle = this.#findObstacle(envelope, bytes, guard)
    const verdict = obstacle ?? (await this.#transact(envelope, bytes, guard))
    const report = this.#report(verdict, context, bytes.length)
    const isRefused = obstacle === null && verdict.phase !== 'body' && this.isUsable
    if (isRefused) await this.#reset()
    // A reply too many, already here, must end the session before the next mail takes it for its own.
    if (this.isUsable) await nextTurn().then(() => nextTurn())
    return report
  }

  close(): Promise<void> {
    this.#closing ??= this.#quit()
    return this.#closing
  }

  /** What forbids the mail before a word of it is said. */
  #findObstacle(envelope: Envelope, bytes: Buffer, guard: TransactionGuard): Verdict | null {
    if (!this.isUsable || this.#exchange !== null) {
      return failureVerdict('mail', 'connection_lost', 'the session was closed before this mail')
    }
    const body = { sizeBytes: bytes.length, isEightBit: !isAscii(bytes) }
    const obstacle = findEnvelopeObstacle(envelope, body, this.#dialogue.features)
    if (obstacle !== null) return obstacle
    if (!guard.isStillMine()) {
      return failureVerdict('mail', 'lease_lost', 'the delivery was no longer ours before MAIL')
    }
    return null
  }

  async #transact(envelope: Envelope, bytes: Buffer, guard: TransactionGuard): Promise<Verdict> {
    const exchange = this.#begin()
    this.#mail = { guard, sizeBytes: bytes.length, isDotSent: false }
    const body = new GatedBody(bytes, {
      mayBegin: () => this.#isPermitted('the first byte'),
      beforeEnd: async () => guard.beforeEnd?.(),
      mayEnd: () => this.#mayEndBody(),
      unsentBytes: () => {
        const socket = this.#client._socket
        return this.#exchange === exchange && socket && !socket.destroyed ? socket.writableLength : null
      },
    })
    const { keywords } = this.#dialogue.features
    const dsn = dsnOf(envelope, keywords)
    this.#client.send(
      {
        from: envelope.from,
        to: [envelope.to],
        size: bytes.length,
        use8BitMime: !isAscii(bytes),
        requireTLSExtensionEnabled: mayRequireTls(envelope, keywords, this.#tls !== null),
        ...(dsn === null ? {} : { dsn: { ...dsn, ...(dsn.orcpt && { orcpt: `rfc822;${dsn.orcpt}` }) } }),
      },
      body,
      (error) => this.#finish(error),
    )
    await exchange.done
    body.destroy()
    this.#mail = null
    return exchange.verdict ?? failureVerdict('body', 'protocol', 'the conversation ended without a result')
  }

  /** RFC 5321 §4.1.1.5: puts the session back to where the next MAIL is expected. */
  async #reset(): Promise<void> {
    const exchange = this.#begin()
    this.#client.reset((error) => this.#finish(error))
    await exchange.done
    if (exchange.verdict !== null) this.#client.close()
  }

  async #quit(): Promise<void> {
    if (this.#client.destroyed) return
    if (this.#exchange !== null)
      return this.#drop(phaseOf(this.#dialogue.step), 'connection_lost', 'we closed the session')
    const ended = Promise.withResolvers<void>()
    this.#client.once('end', ended.resolve)
    this.#client.quit()
    await ended.promise
    this.#dialogue.end()
  }

  // What is heard

  onReply({ step, reply, firstLine, hasMixedCodes }: HeardReply): void {
    const isRefusal = reply !== null && reply.code >= 400
    if (reply === null || !(isRefusal || isAccepted(step, reply.code))) {
      this.#drop(phaseOf(step), 'protocol', `the peer answered ${JSON.stringify(firstLine)}`)
      return
    }
    if (isRefusal) {
      this.#note(verdictOfRefusal(step, reply))
    } else {
      this.#accepted(step, reply)
    }
    if (hasMixedCodes || step === 'body') {
      this.#drop(phaseOf(step), 'protocol', 'the lines of a reply carry different codes')
    }
  }

  #accepted(step: Step, reply: SmtpReply): void {
    if (step === 'dot') this.#note(replyVerdict('body', reply))
    // A peer that refused EHLO has taken HELO.
    if (step === 'ehlo' && this.#exchange) this.#exchange.verdict = null
    if (step === 'data' && this.#mail !== null && !this.#exchange?.verdict) {
      this.#dialogue.beginBody(this.#mail.sizeBytes)
    }
  }
  onDeadline(step: Step): void {
    this.#drop(phaseOf(step), 'timeout', `the deadline for ${step.toUpperCase()} has passed`)
  }

  onInjection(): void {
    this.#isInjected = true
    this.#drop('tls', 'tls', 'the peer sent plaintext behind its reply to STARTTLS')
  }

  #watchEmptyLines(client: Hearing): void {
    const hear = client._onData.bind(client)
    client._onData = (chunk) => {
      if (!tooManyEmptyLines.test(chunk.toString('latin1'))) return hear(chunk)
      this.#drop(phaseOf(this.#dialogue.step), 'protocol', 'the peer sent nothing but empty lines')
    }
  }

  // How an exchange ends

  #begin(): Exchange {
    const { promise, resolve } = Promise.withResolvers<void>()
    const exchange: Exchange = { verdict: null, finish: resolve, done: promise }
    this.#exchange = exchange
    return exchange
  }

  /** The first verdict counts: after a refused recipient nothing that follows can change what it means. */
  #note(verdict: Verdict): void {
    if (this.#exchange !== null) this.#exchange.verdict ??= verdict
  }

  /** Ends the exchange under way, if any: without an error as its verdict says, with one as that says if there is no verdict. */
  #finish(error: Error | null | undefined): void {
    if (error) this.#note(this.#verdictOfError(error))
    if (this.#client.destroyed) this.#dialogue.end()
    this.#exchange?.finish()
    this.#exchange = null
  }

  /** Drops the connection and ends the exchange under way. */
  #drop(phase: Phase, failure: TransportFailure, detail: string): void {
    const isUncertain = this.#mail?.isDotSent === true && failure !== 'lease_lost'
    this.#note({ ...failureVerdict(phase, failure, detail), isUncertain })
    this.#client.close()
    this.#dialogue.end()
    this.#finish(null)
  }

  #verdictOfError(error: Error & { code?: string }): Verdict {
    const phase = phaseOf(this.#dialogue.step)
    const isUncertain = this.#mail?.isDotSent === true
    const failure =
      phase === 'tls' ? 'tls' : error.code === 'EPROTOCOL' ? 'protocol' : ('connection_lost' as const)
    return { ...failureVerdict(phase, failure, reasonOf(error).slice(0, 500)), isUncertain }
  }

  #dropped(verdict: Verdict): Verdict {
    this.#client.close()
    this.#dialogue.end()
    return verdict
  }

  #isPermitted(before: string): boolean {
    if (this.#mail === null || this.#exchange === null || this.#exchange.verdict !== null) return false
    if (this.#mail.guard.isStillMine()) return true
    this.#drop('data', 'lease_lost', `the delivery was no longer ours before ${before}`)
    return false
  }

  #mayEndBody(): boolean {
    if (!this.#isPermitted('the final dot') || this.#mail === null) return false
    this.#mail.isDotSent = true
    this.#dialogue.endBody('.')
    return true
  }

  #report(verdict: Verdict, context: TransactionContext, sizeBytes: number | null): TransactionReport {
    const opening = this.#opening
    this.#opening = null
    const session = { endpoint: this.#endpoint, dialogue: this.#dialogue, tls: this.#tls }
    return reportOfDialogue(session, opening, { verdict, context, sizeBytes })
  }

  /** The client's log as ears: what it writes and hears, one call each, before it acts. */
  #createTap() {
    const ignore = () => {}
    return {
      trace: ignore,
      debug: (entry: unknown, message?: unknown) => {
        const { tnx } = entry as { tnx?: string }
        if (tnx === 'client') this.#dialogue.heardClient(String(message))
        if (tnx === 'server') this.#dialogue.heardServer(String(message).split(/\r?\n/))
      },
      info: ignore,
      warn: (entry: unknown) => {
        if (typeof (entry as { discarded?: unknown }).discarded === 'number') this.#dialogue.heardInjection()
      },
      error: ignore,
      fatal: ignore,
    }
  }
}
