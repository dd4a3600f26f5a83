/**
 * The local SMTP server behind `VALIJA_DELIVERY=capture`: takes every mail, keeps it, delivers nothing.
 *
 * It listens on loopback only, without TLS and login. A mail is answered with 250 once it is committed, and with 451 when it
 * could not be, so that even here a mail is never lost between two hands.
 */
import { Buffer } from 'node:buffer'
import { createRequire } from 'node:module'
import { isIP } from 'node:net'
import { parseAddress } from '@valija/mail'
import type { SMTPServer, SMTPServerDataStream, SMTPServerSession } from 'smtp-server'

export interface CapturedMail {
  /** Return path; empty for the null sender. */
  envelopeFrom: string
  recipients: string[]
  /** ENVID of MAIL, decoded (RFC 3461 §4.4); null when there was none. */
  envid: string | null
  bytes: Buffer
  receivedAt: Date
}

export interface CaptureReceiver {
  host: string
  port: number
  /** Stops listening and waits for connections to end, at most two seconds. */
  close(): Promise<void>
}

/**
 * By `require`: whoever imports it by `import` loads all of Node's `fetch` with it, 0.03 s. At the start of each process, in 7 ms, not with the
 * first mail that is captured: an upgrade may have replaced it by then.
 */
const smtpServer: typeof import('smtp-server') = createRequire(import.meta.url)('smtp-server')

/** Its sessions are our own, and end by themselves; a stranger's is closed after this. */
const closeTimeoutMs = 2_000

/** The range below Linux's ephemeral ports, so that no outgoing connection sits on the port that we want. */
const firstPort = 20_000
const portCount = 12_000

/**
 * @param options.host a loopback address
 * @param options.port a fixed port, or undefined for a free one below 32768
 * @param options.onMail resolves when the mail is committed; a rejection is answered with 451
 * @throws {Error} when the host is not loopback, or no port is free
 */
export async function startCaptureReceiver(options: {
  host: string
  port?: number
  maxSizeBytes: number
  onMail: (mail: CapturedMail) => Promise<void>
}): Promise<CaptureReceiver> {
  if (!isLoopback(options.host))
    throw new Error(`the capture receiver listens on loopback only, not on ${options.host}`)
  const server = createServer(options)
  const port = await listen(server, options.host, options.port)
  return {
    host: options.host,
    port,
    close: () => new Promise((resolve) => server.close(resolve)),
  }
}

function createServer(options: {
  maxSizeBytes: number
  onMail: (mail: CapturedMail) => Promise<void>
}): SMTPServer {
  const server = new smtpServer.SMTPServer({
    banner: 'valija capture',
    size: options.maxSizeBytes,
    rejectOversized: true,
    authOptional: true,
    disabledCommands: ['AUTH', 'STARTTLS'],
    disableReverseLookup: true,
    // These default to hidden.
    hideENHANCEDSTATUSCODES: false,
    hideDSN: false,
    maxAllowedUnauthenticatedCommands: false,
    closeTimeout: closeTimeoutMs,
    logger: false,
    onData: (stream, session, done) => {
      receive(stream, session, options.onMail).then(
        () => done(null, 'kept'),
        () => done(temporaryFailure()),
      )
    },
  })
  // A peer that goes away in mid-sentence is that peer's matter; each mail has its own answer.
  server.on('error', () => {})
  return server
}

async function receive(
  stream: SMTPServerDataStream,
  session: SMTPServerSession,
  onMail: (mail: CapturedMail) => Promise<void>,
): Promise<void> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  // The server answers 552 by itself.
  if (stream.sizeExceeded) return
  const { mailFrom, rcptTo, dsn } = session.envelope
  await onMail({
    envelopeFrom: mailFrom === false ? '' : toCanonical(mailFrom.address),
    recipients: rcptTo.map((recipient) => toCanonical(recipient.address)),
    envid: dsn?.envid ? decodeXtext(dsn.envid) : null,
    bytes: Buffer.concat(chunks),
    receivedAt: new Date(),
  })
}

/** The library shows domains as U-labels; everything else of ours speaks of A-labels. */
function toCanonical(address: string): string {
  const parsed = parseAddress(address)
  return parsed.ok ? parsed.value.email : address
}

/** RFC 3461 §4: `+` and two upper-case hexadecimal digits stand for an octet; the octets are UTF-8 here. */
function decodeXtext(text: string): string {
  const octets = text.replace(/\+([0-9A-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
  return Buffer.from(octets, 'latin1').toString('utf8')
}

function temporaryFailure(): Error & { responseCode: number } {
  return Object.assign(new Error('the mail could not be kept, try again'), { responseCode: 451 })
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
}

async function listen(server: SMTPServer, host: string, wanted: number | undefined): Promise<number> {
  if (wanted !== undefined) {
    await tryListen(server, host, wanted)
    return wanted
  }
  const start = Math.floor(Math.random() * portCount)
  for (let i = 0; i < portCount; i += 1) {
    const port = firstPort + ((start + i) % portCount)
    try {
      await tryListen(server, host, port)
      return port
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    }
  }
  throw new Error(`no port is free between ${firstPort} and ${firstPort + portCount - 1}`)
}

function tryListen(server: SMTPServer, host: string, port: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const settle = (error?: Error) => {
    server.removeListener('error', settle)
    if (error) reject(error)
    else resolve()
  }
  server.on('error', settle)
  server.listen(port, host, () => settle())
  return promise
}
