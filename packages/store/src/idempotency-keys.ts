/**
 * Idempotency keys (DESIGN 4.8): claimed within the accept transaction by a try-lock per key until its end, and stored with the answer
 * in the same transaction.
 */
import type { Uuid } from '@valija/core'
import type pg from 'pg'

/** How long an answer is kept after acceptance or send_at, in milliseconds. */
export const idempotencyKeptMs = 24 * 3_600_000

export interface NewIdempotencyRow {
  key: string
  /** By what else it may be kept since somebody was erased whom it names (`namesOfKey`). Few keys have any. */
  hiddenNames?: readonly string[]
  bodyHash: Buffer
  /** The 202's body, byte for byte. */
  response: string
  expiresAtMs: number
}

/** Why a message is not written. */
export type KeyResult =
  /** The key was used before, with these bytes; the stored answer. */
  | { kind: 'replay'; response: string }
  | { kind: 'reused' }
  /** Another process is working on the same key this moment. */
  | { kind: 'busy' }

export interface StoredAnswer {
  bodyHash: Buffer
  response: string
}

interface Keyed {
  tenantId: Uuid
  idempotency: NewIdempotencyRow | null
}

const lockExpression = (tenantId: string, key: string) =>
  `pg_try_advisory_xact_lock(hashtextextended(${tenantId} || ' ' || ${key}, 42))`

const tryAllSql = `
SELECT ${lockExpression('tenant_id', 'key')} AS "isLocked"
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS input (tenant_id, key, position) ORDER BY position`

/** No row for a key behind the first that is taken. */
const untilTakenSql = `
WITH RECURSIVE claim AS (
  SELECT 0 AS position, true AS is_locked
  UNION ALL
  SELECT position + 1, ${lockExpression('($1::text[])[position + 1]', '($2::text[])[position + 1]')}
  FROM claim WHERE is_locked AND position < cardinality($2::text[])
)
SELECT is_locked AS "isLocked" FROM claim WHERE position > 0 ORDER BY position`

/**
 * Claims the keys of messages that are accepted together: a try-lock per key until the commit, then a look at what is stored. A
 * second statement, because only a snapshot taken after the lock is sure to see what its last holder committed. That may be there by
 * another name already: an erasure takes no locks of keys.
 *
 * @param answerBy for the configuration of its queries
 * @param way `untilTaken` for whoever writes all or nothing: since all take their keys in one order and the first that is taken ends
 *   it, of two with the same keys one has them all, instead of each some
 * @returns per message a final result, or null where the message is to be written
 */
export async function claimKeys(
  client: pg.PoolClient,
  messages: readonly Keyed[],
  answerBy: object,
  way: 'all' | 'untilTaken' = 'all',
): Promise<(KeyResult | null)[]> {
  const results = messages.map((): KeyResult | null => null)
  const keyed = messages.flatMap((message, index) =>
    message.idempotency ? [{ index, tenantId: message.tenantId, ...message.idempotency }] : [],
  )
  if (keyed.length === 0) return results
  keyed.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
  const locks = await client.query<{ isLocked: boolean }>({
    ...answerBy,
    ...(way === 'all'
      ? { name: 'claim-keys', text: tryAllSql }
      : { name: 'claim-keys-until', text: untilTakenSql }),
    values: [keyed.map((row) => row.tenantId), keyed.map((row) => row.key)],
  })
  const names = keyed.flatMap(({ tenantId, key, hiddenNames = [] }, place) =>
    [key, ...hiddenNames].map((name) => ({ place, tenantId, name })),
  )
  const stored = await client.query<StoredAnswer & { position: number }>({
    ...answerBy,
    name: 'stored-keys',
    text: `SELECT position::int, body_hash AS "bodyHash", response
           FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS input (tenant_id, key, position)
           JOIN valija.idempotency_keys AS known USING (tenant_id, key) WHERE known.expires_at > now()`,
    values: [names.map(({ tenantId }) => tenantId), names.map(({ name }) => name)],
  })
  // The key as it is comes first of its names, so it is the last to be written.
  const found = stored.rows.toSorted((a, b) => b.position - a.position)
  const known = new Map(found.map((row) => [names[row.position - 1]!.place, row]))
  keyed.forEach((row, position) => {
    const answer = known.get(position)
    if (answer) {
      const isSame = answer.bodyHash.equals(row.bodyHash)
      results[row.index] = isSame ? { kind: 'replay', response: answer.response } : { kind: 'reused' }
    } else if (!locks.rows[position]?.isLocked) {
      results[row.index] = { kind: 'busy' }
    }
  })
  return results
}

/** Looks up a stored answer before any work is done for a repeated request. @param names by what its key may be kept (`namesOfKey`) */
export async function findStoredAnswer(
  pool: pg.Pool,
  tenantId: Uuid,
  names: readonly string[],
): Promise<StoredAnswer | null> {
  const result = await pool.query<StoredAnswer>({
    name: 'stored-answer',
    text: `SELECT body_hash AS "bodyHash", response FROM valija.idempotency_keys
           WHERE tenant_id = $1 AND key = ANY ($2::text[]) AND expires_at > now() LIMIT 1`,
    values: [tenantId, names],
  })
  return result.rows[0] ?? null
}

/** The same for many keys at once, each with its names; those that are unknown are left out. */
export async function findStoredAnswers(
  pool: pg.Pool,
  tenantId: Uuid,
  keys: ReadonlyMap<string, readonly string[]>,
): Promise<Map<string, StoredAnswer>> {
  const { rows } = await pool.query<StoredAnswer & { key: string }>({
    name: 'stored-answers',
    text: `SELECT key, body_hash AS "bodyHash", response FROM valija.idempotency_keys
           WHERE tenant_id = $1 AND key = ANY ($2::text[]) AND expires_at > now()`,
    values: [tenantId, [...keys.values()].flat()],
  })
  const byName = new Map(rows.map(({ key, ...answer }) => [key, answer]))
  return new Map(
    [...keys].flatMap(([key, names]) =>
      names
        .flatMap((name) => byName.get(name) ?? [])
        .slice(0, 1)
        .map((answer) => [key, answer] as const),
    ),
  )
}
