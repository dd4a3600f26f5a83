/**
 * Clocks that are wrong, by Debian's libfaketime: of one process of ours, or of a whole PostgreSQL, and to be set while they run.
 * The monotonic clock stays true, as it does on a machine whose clock is set.
 */
import { chmodSync, mkdtempSync, writeFileSync } from 'node:fs'
import { chmod, mkdtemp, readlink, rm, stat } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import pg from 'pg'
import { startEmbeddedPostgres } from '../../packages/runtime/src/embedded-postgres.ts'
import { startProcess } from './processes.ts'
import { until } from './until.ts'

export type FakeClock = {
  /** For the process whose clock it is. */
  env: Record<string, string>
  /** By how much it is wrong from now on, as in `+1h`, `-1d`, `+0`. */
  set: (offset: string) => void
  remove: () => Promise<void>
}

export function createFakeClock(): FakeClock {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'valija-clock-'))
  const file = path.join(folder, 'offset')
  chmodSync(folder, 0o755) // for PostgreSQL's user
  const set = (offset: string) => writeFileSync(file, offset)
  set('+0')
  return {
    env: {
      // The dynamic linker knows where libraries of this machine's architecture are.
      LD_PRELOAD: '/usr/$LIB/faketime/libfaketimeMT.so.1',
      FAKETIME_TIMESTAMP_FILE: file,
      // The file is read once a second: at every look at a clock it would be all that the process does.
      FAKETIME_CACHE_DURATION: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      // No shared memory: every process reads the file, and a killed one leaves nothing behind.
      FAKETIME_DISABLE_SHM: '1',
    },
    set,
    remove: () => rm(folder, { recursive: true, force: true }),
  }
}

export type ClockedPostgres = { url: string; remove: () => Promise<void> }

/** A PostgreSQL of its own whose clock is the given one; migrated. */
export async function startClockedPostgres({ env }: FakeClock): Promise<ClockedPostgres> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'valija-clocked-'))
  await chmod(folder, 0o777) // its sockets are made by PostgreSQL's user
  const dataDir = path.join(folder, 'data')
  // Made, migrated and started once with a true clock; then the same program is started with ours.
  const first = await startEmbeddedPostgres({ dataDir, database: 'valija' })
  const program = await readlink(`/proc/${first.pid}/exe`)
  const { migrate, migrateQueue } = await import('@valija/store')
  await migrate(first.url)
  await migrateQueue(first.url)
  await first.stop()
  const { uid, gid } = await stat(dataDir)
  const flags = ['listen_addresses=', 'max_connections=100'].flatMap((setting) => ['-c', setting])
  const server = startProcess(program, ['-D', dataDir, '-k', folder, ...flags], { env, cwd: '/', uid, gid })
  const url = `postgresql://postgres@localhost/valija?host=${encodeURIComponent(folder)}`
  await until(
    'PostgreSQL with a clock of its own',
    async () => {
      const client = new pg.Client(url)
      await client.connect()
      await client.end()
      return true
    },
    30_000,
  )
  return {
    url,
    remove: async () => {
      server.signal('SIGINT')
      await server.ended
      await rm(folder, { recursive: true, force: true })
    },
  }
}
