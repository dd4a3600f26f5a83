/**
 * An installation of Valija to be measured: the embedded PostgreSQL with its default, durable settings, one API process and as
 * many workers as are started, delivery to the sink, and tenants that may send. Everything is new, and gone afterwards.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { startEmbeddedPostgres } from '@valija/runtime'
import pg from 'pg'
import { freePort } from '../tests/support/ports.ts'
import { NODE_COMPILE_CACHE } from '../tests/support/processes.ts'
import { closeAll } from './closers.ts'
import { copyFreshDatabase, databaseName } from './fresh-database.ts'
import { type App, startLogged } from './logged-app.ts'
import { senderDomain } from './mails.ts'
import type { Watched } from './measure.ts'
import { readRedisBytes, startRedis } from './redis-server.ts'

export type QueueBackend = 'postgres' | 'redis'

/** How the senders' domains have their mails signed. */
export type Signing = 'unsigned' | 'rsa' | 'ed25519' | 'both'

export interface InstallationOptions {
  queue: QueueBackend
  sinkPort: number
  signing?: Signing
  /** How many may send, each with a domain and a key; one when absent. */
  tenants?: number
  /** The name server (`ip:port`) that knows the recipients' exchangers; absent: the sink is a smarthost. */
  dnsServer?: string
  /** Conversations that a worker has at most (VALIJA_WORKER_CONCURRENCY); as delivered when absent. */
  conversations?: number
  /** Where API and worker leave CPU and allocation profiles, and what PostgreSQL counted goes into `statements`; null: they don't. */
  profileFolder: string | null
  /** PostgreSQL settings over the defaults, to try what they are worth. */
  settings?: Record<string, string>
}

export interface Installation {
  port: number
  /** Of the tenants, in order. */
  apiKeys: string[]
  /** The running processes by name. */
  processes(): Watched
  startWorkers(count: number): Promise<void>
  /** They drain; what they had in hand is settled or given back. */
  stopWorkers(): Promise<void>
  /** As a superuser, for checks. */
  query<Row extends pg.QueryResultRow>(sql: string): Promise<Row[]>
  /** Memory that Redis says it uses, in octets; null without Redis. */
  redisBytes(): Promise<number | null>
  /** Ends everything and removes its data. */
  remove(): Promise<void>
}

const repository = path.resolve(import.meta.dirname, '..')
const adminKey = 'bench-admin-key'

/** PostgreSQL counts statements, planning included. */
const statementCounts = {
  shared_preload_libraries: 'pg_stat_statements',
  'pg_stat_statements.track_planning': 'on',
}

/** Builds an installation; the worker is not started yet. */
export async function install(options: InstallationOptions): Promise<Installation> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'valija-bench-'))
  const closers: (() => unknown)[] = [() => rm(folder, { recursive: true, force: true })]
  const remove = () => closeAll(closers)
  try {
    return await build(options, folder, closers, remove)
  } catch (error) {
    await remove()
    throw error
  }
}

async function build(
  options: InstallationOptions,
  folder: string,
  closers: (() => unknown)[],
  remove: () => Promise<void>,
): Promise<Installation> {
  const { queue, profileFolder, settings = {} } = options
  const dataDir = path.join(folder, 'postgres')
  await copyFreshDatabase(dataDir, async (url) => {
    const env = { ...environmentOf(options), DATABASE_URL: url }
    await (await startApp({ name: 'migrate', args: ['migrate'], env, folder, profileFolder: null })).stop()
  })
  const postgres = await startEmbeddedPostgres({
    dataDir,
    database: databaseName,
    settings: { ...(profileFolder && statementCounts), ...settings },
  })
  closers.push(postgres.stop)
  const redis = queue === 'redis' ? await startRedis(folder) : null
  if (redis) closers.push(redis.app.stop)
  const port = await freePort()
  const env = {
    ...environmentOf(options),
    DATABASE_URL: postgres.url,
    ...(redis && { REDIS_URL: `redis://127.0.0.1:${redis.port}` }),
    PORT: `${port}`,
  }
  const start = (name: string, args = [name]) => startApp({ name, args, env, folder, profileFolder })
  const api = await start('api')
  closers.push(api.stop)
  const apiKeys = await createTenants(port, options)
  const client = new pg.Client(postgres.url)
  await client.connect()
  if (profileFolder) await client.query('CREATE EXTENSION pg_stat_statements')
  closers.push(() => client.end())
  let workers: App[] = []
  const stopWorkers = async () => void (await Promise.all(workers.splice(0).map((worker) => worker.stop())))
  closers.push(stopWorkers)
  return {
    port,
    apiKeys,
    processes: () => ({
      api: [api.pid],
      ...(workers.length > 0 && { worker: workers.map(({ pid }) => pid) }),
      postgres: [postgres.pid],
      ...(redis && { redis: [redis.app.pid] }),
    }),
    startWorkers: async (count) => {
      const names = Array.from({ length: count }, (_, index) => `worker${index === 0 ? '' : index + 1}`)
      workers = await Promise.all(names.map((name) => start(name, ['worker'])))
    },
    stopWorkers,
    query: async <Row extends pg.QueryResultRow>(sql: string) => (await client.query<Row>(sql)).rows,
    redisBytes: async () => (redis ? readRedisBytes(redis.port) : null),
    remove,
  }
}

function environmentOf({ sinkPort, dnsServer, conversations }: InstallationOptions): Record<string, string> {
  return {
    VALIJA_ADMIN_KEY: adminKey,
    VALIJA_SECRET_KEY: 'a-secret-key-of-the-benchmark',
    VALIJA_MAX_QUEUED_PER_TENANT: '0',
    VALIJA_MAX_QUEUED: '0',
    VALIJA_MAX_REQUESTS_PER_ADDRESS: '0',
    ...(conversations !== undefined && { VALIJA_WORKER_CONCURRENCY: `${conversations}` }),
    ...(dnsServer === undefined
      ? { VALIJA_DELIVERY: 'smarthost', VALIJA_SMARTHOST_URL: `smtp://127.0.0.1:${sinkPort}` }
      : {
          VALIJA_DELIVERY: 'mx',
          VALIJA_DNS_SERVERS: dnsServer,
          VALIJA_MX_PORT: `${sinkPort}`,
          VALIJA_ALLOW_NETWORKS: '127.0.0.0/8',
          VALIJA_BOUNCE_DOMAIN: 'bounce.valija.test',
        }),
  }
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
    ? [
        ...['--cpu-prof', `--cpu-prof-dir=${profileFolder}`, `--cpu-prof-name=${name}.cpuprofile`],
        ...['--import', path.join(import.meta.dirname, 'allocations.ts')],
      ]
    : []
  const program = [...profiling, path.join(repository, 'apps/cli/src/main.ts'), ...args]
  return startLogged({
    name,
    command: process.execPath,
    args: program,
    env: {
      NODE_COMPILE_CACHE,
      ...env,
      ...(profileFolder && { BENCH_ALLOCATIONS: path.join(profileFolder, `${name}.heapprofile`) }),
    },
    folder,
    ready: /^valija ready/m,
  })
}

/** Tenants with a vouched domain each. @returns their keys, in order */
async function createTenants(
  port: number,
  { tenants = 1, signing = 'unsigned' }: InstallationOptions,
): Promise<string[]> {
  const keys: string[] = []
  for (let index = 0; index < tenants; index++) {
    const { id, key } = await ask<{ id: string; key: string }>(port, '/tenants', { name: `bench ${index}` })
    keys.push(key)
    const domain = { name: senderDomain(index), vouched: true, ...signings[signing] }
    await ask(port, '/domains', domain, { 'valija-tenant': id })
  }
  return keys
}

const signings = {
  unsigned: {},
  rsa: { dkim: true, dkim_algorithms: ['rsa'] },
  ed25519: { dkim: true, dkim_algorithms: ['ed25519'] },
  both: { dkim: true, dkim_algorithms: ['rsa', 'ed25519'] },
}

/** As the operator. */
async function ask<T>(
  port: number,
  route: string,
  body: object,
  headers: Record<string, string> = {},
): Promise<T> {
  const response = await fetch(`http://127.0.0.1:${port}${route}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${adminKey}`, 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })
  if (response.status !== 201) {
    throw new Error(`POST ${route}: ${response.status} ${await response.text()}`)
  }
  return (await response.json()) as T
}
