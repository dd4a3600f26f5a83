/**
 * A mailbox by IMAP (RFC 9051, RFC 3501), spoken by imapflow over a connection of ours: so the guard has seen its address, and what the server
 * sends in answer to one command is bounded in time and in octets.
 */
import net from 'node:net'
import tls from 'node:tls'
import type { MailboxTroubleCode } from '@valija/core'
import { ImapFlow, type ImapFlowError, type ImapFlowOptions, type ImapTransport } from 'imapflow'
import type { NetworkGuard } from '../network-guard.ts'
import {
  MailboxFailure,
  type MailboxLimits,
  type MailboxMail,
  type MailboxSession,
  type MailboxTarget,
  noGreeting,
} from './mailbox.ts'
import { connectMailbox, type MailboxConnection, tlsOptionsFor } from './mailbox-connection.ts'

/** How often a command's octets are looked at. */
const lookMs = 100
/** Beside a mail's own octets: what a server says of a mailbox, or of news that come meanwhile. */
const talkBytes = 2_000_000
/** A name in a list of them, at most: nine digits and a blank, and as much again. */
const bytesPerName = 20

/** @throws {MailboxFailure} */
export async function openImap(
  target: MailboxTarget,
  guard: NetworkGuard,
  limits: MailboxLimits,
): Promise<MailboxSession> {
  const connection = await connectMailbox(target, guard, limits.connectMs)
  const client = new ImapFlow(optionsFor(target, connection, limits))
  const session = new ImapMailbox(client, connection, target, limits)
  await session.open()
  return session
}

class ImapMailbox implements MailboxSession {
  readonly #client: ImapFlow
  readonly #raw: net.Socket
  readonly #target: MailboxTarget
  readonly #limits: MailboxLimits
  /** Why the connection ended, when somebody was told of it besides the command that was under way. */
  #error: Error | null = null
  /** Something came since the last list. */
  #hasNews = false

  constructor(client: ImapFlow, { raw }: MailboxConnection, target: MailboxTarget, limits: MailboxLimits) {
    this.#client = client
    this.#raw = raw
    this.#target = target
    this.#limits = limits
    client.on('error', (error: Error) => {
      this.#error ??= error
    })
    client.on('exists', () => {
      this.#hasNews = true
    })
  }

  get canWait(): boolean {
    return this.#client.capabilities.has('IDLE')
  }

  async open(): Promise<void> {
    const folder = this.#target.folder ?? 'INBOX'
    const { openMs } = this.#limits
    await this.#within(openMs, talkBytes, 'the login', async () => {
      try {
        await this.#client.connect()
      } catch (error) {
        throw (error as ImapFlowError).code === 'GREETING_TIMEOUT' ? noGreeting('IMAP', openMs) : error
      }
    })
    await this.#within(this.#limits.openMs, talkBytes, 'opening the folder', async () => {
      try {
        await this.#client.mailboxOpen(folder)
      } catch (error) {
        if (!isRefusal(error)) throw error
        throw new MailboxFailure('folder_missing', `${folder}: ${wordsOf(error)}`, { cause: error })
      }
    })
  }

  async list(): Promise<readonly string[]> {
    const { maxMails, listMs } = this.#limits
    const validity = this.#validity()
    this.#hasNews = false
    // Those that somebody marked as deleted are as good as gone: also ours, where a server lacks what it takes to remove them.
    const found = await this.#within(listMs, talkBytes + maxMails * bytesPerName, 'the list', () =>
      this.#client.search({ deleted: false }, { uid: true }),
    )
    if (!Array.isArray(found)) throw new MailboxFailure('protocol', 'the server refuses to search the folder')
    if (found.length > maxMails)
      throw new MailboxFailure('too_many_mails', `${found.length}, more than ${maxMails}`)
    return found.toSorted((one, other) => one - other).map((uid) => `${validity}.${uid}`)
  }

  async read(id: string): Promise<MailboxMail | null> {
    const uid = this.#uidOf(id)
    if (uid === null) return null
    const { maxMailBytes, readMs } = this.#limits
    // One octet more tells whether there is a rest. BODY.PEEK: it stays as unread as it was.
    const source = { start: 0, maxLength: maxMailBytes + 1 }
    const found = await this.#within(readMs, talkBytes + maxMailBytes, 'reading a mail', () =>
      this.#client.fetchOne(uid, { source }, { uid: true }),
    )
    if (!found || found.source === undefined) return null
    const isCut = found.source.length > maxMailBytes
    return { bytes: isCut ? found.source.subarray(0, maxMailBytes) : found.source, isCut }
  }

  async remove(ids: readonly string[]): Promise<void> {
    const uids = ids.map((id) => this.#uidOf(id)).filter((uid) => uid !== null)
    if (uids.length === 0) return
    const done = this.#target.doneFolder ?? 'Valija'
    await this.#within(this.#limits.removeMs, talkBytes, 'moving mails', async () => {
      if (await this.#move(uids.join(','), done)) return
      // Most likely it is not there: some servers say so (TRYCREATE, RFC 9051 section 6.4.7), others just refuse.
      await this.#client.mailboxCreate(done).catch((error: unknown) => {
        if (!isRefusal(error)) throw error
        throw new MailboxFailure('not_moved', `${done}: ${wordsOf(error)}`, { cause: error })
      })
      if (!(await this.#move(uids.join(','), done)))
        throw new MailboxFailure('not_moved', `the server does not move mails to ${done}`)
    })
  }

  async waitForNews(waitMs: number, stop: AbortSignal): Promise<void> {
    if (stop.aborted || this.#hasNews) return
    const client = this.#client
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, waitMs)
    const onStop = () => resolve()
    stop.addEventListener('abort', onStop, { once: true })
    client.on('exists', resolve).on('close', resolve)
    try {
      // Ends by itself when the server ends it, or refuses.
      const idling = client.idle()
      idling.catch(() => undefined)
      await promise
      // Any command ends the waiting first (RFC 2177): so we know that somebody is there still.
      await this.#within(this.#limits.openMs, talkBytes, 'the answer after waiting', () => client.noop())
    } finally {
      clearTimeout(timer)
      stop.removeEventListener('abort', onStop)
      client.off('exists', resolve).off('close', resolve)
    }
  }

  async finish(): Promise<void> {
    await this.#within(this.#limits.finishMs, talkBytes, 'LOGOUT', () => this.#client.logout()).catch(
      () => undefined,
    )
    this.close()
  }

  close(): void {
    this.#client.close()
    this.#raw.destroy()
  }

  async #move(range: string, done: string): Promise<boolean> {
    const client = this.#client
    const isExact = client.capabilities.has('MOVE') || client.capabilities.has('UIDPLUS')
    if (isExact) return isDone(await client.messageMove(range, done, { uid: true }))
    // EXPUNGE would remove what somebody else has marked as deleted too (RFC 4315 section 2.1): ours are only marked.
    if (!isDone(await client.messageCopy(range, done, { uid: true }))) return false
    return client.messageFlagsAdd(range, ['\\Deleted', '\\Seen'], { uid: true, silent: true })
  }

  /** Of the names that were given out before the server made all UIDs anew, none means anything any more. */
  #uidOf(id: string): string | null {
    const [validity, uid] = id.split('.')
    return validity === this.#validity() && uid !== undefined ? uid : null
  }

  #validity(): string {
    const { mailbox } = this.#client
    if (!mailbox) throw new MailboxFailure('connection_lost', 'the folder is not open any more')
    return `${mailbox.uidValidity}`
  }

  /** Runs a command within so many milliseconds and octets; whatever goes wrong, the session is over. */
  async #within<T>(limitMs: number, limitBytes: number, what: string, command: () => Promise<T>): Promise<T> {
    const begunAt = performance.now()
    const begunBytes = this.#raw.bytesRead
    const { promise: exceeded, reject } = Promise.withResolvers<never>()
    const timer = setInterval(() => {
      if (performance.now() - begunAt > limitMs)
        reject(new MailboxFailure('timeout', `${what} took longer than ${Math.round(limitMs / 1000)} s`))
      else if (this.#raw.bytesRead - begunBytes > limitBytes)
        reject(new MailboxFailure('protocol', `${what}: more than ${limitBytes} octets in answer`))
    }, lookMs)
    const running = command()
    running.catch(() => undefined)
    try {
      return await Promise.race([running, exceeded])
    } catch (error) {
      this.close()
      throw failureOf(error, this.#error)
    } finally {
      clearInterval(timer)
    }
  }
}

function optionsFor(
  target: MailboxTarget,
  { socket }: MailboxConnection,
  limits: MailboxLimits,
): ImapFlowOptions {
  const upgrade = tlsOptionsFor(target)
  // The connection is there already; imapflow waits for it to be told so later.
  const transport: ImapTransport = {
    connect: (_, onConnect) => {
      setImmediate(onConnect)
      return socket
    },
    upgrade: (plain, _, onSecure) => {
      if (!(plain instanceof net.Socket)) throw new TypeError('the connection is of our own making')
      // With the host: a certificate for an address must bear that address, and Node would take `localhost` for it.
      return tls.connect({ ...upgrade, host: target.host, socket: plain }, onSecure)
    },
  }
  return {
    host: target.host,
    port: target.port,
    secure: target.tls === 'implicit',
    ...(target.tls !== 'implicit' && { doSTARTTLS: target.tls === 'starttls' }),
    transport,
    auth: { user: target.user, pass: target.password },
    clientInfo: { name: 'Valija' },
    logger: false,
    disableAutoIdle: true,
    disableCompression: true,
    disableAutoEnable: true,
    // What is waited for has deadlines of its own (`#within`).
    socketTimeout: 30 * 60_000,
    // A little less, so that it is what is told of a server that says nothing.
    greetingTimeout: Math.max(1, limits.openMs - 2 * lookMs),
    maxLineLength: talkBytes + limits.maxMails * bytesPerName,
    maxLiteralSize: limits.maxMailBytes + 1,
    maxResponseSize: limits.maxMailBytes + talkBytes,
    maxResponseTokens: 100_000,
  }
}

function isDone(answer: object | boolean | undefined): boolean {
  return answer !== undefined && answer !== false
}

/** NO or BAD: the command was understood, and the connection lives. */
function isRefusal(error: unknown): boolean {
  return error instanceof Error && (error as ImapFlowError).responseStatus !== undefined
}

function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return (error as ImapFlowError).responseText ?? error.message
}

/** RFC 5530 section 3: why a login is refused that may be taken later. */
const passingCodes: readonly string[] = ['UNAVAILABLE', 'INUSE', 'LIMIT', 'SERVERBUG']

const codes: Record<string, MailboxTroubleCode> = {
  CONNECT_TIMEOUT: 'timeout',
  UPGRADE_TIMEOUT: 'timeout',
  ETIMEOUT: 'timeout',
  ETHROTTLE: 'busy',
  NoConnection: 'connection_lost',
  EConnectionClosed: 'connection_lost',
  ClosedAfterConnectText: 'connection_lost',
  ClosedAfterConnectTLS: 'connection_lost',
  StateLogout: 'connection_lost',
}

/** The first cause is the one that is told: what was under way only knows that the connection is gone. */
function failureOf(error: unknown, first: Error | null): MailboxFailure {
  if (error instanceof MailboxFailure) return error
  const cause = (first ?? error) as ImapFlowError
  return new MailboxFailure(codeOf(cause), wordsOf(cause), { cause })
}

function codeOf(error: ImapFlowError): MailboxTroubleCode {
  if (error.authenticationFailed)
    return passingCodes.includes(error.serverResponseCode ?? '') ? 'busy' : 'login_refused'
  const code = error.code ?? ''
  if (error.tlsFailed || /^(ERR_TLS_|ERR_SSL_|CERT_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_)/.test(code))
    return 'tls_failed'
  return codes[code] ?? (/^E[A-Z]+$/.test(code) ? 'connection_lost' : 'protocol')
}
