/**
 * A real PostgreSQL from npm, for `npm start` and the tests: no port, no password, no install script.
 *
 * It listens on a Unix socket only, in a folder that no other user may enter, which is why it trusts who connects.
 * It never runs as root, for it refuses to (embedded-postgres-identity.ts).
 * It is in a process group of its own, so Ctrl-C reaches us alone and we stop it when we have drained.
 *
 * What a crash leaves:
 *   killed in initdb       `<dataDir>.new`, which the next start removes; the rename to dataDir comes after the fsync
 *   we are killed (-9)     PostgreSQL runs on; the next start stops it (embedded-postgres-leftover.ts)
 *   PostgreSQL is killed   its own recovery from the log at the next start: fsync is on, always
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { rmSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, open, readdir, realpath, rename, rm, stat } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import pg from 'pg'
import { type Binaries, runnableBinaries } from './embedded-postgres-binaries.ts'
import { EmbeddedPostgresError } from './embedded-postgres-error.ts'
import { command, giveTo, type Identity, identityFor } from './embedded-postgres-identity.ts'
import { endLeftover, OWNER_SETTING, SOCKET_FOLDER_PREFIX } from './embedded-postgres-leftover.ts'

const run = promisify(execFile)

/** Of PostgreSQL's processes: nothing of ours, so no secrets and no PG* variables. */
const ENVIRONMENT = { PATH: '/usr/bin:/bin', TZ: 'UTC' }

/** Recovery after a crash replays at most max_wal_size, which takes seconds; this is for a machine that crawls. */
const READY_LIMIT_MS = 300_000

/** Durable, and small when idle: one machine, a few dozen connections, other processes beside it. */
const SETTINGS: Record<string, string> = {
  listen_addresses: '',
  unix_socket_permissions: '0700',
  max_connections: '100',
  max_locks_per_transaction: '256', // kept plans lock each day's tables (packages/store/src/plan-once.ts): for 177 days
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  wal_compression: 'on',
  wal_level: 'minimal', // no replicas and no archive here, so nothing needs more in the log
  max_wal_senders: '0',
  max_logical_replication_workers: '0',
  shared_buffers: '64MB',
  io_method: 'sync', // three idle I/O workers less; the working set is in memory
  jit: 'off',
  max_parallel_workers_per_gather: '0',
  max_worker_processes: '4',
  log_min_messages: 'warning',
  log_min_error_statement: 'panic', // a statement can hold a mail's content, which belongs in no log
  log_line_prefix: '%m [%p] ',
  timezone: 'UTC',
}

export type EmbeddedPostgresOptions = {
  /** The cluster's own folder; made when absent. During the first start there is `<dataDir>.new` beside it. */
  dataDir: string
  /** Made when absent. */
  database: string
  /** Over the defaults above, as `postgres -c name=value`. */
  settings?: Record<string, string>
  /** Gets PostgreSQL's log and ours, line by line. */
  log?: (line: string) => void
}

export type EmbeddedPostgres = {
  /** `postgresql://postgres@localhost/<database>?host=<socket folder>` */
  url: string
  /** The postmaster's process id. */
  pid: number
  /** A fast shutdown: open transactions are rolled back. Resolves when the process is gone; may be called twice. */
  stop: () => Promise<void>
  /** Resolves with the exit code when PostgreSQL has ended, asked to or not (null: by a signal). */
  exited: Promise<number | null>
}

/** Where and as whom PostgreSQL runs. `argument` is what it is told as its data folder, `cwd` where it is started. */
type Place = { identity: Identity; cwd: string; argument: string }

/** Can this user pass through every folder above the path? Access lists are not read: a "no" only costs a detour. */
async function canReach(target: string, { uid, gid }: { uid: number; gid: number }): Promise<boolean> {
  for (let folder = path.dirname(target); ; folder = path.dirname(folder)) {
    const { mode, uid: owner, gid: group } = await stat(folder)
    const bit = owner === uid ? 0o100 : group === gid ? 0o010 : 0o001
    if ((mode & bit) === 0) return false
    if (folder === path.dirname(folder)) return true
  }
}

/**
 * PostgreSQL opens its data folder by an absolute path. Where its user may not pass the folders above (a clone
 * in /root), it is started inside the folder and told `/proc/self/cwd`: Linux follows that link
 * without asking the folders above, and all of PostgreSQL's processes stay in that folder for life.
 */
async function placeFor(folder: string, identity: Identity): Promise<Place> {
  if (identity.as !== 'user' || (await canReach(folder, identity)))
    return { identity, cwd: folder, argument: folder }
  if (process.platform === 'linux') return { identity, cwd: folder, argument: '/proc/self/cwd' }
  throw new EmbeddedPostgresError(
    `PostgreSQL does not run as root, and the user ${identity.uid} cannot enter ${folder}: ` +
      'start as another user, or set VALIJA_DATA_DIR to a folder that every user can enter.',
  )
}

/** What happened to a file, as a clause for a sentence. */
const why = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? (error as Error).message

/** Makes the change durable that a rename is. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** The absolute path, free of symbolic links above its last part; the folders above are made. */
async function resolved(dataDir: string): Promise<string> {
  const parent = path.dirname(path.resolve(dataDir))
  try {
    await mkdir(parent, { recursive: true })
    return path.join(await realpath(parent), path.basename(dataDir))
  } catch (error) {
    throw new EmbeddedPostgresError(
      `The folder ${parent} cannot be used (${why(error)}): set VALIJA_DATA_DIR to another.`,
    )
  }
}

/** Writes a new cluster beside its place and renames it, so a data folder is either absent or whole. */
async function initialise(dataDir: string, identity: Identity, binaries: Binaries): Promise<void> {
  const fresh = `${dataDir}.new`
  try {
    await rm(fresh, { recursive: true, force: true })
    await mkdir(fresh, { mode: 0o700 })
    await giveTo(identity, fresh)
  } catch (error) {
    throw new EmbeddedPostgresError(
      `The folder ${path.dirname(dataDir)} cannot be written to (${why(error)}): set VALIJA_DATA_DIR to another.`,
    )
  }
  const { cwd, argument } = await placeFor(fresh, identity)
  const flags = ['--username=postgres', '--auth=trust', '--encoding=UTF8', '--locale=C', '--no-instructions']
  const { file, args, options } = command(identity, binaries.initdb, ['-D', argument, ...flags])
  try {
    await run(file, args, { ...options, cwd, env: ENVIRONMENT })
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string }
    throw new EmbeddedPostgresError(
      `A new PostgreSQL data folder could not be made in ${dataDir}: ${(stderr || message).trim()}`,
    )
  }
  await rename(fresh, dataDir)
  await syncFolder(path.dirname(dataDir))
}

/** Sees to a whole cluster in dataDir that nobody else uses. */
async function prepare(
  dataDir: string,
  identity: Identity,
  binaries: Binaries,
  log: (line: string) => void,
): Promise<void> {
  const held = await readdir(dataDir).catch((error): string[] => {
    if (error.code === 'ENOENT') return []
    throw new EmbeddedPostgresError(`The data folder ${dataDir} cannot be read (${why(error)}).`)
  })
  if (held.includes('PG_VERSION')) return endLeftover(dataDir, log)
  if (held.length > 0) {
    throw new EmbeddedPostgresError(
      `The folder ${dataDir} holds other files and no PostgreSQL data: set VALIJA_DATA_DIR to another.`,
    )
  }
  await initialise(dataDir, identity, binaries)
}

/** A socket's path may have 107 bytes, and ours would be below a data folder of any depth: so it has a short place of its own. */
async function makeSocketFolder(identity: Identity): Promise<string> {
  const base = Buffer.byteLength(os.tmpdir()) <= 60 ? os.tmpdir() : '/tmp'
  const folder = await mkdtemp(path.join(base, SOCKET_FOLDER_PREFIX))
  await chmod(folder, 0o700)
  await giveTo(identity, folder)
  return folder
}

/** Resolves when the server takes connections; rejects with the end of its log when it ends before. */
async function ready(
  child: ChildProcess,
  exited: Promise<number | null>,
  log: (line: string) => void,
): Promise<void> {
  const last: string[] = []
  const { promise: takesConnections, resolve } = Promise.withResolvers<'ready'>()
  createInterface({ input: child.stderr! }).on('line', (line) => {
    last.push(line)
    if (last.length > 8) last.shift()
    log(line)
    if (line.endsWith('database system is ready to accept connections')) resolve('ready')
  })
  const limit = new AbortController()
  const outcome = await Promise.race([
    takesConnections,
    exited,
    delay(READY_LIMIT_MS, 'late' as const, { signal: limit.signal }).catch(() => 'late' as const),
  ])
  limit.abort()
  if (outcome === 'ready') return
  const how =
    outcome === 'late'
      ? `was not ready within ${READY_LIMIT_MS / 1000} s`
      : `ended at its start (code ${outcome})`
  child.kill('SIGQUIT')
  throw new EmbeddedPostgresError(`The embedded PostgreSQL ${how}: ${last.join(' | ')}`)
}

/** Asks for a fast shutdown, and insists when it takes too long (an immediate one, then the end by force). */
async function end(child: ChildProcess, exited: Promise<number | null>): Promise<void> {
  child.ref()
  for (const [signal, limitMs] of [
    ['SIGINT', 20_000],
    ['SIGQUIT', 10_000],
    ['SIGKILL', 10_000],
  ] as const) {
    child.kill(signal)
    const gone = exited.then(() => true)
    if (await Promise.race([gone, delay(limitMs, false, { ref: false })])) return
  }
}

async function createDatabase(url: string, database: string): Promise<void> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    const { rowCount } = await client.query('SELECT FROM pg_database WHERE datname = $1', [database])
    if (rowCount === 0) await client.query(`CREATE DATABASE ${client.escapeIdentifier(database)}`)
  } finally {
    await client.end()
  }
}

/** Starts the postmaster in its place; the caller waits until it is ready. */
function launch(
  binaries: Binaries,
  { identity, cwd, argument }: Place,
  socketFolder: string,
  settings: Record<string, string>,
) {
  const flags = Object.entries({ ...SETTINGS, ...settings, [OWNER_SETTING]: String(process.pid) }).flatMap(
    ([name, value]) => ['-c', `${name}=${value}`],
  )
  const { file, args, options } = command(identity, binaries.postgres, [
    '-D',
    argument,
    '-k',
    socketFolder,
    ...flags,
  ])
  const child = spawn(file, args, {
    ...options,
    cwd,
    env: ENVIRONMENT,
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const { promise: exited, resolve } = Promise.withResolvers<number | null>()
  child.once('exit', resolve).once('error', () => resolve(null)) // "error": it could not even be spawned
  return { child, exited }
}

/**
 * Starts the cluster in dataDir (made at the first start, about 2 s; later starts take 0.2 s) and makes the database.
 * Throws EmbeddedPostgresError with one sentence for the operator when that cannot be.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const dataDir = await resolved(options.dataDir)
  const log = options.log ?? (() => undefined)
  const identity = await identityFor(dataDir)
  const binaries = await runnableBinaries(identity)
  await prepare(dataDir, identity, binaries, log)
  const place = await placeFor(dataDir, identity)
  const socketFolder = await makeSocketFolder(identity)
  const { child, exited } = launch(binaries, place, socketFolder, options.settings ?? {})
  // A process that simply ends must not leave a server behind. The shutdown then goes on without us.
  const onExit = () => {
    child.kill('SIGINT')
    rmSync(socketFolder, { recursive: true, force: true })
  }
  process.once('exit', onExit)
  const stop = async () => {
    process.off('exit', onExit)
    await end(child, exited)
    await rm(socketFolder, { recursive: true, force: true })
  }
  const url = (database: string) =>
    `postgresql://postgres@localhost/${encodeURIComponent(database)}?host=${encodeURIComponent(socketFolder)}`
  try {
    await ready(child, exited, log)
    await createDatabase(url('postgres'), options.database)
  } catch (error) {
    await stop().catch(() => undefined)
    throw error
  }
  child.unref()
  ;(child.stderr as unknown as { unref?: () => void }).unref?.()
  return { url: url(options.database), pid: child.pid!, stop, exited }
}
