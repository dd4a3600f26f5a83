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
import { EXTENSIONS, type Phase, type Reaction, type Script, USUAL, VERBS } from './smtp-peer-script.ts'
import { until } from './until.ts'

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
  /** `1< EHLO x`, `1> 250 …`: session number, direction, line; bodies are left out. */
  transcript: string[]
  /** Sessions ever opened, and those open now. */
  sessions: () => number
  open: () => number
  /** Resolves when at least this many mails have been taken. */
  received: (count: number, timeoutMs?: number) => Promise<ReceivedMail[]>
  stop: () => Promise<void>
}

/** The session is over: cut by the script, or gone. */
class Over extends Error {}

/** Bytes of a connection, to be taken by line or up to a mark. Survives the change to TLS. */
class Input {
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

/** The address and the parameters in `FROM:<a@b> SIZE=1`. */
function parsePath(argument: string): { address: string; parameters: string } {
  const [, address = '', parameters = ''] = /^[A-Za-z]+:\s*<([^>]*)>\s*(.*)$/.exec(argument) ?? []
  return { address, parameters }
}

type Envelope = { from: string | null; fromParameters: string; to: string[]; toParameters: string[] }

const emptyEnvelope = (): Envelope => ({ from: null, fromParameters: '', to: [], toParameters: [] })

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
      this.socket.destroy()
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
    const plain = this.socket
    plain.removeAllListeners('data')
    // Made at once: the client's first TLS bytes must not meet a moment in which nobody reads.
    const secure = new tls.TLSSocket(plain, { isServer: true, ...this.certificate })
    this.socket = secure
    this.input.listenTo(secure)
    this.isEncrypted = true
    this.envelope = emptyEnvelope()
    await Promise.race([once(secure, 'secure'), once(secure, 'close')]).catch(() => undefined)
  }

  private async takeBody(): Promise<void> {
    const limit = this.peer.script.dropInBodyAfterBytes
    const raw = await this.input.body((bytes) => {
      if (limit !== undefined && bytes >= limit) throw new Over()
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
    const keep = () => this.peer.mails.push({ ...mail, raw, text: raw.toString('latin1') })
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
    const reply = typeof reaction === 'string' ? reaction : 'reply' in reaction ? (reaction.reply ?? '') : ''
    const isPositive = /^[23]/.test(reply)
    if (isPositive) onPositive?.()
    if (typeof reaction === 'string') this.write(reaction)
    else if (reaction.act === 'silence')
      await this.input.upTo('\0never\0') // until the other side has had enough
    else if (reaction.act === 'drop') await this.cut(reply)
    else if (reaction.act === 'after') {
      await delay(reaction.ms)
      this.write(reply)
    } else await this.drip(reply, reaction.msPerByte)
    return isPositive
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
    } else if (!(this.socket instanceof tls.TLSSocket)) this.socket.resetAndDestroy()
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
    transcript: [],
    sessions: () => count,
    open: () => sockets.size,
    received: (wanted, timeoutMs = 20_000) =>
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
