/**
 * Stops what an earlier run left in a data folder.
 *
 * A kill -9 of our process leaves its PostgreSQL running, for it is in a process group of its own. The next start must
 * end it first, and must not mistake for it: another process that got the same id since, or the PostgreSQL of a Valija
 * that runs in the same folder right now. A process counts as PostgreSQL in this folder when its working folder
 * *is* the data folder (Linux), or its command line names it (elsewhere); it counts as left over when its parent
 * is no longer the process that started it.
 */
import { execFile } from 'node:child_process'
import { readdir, readFile, rm, stat } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { EmbeddedPostgresError } from './embedded-postgres-error.ts'

const run = promisify(execFile)

/** Name prefix of the socket folders, so that a start removes only what is ours. */
export const SOCKET_FOLDER_PREFIX = 'valija-pg-'

/** A setting of no meaning to PostgreSQL: its value on the command line names the process that started it. */
export const OWNER_SETTING = 'valija.owner'

/** Sends a signal; tells whether the process was there. */
export function signalled(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(pid, signal)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** A process's command line; empty when there is none (any more). Slim images have no ps, other systems no /proc. */
async function commandLine(pid: number): Promise<string> {
  if (process.platform === 'linux') return readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
  return (await run('ps', ['-o', 'command=', '-p', String(pid)]).catch(() => ({ stdout: '' }))).stdout
}

/** Is this process a PostgreSQL that works in this data folder? A zombie is not: it has no working folder. */
async function worksIn(pid: number, dataDir: string): Promise<boolean> {
  if (process.platform === 'linux') {
    const program = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')
    if (program.trim() !== 'postgres') return false
    const [theirs, ours] = await Promise.all([
      stat(`/proc/${pid}/cwd`).catch((error: NodeJS.ErrnoException) => error.code),
      stat(dataDir),
    ])
    if (typeof theirs === 'object') return theirs.ino === ours.ino && theirs.dev === ours.dev
    if (theirs !== 'EACCES') return false // from another user's or another namespace's process it is kept
  }
  const command = await commandLine(pid)
  return command.includes('postgres') && command.includes(dataDir)
}

async function parentOf(pid: number): Promise<number> {
  if (process.platform !== 'linux') {
    return Number((await run('ps', ['-o', 'ppid=', '-p', String(pid)]).catch(() => ({ stdout: '' }))).stdout)
  }
  // The name in parentheses may hold anything, so fields are counted behind the last ")".
  const line = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return Number(line.slice(line.lastIndexOf(')') + 2).split(' ')[1])
}

/** The living process that started this PostgreSQL, or null when it is an orphan (or started by hand). */
async function livingOwner(pid: number): Promise<number | null> {
  const owner = Number(/valija\.owner=(\d+)/.exec(await commandLine(pid))?.[1])
  return owner === (await parentOf(pid)) ? owner : null
}

/** Waits until the process has left the folder; false when it is still there after limitMs. */
async function left(pid: number, dataDir: string, limitMs: number): Promise<boolean> {
  const until = performance.now() + limitMs
  while (await worksIn(pid, dataDir)) {
    if (performance.now() > until) return false
    await delay(20) // not our child: nothing signals its end
  }
  return true
}

/** Server processes whose postmaster was killed alone. They end by themselves soon; shared memory is theirs until then. */
async function endChildren(dataDir: string): Promise<void> {
  const pids = (await readdir('/proc')).map(Number).filter((pid) => pid > 0)
  for (const pid of pids) {
    if (!(await worksIn(pid, dataDir)) || (await left(pid, dataDir, 5_000))) continue
    signalled(pid, 'SIGKILL')
    await left(pid, dataDir, 5_000)
  }
}

/** SIGINT is a fast shutdown (rolls back, writes a checkpoint); SIGQUIT an immediate one (recovery at the next start). */
async function endPostmaster(pid: number, dataDir: string): Promise<void> {
  for (const [signal, limitMs] of [
    ['SIGINT', 20_000],
    ['SIGQUIT', 10_000],
    ['SIGKILL', 5_000],
  ] as const) {
    signalled(pid, signal)
    if (await left(pid, dataDir, limitMs)) return
  }
  throw new EmbeddedPostgresError(
    `A PostgreSQL (process ${pid}) still runs in ${dataDir} and does not end: end it by hand.`,
  )
}

/** Only a folder of ours, directly in a folder for temporary files, is removed. */
async function removeSocketFolder(folder: string | undefined): Promise<void> {
  if (!folder || !path.basename(folder).startsWith(SOCKET_FOLDER_PREFIX)) return
  if (![os.tmpdir(), '/tmp'].includes(path.dirname(folder))) return
  await rm(folder, { recursive: true, force: true })
}

/**
 * Ends what an earlier, killed run left in the data folder and removes its socket folder.
 * Throws EmbeddedPostgresError when that run is alive, or its PostgreSQL cannot be ended.
 */
export async function endLeftover(dataDir: string, log: (line: string) => void): Promise<void> {
  // postmaster.pid, by line: process id, data folder, start time, port, socket folder, …
  const lines = (await readFile(path.join(dataDir, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n')
  const pid = Number(lines[0])
  if (!(pid > 0)) return
  if (await worksIn(pid, dataDir)) {
    const owner = await livingOwner(pid)
    if (owner !== null) {
      throw new EmbeddedPostgresError(
        `Another Valija (process ${owner}) is running with the data folder ${dataDir}.`,
      )
    }
    log(`stopping the PostgreSQL (process ${pid}) that an earlier run left in ${dataDir}`)
    await endPostmaster(pid, dataDir)
  }
  await removeSocketFolder(lines[4])
  if (process.platform !== 'linux') return
  await endChildren(dataDir)
  // PostgreSQL would refuse to start while any process has that id: a stranger, or a zombie that nobody collects (in a
  // container). Only here is it certain that none works in the folder, so only here may its lock go.
  await rm(path.join(dataDir, 'postmaster.pid'), { force: true })
}
