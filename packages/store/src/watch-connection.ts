/**
 * A connection to PostgreSQL that says nothing any more is given up, so that its pool or owner makes another.
 *
 * A server that vanished (a pulled cable, a firewall that forgot the connection, a failed-over address) sends neither FIN
 * nor data. TCP notices that after 15 minutes of retransmissions, or never while nothing is sent; Node has no
 * TCP_USER_TIMEOUT. So each connection is asked every 5 s while nobody uses it, and one whose query got no answer in the
 * query's time (`query_timeout`) is closed: whatever was to follow on it, a ROLLBACK too, fails at once instead of
 * waiting behind that query. Half-open connections are thus gone within 13 s, those with a query within its limit.
 */
import type { Duplex } from 'node:stream'
import type pg from 'pg'

const askEveryMs = 5_000
/** A server that is merely slow answers an empty query in this; one that does not is better asked on a new connection. */
const answerWithinMs = 8_000

/** For queries that say nothing else. Longer than any statement on the way of a mail should take, shorter than a lease. */
export const queryTimeoutMs = 15_000

/** For statements that may well take long: upkeep, and mails of tens of MB. Just beyond the server's own limit. */
export const longQueryTimeoutMs = 35_000

/**
 * What every connection has, beside who it is: time-outs, and probes of TCP in both directions, so that PostgreSQL ends the
 * sessions (and their locks) of a machine that vanished.
 */
export const livenessOptions = {
  connectionTimeoutMillis: 5_000,
  query_timeout: queryTimeoutMs,
  keepAlive: true,
  keepAliveInitialDelayMillis: 10_000,
} as const

/** For the server's end of a TCP connection; without effect on a Unix socket. */
export const livenessSettings = {
  tcp_keepalives_idle: '10',
  tcp_keepalives_interval: '5',
  tcp_keepalives_count: '3',
  tcp_user_timeout: '25000',
} as const

/** For a query's configuration: its own time-out instead of the connection's. */
export function answerWithin(ms: number): object {
  return { query_timeout: ms }
}

type Query = (...args: unknown[]) => unknown

/** @param client connected or about to be; it is watched until it ends */
export function watchConnection(client: pg.ClientBase): void {
  const query = client.query.bind(client) as Query
  let underWay = 0
  const close = (error: Error) => streamOf(client).destroy(error)
  const ended = (error: unknown) => {
    underWay -= 1
    if (isQueryTimeout(error)) close(error)
  }
  /** What is waited for is what is returned: V8 follows one listener only from an error to the code that asked, and says in the log which that was. */
  const endedWith = (answer: Promise<unknown>) =>
    answer.then(
      (result) => {
        ended(null)
        return result
      },
      (error) => {
        ended(error)
        throw error
      },
    )
  const watched: Query = (...args) => {
    underWay += 1
    const callback = args.at(-1)
    if (typeof callback === 'function') {
      const told: Query = (error, result) => {
        ended(error)
        return callback(error, result)
      }
      return query(...args.slice(0, -1), told)
    }
    const answer = query(...args)
    if (answer instanceof Promise) return endedWith(answer)
    underWay -= 1
    return answer
  }
  client.query = watched as typeof client.query
  // A reset while a transaction has the connection: its statement fails, and so does what follows. The event besides, which the
  // pool hears only of idle connections, would end the process.
  client.on('error', () => undefined)
  const timer = setInterval(() => {
    // What somebody waits for has its own time-out.
    if (underWay > 0) return
    Promise.resolve(watched({ text: '', ...answerWithin(answerWithinMs) })).catch(() => undefined)
  }, askEveryMs)
  timer.unref()
  client.once('end', () => clearInterval(timer))
}

/** What pg says when a query got no answer in its time; it has no code. */
export function isQueryTimeout(error: unknown): error is Error {
  return error instanceof Error && error.message === 'Query read timeout'
}

/** pg has no public way to cut a connection on which a query is under way, or to hold back what is written. */
export function streamOf(client: pg.ClientBase): Duplex {
  return (client as unknown as { connection: { stream: Duplex } }).connection.stream
}
