/**
 * One leader among all processes: a session-level advisory lock on a connection of its own. PostgreSQL frees it when that
 * connection ends, so a dead leader is followed within the standby's next look.
 */
import pg from 'pg'

export interface Leadership {
  /** Whether this process leads; tries to if nobody does. */
  isHeld(): Promise<boolean>
  close(): Promise<void>
}

/** @param name of the duty; one leader per name and database */
export function openLeadership(
  databaseUrl: string,
  name: string,
  onError: (error: Error) => void,
): Leadership {
  let client: pg.Client | null = null
  let isLeader = false
  let isClosed = false
  const connect = async (): Promise<pg.Client> => {
    const next = new pg.Client({
      connectionString: databaseUrl,
      application_name: 'valija leader',
      connectionTimeoutMillis: 5_000,
      keepAlive: true,
    })
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
      if (isLeader) return true
      const connection = client ?? (await connect())
      const result = await connection.query<{ held: boolean }>(
        'SELECT pg_try_advisory_lock(hashtext($1)) AS held',
        [`valija.leader.${name}`],
      )
      isLeader = result.rows[0]?.held === true
      return isLeader
    },
    close: async () => {
      isClosed = true
      await client?.end()
    },
  }
}
