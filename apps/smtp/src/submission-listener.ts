/**
 * The SMTP server for programs that send by it (RFC 6409): whoever logs in with an API key hands mail in by the rules of POST /send.
 * 250 after DATA means that the message is committed; its id is in the reply.
 *
 *   AUTH    only under TLS (538 before) · 535 no key that may send · 454 trouble of ours · 421 too many failures
 *   MAIL    530 nobody is logged in · 552 SIZE beyond the limit · 550 no address · 555 parameters that we would not keep to
 *   RCPT    550 no address, or none that the key may send to · 452 beyond a thousand
 *   DATA    250 · 4xx trouble, limits: the client comes again · 5xx what stays wrong, each with a sentence (submission-replies.ts)
 *
 * The library ends DATA only at CRLF.CRLF, takes no line of a mail for a command, and drops what was sent before STARTTLS. Inside a mail
 * a lone LF becomes CRLF, a lone CR and NUL are refused, as in `raw` (mail/raw-message.ts).
 */
import type { Socket } from 'node:net'
import type { Caller } from '@valija/core'
import { mayBeSentTo, type Submission, type Submitted } from '@valija/flows'
import { parseAddress } from '@valija/mail'
import type {
  SMTPServer,
  SMTPServerAddress,
  SMTPServerDataStream,
  SMTPServerOptions,
  SMTPServerSession,
} from 'smtp-server'
import type { Certificate } from './certificate.ts'
import { type ConnectionCount, createConnectionCount } from './connection-count.ts'
import { createKeptBytes, type KeptBytes } from './kept-bytes.ts'
import { createSmtpServer, listen, type Place } from './listen.ts'
import type { Login, Logins } from './submission-login.ts'
import { loginRefusalOf, type Refusal, refusal, refusalOf } from './submission-replies.ts'
import { createSessions, type Sessions, speakPlainly } from './submission-sessions.ts'

export interface SubmissionOptions {
  /** For the greeting. */
  name: string
  /** Null: nobody can log in. */
  certificate: Certificate | null
  maxSizeBytes: number
  logins: Logins
  /** `hold` is given what keeps the mail in memory: its room is given back when that has ended. */
  submit: (
    caller: Caller,
    submission: Submission,
    hold: (work: Promise<unknown>) => void,
  ) => Promise<Submitted>
  /** Counts: `connections`, `login`, `sender`, `recipient`, `room`, `broken`, or the code of an error. */
  onRefused: (reason: string) => void
  onError: (error: Error) => void
  limits: typeof submissionLimits
}

export interface SubmissionListener {
  host: string
  port: number
  /** Takes no more; what is being received is brought to its end, for at most 20 s. */
  close(): Promise<void>
  /** Ends what is still being received: its senders come again. What is being committed gets its reply. */
  hurry(): void
  /** For connections to come. */
  renew(certificate: Certificate): void
}

export const submissionLimits = {
  connections: 500,
  connectionsOfOnePeer: 100,
  recipients: 1_000,
  /** Then the list is worth nothing, or somebody is guessing. */
  refusedRecipients: 100,
  failedLogins: 3,
  /** From the connection on. */
  handshakeMs: 30_000,
  loginMs: 60_000,
  /** RFC 5321 section 4.5.3.2.7. */
  silenceMs: 300_000,
  /** From MAIL to DATA. */
  envelopeMs: 300_000,
  /** From DATA to its dot: the largest mail at 1.2 Mbit/s. */
  dataMs: 300_000,
  closeMs: 20_000,
}

/** What listeners of one process share, so that two ports are not twice as much. */
export interface SubmissionRoom {
  peers: ConnectionCount
  kept: KeptBytes
}

/** Three of the largest mails are received at the same time, and small ones beside them. */
export function createSubmissionRoom({
  maxSizeBytes,
  limits,
}: Pick<SubmissionOptions, 'maxSizeBytes' | 'limits'>): SubmissionRoom {
  return {
    peers: createConnectionCount(limits.connectionsOfOnePeer),
    kept: createKeptBytes(4 * maxSizeBytes),
  }
}

/**
 * @param place.isImplicitTls TLS from the first byte; else STARTTLS
 * @throws {Error} when the port cannot be had
 */
export async function startSubmissionListener(
  place: Place & { isImplicitTls: boolean },
  options: SubmissionOptions,
  room: SubmissionRoom,
): Promise<SubmissionListener> {
  const { host, isImplicitTls } = place
  const { server, sessions } = createServer(options, room, isImplicitTls)
  const port = await listen(server, place)
  return {
    host,
    port,
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      sessions.close()
      const cut = setTimeout(() => sessions.cut(), options.limits.closeMs)
      await closed
      clearTimeout(cut)
      await sessions.settled()
    },
    hurry: () => sessions.cut(),
    renew: ({ cert, key }) => server.updateSecureContext({ cert, key }),
  }
}

function createServer(options: SubmissionOptions, room: SubmissionRoom, isImplicitTls: boolean) {
  const { logins, onRefused, limits } = options
  const sessions: Sessions = createSessions(() => server.connections)
  const receive = createReceiver(options, room.kept)
  const say = (done: (error?: Error | null) => void, error: Refusal, reason: string) => {
    onRefused(reason)
    done(error)
  }
  const server: SMTPServer = createSmtpServer({
    ...staticOptions(options, isImplicitTls),
    onConnect: (session, done) => {
      for (const connection of server.connections)
        if (connection.session === session) speakPlainly(connection)
      sessions.open(session, limits.loginMs)
      done()
    },
    onClose: (session) => sessions.forget(session),
    onAuth: ({ password }, session, done) => {
      const fail = (error: Refusal) => {
        const isLast = sessions.countFailedLogin(session) >= limits.failedLogins
        say(done, isLast ? tooManyFailures(error) : error, 'login')
      }
      void logins.logIn(password ?? '', session.remoteAddress).then((outcome) => {
        if (outcome.kind === 'refused') return fail(loginRefusalOf(outcome.error))
        if (outcome.kind === 'slowed') return say(done, tooFast(outcome.retryAfterMs), 'login')
        sessions.within(session, null)
        done(null, { user: outcome.login })
      })
    },
    onMailFrom: (address, session, done) => {
      void judgeSender(logins, address, session).then((fault) => {
        if (fault !== null) return say(done, fault, 'sender')
        sessions.within(session, limits.envelopeMs)
        done()
      })
    },
    onRcptTo: (address, session, done) => {
      const fault = judgeRecipient(address, (session.user as Login).caller)
      if (fault === null) return done()
      const isLast = sessions.countRefusedRecipient(session) >= limits.refusedRecipients
      say(done, isLast ? tooManyRefused : fault, 'recipient')
    },
    onData: (stream, session, done) => {
      sessions.within(session, limits.dataMs)
      void sessions
        .receive(session, stream, () => receive(stream, session))
        .then((outcome) => {
          sessions.within(session, null)
          if (typeof outcome === 'string') done(null, outcome)
          else done(outcome)
          sessions.endIfClosing(session)
        })
    },
  })
  server.server.on('connection', (socket: Socket) => guard(socket, server, room.peers, options))
  // A peer that goes away in mid-sentence is that peer's matter.
  server.on('error', () => undefined)
  return { server, sessions }
}

function staticOptions(options: SubmissionOptions, isImplicitTls: boolean): SMTPServerOptions {
  const { name, certificate, maxSizeBytes, limits } = options
  const unused = ['WIZ', 'SHELL', 'KILL', 'XCLIENT', 'XFORWARD']
  return {
    name,
    banner: 'valija: submission',
    heloResponse: certificate === null ? `%s greets %s. ${noLogins}` : '%s greets %s',
    secure: isImplicitTls,
    size: maxSizeBytes,
    rejectOversized: true,
    authMethods: ['PLAIN', 'LOGIN'],
    authRequiredMessage: 'Log in first, under TLS: any user, and an API key as the password',
    disabledCommands: certificate === null ? [...unused, 'AUTH', 'STARTTLS'] : unused,
    ...(certificate !== null && { cert: certificate.cert, key: certificate.key }),
    disableReverseLookup: true,
    hideREQUIRETLS: false,
    // Defaults to hidden.
    hideENHANCEDSTATUSCODES: false,
    maxClients: limits.connections,
    maxRecipients: limits.recipients,
    socketTimeout: limits.silenceMs,
    // We end those by ourselves that may be ended.
    closeTimeout: 2 * limits.closeMs,
    logger: false,
  }
}

/** Before there is a session: how many come from one address, and how long the handshake of TLS may take. */
function guard(
  socket: Socket,
  server: SMTPServer,
  peers: ConnectionCount,
  { onRefused, limits }: SubmissionOptions,
): void {
  const address = (socket.remoteAddress ?? '').replace(/^::ffff:(?=\d+\.)/i, '')
  if (!peers.enter(address)) {
    onRefused('connections')
    socket.end('421 4.7.0 Too many connections from your address: use fewer at the same time.\r\n')
    setTimeout(() => socket.destroy(), 1_000).unref()
    return
  }
  // The library says which socket is on top: Node crashes when the one below is destroyed in the middle of a handshake.
  const late = setTimeout(() => server._pendingSockets.get(socket)?.destroy(), limits.handshakeMs)
  socket.once('close', () => {
    clearTimeout(late)
    peers.leave(address)
  })
}

async function judgeSender(
  logins: Logins,
  { address, args }: SMTPServerAddress,
  session: SMTPServerSession,
): Promise<Refusal | null> {
  // The library sets it to false after STARTTLS.
  const login = session.user as Login | false | undefined
  if (!login) return refusal(530, '5.7.0', [noLogins])
  const fault = unknownParameter(args, ['SIZE', 'BODY', 'SMTPUTF8', 'AUTH', 'REQUIRETLS'])
  if (fault !== null) return fault
  if (address === '')
    return refusal(550, '5.1.7', [
      'The sender is empty. Give MAIL FROM an address of a domain that you may use.',
    ])
  const sender = parseAddress(address)
  if (!sender.ok) return refusal(550, '5.1.7', [sender.message])
  try {
    login.caller = await logins.ask(login, session.remoteAddress)
    return null
  } catch (error) {
    return refusalOf(error)
  }
}

function judgeRecipient({ address, args }: SMTPServerAddress, caller: Caller): Refusal | null {
  const fault = unknownParameter(args, [])
  if (fault !== null) return fault
  const recipient = parseAddress(address)
  if (!recipient.ok) return refusal(550, '5.1.3', [recipient.message])
  if (mayBeSentTo(caller, recipient.value)) return null
  return refusal(550, '5.7.1', [
    `This key may not send to ${recipient.value.email}.`,
    'Use another key or widen this one.',
  ])
}

/** RFC 5321 section 4.1.1.11. What was asked for in them would not be done: delivery is told by events and webhooks, not by mails. */
function unknownParameter(args: object | false, known: readonly string[]): Refusal | null {
  const name = Object.keys(args || {}).find((key) => !known.includes(key))
  if (name === undefined) return null
  const text = `The parameter ${name} is not known here. Leave it out`
  return refusal(555, '5.5.4', [text])
}

/** @returns a function that takes a mail, and answers what to say: a text of 250, or what to refuse it with */
function createReceiver(
  { logins, submit, onRefused, onError, maxSizeBytes }: SubmissionOptions,
  kept: KeptBytes,
) {
  const refuse = (reason: string, error: Refusal) => {
    onRefused(reason)
    return error
  }
  return async (stream: SMTPServerDataStream, session: SMTPServerSession): Promise<string | Refusal> => {
    const raw = await kept.read(stream, maxSizeBytes).catch(() => 'gone' as const)
    if (raw === 'gone') return refuse('broken', refusal(451, '4.4.2', ['The mail did not come to its end']))
    if (raw === null)
      return refuse('room', refusal(452, '4.3.1', ['Too much is being received. Try again in a minute.']))
    let held: Promise<unknown> = Promise.resolve()
    const hold = (work: Promise<unknown>) => {
      held = work
    }
    try {
      const { mailFrom, rcptTo, requireTLS } = session.envelope
      // The library answers 552 by itself.
      if (stream.sizeExceeded || mailFrom === false) return refuse('message_too_large', tooLarge)
      const caller = await logins.ask(session.user as Login, session.remoteAddress)
      const recipients = rcptTo.map(({ address }) => address)
      const requireTls = requireTLS === true
      const submission = { mailFrom: mailFrom.address, recipients, raw, requireTls }
      const { id, isReplay } = await submit(caller, submission, hold)
      return isReplay ? `Accepted before as ${id}, and not sent again` : `Accepted as ${id}`
    } catch (error) {
      if (!isProduct(error)) onError(error as Error)
      return refuse(isProduct(error) ? error.code : 'internal', refusalOf(error))
    } finally {
      const release = () => kept.release(raw)
      held.then(release, release)
    }
  }
}

function isProduct(error: unknown): error is { code: string } {
  return error instanceof Error && error.name === 'ProductError'
}

const noLogins = 'Nobody can log in here: VALIJA_TLS_CERT and VALIJA_TLS_KEY are not set'
const tooLarge = refusal(552, '5.3.4', ['The mail is too large'])
const tooManyRefused = refusal(421, '4.7.0', ['Too many recipients were refused'])
const tooFast = (ms: number) =>
  refusal(421, '4.7.0', [`Too many logins failed. Try again in ${Math.ceil(ms / 1_000)} s.`])
const tooManyFailures = ({ message }: Error) =>
  refusal(421, '4.7.0', [`Too many logins failed. The last: ${message.replace(/^\S+ /, '')}`])
