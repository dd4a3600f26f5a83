/** What a run breaks: PostgreSQL, Redis, API and worker processes, two each or three, and the receiving side, which it leaves alone. */
import { cpSync, existsSync } from 'node:fs'
import path from 'node:path'
import { type Program, startProgram } from '../bench/program.ts'
import { startDnsServer } from '../tests/support/dns-server.ts'
import { type Answer, client } from '../tests/support/http.ts'
import { freePort } from '../tests/support/ports.ts'
import { NODE_COMPILE_CACHE, REPOSITORY, startApp } from '../tests/support/processes.ts'
import { type FaultEntry, type Ledger, ledgerFiles, openLedger } from './ledgers.ts'
import { type Mode, modes, senderDomainOf } from './mails.ts'
import { type Mishaps, watchDisk } from './mishaps.ts'
import type { Options } from './options.ts'
import { createOutages, type Outages } from './outages.ts'
import { slotsOf } from './plan.ts'
import { type PostgresHost, startPostgresHost } from './postgres-host.ts'
import { type RedisHost, startRedisHost } from './redis-host.ts'
import { sites } from './sites.ts'
import { Supervised } from './supervised.ts'
import type { Targets } from './targets.ts'

export interface World {
  postgres: PostgresHost
  redis: RedisHost | null
  apis: Supervised[]
  workers: Supervised[]
  /** One for each API process; they keep their ports. */
  urls: string[]
  apiKeys: Readonly<Record<Mode, string>>
  sink: Program
  webhooks: Program
  faults: Ledger<FaultEntry>
  outages: Outages
  /** What is broken now, until it is whole again. */
  broken: Map<string, Promise<void>>
  /** Ends the processes as a supervisor does. @returns what was wrong with that */
  stopApps(): Promise<string[]>
  /** Ends everything else, and after a mishap the processes as well, by force. */
  stop(): Promise<void>
}

const adminKey = 'the-operators-key-of-the-torture'

export async function buildWorld(plot: Plot): Promise<World> {
  const closers: (() => unknown)[] = []
  const stop = async () => {
    plot.mishaps.ignore()
    for (const close of closers.splice(0).reverse()) await close()
  }
  const building = build(plot, closers, stop)
  try {
    return await Promise.race([building, plot.mishaps.struck])
  } catch (error) {
    building.catch(() => undefined)
    await stop()
    throw error
  }
}

/** What a world is built from. */
export interface Plot {
  options: Options
  folder: string
  targets: Targets
  mishaps: Mishaps
}

async function build(plot: Plot, closers: (() => unknown)[], stop: () => Promise<void>): Promise<World> {
  const { options, folder, mishaps } = plot
  closers.push(watchDisk(folder, mishaps))
  const postgres = await startPostgresHost(folder, mishaps.strike)
  closers.push(postgres.stop)
  const redis = options.queue === 'redis' ? await startRedisHost(mishaps.strike) : null
  if (redis) closers.push(redis.remove)
  const receivers = await startReceivers(folder)
  for (const name of ['sink', 'webhooks'] as const) {
    void receivers[name].ended.then((how) =>
      mishaps.strike(`the receiver (${name}) ended by itself (${how})`),
    )
  }
  closers.push(receivers.stop)
  const env = {
    ...environmentOf(postgres.url, redis, receivers),
    VALIJA_WORKER_CONCURRENCY: `${options.concurrency}`,
    NODE_COMPILE_CACHE: takeCompiled(folder),
  }
  await migrate(env)
  const faults = openLedger<FaultEntry>(path.join(folder, ledgerFiles.faults))
  const outages = createOutages()
  const ports = await Promise.all(Array.from({ length: slotsOf(options) }, () => freePort()))
  const supervise = supervisor(plot, { faults, outages, env })
  const apis = ports.map((port, slot) => supervise('api', slot, () => ({ PORT: `${port}` })))
  const workers = ports.map((_, slot) =>
    supervise('worker', slot, (life) => ({ VALIJA_EHLO_NAME: `${life}.torture.test` })),
  )
  const all = [...apis, ...workers]
  const stopApps = async () => {
    const ends = await Promise.all(all.map((app) => (mishaps.hasStruck ? app.abandon() : app.stop())))
    return ends.filter((end) => end !== null)
  }
  closers.push(stopApps)
  await Promise.all(all.map((app) => app.up()))
  const urls = ports.map((port) => `http://127.0.0.1:${port}`)
  const tenants = await Promise.all(
    modes.map((mode) => addTenant(mode, { options, url: urls[0] ?? '', receivers })),
  )
  return {
    postgres,
    redis,
    apis,
    workers,
    urls,
    apiKeys: Object.fromEntries(tenants) as Record<Mode, string>,
    sink: receivers.sink,
    webhooks: receivers.webhooks,
    faults,
    outages,
    broken: new Map(),
    stopApps,
    stop,
  }
}

/** After an end that nobody asked for; in a walk there are hundreds. */
const restartAfterMs = 1_000
const restartInWalkAfterMs = 100

function supervisor(
  { options, folder, targets, mishaps }: Plot,
  { faults, outages, env }: Pick<World, 'faults' | 'outages'> & { env: Record<string, string> },
) {
  return (command: 'api' | 'worker', slot: number, own: (life: string) => Record<string, string>) =>
    new Supervised({
      command,
      slot,
      restartAfterMs: options.walk ? restartInWalkAfterMs : restartAfterMs,
      faults,
      environment: (life) => ({ ...env, ...own(life), ...targets.environmentFor(command, slot) }),
      logFile: path.join(folder, `${command}-${slot}.log`),
      mayFail: outages.since,
      diedAtPoint: targets.diedAtPoint,
      onWonder: mishaps.strike,
    })
}

/** Files with points are compiled anew, and must not replace those without; all others are found as they were compiled before. */
function takeCompiled(folder: string): string {
  const compiled = path.join(folder, 'compiled')
  if (existsSync(NODE_COMPILE_CACHE)) cpSync(NODE_COMPILE_CACHE, compiled, { recursive: true })
  return compiled
}

interface TenantParts {
  options: Options
  url: string
  receivers: Receivers
}

/** @returns its mode and key */
async function addTenant(mode: Mode, { options, url, receivers }: TenantParts): Promise<[Mode, string]> {
  const admin = client(url, adminKey)
  const made = await admin<{ id: string; key: string }>('POST', '/tenants', { name: mode })
  const { id, key } = expectStatus(made, 201).json
  // No run comes near to it: it is there so that mail is drawn for.
  const limits = { recipients_per_day: 1_000_000_000 }
  expectStatus(await admin('PATCH', `/tenants/${id}`, { limits }), 200)
  if (mode === 'once') expectStatus(await admin('PATCH', `/tenants/${id}`, { at_most_once: true }), 200)
  // The operator vouches for the sender's domain.
  const domain = { name: senderDomainOf(mode), vouched: true }
  expectStatus(await admin('POST', '/domains', domain, { 'valija-tenant': id }), 201)
  if (options.webhooks) await register(mode, url, key, receivers)
  return [mode, key]
}

interface Receivers {
  sink: Program
  webhooks: Program
  webhookPort: number
  dnsAddress: string
  mxPort: number
  stop: () => Promise<void>
}

async function startReceivers(folder: string): Promise<Receivers> {
  const dns = await startDnsServer()
  for (const [site, address] of Object.entries(sites)) {
    dns.set(site, 'MX', [`10 mx.${site}`])
    dns.set(`mx.${site}`, 'A', [address])
  }
  const [mxPort, webhookPort] = [await freePort(), await freePort()]
  const addresses = Object.entries(sites).map((pair) => pair.join('='))
  const sink = startProgram('../torture/sink.ts', [
    `${mxPort}`,
    path.join(folder, ledgerFiles.sink),
    ...addresses,
  ])
  const webhooks = startProgram('../torture/webhook-sink.ts', [
    `${webhookPort}`,
    path.join(folder, ledgerFiles.webhooks),
  ])
  await Promise.all([sink.ask('ready'), webhooks.ask('ready')])
  return {
    sink,
    webhooks,
    webhookPort,
    dnsAddress: dns.address,
    mxPort,
    stop: async () => {
      await Promise.all([sink.end(), webhooks.end(), dns.stop()])
    },
  }
}

function environmentOf(databaseUrl: string, redis: RedisHost | null, { dnsAddress, mxPort }: Receivers) {
  return {
    DATABASE_URL: databaseUrl,
    ...(redis && { REDIS_URL: redis.url }),
    LOG_LEVEL: 'warn',
    VALIJA_ADMIN_KEY: adminKey,
    VALIJA_SECRET_KEY: 'a-secret-key-of-the-torture-0123456789',
    VALIJA_DELIVERY: 'mx',
    VALIJA_EHLO_NAME: 'torture.test',
    VALIJA_DNS_SERVERS: dnsAddress,
    VALIJA_MX_PORT: `${mxPort}`,
    VALIJA_BOUNCE_DOMAIN: 'bounce.torture.test',
    VALIJA_ALLOW_NETWORKS: '127.0.0.0/8',
    VALIJA_RETRY_SCHEDULE: '1s,2s,4s',
  }
}

/** Runs `migrate` to its end. */
async function migrate(env: Record<string, string>): Promise<void> {
  const program = startApp('migrate', env)
  const { code } = await program.ended
  if (code !== 0) throw new Error(`migrate ended with ${code}:\n${program.lines.join('\n')}`)
}

/** An endpoint that is told of every end. */
async function register(
  mode: Mode,
  url: string,
  apiKey: string,
  { webhooks, webhookPort }: Receivers,
): Promise<void> {
  const body = { url: `http://127.0.0.1:${webhookPort}/${mode}`, events: [...endEvents] }
  const { json } = expectStatus(await client(url, apiKey)<{ secret: string }>('POST', '/webhooks', body), 201)
  await webhooks.ask('secret', { path: `/${mode}`, secret: json.secret })
}

/** What a recipient's end is called in the stream. */
export const endEvents = [
  'message.delivered',
  'message.bounced',
  'message.failed',
  'message.suppressed',
] as const

function expectStatus<T>(answer: Answer<T>, status: number): Answer<T> {
  if (answer.status === status) return answer
  throw new Error(`${answer.status} ${answer.text}`)
}

/** Where the repository is. */
export const repository = REPOSITORY
