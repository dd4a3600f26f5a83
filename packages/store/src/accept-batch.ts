/**
 * The accept transaction of POST /send/batch: up to a thousand messages in one commit, however many statements they take, so that a
 * kill at any point leaves all of them or none.
 *
 * It differs from the batch that forms of single requests (accept-messages.ts) in what is refused: there each request is on its own,
 * here a key that somebody else works on, or has used for another message, can stop all.
 */
import type { Uuid } from '@valija/core'
import type pg from 'pg'
import {
  type AcceptLimits,
  answerBy,
  commitInTime,
  insertMessages,
  type NewMessage,
  type TimedLimits,
} from './accept-messages.ts'
import { claimKeys, type KeyResult } from './idempotency-keys.ts'
import { retryConflicts } from './retry-conflicts.ts'
import type { SuppressionHit } from './suppressions.ts'

/** A message, with what its sender keeps beside it. */
export interface BatchMessage {
  row: NewMessage
}

export interface BatchParts<Item extends BatchMessage> {
  items: readonly Item[]
  /** The same message, which says that these of its recipients are suppressed: all that were found so far. */
  suppress(item: Item, hits: ReadonlyMap<Uuid, SuppressionHit>): Item
  /** Nothing is written where a key was used for another message. */
  isStrict: boolean
  /** Nothing is written while somebody else works on a key. */
  isPatient: boolean
}

export type BatchOutcome<Item> =
  /** Nothing was written: others are working on some of its keys. */
  | { kind: 'busy' }
  /** Nothing was written: as many batches with many keys are under way as may be. */
  | { kind: 'crowded' }
  /** Nothing was written: per message, those whose keys stand for others. */
  | { kind: 'refused'; results: (KeyResult | null)[] }
  | {
      kind: 'written'
      results: (KeyResult | { kind: 'accepted'; item: Item })[]
      /** Rows that are to be hinted to the workers. */
      admitted: Uuid[]
      hasWaiting: boolean
      hasWebhooks: boolean
    }

/**
 * Writes a batch in one transaction and commits it, or writes nothing.
 *
 * @throws as acceptMessages
 */
export function acceptBatch<Item extends BatchMessage>(
  pool: pg.Pool,
  batch: BatchParts<Item>,
  limits: Required<AcceptLimits>,
): Promise<BatchOutcome<Item>> {
  return retryConflicts(() =>
    commitInTime(pool, limits.commitByMs, async (client) => {
      const outcome = await writeBatch(client, batch, limits)
      return { keeps: outcome.kind === 'written', outcome }
    }),
  )
}

async function writeBatch<Item extends BatchMessage>(
  client: pg.PoolClient,
  batch: BatchParts<Item>,
  limits: TimedLimits,
): Promise<BatchOutcome<Item>> {
  const { items, isStrict, isPatient } = batch
  const rows = items.map(({ row }) => row)
  if (!(await hasLockRoom(client, rows, limits))) return { kind: 'crowded' }
  const way = isStrict || isPatient ? 'untilTaken' : 'all'
  const claims = await claimKeys(client, rows, answerBy(limits.commitByMs), way)
  const has = (kind: KeyResult['kind']) => claims.some((claim) => claim?.kind === kind)
  if (isStrict && has('reused')) return { kind: 'refused', results: claims }
  if ((isStrict || isPatient) && has('busy')) return { kind: 'busy' }
  const fresh = items.filter((_, index) => claims[index] === null)
  const written = { admitted: [] as Uuid[], hasWaiting: false, hasWebhooks: false }
  const accepted: Item[] = []
  for (const chunk of chunksOf(fresh))
    accepted.push(...(await writeChunk(client, chunk, { batch, limits, written })))
  let next = 0
  return {
    kind: 'written',
    results: claims.map((claim) => claim ?? { kind: 'accepted', item: accepted[next++]! }),
    ...written,
  }
}

/**
 * A claimed key is a lock, and PostgreSQL has room for about 6,400 locks in all (max_locks_per_transaction × max_connections, by
 * default): three batches of a thousand keys leave half of it to everybody else.
 */
const manyKeys = 100
const batchesWithManyKeys = 3
const lockRoomClass = 1_986_095_722

async function hasLockRoom(client: pg.PoolClient, rows: readonly NewMessage[], { commitByMs }: TimedLimits) {
  if (rows.filter(({ idempotency }) => idempotency !== null).length <= manyKeys) return true
  for (let place = 0; place < batchesWithManyKeys; place++) {
    const { rows: found } = await client.query<{ isOurs: boolean }>({
      ...answerBy(commitByMs),
      name: 'lock-room',
      text: 'SELECT pg_try_advisory_xact_lock($1::integer, $2::integer) AS "isOurs"',
      values: [lockRoomClass, place],
    })
    if (found[0]?.isOurs) return true
  }
  return false
}

interface ChunkWork<Item extends BatchMessage> {
  batch: BatchParts<Item>
  limits: TimedLimits
  written: { admitted: Uuid[]; hasWaiting: boolean; hasWebhooks: boolean }
}

/** Writes messages, those with suppressed recipients a second time, or once more for each that is suppressed just now. */
async function writeChunk<Item extends BatchMessage>(
  client: pg.PoolClient,
  chunk: readonly Item[],
  { batch, limits, written }: ChunkWork<Item>,
): Promise<Item[]> {
  const items = [...chunk]
  const hits = items.map(() => new Map<Uuid, SuppressionHit>())
  let left = items.map((_, index) => index)
  while (left.length > 0) {
    const rows = left.map((index) => items[index]!.row)
    const { results, hasWaiting, hasWebhooks } = await insertMessages(client, rows, limits)
    written.hasWaiting ||= hasWaiting
    written.hasWebhooks ||= hasWebhooks
    left = left.filter((index, position) => {
      const result = results[position]!
      if (result.kind === 'accepted') written.admitted.push(...result.admitted)
      if (result.kind !== 'suppressed') return false
      for (const [recipientId, hit] of result.hits) hits[index]!.set(recipientId, hit)
      items[index] = batch.suppress(items[index]!, hits[index]!)
      return true
    })
  }
  return items
}

/** One statement: its parameters are copied a few times on their way, and its plan joins recipients with messages. */
const chunkLimits = { messages: 200, recipients: 1_000, bodyBytes: 4 * 1024 * 1024 }

function chunksOf<Item extends BatchMessage>(items: readonly Item[]): Item[][] {
  const chunks: Item[][] = []
  let recipients = 0
  let bodyBytes = 0
  for (const item of items) {
    const { row } = item
    recipients += row.recipients.length
    bodyBytes += row.body.length
    const last = chunks.at(-1)
    const fits = recipients <= chunkLimits.recipients && bodyBytes <= chunkLimits.bodyBytes
    if (last && fits && last.length < chunkLimits.messages) last.push(item)
    else {
      chunks.push([item])
      recipients = row.recipients.length
      bodyBytes = row.body.length
    }
  }
  return chunks
}
