/**
 * A whole Valija of separate processes, as in production: API and worker processes on a database of their own, with the
 * queue in PostgreSQL or in a Redis of their own, a tenant with its first key, and a sender domain that it may use.
 *
 *     const peer = await startSmtpPeer()
 *     const valija = await startValija({ apis: 2, workers: 2, queue: 'redis', delivery: 'smarthost', smarthost: peer })
 *     await valija.api('POST', '/send', valija.mail())
 */
import pg from 'pg'
import { createDatabase } from './database.ts'
import { type Answer, client } from './http.ts'
import { freePort } from './ports.ts'
import { type Running, startApp } from './processes.ts'
import { startRedis, type TestRedis } from './redis.ts'
import type { SmtpPeer } from './smtp-peer.ts'
import { needsProgram } from './until.ts'

export type Call = ReturnType<typeof client>

export type ValijaOptions = {
  /** Processes at the start; 1 each when absent. */
  apis?: number
  workers?: number
  queue: 'postgres' | 'redis'
  delivery: 'capture' | 'smarthost'
  /** The peer that takes what is sent, for `delivery: 'smarthost'`. */
  smarthost?: Pick<SmtpPeer, 'host' | 'port'>
  /** Further variables for every process; they win. */
  env?: Record<string, string>
}

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
  redis: TestRedis | undefined
  apis: Running[]
  workers: Running[]
  addWorker: (env?: Record<string, string>) => Promise<Running>
  addApi: (env?: Record<string, string>) => Promise<Api>
  /** Another tenant, with a vouched domain of its own. */
  addTenant: (name: string, domain: string) => Promise<TestTenant>
  /** A POST /send body from the tenant's domain; `fields` replace what it has. */
  mail: (fields?: Record<string, unknown>) => Record<string, unknown>
  sql: <Row extends pg.QueryResultRow>(text: string, values?: unknown[]) => Promise<Row[]>
  /** Ends every process (paused ones as well) at once, and removes what they used. */
  stop: () => Promise<void>
}

/** The domain that the first tenant sends from; vouched, so unsigned and without DNS. */
export const SENDER_DOMAIN = 'acme.test'

const ADMIN_KEY = 'the-operators-key-of-the-tests'
const SECRET_KEY = 'a-secret-key-of-the-tests-0123456789'

/** For `describe.each(queueBackends)`, with `describe.skipIf(isAbsent)`: says in one line when Redis is not installed. */
export function queueBackends(): { queue: 'postgres' | 'redis'; isAbsent: boolean }[] {
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
  const { delivery, smarthost, env } = options
  return {
    DATABASE_URL: databaseUrl,
    VALIJA_SECRET_KEY: SECRET_KEY,
    VALIJA_ADMIN_KEY: ADMIN_KEY,
    VALIJA_DELIVERY: delivery,
    VALIJA_EHLO_NAME: 'valija.example.test',
    ...(smarthost && { VALIJA_SMARTHOST_URL: `smtp://${smarthost.host}:${smarthost.port}` }),
    ...(redis && { REDIS_URL: redis.url }),
    ...env,
  }
}

async function runApi(env: Record<string, string>): Promise<{ url: string; process: Running }> {
  const port = await freePort()
  const process = startApp('api', { ...env, PORT: `${port}` })
  await process.line('valija ready', 30_000)
  return { url: `http://127.0.0.1:${port}`, process }
}

async function runWorker(env: Record<string, string>): Promise<Running> {
  const process = startApp('worker', env)
  await process.line('valija ready', 30_000)
  return process
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
    const database = await createDatabase()
    closers.push(database.drop)
    const redis = options.queue === 'redis' ? await startRedis() : undefined
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
  const env = environmentOf(options, databaseUrl, redis)
  const [apis, workers, urls]: [Running[], Running[], string[]] = [[], [], []]
  closers.push(() => Promise.all([...apis, ...workers].map((process) => process.kill())))
  let tenantKey = ''
  const addApi = async (more: Record<string, string> = {}): Promise<Api> => {
    const { url, process } = await runApi({ ...env, ...more })
    apis.push(process)
    urls.push(url)
    return { url, process, call: client(url, tenantKey) }
  }
  const addWorker = async (more: Record<string, string> = {}): Promise<Running> => {
    const process = await runWorker({ ...env, ...more })
    workers.push(process)
    return process
  }
  const { apis: apiCount = 1, workers: workerCount = 1 } = options
  await Promise.all([
    ...Array.from({ length: Math.max(1, apiCount) }, () => addApi()),
    ...Array.from({ length: workerCount }, () => addWorker()),
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
    redis,
    apis,
    workers,
    addWorker,
    addApi,
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
