/**
 * The SMTP server at the domain of our return paths. It takes mail for addresses that we have signed, and for nobody else: it
 * relays nothing, has no login, and never answers with mail. 250 after DATA means that what the report says is committed.
 *
 *   RCPT    550 5.1.1 unless the address is signed by us and still valid
 *   DATA    250 applied, or nothing in it that could be · 451 PostgreSQL is away, or our own result is not written yet
 *           452 no room for it now · 552 beyond the size
 *
 * The library ends DATA only at CRLF.CRLF, takes no line of a mail for a command, and drops what was sent before STARTTLS. A bare CR,
 * LF or NUL inside a mail is content to us: nothing is passed on, so nobody can be told another story by it.
 */

import { peerOf } from '@valija/core'
import { createRoom, inRoom, intakeBanner, type ReadAddress, type TakenReport } from '@valija/flows'
import type { SMTPServer, SMTPServerDataStream, SMTPServerOptions, SMTPServerSession } from 'smtp-server'
import type { Certificate } from './certificate.ts'
import { createConnectionCount } from './connection-count.ts'
import { createKeptBytes } from './kept-bytes.ts'
import { createSmtpServer, listen, type Place } from './listen.ts'

export interface ReportListenerOptions extends Place {
  /** For the greeting. */
  name: string
  /** Null: no STARTTLS. */
  certificate: Certificate | null
  maxSizeBytes: number
  read: (address: string) => ReadAddress
  /** Applies a mail. What it throws is answered 451: the sender comes again. */
  take: (raw: Buffer, recipients: string[]) => Promise<TakenReport>
  /** Counts: `foreign`, `forged`, `expired`, `connections`, `room`, `trouble`, `later`. */
  onRefused: (reason: string) => void
  onError: (error: Error) => void
}

export interface ReportListener {
  host: string
  port: number
  /** Takes no more; what is being received is brought to its end, for at most half a minute. */
  close(): Promise<void>
  /** Ends what is still being received: its senders come again. */
  hurry(): void
  /** For connections to come. */
  renew(certificate: Certificate): void
}

const limits = {
  connections: 200,
  connectionsOfOnePeer: 20,
  /** A report has one. */
  recipients: 100,
  /** Then the peer is guessing. */
  refusedRecipients: 20,
  /** RFC 5321 section 4.5.3.2.7. */
  silenceMs: 300_000,
  sessionMs: 1_800_000,
  closeMs: 30_000,
  /** All mails together. */
  keptBytes: 64 * 1024 * 1024,
  /** What is read of a bounce or complaint stands at its beginning (readIncoming). */
  reportBytes: 1024 * 1024,
  /** Aggregate reports hold their data as an attachment. */
  domainReportBytes: 25 * 1024 * 1024,
  /** Reports that are read and applied at the same time, and of one peer; the others wait. */
  takenAtOnce: 8,
  takenOfOnePeer: 4,
}

/** @throws {Error} when the port cannot be had */
export async function startReportListener(options: ReportListenerOptions): Promise<ReportListener> {
  const { host } = options
  const { server, underWay } = createServer(options)
  const port = await listen(server, options)
  return {
    host,
    port,
    close: async () => {
      underWay.isClosing = true
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      // Those that are not in the middle of a mail have nothing to lose.
      for (const connection of [...server.connections]) {
        if (!underWay.receiving.has(connection.session.id)) connection.send(421, shuttingDown)
      }
      await closed
      await Promise.all(underWay.taking)
    },
    hurry: () => {
      for (const connection of [...server.connections]) connection.send(421, shuttingDown)
    },
    renew: ({ cert, key }) => server.updateSecureContext({ cert, key }),
  }
}

interface UnderWay {
  isClosing: boolean
  /** Ids of sessions between DATA and its reply. */
  receiving: Set<string>
  /** Also of peers that have gone meanwhile. */
  taking: Set<Promise<unknown>>
}

function createServer(options: ReportListenerOptions): { server: SMTPServer; underWay: UnderWay } {
  const underWay: UnderWay = { isClosing: false, receiving: new Set(), taking: new Set() }
  const peers = createConnectionCount(limits.connectionsOfOnePeer)
  const receive = createReceiver(options)
  const sessions = new Map<string, { refused: number; timer: NodeJS.Timeout }>()
  const server: SMTPServer = createSmtpServer({
    ...staticOptions(options),
    onConnect: (session, done) => {
      if (!peers.enter(session.remoteAddress)) {
        options.onRefused('connections')
        return done(reply(421, 'Too many connections from your address, come again'))
      }
      const timer = setTimeout(() => endSession(server, session.id, tooLong), limits.sessionMs).unref()
      sessions.set(session.id, { refused: 0, timer })
      done()
    },
    onClose: (session) => {
      const known = sessions.get(session.id)
      if (known === undefined) return
      clearTimeout(known.timer)
      sessions.delete(session.id)
      peers.leave(session.remoteAddress)
    },
    onRcptTo: ({ address }, session, done) => {
      const found = options.read(address)
      if (found.ok) return done()
      options.onRefused(found.fault)
      const known = sessions.get(session.id)
      if (known !== undefined && ++known.refused > limits.refusedRecipients)
        return done(reply(421, 'Too many unknown recipients'))
      done(reply(550, 'No such address here'))
    },
    onData: (stream, session, done) => {
      underWay.receiving.add(session.id)
      const work = receive(stream, session)
        .then((refusal) => (refusal === null ? done(null, 'Taken') : done(refusal)))
        .finally(() => {
          underWay.receiving.delete(session.id)
          underWay.taking.delete(work)
          if (underWay.isClosing) setImmediate(() => endSession(server, session.id, shuttingDown))
        })
      underWay.taking.add(work)
    },
  })
  // A peer that goes away in mid-sentence is that peer's matter.
  server.on('error', () => undefined)
  return { server, underWay }
}

function staticOptions({ name, certificate, maxSizeBytes }: ReportListenerOptions): SMTPServerOptions {
  return {
    name,
    banner: intakeBanner,
    size: maxSizeBytes,
    rejectOversized: true,
    authOptional: true,
    disabledCommands: certificate === null ? ['AUTH', 'STARTTLS'] : ['AUTH'],
    ...(certificate !== null && { cert: certificate.cert, key: certificate.key }),
    disableReverseLookup: true,
    // Defaults to hidden.
    hideENHANCEDSTATUSCODES: false,
    maxClients: limits.connections,
    maxRecipients: limits.recipients,
    socketTimeout: limits.silenceMs,
    closeTimeout: limits.closeMs,
    logger: false,
  }
}

/** @returns a function that takes a mail, and answers what to refuse it with; null: it is taken */
function createReceiver(
  options: ReportListenerOptions,
): (stream: SMTPServerDataStream, session: SMTPServerSession) => Promise<Error | null> {
  const room = createKeptBytes(limits.keptBytes)
  const turns = createRoom({ total: limits.takenAtOnce, perOwner: limits.takenOfOnePeer, patienceMs: null })
  return async (stream, session) => {
    const recipients = session.envelope.rcptTo.map(({ address }) => address)
    const raw = await room.read(stream, keptOf(recipients, options.read)).catch(() => 'gone' as const)
    if (raw === 'gone') return reply(451, 'The mail did not come to its end')
    if (raw === null) {
      options.onRefused('room')
      return reply(452, 'Too much is being received, come again')
    }
    try {
      // The library answers 552 by itself.
      if (stream.sizeExceeded) return null
      const peer = peerOf(session.remoteAddress)
      const taken = await inRoom(turns, peer, 1, () => options.take(raw, recipients))
      if (taken.outcome !== 'later') return null
      options.onRefused('later')
      return reply(451, 'The mail that this is about is still on its way, come again')
    } catch (error) {
      options.onRefused('trouble')
      options.onError(error as Error)
      return reply(451, 'The report could not be written down, come again')
    } finally {
      room.release(raw)
    }
  }
}

function keptOf(recipients: readonly string[], read: ReportListenerOptions['read']): number {
  const isAboutDomain = recipients.some((address) => {
    const found = read(address)
    return found.ok && found.target.kind === 'domain'
  })
  return isAboutDomain ? limits.domainReportBytes : limits.reportBytes
}

function reply(responseCode: number, text: string): Error {
  return Object.assign(new Error(text), { responseCode })
}

const shuttingDown = 'Shutting down, come again'
const tooLong = 'The session has taken too long'

function endSession(server: SMTPServer, id: string, why: string): void {
  for (const connection of [...server.connections])
    if (connection.session.id === id) connection.send(421, why)
}
