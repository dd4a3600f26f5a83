/**
 * PostgreSQL's clock, known in this process (DESIGN 4.25): ids, due times and dates of mails come from it, so that
 * machines with wrong clocks agree. Durations are measured by the monotonic clock, which no clock jump moves.
 */
import type pg from 'pg'

export interface DatabaseClock {
  /** Milliseconds since 1970, by PostgreSQL's clock. */
  nowMs(): number
  /**
   * The same for what is told, ids among it: later than what `saw` was told of, unless that is a quarter of a second ahead, for processes read
   * PostgreSQL's clock some milliseconds apart, and what follows from something must not seem to come before it.
   */
  tellMs(): number
  /** Another process told of something at this time (milliseconds since 1970), and it is gone on with here. */
  saw(timeMs: number): void
  /** Measures the offset anew. */
  sync(): Promise<void>
  stop(): void
}

/** The offset is measured this often; a machine's clock drifts far less than a millisecond in it. */
const syncEveryMs = 30_000
/** Readings for one measurement at most: the one with the shortest round trip is nearest to the truth. */
const readings = 10
/** A reading that took no longer is near enough. */
const quickMs = 1
/** Of a slower one another is worth the wait, when there were three. */
const slowMs = 20
/**
 * A time that is farther ahead is not followed: PostgreSQL's clock was set, or somebody's has stood still. Between two tellings of a mail is no
 * less than the shortest pause, which is as long.
 */
const followedMs = 250

/**
 * Starts a clock; the first measurement is made before this resolves.
 *
 * @param onError told when a later measurement fails: the last offset stays in use
 */
export async function startDatabaseClock(
  pool: pg.Pool,
  onError: (error: Error) => void,
): Promise<DatabaseClock> {
  let offsetMs = 0
  const sync = async () => {
    offsetMs = await measureOffset(pool)
  }
  await sync()
  const timer = setInterval(() => void sync().catch(onError), syncEveryMs)
  timer.unref()
  let seenMs = 0
  const nowMs = () => Math.floor(performance.now() + offsetMs)
  const tellMs = () => {
    const ms = nowMs()
    if (seenMs >= ms + followedMs) seenMs = 0
    return Math.max(ms, seenMs + 1)
  }
  return {
    nowMs,
    tellMs,
    saw: (timeMs) => {
      if (timeMs >= tellMs() && timeMs < nowMs() + followedMs) seenMs = Math.floor(timeMs)
    },
    sync,
    stop: () => clearInterval(timer),
  }
}

/** What to add to the monotonic clock. Waiting for a connection is no part of a reading: it may take seconds. */
async function measureOffset(pool: pg.Pool): Promise<number> {
  const client = await pool.connect()
  try {
    let best = { offsetMs: 0, roundTripMs: Number.POSITIVE_INFINITY }
    for (let count = 0; count < readings && best.roundTripMs > (count < 3 ? quickMs : slowMs); count++) {
      const before = performance.now()
      const result = await client.query<{ now: number }>(
        'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now',
      )
      const after = performance.now()
      // The database read its clock about halfway through the round trip.
      const offsetMs = (result.rows[0]?.now ?? 0) - (before + after) / 2
      if (after - before < best.roundTripMs) best = { offsetMs, roundTripMs: after - before }
    }
    return best.offsetMs
  } finally {
    client.release()
  }
}
