/**
 * A worker: takes hints, delivers, settles, tells webhooks, and, where it leads, dispatches what waits. Any number of workers
 * share one database and one queue. Everything is wired here and nowhere else.
 */
import { hostname } from 'node:os'
import { createMailLog, type MailLog } from '@valija/core'
import {
  captureTarget,
  createNetworkGuard,
  createOpenSession,
  createOutgoingHttp,
  createSiteScheduler,
  defaultDeadlines,
  type SessionTarget,
  smarthostTarget,
  startCaptureReceiver,
} from '@valija/courier'
import {
  assertDeliverable,
  createAdmission,
  createDeliverer,
  createDispatcher,
  createMaintenance,
  createReturnPath,
  createSweep,
  createWebhookDispatcher,
  type Deliverer,
  type Foundation,
  keepCapturedMail,
  type MailCounters,
  meterMailLog,
} from '@valija/flows'
import type { Config, Life, Logger, Metrics } from '@valija/runtime'
import { openLeadership } from '@valija/store'
import { createWebhookLog } from './webhook-log.ts'

export interface WorkerParts {
  config: Config
  foundation: Foundation
  /** Null where nobody can read them: a worker of its own has no HTTP. */
  metrics: Metrics | null
  log: Logger
  life: Life
}

/** Deliveries in hand for each conversation that may be under way: the next ones are ready when one ends. */
const leasesPerConversation = 4
/** Hints taken at once; each is a query, then its rows are in hand. */
const hintConcurrency = 4
/** Of these, one site that cannot be reached may keep a quarter: the others go on beside it. */
const keptPerConversation = leasesPerConversation / 4
const siteLimits = { connectionsPerSite: 20, mailsPerConnection: 1_000, idleMs: 10_000 }

/** Starts working; everything it starts is registered with `life` to be stopped. */
export async function startWorker({ config, foundation, metrics, log, life }: WorkerParts): Promise<void> {
  const { database, clock, nextId, wake, queue, sealer } = foundation
  const onError = (err: Error) => log.error({ err }, 'worker trouble')
  assertDeliverable(config.delivery)
  const routes = await openRoutes({ config, foundation, log, life })
  const mailLog = meterMailLog(
    createMailLog((fields, text) => log.info(fields, text)),
    metrics === null ? {} : createCounters(metrics),
  )

  const leadership = openLeadership(foundation.database.url, 'dispatch', onError)
  life.onStop({ name: 'leadership', stop: () => leadership.close() })
  const admission = createAdmission({ database, queue, wake, onError })
  const deliverer = openDeliverer({ config, foundation }, { routes, mailLog, onError })
  life.onStop({ name: 'deliveries', stop: () => deliverer.drain(), hurry: () => deliverer.hurry() })

  const http = createOutgoingHttp({ allowNetworks: [...config.allowNetworks] })
  life.onStop({ name: 'outgoing http', stop: () => http.close() })
  const webhooks = createWebhookDispatcher({
    database,
    clock,
    nextId,
    sealer,
    http,
    wake,
    log: createWebhookLog(log),
  })
  webhooks.start()
  life.onStop({ name: 'webhooks', stop: () => webhooks.drain() })

  const dispatcher = createDispatcher({ database, wake, queue, leadership, admission, onError })
  dispatcher.start()
  life.onStop({ name: 'dispatcher', stop: () => dispatcher.stop().then(() => admission.drain()) })
  const sweep = createSweep({ database, queue, wake, onError, log: (fields, text) => log.warn(fields, text) })
  sweep.start()
  life.onStop({ name: 'sweep', stop: () => sweep.stop() })
  const maintenance = createMaintenance({
    database,
    retention: { contentMs: config.retentionContentMs, historyMs: config.retentionEventsMs },
    onError,
    log: (fields, text) => log.warn(fields, text),
  })
  maintenance.start()
  life.onStop({ name: 'maintenance', stop: () => maintenance.stop() })

  const hints = queue.work((hint) => deliverer.takeHint(hint), { concurrency: hintConcurrency, onError })
  life.onStop({
    name: 'hints',
    stop: () => {
      // First: a hint that waits for room would wait for as long as the conversations take.
      deliverer.stop()
      return hints.close()
    },
  })
}

function openDeliverer(
  { config, foundation }: Pick<WorkerParts, 'config' | 'foundation'>,
  ways: { routes: Map<string, SessionTarget>; mailLog: MailLog; onError: (error: Error) => void },
): Deliverer {
  const { database, clock, nextId, wake, sealer } = foundation
  const { routes, mailLog, onError } = ways
  const openSession = createOpenSession({ guard: createNetworkGuard(config.allowNetworks) })
  return createDeliverer({
    database,
    clock,
    nextId,
    wake,
    mailLog,
    onError,
    maxLeased: leasesPerConversation * config.workerConcurrency,
    retryPolicy: { networkScheduleMs: config.retryScheduleMs },
    routes: {
      has: (route) => routes.has(route),
      returnPath: createReturnPath({ bounceDomain: config.bounceDomain, sealer }),
    },
    createSites: (callbacks) =>
      createSiteScheduler({
        ...callbacks,
        limits: {
          ...siteLimits,
          sockets: config.workerConcurrency,
          waitingWhileDown: keptPerConversation * config.workerConcurrency,
        },
        open: (route) => openSession(routes.get(route)!, defaultDeadlines),
      }),
  })
}

function createCounters(metrics: Metrics): MailCounters {
  return {
    attempts: metrics.count({
      name: 'valija_attempts_total',
      help: 'Attempts by route, outcome and reason.',
      labels: ['route', 'outcome', 'reason'],
    }),
    ended: metrics.count({
      name: 'valija_ended_without_attempt_total',
      help: 'Recipients that ended without an attempt, such as expired ones.',
      labels: ['outcome', 'reason'],
    }),
  }
}

/** The routes that this worker can send by. What was accepted for capture never takes another one. */
async function openRoutes(parts: Omit<WorkerParts, 'metrics'>): Promise<Map<string, SessionTarget>> {
  const { config, foundation, log, life } = parts
  const ehloName = config.ehloName ?? hostname()
  const receiver = await startCaptureReceiver({
    host: '127.0.0.1',
    maxSizeBytes: 2 * config.maxMessageSizeBytes,
    onMail: (mail) => keepCapturedMail(foundation, mail),
  })
  life.onStop({ name: 'capture receiver', stop: () => receiver.close() })
  const routes = new Map([['capture', captureTarget(receiver, ehloName)]])
  if (config.delivery === 'smarthost' && config.smarthost) {
    const localAddress = config.sourceIps[0] ?? null
    routes.set('smarthost', smarthostTarget(config.smarthost, { ehloName, localAddress }))
  }
  log.info({ delivery: config.delivery, queue: foundation.queue.backend }, 'worker ready')
  return routes
}
