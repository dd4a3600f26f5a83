/**
 * What is true of the whole installation and not of a tenant: rows of the table `instance`.
 */
import { fingerprintOf, SealError, type Sealer } from '@valija/core'
import type pg from 'pg'
import { asEngine, type Database } from './database.ts'
import { countKeyHolders, countSealedOtherwise } from './sealed-values.ts'

/** How many deliveries were given up because they ended every process that had them. */
export const givenUpCount = 'given_up_as_poison'

const sealOwner = 'instance:seal'
const sealText = Buffer.from('valija')
/** Beside the proof, while values are sealed anew: the same text, sealed with the key that is to stay. */
const nextProof = 'seal:next'
/** Keys that sealed everything until a change to another was finished, and when that was: these never seal again. */
const retiredKey = (fingerprint: Buffer) => `seal:retired:${fingerprint.toString('hex')}`

/** The database holds secrets that none of the configured keys opens. */
export class OtherSecretKeyError extends Error {
  override name = 'OtherSecretKeyError'

  constructor(
    text = 'The stored data was sealed with another VALIJA_SECRET_KEY: set the key that it was sealed with, or both as "new,old".',
  ) {
    super(text)
  }
}

/** What seals first here was replaced by another key, everywhere: sealing with it again would lock out who has only the other. */
export class RetiredSecretKeyError extends OtherSecretKeyError {
  override name = 'RetiredSecretKeyError'

  constructor() {
    super(
      'The first VALIJA_SECRET_KEY here was retired: a change to another key was finished. Put the key that all others have first, ' +
        'and this one behind it ("new,old"), or leave it out.',
    )
  }
}

/**
 * Makes sure that the configured secret keys are those of this database; the first start writes the proof. Until all is sealed with a new key
 * the proof needs the old one as well, so an old key that is dropped too early does not get this far.
 *
 * @throws {OtherSecretKeyError}
 */
export async function assertSameSecretKey(database: Database, sealer: Sealer): Promise<void> {
  await database.engine.query(
    `INSERT INTO valija.instance (name, value) VALUES ('seal', $1) ON CONFLICT (name) DO NOTHING`,
    [makeProof(sealer)],
  )
  // Waits for who is about to release the older keys, and then sees what it wrote.
  await database.engine.query(`SELECT FROM valija.instance WHERE name = 'seal' FOR SHARE`)
  const proof = await findSecretKeyProof(database, sealer)
  if (proof === 'retired_key') throw new RetiredSecretKeyError()
  if (proof !== 'opened') throw new OtherSecretKeyError()
}

/** Whether the configured secret keys open this database's proofs, and the first may seal; looks and writes nothing. */
export async function findSecretKeyProof(
  database: Database,
  sealer: Sealer,
): Promise<'opened' | 'other_key' | 'retired_key' | 'none'> {
  const { rows } = await database.engine.query<{ name: string; value: string }>(
    `SELECT name, value FROM valija.instance WHERE name IN ('seal', $1, $2)`,
    [nextProof, retiredKey(sealer.fingerprints[0]!)],
  )
  if (rows.length === 0) return 'none'
  const proofs = rows.filter(({ name }) => name === 'seal' || name === nextProof)
  try {
    for (const { value } of proofs) sealer.open(Buffer.from(value, 'base64'), sealOwner)
    return proofs.length === rows.length ? 'opened' : 'retired_key'
  } catch (error) {
    if (error instanceof SealError) return 'other_key'
    throw error
  }
}

/**
 * From now on no process starts that cannot open what the first key seals.
 *
 * @returns false when processes that are connected are changing to another key: two that change to two keys would undo each other's work
 * @throws {RetiredSecretKeyError}
 */
export async function demandFirstKey(database: Database, sealer: Sealer): Promise<boolean> {
  const first = sealer.fingerprints[0]!
  return asEngine(database, async (client) => {
    await lockProof(client)
    const { rows } = await client.query<{ name: string; value: string }>(
      'SELECT name, value FROM valija.instance WHERE name IN ($1, $2)',
      [nextProof, retiredKey(first)],
    )
    if (rows.some(({ name }) => name !== nextProof)) throw new RetiredSecretKeyError()
    const next = rows[0] && fingerprintOf(Buffer.from(rows[0].value, 'base64'))
    if (next?.equals(first)) return true
    if (next !== undefined && (await countKeyHolders(client, next)).sealing > 0) return false
    await client.query(
      `INSERT INTO valija.instance (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
      [nextProof, makeProof(sealer)],
    )
    return true
  })
}

/** Whether any process was about to change the key, and did not finish. */
export async function isKeyChanging(database: Database): Promise<boolean> {
  return (await readInstanceValue(database, nextProof)) !== null
}

/**
 * From now on the first key alone is enough to start, and the one before it is retired. Not while a value needs another, or a process is
 * connected that seals with another: it could do so a moment after we looked. One that starts meanwhile looks at the proof when it is connected, and waits for us there.
 *
 * @returns `released` when it was not enough before
 */
export async function releaseOlderKeys(
  database: Database,
  sealer: Sealer,
): Promise<'released' | 'was_released' | 'still_needed'> {
  const first = sealer.fingerprints[0]!
  return asEngine(database, async (client) => {
    const present = await lockProof(client)
    if ((await countKeyHolders(client, first)).sealingOtherwise > 0) return 'still_needed'
    const left = await countSealedOtherwise(client, [first])
    if (Object.keys(left).length > 0) return 'still_needed'
    await client.query('DELETE FROM valija.instance WHERE name = $1', [nextProof])
    if (first.equals(present)) return 'was_released'
    await client.query(`UPDATE valija.instance SET value = $1 WHERE name = 'seal'`, [makeProof(sealer)])
    await client.query(
      'INSERT INTO valija.instance (name, value) VALUES ($1, now()::text) ON CONFLICT DO NOTHING',
      [retiredKey(present)],
    )
    return 'released'
  })
}

/** @returns the fingerprint of the key that sealed the proof */
async function lockProof(client: pg.PoolClient): Promise<Buffer> {
  const { rows } = await client.query<{ value: string }>(
    `SELECT value FROM valija.instance WHERE name = 'seal' FOR UPDATE`,
  )
  return fingerprintOf(Buffer.from(rows[0]?.value ?? '', 'base64'))
}

/** Whether the proof itself is sealed with the first key: nothing was found that needs another. */
export async function isProofOfFirstKey(database: Database, sealer: Sealer): Promise<boolean> {
  const proof = await readInstanceValue(database, 'seal')
  return proof !== null && fingerprintOf(Buffer.from(proof, 'base64')).equals(sealer.fingerprints[0]!)
}

const makeProof = (sealer: Sealer): string => sealer.seal(sealText, sealOwner).toString('base64')

export async function readInstanceValue(database: Database, name: string): Promise<string | null> {
  const result = await database.engine.query<{ value: string }>(
    'SELECT value FROM valija.instance WHERE name = $1',
    [name],
  )
  return result.rows[0]?.value ?? null
}

/** Adds one to a number that all processes count together. */
export async function countInInstance(database: Database, name: string): Promise<void> {
  await database.engine.query(
    `INSERT INTO valija.instance AS i (name, value) VALUES ($1, '1')
     ON CONFLICT (name) DO UPDATE SET value = (i.value::bigint + 1)::text`,
    [name],
  )
}

export async function writeInstanceValue(database: Database, name: string, value: string): Promise<void> {
  await database.engine.query(
    `INSERT INTO valija.instance (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
    [name, value],
  )
}
