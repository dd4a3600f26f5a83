/**
 * A raw SMTP peer for tests: does what its script says at each step, well or badly, and keeps what it was told.
 *
 * It is written on sockets, without an SMTP library, so that it can misbehave at every byte.
 */
import net from 'node:net'
import tls from 'node:tls'

/** What the peer does at a step. A text is one reply (without its last CRLF). */
export type Act =
  | string
  /** These bytes, as they are. */
  | { raw: string }
  /** This reply, a byte at a time. */
  | { drip: string; everyMs: number }
  /** Reply, then close. */
  | { reply: string; thenClose: true }
  | 'CLOSE'
  | 'RESET'
  | 'SILENCE'

export type StepName =
  | 'greeting'
  | 'ehlo'
  | 'starttls'
  | 'auth'
  | 'mail'
  | 'rcpt'
  | 'data'
  /** BDAT without LAST; with it, it is `dot`. */
  | 'bdat'
  | 'dot'
  | 'rset'
  | 'quit'

export interface PeerScript extends Partial<Record<StepName, Act>> {
  /** EHLO keywords; the default is all but STARTTLS and AUTH. */
  features?: string[]
  /** Close (or fall silent) once this many octets of a body have come. */
  inBody?: { afterBytes: number; act: 'CLOSE' | 'RESET' | 'SILENCE' | string }
  /** Certificate for STARTTLS, or for TLS from the first byte. */
  tls?: { key: string; cert: string; isImplicit?: boolean; maxVersion?: tls.SecureVersion }
  /** What happens instead of a handshake after 220 to STARTTLS. */
  handshake?: 'FAIL' | 'SILENCE'
  /** After 354 nothing more is read: the sender's buffers fill up. */
  isDeaf?: boolean
}

export interface PeerMail {
  mailLine: string
  rcptLines: string[]
  /** As on the wire, with dot-stuffing undone, without the final dot. */
  body: string
}

export interface ScriptedPeer {
  port: number
  /** Commands of each connection, in order; body left out. */
  connections: string[][]
  mails: PeerMail[]
  /** Octets of body that came, of all connections. */
  bodyBytes: number
  /** Pieces in which octets came, outside of bodies: how often the other side wrote. */
  writes: number
  close(): Promise<void>
}

const defaults: Record<StepName, string> = {
  greeting: '220 peer.example ESMTP',
  ehlo: '',
  starttls: '220 2.0.0 go ahead',
  auth: '235 2.7.0 welcome',
  mail: '250 2.1.0 sender ok',
  rcpt: '250 2.1.5 recipient ok',
  data: '354 go ahead',
  bdat: '250 2.0.0 chunk taken',
  dot: '250 2.0.0 queued as 42',
  rset: '250 2.0.0 reset',
  quit: '221 2.0.0 bye',
}

export const defaultFeatures = [
  'PIPELINING',
  '8BITMIME',
  'SMTPUTF8',
  'DSN',
  'SIZE 100000000',
  'ENHANCEDSTATUSCODES',
]

/** @param script one for all connections, or one by the number of the connection (from 0) */
export async function startScriptedPeer(
  script: PeerScript | ((connection: number) => PeerScript),
): Promise<ScriptedPeer> {
  const sockets = new Set<net.Socket>()
  const peer: ScriptedPeer = {
    port: 0,
    connections: [],
    mails: [],
    bodyBytes: 0,
    writes: 0,
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  const server = net.createServer((socket) => {
    sockets.add(socket)
    socket.setNoDelay(true)
    socket.on('error', () => {}).once('close', () => sockets.delete(socket))
    const commands: string[] = []
    peer.connections.push(commands)
    const own = typeof script === 'function' ? script(peer.connections.length - 1) : script
    new Conversation(socket, own, peer, commands).begin()
  })
  peer.port = await listenBelowEphemeral(server)
  return peer
}

/** Ports below 32768 are never given to an outgoing connection, and from 32000 on nobody else draws any of these. */
async function listenBelowEphemeral(server: net.Server): Promise<number> {
  for (;;) {
    const port = 32_000 + Math.floor(Math.random() * 700)
    const isListening = await new Promise<boolean>((resolve) => {
      server
        .once('error', () => resolve(false))
        .listen({ port, host: '127.0.0.1', exclusive: true }, () => resolve(true))
    })
    server.removeAllListeners('error')
    if (isListening) return port
  }
}

class Conversation {
  #socket: net.Socket
  readonly #script: PeerScript
  readonly #peer: ScriptedPeer
  readonly #commands: string[]
  #buffer = ''
  #isInBody = false
  #chunk: { sizeBytes: number; isLast: boolean } | null = null
  #loginSteps = 0
  #mail: PeerMail | null = null
  #bodySeen = 0

  constructor(socket: net.Socket, script: PeerScript, peer: ScriptedPeer, commands: string[]) {
    this.#socket = socket
    this.#script = script
    this.#peer = peer
    this.#commands = commands
  }

  begin(): void {
    if (this.#script.tls?.isImplicit) this.#upgrade()
    else this.#listen()
    this.#act('greeting')
  }

  #listen(): void {
    this.#socket.on('data', this.#onData)
  }

  #onData = (chunk: Buffer): void => {
    this.#buffer += chunk.toString('latin1')
    if (!this.#isInBody && this.#chunk === null) this.#peer.writes += 1
    while (this.#chunk ? this.#readChunk() : this.#isInBody ? this.#readBody() : this.#readCommand());
  }

  #readChunk(): boolean {
    const { sizeBytes, isLast } = this.#chunk ?? { sizeBytes: 0, isLast: false }
    if (this.#buffer.length < sizeBytes) return false
    this.#peer.bodyBytes += sizeBytes
    if (this.#mail !== null) this.#mail.body += this.#buffer.slice(0, sizeBytes)
    this.#buffer = this.#buffer.slice(sizeBytes)
    this.#chunk = null
    if (isLast && this.#mail !== null) this.#peer.mails.push(this.#mail)
    this.#act(isLast ? 'dot' : 'bdat')
    return true
  }

  #readCommand(): boolean {
    const end = this.#buffer.indexOf('\r\n')
    if (end < 0) return false
    const line = Buffer.from(this.#buffer.slice(0, end), 'latin1').toString('utf8')
    this.#buffer = this.#buffer.slice(end + 2)
    this.#commands.push(line)
    this.#answer(line)
    return true
  }

  #answer(line: string): void {
    const verb = line.split(' ', 1)[0]?.toUpperCase() ?? ''
    if (this.#loginSteps > 0) {
      this.#loginSteps -= 1
      if (this.#loginSteps > 0) this.#socket.write('334 UGFzc3dvcmQ6\r\n')
      else this.#act('auth')
      return
    }
    if (verb === 'AUTH' && line === 'AUTH LOGIN') {
      this.#loginSteps = 2
      this.#socket.write('334 VXNlcm5hbWU6\r\n')
      return
    }
    if (verb === 'BDAT') {
      const [, size = '0', last] = line.split(' ')
      this.#chunk = { sizeBytes: Number(size), isLast: last === 'LAST' }
      return
    }
    if (verb === 'MAIL') this.#mail = { mailLine: line, rcptLines: [], body: '' }
    if (verb === 'RCPT') this.#mail?.rcptLines.push(line)
    const step = { HELO: 'ehlo', EHLO: 'ehlo' }[verb] ?? verb.toLowerCase()
    this.#act(step as StepName)
    const isUpgrade =
      verb === 'STARTTLS' && (this.#script.starttls === undefined || startsWith220(this.#script.starttls))
    if (isUpgrade) this.#upgrade()
  }

  #readBody(): boolean {
    const { inBody } = this.#script
    if (inBody !== undefined && this.#bodySeen + this.#buffer.length >= inBody.afterBytes) {
      this.#isInBody = false
      this.#peer.bodyBytes += this.#buffer.length
      this.#buffer = ''
      this.#do(inBody.act)
      this.#socket.removeListener('data', this.#onData)
      // Until the reset a fast sender could get rid of everything.
      if (inBody.act === 'RESET') this.#socket.pause()
      else this.#socket.resume()
      return false
    }
    const text = `\r\n${this.#buffer}`
    const end = text.indexOf('\r\n.\r\n')
    if (end < 0) return false
    const raw = text.slice(2, end + 2)
    this.#peer.bodyBytes += raw.length
    this.#buffer = text.slice(end + 5)
    this.#isInBody = false
    if (this.#mail !== null) {
      this.#mail.body = `\r\n${raw}`.replaceAll('\r\n.', '\r\n').slice(2)
      this.#peer.mails.push(this.#mail)
    }
    this.#act('dot')
    return true
  }

  #act(step: StepName): void {
    const act = this.#script[step]
    const reply = act ?? (step === 'ehlo' ? this.#ehloReply() : defaults[step]) ?? '502 5.5.1 unknown'
    if (step === 'data' && (typeof reply !== 'string' || reply.startsWith('3'))) this.#isInBody = true
    this.#do(reply)
    if (step === 'data' && this.#script.isDeaf) this.#socket.pause()
    if (step === 'quit') this.#socket.end()
  }

  #ehloReply(): string {
    const features = [...(this.#script.features ?? defaultFeatures)]
    const lines = ['peer.example', ...features]
    return lines.map((line, i) => `250${i === lines.length - 1 ? ' ' : '-'}${line}`).join('\r\n')
  }

  #do(act: Act): void {
    const socket = this.#socket
    if (act === 'SILENCE') return
    if (act === 'CLOSE') socket.end()
    // A moment later, or the connection would not even be one.
    else if (act === 'RESET') setTimeout(() => reset(socket), 10)
    else if (typeof act === 'string') socket.write(`${act}\r\n`)
    else if ('raw' in act) socket.write(act.raw)
    else if ('reply' in act) socket.end(`${act.reply}\r\n`)
    else this.#drip(act.drip, act.everyMs)
  }

  #drip(text: string, everyMs: number): void {
    let at = 0
    const timer = setInterval(() => {
      if (at >= text.length || this.#socket.destroyed) clearInterval(timer)
      else this.#socket.write(text.charAt(at++))
    }, everyMs)
  }

  #upgrade(): void {
    const plain = this.#socket
    plain.removeListener('data', this.#onData)
    if (this.#script.handshake === 'SILENCE') return
    if (this.#script.handshake === 'FAIL') {
      plain.once('data', () => plain.end('this is not TLS at all\r\n'))
      return
    }
    const { key, cert, maxVersion } = this.#script.tls ?? { key: '', cert: '' }
    const old: tls.SecureContextOptions = { minVersion: 'TLSv1', maxVersion, ciphers: 'DEFAULT:@SECLEVEL=0' }
    const secureContext = tls.createSecureContext({ key, cert, ...(maxVersion ? old : {}) })
    const secured = new tls.TLSSocket(plain, { isServer: true, secureContext })
    secured.on('error', () => {})
    this.#socket = secured
    this.#buffer = ''
    this.#listen()
  }
}

function reset(socket: net.Socket): void {
  // What lies unread makes a reset of it.
  if (socket instanceof tls.TLSSocket) socket.destroy()
  else socket.resetAndDestroy()
}

function startsWith220(act: Act): boolean {
  return typeof act === 'string'
    ? act.startsWith('220')
    : typeof act === 'object' && 'raw' in act && act.raw.startsWith('220')
}
