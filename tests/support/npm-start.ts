/** `npm start` as a person runs it: in a data folder of its own, with what it leaves behind looked for in the system. */
import { readdir, readFile, readlink } from 'node:fs/promises'
import path from 'node:path'
import { client } from './http.ts'
import { freePort } from './ports.ts'
import {
  NO_ENV_FILE,
  type ProcessOptions,
  REPOSITORY,
  type Running,
  startNode,
  startProcess,
} from './processes.ts'
import type { Call } from './valija.ts'

export type DevFile = {
  url: string
  apiKey: string
  adminKey: string
  smtp: unknown
  bounceSmtp: unknown
  databaseUrl: string
  pid: number
}

export type Started = {
  process: Running
  dev: DevFile
  /** Calls with the key of dev.json. */
  call: Call
}

/** An embedded PostgreSQL is made at the first start: an initdb, the migrations, and two busy cores. */
const READY_MS = 60_000

/** Starts without waiting: through npm, or (`isBare`) the program that npm runs. */
export async function runStart(
  folder: string,
  env: Record<string, string> = {},
  options: Pick<ProcessOptions, 'uid'> & { isBare?: boolean } = {},
): Promise<Running> {
  const { isBare = false, uid } = options
  const all = {
    ...NO_ENV_FILE,
    PORT: `${await freePort()}`,
    VALIJA_DATA_DIR: folder,
    VALIJA_SUBMISSION_PORT: `${await freePort()}`,
    VALIJA_BOUNCE_PORT: `${await freePort()}`,
    npm_config_update_notifier: 'false',
    ...env,
  }
  const settings = { env: all, ...(uid !== undefined && { uid }) }
  return isBare
    ? startNode('apps/cli/src/main.ts', ['start'], settings)
    : startProcess('npm', ['start'], { ...settings, cwd: REPOSITORY })
}

/** Starts and waits for the ready line. */
export async function startAll(...given: Parameters<typeof runStart>): Promise<Started> {
  const process = await runStart(...given)
  await process.line(/^valija ready/, READY_MS).catch(async (error) => {
    // Asked to, it ends its PostgreSQL as well, which a kill would leave behind.
    await process.stop()
    throw error
  })
  const dev = JSON.parse(await readFile(path.join(given[0], 'dev.json'), 'utf8')) as DevFile
  return { process, dev, call: client(dev.url, dev.apiKey) }
}

/** Processes that work below the folder, or were started with it as their data folder (Linux only; elsewhere none is seen). */
export async function processesOf(folder: string): Promise<string[]> {
  const pids = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name))
  const found = await Promise.all(
    pids.map(async (pid) => {
      const [cwd, environment, command] = await Promise.all([
        readlink(`/proc/${pid}/cwd`).catch(() => ''),
        readFile(`/proc/${pid}/environ`, 'utf8').catch(() => ''),
        readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => ''),
      ])
      const isOurs = cwd.startsWith(folder) || environment.split('\0').includes(`VALIJA_DATA_DIR=${folder}`)
      return isOurs ? [`${pid} ${command.replaceAll('\0', ' ').trim()}`] : []
    }),
  )
  return found.flat()
}
