/**
 * A PostgreSQL of a test's own, for what nobody else should feel: kill -9, a full disk, no connection left.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../packages/runtime/src/embedded-postgres.ts'

export type OwnCluster = {
  /** Of a migrated database. Another one after each start. */
  readonly url: string
  /** kill -9 of the postmaster, unless it has ended by itself; its children end when they notice. */
  kill: () => Promise<void>
  /** Starts it again, on the same data. */
  start: () => Promise<void>
  stop: () => Promise<void>
}

/** @param folder where its data are to lie; absent: a folder of its own that is removed at the end */
export async function startOwnCluster(
  settings: Record<string, string> = {},
  folder?: string,
): Promise<OwnCluster> {
  const home = folder ?? (await mkdtemp(path.join(os.tmpdir(), 'valija-own-')))
  let postgres: EmbeddedPostgres
  const start = async () => {
    postgres = await startEmbeddedPostgres({
      dataDir: path.join(home, 'data'),
      database: 'valija',
      settings,
    })
  }
  await start()
  const { migrate, migrateQueue } = await import('@valija/store')
  await migrate(postgres!.url)
  await migrateQueue(postgres!.url)
  return {
    get url() {
      return postgres.url
    },
    kill: async () => {
      try {
        process.kill(postgres.pid, 'SIGKILL')
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
      }
      await postgres.exited
    },
    start,
    stop: async () => {
      await postgres.stop()
      if (folder === undefined) await rm(home, { recursive: true, force: true })
    },
  }
}
