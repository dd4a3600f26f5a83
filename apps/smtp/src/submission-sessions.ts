/**
 * The sessions of the submission listener: how long each may take for what it does, what it has done wrong, and how all of them end.
 */
import type { SMTPServer, SMTPServerDataStream, SMTPServerSession } from 'smtp-server'

type Connection = SMTPServer['connections'] extends Set<infer C> ? C : never

interface State {
  failedLogins: number
  refusedRecipients: number
  deadline: NodeJS.Timeout | null
}

export interface Sessions {
  open(session: SMTPServerSession, loginMs: number): void
  forget(session: SMTPServerSession): void
  /** What it does now may take so long; null: as long as it wants. */
  within(session: SMTPServerSession, ms: number | null): void
  /** @returns how many there were in this session */
  countFailedLogin(session: SMTPServerSession): number
  countRefusedRecipient(session: SMTPServerSession): number
  /** Does the work of a mail that comes, of which nothing is cut any more once all of the mail is here. */
  receive<T>(session: SMTPServerSession, stream: SMTPServerDataStream, work: () => Promise<T>): Promise<T>
  /** Ends all that are not in the middle of a mail: they have nothing to lose. */
  close(): void
  /** Ends all but those whose mail is here and is being committed: those get their reply first. */
  cut(): void
  endIfClosing(session: SMTPServerSession): void
  /** When no mail is being worked on. */
  settled(): Promise<void>
}

const shuttingDown = '4.3.2 Shutting down, come again.'
const tooSlow = '4.4.2 It took too long, come again.'

export function createSessions(connections: () => ReadonlySet<Connection>): Sessions {
  const states = new Map<string, State>()
  const receiving = new Map<string, SMTPServerDataStream>()
  /** Also of peers that have gone meanwhile. */
  const working = new Set<Promise<unknown>>()
  let isClosing = false
  const end = (text: string, isMeant: (id: string) => boolean) => {
    for (const connection of [...connections()])
      if (isMeant(connection.session.id)) connection.send(421, text)
  }
  const isCommitting = (id: string) => receiving.get(id)?.writableEnded === true
  const stateOf = ({ id }: SMTPServerSession): State => {
    const state = states.get(id) ?? { failedLogins: 0, refusedRecipients: 0, deadline: null }
    states.set(id, state)
    return state
  }
  const within = (session: SMTPServerSession, ms: number | null) => {
    const state = states.get(session.id)
    if (state === undefined) return
    clearTimeout(state.deadline ?? undefined)
    const cut = () => {
      // RSET has ended what it was about.
      if (session.user && session.envelope.mailFrom === false) return
      end(tooSlow, (id) => id === session.id && !isCommitting(id))
    }
    state.deadline = ms === null ? null : setTimeout(cut, ms).unref()
  }
  return {
    open: (session, loginMs) => {
      stateOf(session)
      within(session, loginMs)
    },
    forget: (session) => {
      within(session, null)
      states.delete(session.id)
    },
    within,
    countFailedLogin: (session) => ++stateOf(session).failedLogins,
    countRefusedRecipient: (session) => ++stateOf(session).refusedRecipients,
    receive: async ({ id }, stream, work) => {
      receiving.set(id, stream)
      const done = work()
      working.add(done)
      try {
        return await done
      } finally {
        receiving.delete(id)
        working.delete(done)
      }
    },
    close: () => {
      isClosing = true
      end(shuttingDown, (id) => !receiving.has(id))
    },
    cut: () => end(shuttingDown, (id) => !isCommitting(id)),
    endIfClosing: ({ id }) => {
      if (isClosing) setImmediate(() => end(shuttingDown, (other) => other === id))
    },
    settled: async () => void (await Promise.allSettled(working)),
  }
}

/** RFC 3463, at the beginning of a text of ours. */
const ownCode = /^[245]\.\d{1,3}\.\d{1,3} /

/**
 * Lets a connection say what is meant: a text that begins with an enhanced code gets no other one by the library, and AUTH is not offered before TLS
 * (where the library would offer it and refuse it).
 */
export function speakPlainly(connection: Connection): void {
  const say = connection.send.bind(connection)
  connection.send = (code, data, context) => {
    if (Array.isArray(data))
      return say(code, connection.session.secure ? data : data.filter(isForAll), context)
    say(code, data, typeof data === 'string' && ownCode.test(data) ? false : context)
  }
}

const isForAll = (keyword: string) => !keyword.startsWith('AUTH ')
