/**
 * PostgreSQL's clock, known in this process (DESIGN 4.25): ids, due times and dates of mails come from it, so that
 * machines with wrong clocks agree. Durations are measured by the monotonic clock, which no clock jump moves.
 */
import type pg from 'pg'

export interface DatabaseClock {
  /** Milliseconds since 1970, by PostgreSQL's clock. */
  nowMs(): number
  /** Measures the offset anew. */
  sync(): Promise<void>
  stop(): void
}

/** The offset is measured this often; a machine's clock drifts far less than a millisecond in it. */
const syncEveryMs = 30_000

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
    const before = performance.now()
    const result = await pool.query<{ now: number }>(
      'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now',
    )
    const after = performance.now()
    const row = result.rows[0]
    // The database read its clock about halfway through the round trip.
    if (row) offsetMs = row.now - (before + after) / 2
  }
  await sync()
  const timer = setInterval(() => void sync().catch(onError), syncEveryMs)
  timer.unref()
  return {
    nowMs: () => Math.floor(performance.now() + offsetMs),
    sync,
    stop: () => clearInterval(timer),
  }
}
