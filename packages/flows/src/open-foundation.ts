/**
 * What API and workers stand on: the database of this version, its clock, ids, wake-ups, the queue and the secrets.
 * Opened once per process (the all-in-one shares it), closed last.
 */
import { createIdSource, createSealer, type IdSource, type Sealer } from '@valija/core'
import {
  assertSameSecretKey,
  type Database,
  type DatabaseClock,
  type HintQueue,
  isMigrated,
  openDatabase,
  openHintQueue,
  openWake,
  startDatabaseClock,
  type Wake,
} from '@valija/store'

export interface Foundation {
  database: Database
  clock: DatabaseClock
  nextId: IdSource
  wake: Wake
  queue: HintQueue
  sealer: Sealer
  close(): Promise<void>
}

export interface FoundationOptions {
  databaseUrl: string
  /** Null: the queue runs in PostgreSQL. */
  redisUrl: string | null
  secretKeys: readonly string[]
  /** Told of broken connections and the like; everything here mends itself. */
  onError: (error: Error) => void
}

/** The start is refused; the message is a sentence for the operator. */
export class StartError extends Error {
  override name = 'StartError'
}

/**
 * Opens everything, or nothing.
 *
 * @throws {StartError} when PostgreSQL cannot be reached or the schema is not this version's
 * @throws {OtherSecretKeyError} when the stored secrets are sealed with another key
 */
export async function openFoundation(options: FoundationOptions): Promise<Foundation> {
  const { databaseUrl, redisUrl, onError } = options
  const closers: (() => unknown)[] = []
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) {
      try {
        await closer()
      } catch (error) {
        onError(error as Error)
      }
    }
  }
  try {
    const database = openDatabase({ url: databaseUrl, onError })
    closers.push(() => database.close())
    await assertMigrated(database)
    const sealer = createSealer(options.secretKeys)
    await assertSameSecretKey(database, sealer)
    const clock = await startDatabaseClock(database.engine, onError)
    closers.push(() => clock.stop())
    const wake = await openWake(databaseUrl, onError)
    closers.push(() => wake.close())
    const queue = await openHintQueue({ redisUrl, databaseUrl, onError })
    closers.push(() => queue.close())
    return { database, clock, nextId: createIdSource(clock.nowMs), wake, queue, sealer, close }
  } catch (error) {
    await close()
    throw error
  }
}

/**
 * @throws {StartError} for a way of delivery that this version knows by name only: mail accepted for it would never leave
 */
export function assertDeliverable(delivery: string | null): asserts delivery is 'capture' | 'smarthost' {
  if (delivery === 'capture' || delivery === 'smarthost') return
  throw new StartError('VALIJA_DELIVERY=mx is not part of this version yet: use smarthost or capture.')
}

async function assertMigrated(database: Database): Promise<void> {
  const migrated = await isMigrated(database.engine).catch((cause: Error) => {
    throw new StartError(`PostgreSQL cannot be used: ${cause.message}. Check DATABASE_URL.`, { cause })
  })
  if (!migrated)
    throw new StartError('The database is not at this version: run "npm run valija -- migrate" first.')
}
