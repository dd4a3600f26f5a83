/**
 * `npm start`: everything on one machine in one process, with an embedded PostgreSQL beside it: migrations, API, worker, the
 * SMTP listeners and the capture inbox. The only app that imports others.
 */
import { createServer } from 'node:net'
import { hostname } from 'node:os'
import { openServer } from '@valija/api'
import { type DefaultTenant, openDefaultTenant, openFoundation, StartError } from '@valija/flows'
import {
  type Config,
  createLogger,
  createMetrics,
  environment,
  type Life,
  type Logger,
  loadConfig,
  loadOrCreateSecrets,
  runUntilSignal,
  startEmbeddedPostgres,
  startWatchdog,
  whyNotListening,
  withSecrets,
} from '@valija/runtime'
import { startSmtp } from '@valija/smtp'
import { migrate, migrateQueue } from '@valija/store'
import { startWorker } from '@valija/worker'
import { claimDataFolder, writeDevFile } from './data-folder.ts'
import { loadOrCreateCertificate } from './own-certificate.ts'

export async function start(): Promise<never> {
  const given = loadConfig(environment(), 'start')
  const format = process.stdout.isTTY ? 'readable' : 'json'
  const log = createLogger({ level: given.logLevel, name: 'valija', format })
  startWatchdog({ name: 'valija' })
  let welcome = ''
  return runUntilSignal({
    log,
    drainLimitMs: given.drainLimitMs,
    start: async (life) => {
      welcome = await startAll(given, log, life)
    },
    onReady: () => process.stdout.write(welcome),
  })
}

/** Nobody has asked for these: where another program has one, any other does as well. */
const defaultPorts = { bounce: 2525, submission: 2587 }

/** @returns what to print when all is ready */
async function startAll(given: Config, log: Logger, life: Life): Promise<string> {
  // First: who finds the folder taken hears which process has it, be it on this port or not.
  const release = await claimDataFolder(given.dataDir)
  life.onStop({ name: 'data folder', stop: release })
  await assertPortIsFree(given)
  const config = withSecrets(given, await loadOrCreateSecrets(given.dataDir))
  const databaseUrl = config.databaseUrl ?? (await startDatabase(config, log, life))
  await migrate(databaseUrl)
  await migrateQueue(databaseUrl)
  const foundation = await openFoundation({
    databaseUrl,
    redisUrl: config.redisUrl,
    secretKeys: config.secretKeys,
    onError: (err) => log.error({ err }, 'connection trouble'),
  })
  life.onStop({ name: 'foundation', stop: () => foundation.close() })
  const tenant = await openDefaultTenant(foundation)
  const metrics = await createMetrics('start')
  // Before anything that waits for answers with a deadline: building the API keeps the event loop.
  const server = await openServer({ config, foundation, metrics, log, life })
  await startWorker({ config, foundation, metrics, log, life })
  const { bounce, submission } = await startSmtp({
    ...{ config, foundation, metrics, log, life },
    ownCertificate: () => loadOrCreateCertificate(config.dataDir, config.ehloName ?? hostname()),
    takesAnyPort: {
      bounce: config.bouncePort === defaultPorts.bounce,
      submission: config.submissionPort === defaultPorts.submission,
    },
  })
  await server.listen()
  const url = localUrl(config)
  const smtp = { host: reachable(config), port: submission.port, user: smtpUser, pass: tenant.key }
  await writeDevFile(config.dataDir, {
    url,
    apiKey: tenant.key,
    adminKey: config.adminKey ?? '',
    smtp,
    bounceSmtp: { host: reachable(config), port: bounce.port },
    databaseUrl,
    pid: process.pid,
  })
  return welcomeText(config, url, tenant, smtp)
}

async function startDatabase(config: Config, log: Logger, life: Life): Promise<string> {
  let isStopping = false
  const postgres = await startEmbeddedPostgres({
    dataDir: `${config.dataDir}/postgres`,
    database: 'valija',
    log: (line) => {
      // Asked to stop, it says of every connection that is still there that it ends it.
      const isUsual = / LOG: /.test(line) || (isStopping && /terminating connection due to/.test(line))
      log[isUsual ? 'debug' : 'warn']({ postgres: line }, 'postgres')
    },
  })
  life.onStop({
    name: 'postgres',
    stop: () => {
      isStopping = true
      return postgres.stop()
    },
  })
  void postgres.exited.then((code) => {
    if (!isStopping) life.fail(new Error(`the embedded PostgreSQL ended by itself (${code})`))
  })
  return postgres.url
}

/** Before anything is started: what listens there is seen at once, and not when the database has been migrated. */
async function assertPortIsFree(config: Config): Promise<void> {
  const probe = createServer()
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const place = { what: 'The API', variable: 'PORT', ...config }
  probe.once('error', (error) => reject(new StartError(whyNotListening(error, place), { cause: error })))
  probe.listen(config.port, config.host, () => probe.close(() => resolve()))
  await promise
}

/** Where a listener is reached from this machine. */
function reachable({ host }: Config): string {
  return host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host
}

function localUrl(config: Config): string {
  const host = reachable(config)
  return `http://${host.includes(':') ? `[${host}]` : host}:${config.port}`
}

const deliveryNotes: Record<string, string> = {
  capture: 'capture: mail is kept in the inbox, unless it or its key names a route',
  smarthost: 'smarthost: mail is really sent, through the configured relay',
  mx: 'mx: mail is really sent',
}

/** Any will do. */
const smtpUser = 'valija'

function welcomeText(
  config: Config,
  url: string,
  tenant: DefaultTenant,
  smtp: { host: string; port: number },
): string {
  const isCaptured = config.delivery === 'capture'
  const from = isCaptured ? 'Acme <hi@acme.test>' : 'You <you@your-domain.example>'
  const mail = JSON.stringify({ from, to: 'ann@example.org', subject: 'Hello', text: 'It works.' })
  const json = "-H 'Content-Type: application/json'"
  const lines = [
    `valija ready  ${url}  delivery ${deliveryNotes[config.delivery ?? 'capture']}`,
    `  API key    ${tenant.key}`,
    ...(isCaptured ? [`  inbox      ${url}/ui/inbox#key=${tenant.key}`] : []),
    `  SMTP       ${smtp.host}:${smtp.port}  STARTTLS, any user, password = the API key`,
    `  reference  ${url}/docs`,
    ...(isCaptured
      ? []
      : [
          `  vouch for the domain that you send from, once (ADMIN_KEY is adminKey in ${config.dataDir}/dev.json):`,
          `  curl -sS ${url}/domains -H "Authorization: Bearer $ADMIN_KEY" -H 'Valija-Tenant: ${tenant.id}' ${json} -d '{"name":"your-domain.example","vouched":true}'`,
        ]),
    '  first mail:',
    `  curl -sS ${url}/send -H 'Authorization: Bearer ${tenant.key}' ${json} -d '${mail}'`,
  ]
  return `${lines.join('\n')}\n`
}
