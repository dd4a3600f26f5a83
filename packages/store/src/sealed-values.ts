/**
 * Every place in the database where a sealed value stands, and how it is sealed anew after the secret key was changed.
 *
 * Each value bears the fingerprint of the key that sealed it (core/seal.ts), so which key it needs is seen without opening it.
 */
import type pg from 'pg'
import { asEngine, type Database } from './database.ts'
import { listenerName } from './wake.ts'

export type SealedKind = 'webhook' | 'dkim_key' | 'route' | 'mailbox' | 'default_key'

interface Place {
  kind: SealedKind
  table: string
  /** The sealed octets, and the same for a parameter that is written back. */
  octets: string
  write: (parameter: string) => string
  /** What a value is found and ordered by: an index leads to it. */
  key: readonly { name: string; type: 'uuid' | 'text' }[]
  /** What its owner's name is made of besides. */
  tenant: string
  where: string
}

const uuidKey = [{ name: 'id', type: 'uuid' }] as const
const asItIs = (parameter: string) => `${parameter}::bytea`

/** A column with sealed values that is missing here keeps its old key for ever: sealed-values.db.test.ts looks at all columns. */
const places: readonly Place[] = [
  {
    ...{ kind: 'webhook', table: 'webhooks', octets: 'secret', write: asItIs, key: uuidKey },
    ...{ tenant: 'tenant_id::text', where: 'true' },
  },
  {
    ...{ kind: 'dkim_key', table: 'dkim_keys', octets: 'private_key', write: asItIs },
    key: [
      { name: 'domain_id', type: 'uuid' },
      { name: 'selector', type: 'text' },
    ],
    ...{ tenant: 'tenant_id::text', where: 'true' },
  },
  {
    ...{ kind: 'route', table: 'routes', octets: 'password', write: asItIs, key: uuidKey },
    ...{ tenant: 'tenant_id::text', where: 'password IS NOT NULL' },
  },
  {
    ...{ kind: 'mailbox', table: 'mailboxes', octets: 'password', write: asItIs, key: uuidKey },
    ...{ tenant: 'tenant_id::text', where: 'true' },
  },
  {
    ...{ kind: 'default_key', table: 'instance', octets: `decode(value, 'base64')` },
    write: (parameter) => `encode(${parameter}::bytea, 'base64')`,
    ...{ key: [{ name: 'name', type: 'text' }], tenant: 'NULL', where: `name = 'default_key'` },
  },
]

/** The columns that hold sealed values, as `table.column`. */
export const sealedColumns: readonly string[] = [
  'webhooks.secret',
  'dkim_keys.private_key',
  'routes.password',
  'mailboxes.password',
]

export interface SealedValue {
  kind: SealedKind
  tenantId: string | null
  /** A webhook's, route's or mailbox's id; a DKIM key's domain and selector. */
  key: readonly string[]
  sealed: Buffer
}

const fingerprint = ({ octets }: Place) => `substring(${octets} FROM 2 FOR 4)`

/** How many values of each kind are sealed with none of these keys. Reads the small tables of what people manage, not those of mail. */
export async function countSealedOtherwise(
  client: Pick<pg.Pool, 'query'>,
  fingerprints: readonly Buffer[],
): Promise<Partial<Record<SealedKind, number>>> {
  const counts = places.map(
    (place) =>
      `SELECT '${place.kind}' AS kind, count(*)::int AS count FROM valija.${place.table}
       WHERE ${place.where} AND ${fingerprint(place)} <> ALL ($1::bytea[])`,
  )
  const { rows } = await client.query<{ kind: SealedKind; count: number }>(counts.join(' UNION ALL '), [
    fingerprints,
  ])
  return Object.fromEntries(rows.filter(({ count }) => count > 0).map(({ kind, count }) => [kind, count]))
}

export interface ResealStep {
  resealed: number
  /** The last value that was looked at; null when there was none left to look at. */
  last: SealedValue | null
}

/**
 * Seals some values anew, in one transaction: those of one kind behind `after` that are not sealed with the first key. Rows that somebody has
 * in hand are left out, so two at once share the work, and nobody waits for a row longer than for these few.
 *
 * @param first the fingerprint of the key that seals
 * @param reseal the value sealed anew, or null when it cannot be opened: it stays as it is
 */
export async function resealSome(
  database: Database,
  {
    kind,
    after,
    first,
    limit,
  }: { kind: SealedKind; after: SealedValue | null; first: Buffer; limit: number },
  reseal: (value: SealedValue) => Buffer | null,
): Promise<ResealStep> {
  const place = places.find((candidate) => candidate.kind === kind)
  if (place === undefined) throw new TypeError(`nothing is sealed as ${kind}`)
  const columns = place.key.map(({ name }) => name)
  const parameters = (from: number) => place.key.map(({ type }, index) => `$${from + index}::${type}`)
  return asEngine(database, async (client) => {
    const { rows } = await client.query<{ key: string[]; tenantId: string | null; sealed: Buffer }>(
      `SELECT ARRAY[${columns.map((name) => `${name}::text`)}] AS key, ${place.tenant} AS "tenantId", ${place.octets} AS sealed
       FROM valija.${place.table}
       WHERE ${place.where} AND ${fingerprint(place)} <> $1
         ${after === null ? '' : `AND (${columns}) > (${parameters(3)})`}
       ORDER BY ${columns} LIMIT $2 FOR UPDATE SKIP LOCKED`,
      [first, limit, ...(after?.key ?? [])],
    )
    const values = rows.map((row): SealedValue => ({ kind, ...row }))
    let resealed = 0
    for (const value of values) {
      const sealed = reseal(value)
      if (sealed === null) continue
      await client.query(
        `UPDATE valija.${place.table} SET ${columnOf(place)} = ${place.write('$1')} WHERE (${columns}) = (${parameters(2)})`,
        [sealed, ...value.key],
      )
      resealed += 1
    }
    return { resealed, last: values.at(-1) ?? null }
  })
}

const columnOf = ({ kind, octets }: Place) => (kind === 'default_key' ? 'value' : octets)

/** By which processes tell others what keys they have: the fingerprints, the one that seals first. */
export function keyMark(fingerprints: readonly Buffer[]): string {
  return fingerprints.map((mark) => mark.toString('hex')).join(',')
}

export interface KeyHolders {
  /** Processes that are connected and seal with this key. */
  sealing: number
  /** Processes that are connected and cannot open what this key seals. */
  without: number
  /** Those that seal with another key, whether they know this one or not. */
  sealingOtherwise: number
}

/** What the processes that are connected know of a key. One of a version that does not tell counts as not knowing it. */
export async function countKeyHolders(client: Pick<pg.Pool, 'query'>, first: Buffer): Promise<KeyHolders> {
  const { rows } = await client.query<KeyHolders>(
    `SELECT count(*) FILTER (WHERE starts_with(application_name, $1 || ' ' || $2))::int AS sealing,
       count(*) FILTER (WHERE strpos(application_name, $2) = 0)::int AS without,
       count(*) FILTER (WHERE NOT starts_with(application_name, $1 || ' ' || $2))::int AS "sealingOtherwise"
     FROM pg_stat_activity WHERE datname = current_database() AND starts_with(application_name, $1)`,
    [listenerName, first.toString('hex')],
  )
  return rows[0] ?? { sealing: 0, without: 0, sealingOtherwise: 0 }
}
