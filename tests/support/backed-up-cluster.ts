/**
 * A PostgreSQL of the test's own that keeps its WAL, a base backup of it while it is at work, and another one that begins with that backup and
 * goes as far as a point in time: what docs/operations.md, "Backup and restore", tells operators to do, with the same commands.
 */
import { execFile } from 'node:child_process'
import { chmod, chown, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../packages/runtime/src/embedded-postgres.ts'
import { until } from './until.ts'

const run = promisify(execFile)

export type BackedUpCluster = {
  url: string
  /** Copies the files, while the server writes them. */
  backUp: () => Promise<void>
  /** All WAL up to now is in the archive. */
  archiveAll: () => Promise<void>
  /** Stops it, and starts the backup in its place, as it was at that time. Returns its URL. */
  restore: (time: string) => Promise<string>
  stop: () => Promise<void>
}

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

/** Ends the present file of WAL, and waits until it is kept. */
function archiveAll(url: string): Promise<void> {
  return withClient(url, async (client) => {
    const { rows } = await client.query<{ name: string }>('SELECT pg_walfile_name(pg_switch_wal()) AS name')
    await until(
      'the archive has all',
      async () => {
        const seen = await client.query(`SELECT FROM pg_stat_archiver WHERE last_archived_wal >= $1`, [
          rows[0]!.name,
        ])
        return seen.rowCount === 1
      },
      60_000,
    )
  })
}

export async function startBackedUpCluster(): Promise<BackedUpCluster> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'valija-backup-'))
  const [data, base, archive] = ['data', 'base', 'archive'].map((name) => path.join(folder, name))
  await mkdir(archive!)
  // PostgreSQL's user, if it is another one than ours, comes through here and writes there.
  await chmod(folder, 0o755)
  await chmod(archive!, 0o777)
  const lines: string[] = []
  const start = (dataDir: string, settings: Record<string, string>): Promise<EmbeddedPostgres> =>
    startEmbeddedPostgres({ dataDir, database: 'valija', settings, log: (line) => lines.push(line) }).catch(
      (error) => {
        throw new Error(`${error.message}\n${lines.slice(-20).join('\n')}`)
      },
    )
  const common = { wal_level: 'replica' }
  let running = await start(data!, {
    ...common,
    archive_mode: 'on',
    archive_command: `test ! -f ${archive}/%f && cp %p ${archive}/%f`,
  })
  const { url } = running

  const backUp = () =>
    withClient(url, async (client) => {
      await client.query(`SELECT pg_backup_start('valija', fast => true)`)
      // Files come and go meanwhile, which cp reports; what matters of that is in the WAL.
      await run('cp', ['-a', data!, base!]).catch(() => undefined)
      const { rows } = await client.query<{ labelfile: string }>('SELECT labelfile FROM pg_backup_stop()')
      const { uid, gid } = await stat(path.join(base!, 'PG_VERSION'))
      await rm(path.join(base!, 'postmaster.pid'), { force: true })
      await rm(path.join(base!, 'pg_wal'), { recursive: true })
      const places = [
        path.join(base!, 'pg_wal'),
        path.join(base!, 'backup_label'),
        path.join(base!, 'recovery.signal'),
      ]
      await mkdir(places[0]!, { mode: 0o700 })
      await writeFile(places[1]!, rows[0]!.labelfile)
      await writeFile(places[2]!, '')
      for (const place of places) await chown(place, uid, gid)
    })

  const restore = async (time: string) => {
    await running.stop()
    running = await start(base!, {
      ...common,
      restore_command: `cp ${archive}/%f %p`,
      recovery_target_time: time,
      recovery_target_action: 'promote',
      hot_standby: 'off',
    })
    return running.url
  }
  const stop = async () => {
    await running.stop()
    await rm(folder, { recursive: true, force: true })
  }
  return { url, backUp, archiveAll: () => archiveAll(url), restore, stop }
}
