/**
 * What is true of the whole installation and not of a tenant: rows of the table `instance`.
 */
import { SealError, type Sealer } from '@valija/core'
import type { Database } from './database.ts'

const sealOwner = 'instance:seal'
const sealText = Buffer.from('valija')

/** The database holds secrets that none of the configured keys opens. */
export class OtherSecretKeyError extends Error {
  override name = 'OtherSecretKeyError'

  constructor() {
    super(
      'The stored data was sealed with another VALIJA_SECRET_KEY: set the key that it was sealed with, or both as "new,old".',
    )
  }
}

/**
 * Makes sure that the configured secret keys are those of this database; the first start writes the proof.
 *
 * @throws {OtherSecretKeyError}
 */
export async function assertSameSecretKey(database: Database, sealer: Sealer): Promise<void> {
  const mine = sealer.seal(sealText, sealOwner).toString('base64')
  await database.engine.query(
    `INSERT INTO valija.instance (name, value) VALUES ('seal', $1) ON CONFLICT (name) DO NOTHING`,
    [mine],
  )
  const stored = await readInstanceValue(database, 'seal')
  try {
    sealer.open(Buffer.from(stored ?? '', 'base64'), sealOwner)
  } catch (error) {
    if (error instanceof SealError) throw new OtherSecretKeyError()
    throw error
  }
}

export async function readInstanceValue(database: Database, name: string): Promise<string | null> {
  const result = await database.engine.query<{ value: string }>(
    'SELECT value FROM valija.instance WHERE name = $1',
    [name],
  )
  return result.rows[0]?.value ?? null
}

export async function writeInstanceValue(database: Database, name: string, value: string): Promise<void> {
  await database.engine.query(
    `INSERT INTO valija.instance (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
    [name, value],
  )
}
