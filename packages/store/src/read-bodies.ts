/** The stored bodies of messages, for the worker that composes them (body-codec.ts). */
import { lowestUuidAt, type Uuid, uuidTimeMs } from '@valija/core'
import type pg from 'pg'
import { copyOut } from './copy-out.ts'
import { longQueryTimeoutMs } from './watch-connection.ts'

export interface ReadBody {
  sizeBytes: number
  /** A blob of `encodeBody`; null where it is larger than was asked for. */
  content: Buffer | null
}

/** Up to this a body comes in the first answer, as text; what is larger is worth another question. */
const asTextBytes = 16 * 1024

/**
 * Reads bodies up to a size; a larger one has its own time to arrive.
 *
 * @returns those that are there
 */
export async function readBodies(
  pool: pg.Pool,
  messageIds: readonly Uuid[],
  upToBytes: number,
): Promise<Map<Uuid, ReadBody>> {
  const sorted = [...messageIds].sort()
  const result = await pool.query<ReadBody & { id: Uuid }>({
    name: 'read-bodies',
    text: `SELECT message_id AS id, octet_length(content) AS "sizeBytes",
             CASE WHEN octet_length(content) <= $4::float8 THEN content END AS content
           FROM valija.bodies
           WHERE message_id = ANY ($1::uuid[]) AND message_id BETWEEN $2::uuid AND $3::uuid`,
    values: [sorted, sorted[0], sorted.at(-1), Math.min(upToBytes, asTextBytes)],
  })
  const bodies = new Map<Uuid, ReadBody>(result.rows.map(({ id, ...body }) => [id, body]))
  const larger = result.rows.filter(({ sizeBytes, content }) => content === null && sizeBytes <= upToBytes)
  // What is gone by then (its last recipient has ended) is missing here too.
  for (const { id } of larger) bodies.delete(id)
  const timeoutMs = upToBytes === Number.POSITIVE_INFINITY ? longQueryTimeoutMs : undefined
  const ids = larger.map(({ id }) => id)
  for (const [id, content] of await readLarge(pool, ids, timeoutMs))
    bodies.set(id, { sizeBytes: content.length, content })
  return bodies
}

const dayMs = 86_400_000

/**
 * Bounds in the text, so that PostgreSQL plans for the partitions of those days only; whole days, so that for whoever counts statements there is
 * one a day.
 */
function largeSql(first: Uuid, last: Uuid): string {
  const dayOf = (id: Uuid) => Math.floor(uuidTimeMs(id) / dayMs)
  const [from, until] = [dayOf(first), dayOf(last) + 1].map((day) => lowestUuidAt(day * dayMs))
  return `
SELECT message_id, content FROM valija.bodies
WHERE message_id = ANY (current_setting('valija.read_ids')::uuid[]) AND message_id >= '${from}' AND message_id < '${until}'`
}

async function readLarge(
  pool: pg.Pool,
  ids: readonly Uuid[],
  timeoutMs: number | undefined,
): Promise<[Uuid, Buffer][]> {
  const sorted = ids.toSorted()
  const [first, last] = [sorted[0], sorted.at(-1)]
  if (first === undefined || last === undefined) return []
  const settings = { 'valija.read_ids': `{${sorted.join()}}` } as const
  const rows = await copyOut(pool, largeSql(first, last), { settings, timeoutMs })
  return rows.map(([id, content]) => [uuidOf(id!), content!])
}

function uuidOf(octets: Buffer): Uuid {
  const hex = octets.toString('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join(
    '-',
  ) as Uuid
}
