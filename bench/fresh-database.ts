/**
 * The data folder of a database that is migrated and has nothing in it. Made once in a run, and copied for each installation:
 * making it takes seconds, which would be a third of the time of all rounds.
 */
import { execFile } from 'node:child_process'
import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { startEmbeddedPostgres } from '@valija/runtime'

export const databaseName = 'valija'

let made: Promise<string> | null = null

/** @param migrate brings the database of that address to the present version */
export async function copyFreshDatabase(
  dataDir: string,
  migrate: (url: string) => Promise<void>,
): Promise<void> {
  made ??= make(migrate)
  const source = await made.catch((error: Error) => {
    // The next installation tries again.
    made = null
    throw error
  })
  // With its owner and modes, and not one file of it shared with another copy's.
  await promisify(execFile)('cp', ['-a', source, dataDir])
}

async function make(migrate: (url: string) => Promise<void>): Promise<string> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'valija-bench-fresh-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const dataDir = path.join(folder, 'postgres')
  const postgres = await startEmbeddedPostgres({ dataDir, database: databaseName })
  try {
    await migrate(postgres.url)
  } finally {
    // In order, so that what is copied needs no recovery.
    await postgres.stop()
  }
  return dataDir
}
