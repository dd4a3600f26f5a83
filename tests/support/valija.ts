/**
 * A whole Valija of separate processes, as in production: API and worker processes on a database of their own, with the
 * queue in PostgreSQL or in a Redis of their own, a tenant with its first key, and a sender domain that it may use.
 *
 *     const peer = await startSmtpPeer()
 *     const valija = await startValija({ apis: 2, workers: 2, queue: 'redis', delivery: 'smarthost', smarthost: peer })
 *     await valija.api('POST', '/send', valija.mail())
 */
import pg from 'pg'
import { chosenQueue } from './chosen-queue.ts'
import { createDatabase, type TestDatabase } from './database.ts'
import { type Answer, client } from './http.ts'
import type { Internet } from './internet.ts'
import { freePort } from './ports.ts'
import { type Running, startApp } from './processes.ts'
import type { TestRedis } from './redis.ts'
import { type RedisKind, redisKinds, startRedisOf } from './redis-topologies.ts'
import type { SmtpPeer } from './smtp-peer.ts'
import { needsProgram } from './until.ts'

export type Call = ReturnType<typeof client>

export type QueueKind = 'postgres' | RedisKind

export type ValijaOptions = {
  /** Processes at the start; 1 each when absent. */
  apis?: number
  workers?: number
  /** Another one where VALIJA_TEST_QUEUE chooses it. */
  queue: QueueKind
  delivery: 'capture' | 'smarthost' | 'mx'
  /** The peer that takes what is sent, for `delivery: 'smarthost'`. */
  smarthost?: Pick<SmtpPeer, 'host' | 'port'>
  /** Where domains and their exchangers are, for `delivery: 'mx'`. */
  internet?: Pick<Internet, 'dns' | 'port'>
  /** Further variables for every process; they win. */
  env?: Record<string, string>
  /** What the first processes are started with, and their database is made by, instead of this version's (previous-version.ts). */
  version?: { startApp: StartApp; createDatabase: () => Promise<TestDatabase> }
  /** A database of the test's own, instead of one that is made for it and removed at the end. */
  databaseUrl?: string
  /** By which URL the processes reach the database: through a proxy. */
  databaseUrlFor?: (directUrl: string) => string
}

type StartApp = (command: string, env: Record<string, string>) => Running

export type Api = { url: string; call: Call; process: Running }

export type TestTenant = { id: string; key: string; call: Call }

export type Valija = {
  /** The first API process, and all of them. */
  url: string
  urls: string[]
  /** Calls with the tenant's key, at the first API process. */
  api: Call
  /** Calls with the operator's key; `{ 'valija-tenant': tenantId }` acts for a tenant. */
  admin: Call
  tenantId: string
  tenantKey: string
  adminKey: string
  databaseUrl: string
  /** What every process gets, for commands of one's own. */
  env: Record<string, string>
  redis: TestRedis | undefined
  apis: Running[]
  workers: Running[]
  addWorker: (env?: Record<string, string>) => Promise<Running>
  addApi: (env?: Record<string, string>) => Promise<Api>
  /** A process that takes bounces and complaints. */
  addSmtp: (env?: Record<string, string>) => Promise<Smtp>
  /** Another tenant, with a vouched domain of its own. */
  addTenant: (name: string, domain: string) => Promise<TestTenant>
  /** A POST /send body from the tenant's domain; `fields` replace what it has. */
  mail: (fields?: Record<string, unknown>) => Record<string, unknown>
  sql: <Row extends pg.QueryResultRow>(text: string, values?: unknown[]) => Promise<Row[]>
  /** Ends every process (paused ones as well) at once, and removes what they used. */
  stop: () => Promise<void>
}

/** A `valija smtp`: where it takes bounces, and where mail to send. */
export type Smtp = { process: Running; port: number; submission: number }

/** The domain that the first tenant sends from; vouched, so unsigned and without DNS. */
export const SENDER_DOMAIN = 'acme.test'

/** A start takes a second or two; this is for a machine on which everything runs at once. */
const START_MS = 120_000

const ADMIN_KEY = 'the-operators-key-of-the-tests'
/** Of every process, unless `env` has another. */
export const SECRET_KEY = 'a-secret-key-of-the-tests-0123456789'

export type Backend = { queue: QueueKind; isAbsent: boolean }

/** The two backends and, for the second, more than one server: sentinels, a cluster. */
export function queueKinds(): Backend[] {
  const [isAbsent, chosen] = [needsProgram('redis-server'), chosenQueue()]
  if (chosen) return [{ queue: chosen, isAbsent }]
  return [{ queue: 'postgres', isAbsent: false }, ...redisKinds.map((queue) => ({ queue, isAbsent }))]
}

/** For `describe.each(queueBackends)`, with `describe.skipIf(isAbsent)`: says in one line when Redis is not installed. */
export function queueBackends(): Backend[] {
  if (chosenQueue()) return queueKinds()
  return [
    { queue: 'postgres', isAbsent: false },
    { queue: 'redis', isAbsent: needsProgram('redis-server') },
  ]
}

/** The answer, when it has the status; otherwise an error that shows it. */
export function expectStatus<T>(answer: Answer<T>, status: number): Answer<T> {
  if (answer.status !== status) throw new Error(`${answer.status} instead of ${status}: ${answer.text}`)
  return answer
}

function environmentOf(options: ValijaOptions, databaseUrl: string, redis: TestRedis | undefined) {
  const { delivery, smarthost, internet, env } = options
  return {
    DATABASE_URL: databaseUrl,
    VALIJA_SECRET_KEY: SECRET_KEY,
    VALIJA_ADMIN_KEY: ADMIN_KEY,
    VALIJA_DELIVERY: delivery,
    VALIJA_EHLO_NAME: 'valija.example.test',
    ...(smarthost && { VALIJA_SMARTHOST_URL: `smtp://${smarthost.host}:${smarthost.port}` }),
    ...(internet && {
      VALIJA_DNS_SERVERS: internet.dns.address,
      VALIJA_MX_PORT: `${internet.port}`,
      VALIJA_BOUNCE_DOMAIN: 'bounce.example.test',
      VALIJA_ALLOW_NETWORKS: '127.0.0.0/8',
    }),
    ...(redis && { REDIS_URL: redis.url }),
    ...env,
  }
}

async function runApi(
  env: Record<string, string>,
  start: StartApp,
): Promise<{ url: string; process: Running }> {
  const port = await freePort()
  const process = start('api', { ...env, PORT: `${port}` })
  await process.line('valija ready', START_MS)
  return { url: `http://127.0.0.1:${port}`, process }
}

async function runWorker(env: Record<string, string>, start: StartApp): Promise<Running> {
  const process = start('worker', env)
  await process.line('valija ready', START_MS)
  return process
}

async function runSmtp(env: Record<string, string>): Promise<Smtp> {
  const [port, submission] = [await freePort(), await freePort()]
  const ports = { VALIJA_BOUNCE_PORT: `${port}`, VALIJA_SUBMISSION_PORT: `${submission}` }
  const process = startApp('smtp', { ...ports, ...env })
  await process.line('valija ready', START_MS)
  return { process, port, submission }
}

/** A tenant, and a domain that it may send from. */
async function createTenant(url: string, name: string, domain: string): Promise<TestTenant> {
  const admin = client(url, ADMIN_KEY)
  const made = expectStatus(await admin<{ id: string; key: string }>('POST', '/tenants', { name }), 201)
  const { id, key } = made.json
  const vouched = { name: domain, vouched: true }
  expectStatus(await admin('POST', '/domains', vouched, { 'valija-tenant': id }), 201)
  return { id, key, call: client(url, key) }
}

/** Starts everything; what had started is ended when something does not. */
export async function startValija(options: ValijaOptions): Promise<Valija> {
  const closers: (() => Promise<unknown>)[] = []
  const stop = async () => {
    for (const close of closers.splice(0).reverse()) await close()
  }
  try {
    const { databaseUrl, version } = options
    const database = databaseUrl
      ? { url: databaseUrl, drop: async () => {} }
      : await (version?.createDatabase ?? createDatabase)()
    closers.push(database.drop)
    const queue = chosenQueue() ?? options.queue
    const redis = queue === 'postgres' ? undefined : await startRedisOf[queue]()
    if (redis) closers.push(redis.remove)
    return await startProcesses(options, database.url, redis, closers, stop)
  } catch (error) {
    await stop()
    throw error
  }
}

async function startProcesses(
  options: ValijaOptions,
  databaseUrl: string,
  redis: TestRedis | undefined,
  closers: (() => Promise<unknown>)[],
  stop: () => Promise<void>,
): Promise<Valija> {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 2 })
  pool.on('error', () => undefined) // some tests cut every connection to the database
  closers.push(() => pool.end())
  const env = environmentOf(options, options.databaseUrlFor?.(databaseUrl) ?? databaseUrl, redis)
  const [apis, workers, smtps, urls]: [Running[], Running[], Running[], string[]] = [[], [], [], []]
  closers.push(() => Promise.all([...apis, ...workers, ...smtps].map((process) => process.kill())))
  let tenantKey = ''
  const addApi = async (more: Record<string, string> = {}, start: StartApp = startApp): Promise<Api> => {
    const { url, process } = await runApi({ ...env, ...more }, start)
    apis.push(process)
    urls.push(url)
    return { url, process, call: client(url, tenantKey) }
  }
  const addWorker = async (
    more: Record<string, string> = {},
    start: StartApp = startApp,
  ): Promise<Running> => {
    const process = await runWorker({ ...env, ...more }, start)
    workers.push(process)
    return process
  }
  const { apis: apiCount = 1, workers: workerCount = 1 } = options
  const first = options.version?.startApp ?? startApp
  await Promise.all([
    ...Array.from({ length: Math.max(1, apiCount) }, () => addApi({}, first)),
    ...Array.from({ length: workerCount }, () => addWorker({}, first)),
  ])
  const url = urls[0]!
  const tenant = await createTenant(url, 'acme', SENDER_DOMAIN)
  tenantKey = tenant.key
  return {
    url,
    urls,
    api: tenant.call,
    admin: client(url, ADMIN_KEY),
    tenantId: tenant.id,
    tenantKey,
    adminKey: ADMIN_KEY,
    databaseUrl,
    env,
    redis,
    apis,
    workers,
    addWorker,
    addApi,
    addSmtp: async (more = {}) => {
      const made = await runSmtp({ ...env, ...more })
      smtps.push(made.process)
      return made
    },
    addTenant: (name, domain) => createTenant(url, name, domain),
    mail: (fields = {}) => ({
      from: `Acme <hi@${SENDER_DOMAIN}>`,
      to: 'ann@example.org',
      subject: 'Hello',
      text: 'It works.',
      ...fields,
    }),
    sql: async <Row extends pg.QueryResultRow>(text: string, values: unknown[] = []) =>
      (await pool.query<Row>(text, values)).rows,
    stop,
  }
}
