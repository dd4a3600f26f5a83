/**
 * An installation of Valija to be measured: the embedded PostgreSQL with its default, durable settings, one API and one worker
 * process, delivery by smarthost to the sink, and a tenant that may send. Everything is new, and gone afterwards.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, open, readFile, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { startEmbeddedPostgres } from '@valija/runtime'
import pg from 'pg'
import { freePort } from '../tests/support/ports.ts'
import type { Watched } from './measure.ts'
import { senderDomain } from './receipt.ts'

export type QueueBackend = 'postgres' | 'redis'

export interface InstallationOptions {
  queue: QueueBackend
  sinkPort: number
  /** Where API and worker leave CPU profiles, and what PostgreSQL counted goes into `statements`; null: they don't. */
  profileFolder: string | null
  /** PostgreSQL settings over the defaults, to try what they are worth. */
  settings?: Record<string, string>
}

export interface Installation {
  port: number
  apiKey: string
  /** The running processes by name. */
  processes(): Watched
  startWorker(): Promise<void>
  /** Drains; what it had in hand is settled or given back. */
  stopWorker(): Promise<void>
  /** As a superuser, for checks. */
  query<Row extends pg.QueryResultRow>(sql: string): Promise<Row[]>
  /** Ends everything and removes its data. */
  remove(): Promise<void>
}

const repository = path.resolve(import.meta.dirname, '..')
const adminKey = 'bench-admin-key'
const readyWithinMs = 30_000
/** For `npm start` as well: nothing of ours comes from the shell that runs the benchmark. */
export const cleanEnvironment = {
  PATH: process.env.PATH ?? '',
  HOME: process.env.HOME ?? '/tmp',
  TZ: 'UTC',
  VALIJA_ENV_FILE: '/dev/null',
}

/** PostgreSQL counts statements, planning included. */
const statementCounts = {
  shared_preload_libraries: 'pg_stat_statements',
  'pg_stat_statements.track_planning': 'on',
}

/** Builds an installation; the worker is not started yet. */
export async function install(options: InstallationOptions): Promise<Installation> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'valija-bench-'))
  const closers: (() => unknown)[] = [() => rm(folder, { recursive: true, force: true })]
  const remove = async () => {
    for (const close of closers.splice(0).reverse()) await close()
  }
  try {
    return await build(options, folder, closers, remove)
  } catch (error) {
    await remove()
    throw error
  }
}

async function build(
  { queue, sinkPort, profileFolder, settings = {} }: InstallationOptions,
  folder: string,
  closers: (() => unknown)[],
  remove: () => Promise<void>,
): Promise<Installation> {
  const postgres = await startEmbeddedPostgres({
    dataDir: path.join(folder, 'postgres'),
    database: 'valija',
    settings: { ...(profileFolder && statementCounts), ...settings },
  })
  closers.push(postgres.stop)
  const redis = queue === 'redis' ? await startRedis(folder) : null
  if (redis) closers.push(redis.app.stop)
  const port = await freePort()
  const env = {
    DATABASE_URL: postgres.url,
    ...(redis && { REDIS_URL: redis.url }),
    PORT: `${port}`,
    VALIJA_ADMIN_KEY: adminKey,
    VALIJA_SECRET_KEY: 'a-secret-key-of-the-benchmark',
    VALIJA_DELIVERY: 'smarthost',
    VALIJA_SMARTHOST_URL: `smtp://127.0.0.1:${sinkPort}`,
  }
  const start = (name: string) => startApp({ name, args: [name], env, folder, profileFolder })
  await (await startApp({ name: 'migrate', args: ['migrate'], env, folder, profileFolder: null })).stop()
  const tenant = await createTenant(env, folder)
  const api = await start('api')
  closers.push(api.stop)
  await vouch(port, tenant.id)
  const client = new pg.Client(postgres.url)
  await client.connect()
  if (profileFolder) await client.query('CREATE EXTENSION pg_stat_statements')
  closers.push(() => client.end())
  let worker: App | null = null
  const stopWorker = async () => {
    await worker?.stop()
    worker = null
  }
  closers.push(stopWorker)
  return {
    port,
    apiKey: tenant.key,
    processes: () => ({
      api: api.pid,
      ...(worker && { worker: worker.pid }),
      postgres: postgres.pid,
      ...(redis && { redis: redis.app.pid }),
    }),
    startWorker: async () => {
      worker = await start('worker')
    },
    stopWorker,
    query: async <Row extends pg.QueryResultRow>(sql: string) => (await client.query<Row>(sql)).rows,
    remove,
  }
}

interface App {
  pid: number
  output(): Promise<string>
  /** SIGTERM, then waits for its end; one that does not drain within half a minute is killed. */
  stop(): Promise<void>
}

interface AppOptions {
  name: string
  args: string[]
  env: Record<string, string>
  folder: string
  profileFolder: string | null
}

/** Starts `valija <args>` with its log in a file, as a supervisor would, and waits until it is ready or has ended. */
async function startApp({ name, args, env, folder, profileFolder }: AppOptions): Promise<App> {
  const profiling = profileFolder
    ? ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`, `--cpu-prof-name=${name}.cpuprofile`]
    : []
  const program = [...profiling, path.join(repository, 'apps/cli/src/main.ts'), ...args]
  return startLogged({ name, command: process.execPath, args: program, env, folder, ready: /^valija ready/m })
}

async function startLogged(program: {
  name: string
  command: string
  args: string[]
  env: Record<string, string>
  folder: string
  ready: RegExp
}): Promise<App> {
  const { name, command, args, env, folder, ready } = program
  const file = path.join(folder, `${name}.log`)
  const log = await open(file, 'w')
  const child = spawn(command, args, {
    cwd: repository,
    env: { ...cleanEnvironment, ...env },
    stdio: ['ignore', log.fd, log.fd],
    // Ctrl-C is ours to handle: the programs end in order.
    detached: true,
  })
  const ended = once(child, 'exit')
  await log.close()
  const output = () => readFile(file, 'utf8')
  const app = { pid: child.pid ?? 0, output, stop: () => stop(child, ended) }
  const deadline = performance.now() + readyWithinMs
  while (!ready.test(await output()) && child.exitCode === null && performance.now() < deadline)
    await delay(20)
  if (ready.test(await output()) || child.exitCode === 0) return app
  await app.stop()
  throw new Error(`${name} is not ready:\n${await output()}`)
}

async function stop(child: ChildProcess, ended: Promise<unknown>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGTERM')
  const insist = setTimeout(() => child.kill('SIGKILL'), readyWithinMs)
  await ended
  clearTimeout(insist)
}

/** As the documentation tells operators to set it: nothing is evicted, and what is added is written to a file each second. */
async function startRedis(folder: string): Promise<{ url: string; app: App }> {
  const port = await freePort()
  const settings = `--port ${port} --bind 127.0.0.1 --dir ${folder} --appendonly yes --maxmemory-policy noeviction`
  const app = await startLogged({
    name: 'redis',
    command: 'redis-server',
    args: [...settings.split(' '), '--save', ''],
    env: {},
    folder,
    ready: /Ready to accept connections/,
  })
  return { url: `redis://127.0.0.1:${port}`, app }
}

async function createTenant(
  env: Record<string, string>,
  folder: string,
): Promise<{ id: string; key: string }> {
  const args = ['tenant', 'create', '--name', 'bench', '--json']
  const app = await startApp({ name: 'tenant', args, env, folder, profileFolder: null })
  return JSON.parse(await app.output())
}

/** The operator vouches for the sender's domain. */
async function vouch(port: number, tenantId: string): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${port}/domains`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${adminKey}`,
      'valija-tenant': tenantId,
      'content-type': 'application/json',
    },
    body: JSON.stringify({ name: senderDomain, vouched: true }),
  })
  if (response.status !== 201) throw new Error(`POST /domains: ${response.status} ${await response.text()}`)
}
