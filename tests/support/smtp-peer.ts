/**
 * A scripted SMTP server on loopback: the other side of a delivery, doing what real ones do on bad days.
 *
 * Without a script it takes every mail. A script names phases and what happens there instead:
 *
 *     const peer = await startSmtpPeer({ script: { rcpt: '450 4.2.1 greylisted' } })
 *     peer.script = { mail: ['421 4.7.0 busy'], body: drop() }      // the first MAIL only; then the usual
 *     peer.script = { rcpt: ({ argument }) => argument.includes('full@') ? '452 4.2.2 full' : undefined }
 *
 * It keeps each mail byte by byte, and answers nothing by itself that it was not sent: no address is ever looked at.
 */
import { once } from 'node:events'
import net from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import tls from 'node:tls'
import { type Certificate, certificate } from './certificate.ts'
import { Input, Over } from './smtp-peer-input.ts'
import {
  type Cut,
  EXTENSIONS,
  type Phase,
  type Reaction,
  type Script,
  USUAL,
  VERBS,
} from './smtp-peer-script.ts'
import { PATIENCE_MS, until } from './until.ts'

export * from './smtp-peer-script.ts'

export type ReceivedMail = {
  session: number
  helo: string
  /** Addresses without the angle brackets, and the parameters behind them (SIZE=, BODY=, REQUIRETLS …). */
  from: string
  fromParameters: string
  to: string[]
  toParameters: string[]
  /** The bytes between DATA and the final dot, dots unstuffed. */
  raw: Buffer
  /** The same as latin1: one character per byte. */
  text: string
  isEncrypted: boolean
  user: string | null
}

export type SmtpPeerOptions = {
  script?: Script
  /** 0 or absent: any free port. */
  port?: number
  host?: string
  /** Offer STARTTLS. */
  starttls?: boolean
  /** TLS from the first byte (submissions, port 465). */
  implicitTls?: boolean
  /** Offer AUTH PLAIN and LOGIN, and take only this user. */
  auth?: { user: string; pass: string }
  /** EHLO keywords; STARTTLS and AUTH are added. */
  extensions?: string[]
}

export type SmtpPeer = {
  host: string
  port: number
  /** May be replaced at any time; it holds from the next command on. */
  script: Script
  mails: ReceivedMail[]
  /** The same for bodies that it refused, or cut off after the final dot. */
  refused: ReceivedMail[]
  /** `1< EHLO x`, `1> 250 …`: session number, direction, line; bodies are left out. */
  transcript: string[]
  /** Sessions ever opened, and those open now. */
  sessions: () => number
  open: () => number
  /** Ends every connection with a reset. */
  cut: () => void
  /** Octets that floods have got rid of. */
  flooded: number
  /** Resolves when at least this many mails have been taken. */
  received: (count: number, timeoutMs?: number) => Promise<ReceivedMail[]>
  stop: () => Promise<void>
}

/** The address and the parameters in `FROM:<a@b> SIZE=1`. */
function parsePath(argument: string): { address: string; parameters: string } {
  const [, address = '', parameters = ''] = /^[A-Za-z]+:\s*<([^>]*)>\s*(.*)$/.exec(argument) ?? []
  return { address, parameters }
}

type Envelope = { from: string | null; fromParameters: string; to: string[]; toParameters: string[] }

const emptyEnvelope = (): Envelope => ({ from: null, fromParameters: '', to: [], toParameters: [] })

/** What the other side reads as a reply, if anything. */
function replyOf(reaction: Reaction): string {
  if (typeof reaction === 'string') return reaction
  if (reaction.act === 'raw') return reaction.octets
  return 'reply' in reaction ? (reaction.reply ?? '') : ''
}

/** One connection, from greeting to end. */
class Session {
  private readonly input = new Input()
  private envelope = emptyEnvelope()
  private helo = ''
  private user: string | null = null
  private isEncrypted: boolean

  private readonly number: number
  private socket: net.Socket
  private readonly peer: SmtpPeer
  private readonly options: SmtpPeerOptions

  private readonly certificate: Certificate

  constructor(
    number: number,
    socket: net.Socket,
    peer: SmtpPeer,
    options: SmtpPeerOptions,
    ownCertificate: Certificate,
  ) {
    this.certificate = ownCertificate
    this.number = number
    this.socket = socket
    this.peer = peer
    this.options = options
    this.isEncrypted = options.implicitTls === true
    this.input.listenTo(socket)
  }

  async run(): Promise<void> {
    try {
      await this.react('connect', '')
      for (;;) {
        const line = (await this.input.upTo('\r\n')).toString('utf8')
        this.peer.transcript.push(`${this.number}< ${line}`)
        await this.obey(line)
      }
    } catch (error) {
      // What was written is still to arrive.
      if (this.socket.writableEnded) this.socket.resume()
      else this.socket.destroy()
      if (!(error instanceof Over)) throw error
    }
  }

  /** The usual answer to a command, unless the script has another; the state moves only on a 2xx or 3xx. */
  private async obey(line: string): Promise<void> {
    const [verb = '', ...rest] = line.split(' ')
    const phase = VERBS[verb.toUpperCase()] ?? 'unknown'
    const argument = rest.join(' ')
    if (phase === 'auth') return this.authenticate(line, argument)
    const { address, parameters } = parsePath(argument)
    if (!(await this.react(phase, line, argument))) return
    if (phase === 'ehlo' || phase === 'helo') this.helo = argument
    if (phase === 'rset') this.envelope = emptyEnvelope()
    if (phase === 'mail') this.envelope = { ...emptyEnvelope(), from: address, fromParameters: parameters }
    if (phase === 'rcpt') this.envelope.to.push(address)
    if (phase === 'rcpt') this.envelope.toParameters.push(parameters)
    if (phase === 'starttls') await this.encrypt()
    if (phase === 'data') await this.takeBody()
    if (phase === 'quit') {
      this.socket.end()
      throw new Over()
    }
  }

  private async encrypt(): Promise<void> {
    const { handshake, tls: own } = this.peer.script
    if (handshake !== undefined) return this.spoilHandshake(handshake)
    const plain = this.socket
    plain.removeAllListeners('data')
    // Made at once: the client's first TLS bytes must not meet a moment in which nobody reads.
    const secure = new tls.TLSSocket(plain, { isServer: true, ...this.certificate, ...own })
    this.socket = secure
    this.input.listenTo(secure)
    this.isEncrypted = true
    this.envelope = emptyEnvelope()
    await Promise.race([once(secure, 'secure'), once(secure, 'close')]).catch(() => undefined)
  }

  /** Once the client has begun its handshake. */
  private async spoilHandshake(how: 'garbage' | Cut): Promise<void> {
    await once(this.socket, 'data')
    if (how === 'garbage') this.socket.end('this is not TLS at all\r\n')
    else this.end(how)
    throw new Over()
  }

  private async takeBody(): Promise<void> {
    const { dropInBodyAfterBytes: limit = Number.POSITIVE_INFINITY, bodyCut = 'reset' } = this.peer.script
    const raw = await this.input.body((bytes) => {
      if (bytes < limit) return
      if (bodyCut === 'reset') throw new Over()
      this.socket.end() // what still comes is read: unread octets would turn the end into a reset
    })
    const { from, ...envelope } = this.envelope
    const mail = {
      ...envelope,
      from: from ?? '',
      session: this.number,
      helo: this.helo,
      isEncrypted: this.isEncrypted,
      user: this.user,
    }
    // Kept before the reply goes out: whoever sees the reply also sees the mail.
    const received = { ...mail, raw, text: raw.toString('latin1') }
    this.peer.refused.push(received)
    const keep = () => {
      this.peer.refused.splice(this.peer.refused.indexOf(received), 1)
      this.peer.mails.push(received)
    }
    // The envelope ends with the reply, so a script can still tell whose mail it answers.
    await this.react('body', '.', '', keep)
    this.envelope = emptyEnvelope()
  }

  /** AUTH PLAIN and LOGIN, with or without an initial response (RFC 4954, section 4). */
  private async authenticate(line: string, argument: string): Promise<void> {
    const [mechanism = '', initial] = argument.split(' ')
    const ask = async (prompt: string) => {
      this.write(`334 ${prompt}`)
      return (await this.input.upTo('\r\n')).toString('latin1')
    }
    const decoded = (base64: string) => Buffer.from(base64, 'base64').toString('utf8')
    let [user, pass]: (string | undefined)[] = []
    if (mechanism.toUpperCase() === 'PLAIN') [, user, pass] = decoded(initial ?? (await ask(''))).split('\0')
    else {
      user = decoded(initial ?? (await ask(btoa('Username:'))))
      pass = decoded(await ask(btoa('Password:')))
    }
    const { auth } = this.options
    if (auth && (auth.user !== user || auth.pass !== pass))
      return this.write('535 5.7.8 wrong user or password')
    if (await this.react('auth', line, argument)) this.user = user ?? null
  }

  private usual(phase: Phase): string {
    const { from, to } = this.envelope
    if ((phase === 'rcpt' && from === null) || (phase === 'data' && to.length === 0))
      return '503 5.5.1 bad sequence'
    if (phase !== 'ehlo') return USUAL[phase]
    const { extensions = EXTENSIONS, starttls, auth } = this.options
    const offered = [USUAL.ehlo.slice(4), ...extensions]
    if (starttls && !this.isEncrypted) offered.push('STARTTLS')
    if (auth) offered.push('AUTH PLAIN LOGIN')
    return offered.map((text, index) => `250${index < offered.length - 1 ? '-' : ' '}${text}`).join('\n')
  }

  private scripted(phase: Phase, line: string, argument: string): Reaction | undefined {
    const rule = this.peer.script[phase]
    if (Array.isArray(rule)) return rule.shift()
    if (typeof rule !== 'function') return rule
    const { from, to } = this.envelope
    return rule({ session: this.number, line, argument, from, to: [...to], isEncrypted: this.isEncrypted })
  }

  /** Does what the script says; tells whether the reply was positive (2xx or 3xx). */
  private async react(phase: Phase, line: string, argument = '', onPositive?: () => void): Promise<boolean> {
    const reaction = this.scripted(phase, line, argument) ?? this.usual(phase)
    const reply = replyOf(reaction)
    const isPositive = /^[23]/.test(reply)
    if (isPositive || (typeof reaction === 'object' && reaction.act === 'vanish')) onPositive?.()
    if (typeof reaction === 'string') this.write(reaction)
    else await this.act(reaction, reply)
    return isPositive
  }

  private async act(reaction: Exclude<Reaction, string>, reply: string): Promise<void> {
    switch (reaction.act) {
      case 'silence':
        await this.input.upTo('\0never\0') // until the other side has had enough
        return
      case 'drop':
        return this.cut(reply)
      case 'after':
        await delay(reaction.ms)
        return this.write(reply)
      case 'when':
        await reaction.signal
        return this.write(reply)
      case 'drip':
        return this.drip(reply, reaction.msPerByte)
      case 'raw':
        this.socket.write(reaction.octets, 'latin1')
        if (reaction.cut === undefined) return
        this.end(reaction.cut)
        throw new Over()
      case 'flood':
        return this.flood(reaction.octets, reaction.bytes)
      case 'vanish':
        this.end(reaction.cut)
        throw new Over()
    }
  }

  private async flood(octets: string, bytes: number): Promise<void> {
    const piece = Buffer.from(octets.repeat(Math.ceil(65_536 / octets.length)), 'latin1')
    for (let sent = 0; sent < bytes && !this.socket.destroyed; sent += piece.length) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.socket.write(piece, () => resolve())
      await promise
      this.peer.flooded += piece.length
    }
    await this.input.upTo('\0never\0')
  }

  /** Ends the connection without a word. */
  private end(how: Cut): void {
    if (how === 'close') this.socket.end()
    else if (this.socket instanceof tls.TLSSocket) this.socket.destroy()
    else this.socket.resetAndDestroy()
  }

  private async drip(reply: string, msPerByte: number): Promise<void> {
    for (const character of `${reply.replaceAll('\n', '\r\n')}\r\n`) {
      if (this.socket.destroyed) throw new Over()
      this.socket.write(character)
      await delay(msPerByte)
    }
  }

  private write(reply: string): void {
    for (const line of reply.split('\n')) this.peer.transcript.push(`${this.number}> ${line}`)
    if (!this.socket.destroyed) this.socket.write(`${reply.replaceAll('\n', '\r\n')}\r\n`)
  }

  /** Cuts the connection: with a reset, or, so that a reply just written still arrives, with a plain end. */
  private async cut(reply: string): Promise<void> {
    if (reply) {
      this.write(reply)
      await new Promise<void>((resolve) => this.socket.end(resolve))
    } else this.end('reset')
    throw new Over()
  }
}

/** Starts a peer on loopback. `stop` cuts what is open. */
export async function startSmtpPeer(options: SmtpPeerOptions = {}): Promise<SmtpPeer> {
  const { key, cert } = await certificate()
  const sockets = new Set<net.Socket>()
  let count = 0
  const onConnection = (socket: net.Socket) => {
    count += 1
    // Real servers do: else each further line of an answer waits 40 ms for the other side's delayed acknowledgement.
    socket.setNoDelay(true)
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    void new Session(count, socket, peer, options, { key, cert }).run()
  }
  const server = options.implicitTls
    ? tls.createServer({ key, cert }, onConnection)
    : net.createServer(onConnection)
  const host = options.host ?? '127.0.0.1'
  server.listen(options.port ?? 0, host)
  await once(server, 'listening')
  const peer: SmtpPeer = {
    host,
    port: (server.address() as net.AddressInfo).port,
    script: options.script ?? {},
    mails: [],
    refused: [],
    transcript: [],
    flooded: 0,
    sessions: () => count,
    open: () => sockets.size,
    cut: () => {
      for (const socket of sockets) socket.resetAndDestroy()
    },
    received: (wanted, timeoutMs = PATIENCE_MS) =>
      until(
        `${wanted} mails at the peer`,
        () => (peer.mails.length >= wanted ? peer.mails : null),
        timeoutMs,
      ),
    stop: async () => {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
  return peer
}
