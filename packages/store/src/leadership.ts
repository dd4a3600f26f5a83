/**
 * One leader among all processes: a session-level advisory lock on a connection of its own. PostgreSQL frees it when that
 * connection ends, so a dead leader is followed within the standby's next look.
 */
import pg from 'pg'
import { withServerSettings } from './database.ts'
import { livenessOptions, watchConnection } from './watch-connection.ts'

export interface Leadership {
  /** Whether this process leads; tries to if nobody does. To be asked at least every `leaderBeatMs`: it shows that we are alive. */
  isHeld(): Promise<boolean>
  /** As far as is known without asking: PostgreSQL has said so, and the connection stands. */
  readonly isLeading: boolean
  /** Leads no more, and may again with the next question: whoever asks first. */
  resign(): Promise<void>
  /** What the processes that lead or stand by have shown of themselves. */
  look(): Promise<LeadershipView>
  close(): Promise<void>
}

export interface LeadershipView {
  /** Processes that asked whether they lead within the last `liveMs`, this one included. */
  live: number
  /** Since when, in milliseconds, the leader has not asked: one that is stopped keeps its lock. Null when nobody leads. */
  leaderQuietMs: number | null
}

/** How often, at least, a process that leads or stands by is to ask. */
export const leaderBeatMs = 1_000
/** A process that has not asked for so long is stopped, or cut off from PostgreSQL. */
const liveMs = 10_000

/** By which `countWorkers` knows these connections. */
const leaderName = 'valija leader'

/**
 * Nothing is written to be seen alive: PostgreSQL knows when each connection last asked for anything. It shows that to the same
 * user only, so this is asked on the connection itself, which takes on no role.
 */
const viewSql = `
SELECT count(*) FILTER (WHERE query_start > clock_timestamp() - make_interval(secs => ${liveMs / 1000}))::int AS live,
  (SELECT extract(epoch FROM clock_timestamp() - leader.query_start) * 1000 FROM pg_locks AS held
   JOIN pg_stat_activity AS leader USING (pid)
   WHERE held.locktype = 'advisory' AND held.granted AND held.database = leader.datid AND leader.datname = current_database()
     AND held.classid::bigint = CASE WHEN hashtext($2) < 0 THEN 4294967295 ELSE 0 END
     AND held.objid::bigint = hashtext($2)::bigint & 4294967295 AND held.objsubid = 1 LIMIT 1)::float8 AS "leaderQuietMs"
FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1`

/** @param name of the duty; one leader per name and database */
export function openLeadership(
  databaseUrl: string,
  name: string,
  onError: (error: Error) => void,
): Leadership {
  let client: pg.Client | null = null
  let isLeader = false
  let isClosed = false
  let beatAtMs = 0
  const lockName = `valija.leader.${name}`
  const connect = async (): Promise<pg.Client> => {
    const next = new pg.Client({
      connectionString: withServerSettings(databaseUrl, {}),
      application_name: leaderName,
      ...livenessOptions,
    })
    watchConnection(next)
    next.on('error', onError)
    next.on('end', () => {
      if (client === next) {
        client = null
        isLeader = false
      }
    })
    await next.connect()
    client = next
    if (isClosed) await next.end()
    return next
  }
  return {
    isHeld: async () => {
      const now = performance.now()
      if (isLeader && now - beatAtMs < leaderBeatMs / 2) return true
      const connection = client ?? (await connect())
      beatAtMs = now
      if (isLeader) {
        await connection.query('SELECT')
        return isLeader
      }
      const result = await connection.query<{ held: boolean }>(
        'SELECT pg_try_advisory_lock(hashtext($1)) AS held',
        [lockName],
      )
      isLeader = result.rows[0]?.held === true
      return isLeader
    },
    get isLeading() {
      return isLeader
    },
    resign: async () => {
      if (!isLeader) return
      isLeader = false
      await client?.query('SELECT pg_advisory_unlock(hashtext($1))', [lockName])
    },
    look: async () => {
      const connection = client ?? (await connect())
      const result = await connection.query<LeadershipView>(viewSql, [leaderName, lockName])
      return result.rows[0] ?? { live: 1, leaderQuietMs: null }
    },
    close: async () => {
      isClosed = true
      await client?.end()
    },
  }
}

/**
 * How many worker processes are connected: each has one connection to lead or stand by on. A paused one counts: its
 * connection stays.
 */
export async function countWorkers(engine: pg.Pool): Promise<number> {
  const result = await engine.query<{ count: number }>({
    name: 'count-workers',
    text: `SELECT count(*)::int AS count FROM pg_stat_activity
           WHERE datname = current_database() AND application_name = $1`,
    values: [leaderName],
  })
  return result.rows[0]?.count ?? 0
}
