/**
 * The API process: everything that the app needs, built and connected, then the port opened. Wired here and nowhere else.
 */
import { hostname } from 'node:os'
import { createMailLog, formatId, streams, type Uuid } from '@valija/core'
import {
  createNetworkGuard,
  createOpenMailbox,
  localAddresses,
  type OpenMailbox,
  openWebHttp,
  type Resolver,
} from '@valija/courier'
import {
  acceptedCounted,
  createAuthenticator,
  createErasureDesk,
  createMailSigner,
  createMessageDesk,
  createReportFields,
  type Foundation,
  type LinkOutcome,
  type MailCounters,
  meterMailLog,
  openDomainDns,
  openSending,
  openUnsubscribing,
  type RouteDirectory,
  StartError,
} from '@valija/flows'
import {
  type Config,
  type Life,
  type Logger,
  lineWriter,
  type Metrics,
  whyNotListening,
} from '@valija/runtime'
import {
  countMailboxes,
  countSiteConditions,
  countSuspects,
  type Database,
  givenUpCount,
  oldestDueMs,
  readInstanceValue,
} from '@valija/store'
import type { FastifyInstance } from 'fastify'
import { buildApp } from './app.ts'
import type { MxReadinessParts } from './mx-readiness.ts'
import { openPreview } from './open-preview.ts'
import { createReadiness } from './readiness.ts'

export interface ServerParts {
  config: Config
  foundation: Foundation
  metrics: Metrics
  log: Logger
  life: Life
}

/** An API that is built and takes no requests yet. */
export interface OpenedServer {
  listen(): Promise<void>
}

/** Serves the API; everything it starts is registered with `life` to be stopped. */
export async function startServer(parts: ServerParts): Promise<void> {
  await (await openServer(parts)).listen()
}

/**
 * Builds the API, which keeps the event loop for a second, and several on a busy machine: whatever waits for an answer in this process
 * meanwhile would believe that none came.
 */
export async function openServer(parts: ServerParts): Promise<OpenedServer> {
  const { config, foundation, metrics, log, life } = parts
  const { database, clock, nextId, wake, queue, sealer } = foundation
  const onError = (err: Error) => log.error({ err }, 'api trouble')
  const isAllInOne = config.profile === 'start'
  const delivery = config.delivery ?? 'capture'
  const { maxMessageSizeBytes } = config
  const authenticator = createAuthenticator({ database, wake, clock, adminKey: config.adminKey ?? '' })
  const signer = createMailSigner({ database, sealer, wake })
  const http = openWebHttp({ allowNetworks: config.allowNetworks, dnsServers: config.dnsServers })
  const mailLog = openMailLog(log, createCounters(metrics, database))
  const onRenderEnded = renderWarner(log)
  const sending = await openSending({ foundation, config, mailLog, onError, onRenderEnded })
  const { sendDesk, allowances, routes } = sending
  const dns = openDomainDns(config, routes, sealer)
  const preview = openPreview({ ...dns, foundation, sendDesk, routes, signer })
  const app = await buildApp({
    database,
    clock,
    nextId,
    wake,
    queue,
    sealer,
    signer,
    ...dns,
    ...openUnsubscribing({ ...foundation, count: linkCounter(metrics) }),
    reportFields: createReportFields({ sealer, bounceDomain: config.bounceDomain }),
    http,
    openMailbox: openMailboxOf(config),
    sendDesk,
    messageDesk: createMessageDesk({ database, clock, nextId, wake, mailLog }),
    erasureDesk: createErasureDesk({ database, clock, nextId, wake, mailLog, sealer }),
    ...preview,
    ...sending.templates,
    authenticate: authenticator.authenticate,
    allowances,
    readiness: createReadiness({ ...foundation, delivery, mx: mxOf(config, dns.resolver, routes) }),
    metrics: { contentType: metrics.contentType, text: metrics.exposition },
    log,
    options: { ...httpOptions(config), maxMessageSizeBytes, delivery, isAllInOne },
  })
  const stop = async () => {
    await closeListener(app)
    await sending.close()
    authenticator.close()
    signer.close()
    preview.close()
    dns.resolver.close()
    await http.close()
  }
  return {
    listen: async () => {
      life.onStop({ name: 'api', stop })
      // Before anybody is served: loaded later it would hold up all mails for as long, or be gone with an upgrade in place.
      await database.load()
      await listen(app, config)
      log.info({ host: config.host, port: config.port, delivery, queue: queue.backend }, 'api ready')
    },
  }
}

function openMailLog(log: Logger, counters: MailCounters) {
  return meterMailLog(createMailLog(lineWriter(log)), counters)
}

function renderWarner(log: Logger) {
  return (tenantId: Uuid, why: string) =>
    log.warn(
      { tenant: formatId('tenant', tenantId), why },
      'the render of a template was ended with its thread',
    )
}

async function listen(app: FastifyInstance, config: Config): Promise<void> {
  await app.listen({ host: config.host, port: config.port }).catch((error: NodeJS.ErrnoException) => {
    throw new StartError(whyNotListening(error, { what: 'The API', variable: 'PORT', ...config }), {
      cause: error,
    })
  })
}

/** Of a mailbox's test: together well within a request's time (answer-in-time.ts). */
const mailboxTestLimits = { connectMs: 8_000, openMs: 6_000, listMs: 4_000, finishMs: 1_000 }

function openMailboxOf({ allowNetworks }: Config): OpenMailbox {
  const guard = createNetworkGuard(allowNetworks, localAddresses)
  return createOpenMailbox({ guard, limits: mailboxTestLimits })
}

function httpOptions(config: Config) {
  return {
    publicUrl: config.publicUrl,
    trustProxy: [...config.trustProxy],
    corsOrigins: [...config.corsOrigins],
    metricsToken: config.metricsToken,
    maxRequestsPerAddress: config.maxRequestsPerAddress,
    retentionDays: Math.ceil(config.retentionEventsMs / 86_400_000),
    contentDays: Math.ceil(config.retentionContentMs / 86_400_000),
    allowNetworks: [...config.allowNetworks],
  }
}

function mxOf(config: Config, resolver: Resolver, routes: RouteDirectory): MxReadinessParts {
  const ownName = config.ehloName ?? hostname()
  return {
    resolver,
    // A domain of ours, and one whose name servers are always there.
    askedNames: [...(config.bounceDomain === null ? [] : [config.bounceDomain]), 'org'],
    // As delivery chooses: where there are named sources, exchangers see those alone.
    ehloNames: () => {
      const { sources } = routes.present
      return sources.length === 0 ? [ownName] : [...new Set(sources.map(({ ehloName }) => ehloName))]
    },
    mxPort: config.mxPort,
  }
}

function createCounters(metrics: Metrics, database: Database): MailCounters {
  metrics.observedLevels(
    {
      name: 'valija_oldest_due_seconds',
      help: 'For how long the oldest due delivery of a stream has been waiting for a worker; alarm on transactional: a campaign may wait for its turn.',
      labels: ['stream'],
    },
    async () => {
      const ages = await oldestDueMs(database.engine)
      return streams.map((stream) => ({ labels: { stream }, value: ages[stream] / 1000 }))
    },
  )
  metrics.observedLevels(
    {
      name: 'valija_slowed_sites',
      help: 'Receiving sites that are slowed or suspended, by provider (empty: none that the shaping rules know); see GET /queue.',
      labels: ['provider', 'state'],
    },
    async () => {
      const counts = await countSiteConditions(database.engine)
      return counts.map(({ provider, condition, count }) => ({
        labels: { provider: provider ?? '', state: condition },
        value: count,
      }))
    },
  )
  metrics.observedLevels(
    {
      name: 'valija_mailboxes',
      help: 'Mailboxes that bounces land in, by how they do; alarm on failing.',
      labels: ['state'],
    },
    async () => {
      const counts = await countMailboxes(database.engine)
      return counts.map(({ state, count }) => ({ labels: { state }, value: count }))
    },
  )
  metrics.observedLevel(
    {
      name: 'valija_suspect_deliveries',
      help: 'Deliveries whose workers died or hung several times in a row: each is tried alone.',
    },
    () => countSuspects(database.engine),
  )
  metrics.observedLevel(
    {
      name: 'valija_poison_given_up',
      help: 'Deliveries given up so far because they ended every process that had them; alarm when it grows.',
    },
    async () => Number((await readInstanceValue(database, givenUpCount)) ?? 0),
  )
  return { accepted: metrics.count(acceptedCounted) }
}

function linkCounter(metrics: Metrics): (outcome: LinkOutcome) => void {
  const followed = metrics.count({
    name: 'valija_unsubscribe_links_total',
    help: 'Links in mails that were followed, by what came of it; refused: none of ours.',
    labels: ['outcome'],
  })
  return (outcome) => followed.add({ outcome })
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
