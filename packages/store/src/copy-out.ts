/**
 * Rows in binary form, by COPY TO STDOUT (PostgreSQL's documentation of COPY, "Binary Format"). The answer to a query holds octets as text, twice as
 * long, and pg has no other way for it: 200 KB took 1.0 ms of PostgreSQL's processor time and 0.9 of ours, this way 0.13 and 0.3.
 */
import pg from 'pg'

/** What pg calls with each row, and its types do not know. */
class CopyOut extends pg.Query {
  readonly messages: Buffer[] = []
  /** For this query instead of the connection's, where given. */
  readonly query_timeout?: number

  constructor(select: string, timeoutMs: number | undefined) {
    super(`COPY (${select}) TO STDOUT (FORMAT binary)`)
    if (timeoutMs !== undefined) this.query_timeout = timeoutMs
  }

  /** A row, or what stands before and behind all of them. The parser uses its memory again, so it is copied. */
  handleCopyData({ chunk }: { chunk: Buffer }): void {
    this.messages.push(Buffer.from(chunk))
  }
}

/**
 * @param select a query without parameters: COPY takes none
 * @param timeoutMs instead of the connection's
 * @returns the columns of each row as PostgreSQL's types send them; null for NULL
 */
export async function copyOut(
  pool: pg.Pool,
  select: string,
  timeoutMs?: number,
): Promise<(Buffer | null)[][]> {
  const query = new CopyOut(select, timeoutMs)
  await pool.query(query as unknown as pg.QueryConfig)
  return query.messages.flatMap(readRows)
}

const signature = Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1')
const headerLength = signature.length + 8

/** PostgreSQL sends a message for each row; the first may have the header in front, the last has the end of all alone. */
function readRows(message: Buffer): (Buffer | null)[][] {
  const rows: (Buffer | null)[][] = []
  let at = message.subarray(0, signature.length).equals(signature)
    ? headerLength + message.readUInt32BE(headerLength - 4)
    : 0
  while (at < message.length) {
    const count = message.readInt16BE(at)
    at += 2
    if (count < 0) break
    const row: (Buffer | null)[] = []
    for (let column = 0; column < count; column += 1) {
      const length = message.readInt32BE(at)
      at += 4
      row.push(length < 0 ? null : message.subarray(at, at + length))
      at += Math.max(0, length)
    }
    rows.push(row)
  }
  return rows
}
