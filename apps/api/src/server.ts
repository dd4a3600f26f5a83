/**
 * The API process: everything that the app needs, built and connected, then the port opened. Wired here and nowhere else.
 */
import { createMailLog } from '@valija/core'
import {
  assertDeliverable,
  createAdmission,
  createAuthenticator,
  createSendDesk,
  createSenderDomains,
  type Foundation,
  type MailCounters,
  meterMailLog,
  StartError,
} from '@valija/flows'
import { type Config, type Life, type Logger, lineLogger, type Metrics } from '@valija/runtime'
import { type Database, oldestDueMs } from '@valija/store'
import type { FastifyInstance } from 'fastify'
import { buildApp } from './app.ts'
import { createReadiness } from './readiness.ts'

export interface ServerParts {
  config: Config
  foundation: Foundation
  metrics: Metrics
  log: Logger
  life: Life
}

/** Serves the API; everything it starts is registered with `life` to be stopped. */
export async function startServer({ config, foundation, metrics, log, life }: ServerParts): Promise<void> {
  const { database, clock, nextId, wake, queue, sealer } = foundation
  const lines = lineLogger(log)
  const onError = (err: Error) => log.error({ err }, 'api trouble')
  const isAllInOne = config.profile === 'start'
  const { delivery } = config
  assertDeliverable(delivery)
  const { maxMessageSizeBytes, messageTtlMs } = config
  const authenticator = createAuthenticator({ database, wake, clock, adminKey: config.adminKey ?? '' })
  const senderDomains = createSenderDomains({ database, wake, delivery, isAllInOne })
  const sendDesk = createSendDesk({
    database,
    clock,
    nextId,
    senderDomains,
    wake,
    admission: createAdmission({ database, queue, wake, onError }),
    mailLog: meterMailLog(
      createMailLog((fields, text) => lines.info(fields, text)),
      createCounters(metrics, database),
    ),
    options: { maxMessageSizeBytes, delivery, messageTtlMs },
  })
  const app = await buildApp({
    database,
    clock,
    nextId,
    wake,
    sealer,
    sendDesk,
    authenticate: authenticator.authenticate,
    readiness: createReadiness({ database, queue, delivery }),
    metrics: { contentType: metrics.contentType, text: metrics.exposition },
    log,
    options: {
      maxMessageSizeBytes,
      delivery,
      isAllInOne,
      publicUrl: config.publicUrl,
      trustProxy: [...config.trustProxy],
      corsOrigins: [...config.corsOrigins],
      metricsToken: config.metricsToken,
      allowNetworks: [...config.allowNetworks],
    },
  })
  life.onStop({
    name: 'api',
    stop: async () => {
      await closeListener(app)
      await sendDesk.drain()
      authenticator.close()
      senderDomains.close()
    },
  })
  await app.listen({ host: config.host, port: config.port }).catch((error: NodeJS.ErrnoException) => {
    throw new StartError(whyNotListening(error, config), { cause: error })
  })
  log.info({ host: config.host, port: config.port, delivery, queue: queue.backend }, 'api ready')
}

function createCounters(metrics: Metrics, database: Database): MailCounters {
  metrics.observedLevel(
    {
      name: 'valija_oldest_due_seconds',
      help: 'For how long the oldest due delivery has been waiting for a worker; what to alarm on.',
    },
    async () => (await oldestDueMs(database.engine)) / 1000,
  )
  return {
    accepted: metrics.count({ name: 'valija_recipients_accepted_total', help: 'Recipients answered 202.' }),
  }
}

/** A connection whose answer was on its way when the close began becomes idle later: it would be kept for a minute. */
const idleLookMs = 50

async function closeListener(app: FastifyInstance): Promise<void> {
  const timer = setInterval(() => app.server.closeIdleConnections(), idleLookMs)
  try {
    await app.close()
  } finally {
    clearInterval(timer)
  }
}

/** One sentence for the operator. */
export function whyNotListening(
  error: NodeJS.ErrnoException,
  { host, port }: { host: string; port: number },
): string {
  if (error.code === 'EADDRINUSE') {
    return `Port ${port} on ${host} is taken: stop the program that listens there, or set PORT to another one.`
  }
  if (error.code === 'EACCES') {
    return `Port ${port} may not be opened by this user: set PORT to one above 1023, or grant CAP_NET_BIND_SERVICE.`
  }
  if (error.code === 'EADDRNOTAVAIL')
    return `This machine has no address ${host}: set HOST to one that it has.`
  return `The API cannot listen on ${host} port ${port}: ${error.message}.`
}
