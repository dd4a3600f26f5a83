/**
 * Several queries in one write and one round trip: none waits for the answer to the one before it. Each has a snapshot and a commit of its
 * own, so a later one sees what an earlier one did; and goes on when that failed.
 */
import pg from 'pg'
import { streamOf } from './watch-connection.ts'

/** Of a pool that is to be asked so; other use of it stays as it is. (@types/pg does not know it.) */
export const mayAskTogether: object = { pipeline: true }

type Answers<Rows extends readonly object[]> = {
  [Index in keyof Rows]: PromiseSettledResult<pg.QueryResult<Rows[Index] & pg.QueryResultRow>>
}

/**
 * @param pool opened with `mayAskTogether`
 * @returns how each query ended, in order
 * @throws {Error} when there is no connection
 */
export async function askTogether<Rows extends readonly object[]>(
  pool: pg.Pool,
  queries: { [Index in keyof Rows]: pg.QueryConfig },
): Promise<Answers<Rows>> {
  const client = await pool.connect()
  const stream = streamOf(client)
  stream.cork()
  const asked = queries.map((query) => client.query(query))
  stream.uncork()
  const answers = await Promise.allSettled(asked)
  // What PostgreSQL refused says nothing against the connection.
  const broken = answers.find(
    (answer) => answer.status === 'rejected' && !(answer.reason instanceof pg.DatabaseError),
  )
  client.release(broken?.status === 'rejected' ? broken.reason : undefined)
  return answers as Answers<Rows>
}
