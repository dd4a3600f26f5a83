/**
 * What API and workers stand on: the database of this version, its clock, ids, wake-ups, the queue and the secrets.
 * Opened once per process (the all-in-one shares it), closed last.
 */
import { createIdSource, createSealer, type IdSource, type Sealer } from '@valija/core'
import {
  assertSameSecretKey,
  countSealedOtherwise,
  type Database,
  type DatabaseClock,
  type HintQueue,
  isMigrated,
  keyMark,
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
  const { databaseUrl, redisUrl } = options
  const closers: (() => unknown)[] = []
  let isClosing = false
  // A pool is closed when it has said goodbye, not when PostgreSQL has heard it: a connection that the server ends in between is no trouble.
  const onError = (error: Error) => {
    if (!isClosing) options.onError(error)
  }
  const close = async () => {
    isClosing = true
    for (const closer of closers.splice(0).reverse()) {
      try {
        await closer()
      } catch (error) {
        options.onError(error as Error)
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
    const wake = await openWake(databaseUrl, onError, keyMark(sealer.fingerprints))
    closers.push(() => wake.close())
    // Again, now that the others see which keys we have: they may have finished a change of them since we looked.
    await assertSameSecretKey(database, sealer)
    await tellOfUnreadable(database, sealer, onError)
    // Somebody saw that PostgreSQL's clock was set (watch-clock.ts).
    wake.on('clock', () => void clock.sync().catch(onError))
    const queue = await openHintQueue({ redisUrl, databaseUrl, onError })
    closers.push(() => queue.close())
    return { database, clock, nextId: createIdSource(clock.tellMs), wake, queue, sealer, close }
  } catch (error) {
    await close()
    throw error
  }
}

async function assertMigrated(database: Database): Promise<void> {
  const migrated = await isMigrated(database.engine).catch((cause: Error) => {
    throw new StartError(`PostgreSQL cannot be used: ${cause.message}. Check DATABASE_URL.`, { cause })
  })
  if (!migrated)
    throw new StartError('The database is not at this version: run "npm run valija -- migrate" first.')
}

/** Few values, sealed by a key that is gone, are no reason to keep everybody waiting: only what they belong to waits. */
async function tellOfUnreadable(
  database: Database,
  { fingerprints }: Sealer,
  onError: (error: Error) => void,
): Promise<void> {
  const counts = Object.entries(await countSealedOtherwise(database.engine, fingerprints))
  if (counts.length === 0) return
  const which = counts.map(([kind, count]) => `${kind}: ${count}`).join(', ')
  onError(
    new StartError(
      `Stored secrets were sealed with a VALIJA_SECRET_KEY that is not configured (${which}): what they belong to waits. ` +
        'Set that key again behind the others ("new,old"); if it is lost, see docs/operations.md, "Secrets".',
    ),
  )
}
