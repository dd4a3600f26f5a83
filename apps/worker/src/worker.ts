/**
 * A worker: takes hints, delivers, settles, tells webhooks, and, where it leads, dispatches what waits. Any number of workers
 * share one database and one queue. Everything is wired here and nowhere else.
 */
import { createMailLog, formatId } from '@valija/core'
import { openWebHttp } from '@valija/courier'
import {
  createAdmission,
  createDeadlineWatch,
  createDispatcher,
  createDomainPace,
  createDomainWatch,
  createHandedQueue,
  createMaintenance,
  createRoomNews,
  createStatsWatch,
  createSweep,
  createWebhookDispatcher,
  createWebhookReplayer,
  type Deliverer,
  type DomainPace,
  explainMessage,
  type Foundation,
  type HandedQueue,
  meterMailLog,
  openDomainDns,
  openRouteDirectory,
  type RoomNews,
} from '@valija/flows'
import { type Config, type Life, type Logger, lineWriter, type Metrics } from '@valija/runtime'
import { openLeadership } from '@valija/store'
import { openCell } from './cell.ts'
import { leasesPerConversation, openDelivery } from './delivery.ts'
import { startMailboxes } from './mailboxes.ts'
import { createWebhookLog } from './webhook-log.ts'
import { createWorkerCounters } from './worker-counters.ts'

export interface WorkerParts {
  config: Config
  foundation: Foundation
  /** Null where nobody can read them: a worker of its own has no HTTP. */
  metrics: Metrics | null
  log: Logger
  life: Life
}

/** Hints taken at once; each is a query, then its rows are in hand. */
const hintConcurrency = 4
/** A worker that took no hint for this long, while hints were lost, has lost its queue, whatever it believes. */
const idleWorkerMs = 30_000

/** Starts working; everything it starts is registered with `life` to be stopped. */
export async function startWorker({ config, foundation, metrics, log, life }: WorkerParts): Promise<void> {
  const { database, wake, queue } = foundation
  // Before anybody is served: loaded later it would hold up all mails for as long, or be gone with an upgrade in place.
  await database.load()
  const onError = (err: Error) => log.error({ err }, 'worker trouble')
  const mailLog = meterMailLog(
    createMailLog(lineWriter(log)),
    metrics === null ? {} : createWorkerCounters(metrics),
  )

  const roomNews = createRoomNews(wake)
  const pace = createDomainPace()
  const deliverer = await openDelivery({
    config,
    foundation: { ...foundation, wake: roomNews.wake },
    metrics,
    mailLog,
    pace,
    log,
    life,
    openCell: () => openCell(config),
  })
  log.info({ delivery: config.delivery, queue: queue.backend }, 'worker ready')

  startWebhooks({ config, foundation, metrics, log, life })
  startMailboxes({ config, foundation, log, life }, mailLog)
  await startDomainWatch({ config, foundation, metrics, log, life })
  const handedQueue = createHandedQueue(queue, deliverer.takeHint, onError)
  startDispatcher({ config, foundation, life }, { queue: handedQueue, roomNews, pace, onError })
  const sweep = createSweep({
    database,
    queue,
    wake,
    onError,
    log: (fields, text) => log.warn(fields, text),
    isHeldUp: () => deliverer.isHeldUp,
    onLostHints: () => {
      if (hints.restartIfIdle(idleWorkerMs))
        log.warn('hints wait and none comes here: the queue’s worker was started anew')
    },
  })
  life.onStop({ name: 'sweep', stop: () => sweep.stop() })
  const maintenance = createMaintenance({
    ...foundation,
    mailLog,
    retention: { contentMs: config.retentionContentMs, historyMs: config.retentionEventsMs },
    onError,
    log: (fields, text) => log.warn(fields, text),
    tell: (fields, text) => log.info(fields, text),
  })
  maintenance.start()
  life.onStop({ name: 'maintenance', stop: () => maintenance.stop() })
  startStats({ foundation, log, life })

  const hints = queue.work((hint) => deliverer.takeHint(hint), { concurrency: hintConcurrency, onError })
  life.onStop({
    name: 'hints',
    stop: () => {
      // First: a hint that waits for room would wait for as long as the conversations take.
      deliverer.stop()
      handedQueue.stop()
      return hints.close()
    },
  })
  // Stopped before the deliverer is: it would find again what that gives back.
  startDeadlines({ config, foundation, life }, deliverer.endExpired, onError)
  sweep.start()
}

/** Looks at sender domains. */
async function startDomainWatch({ config, foundation, log, life }: WorkerParts): Promise<void> {
  const onError = (err: Error) => log.error({ err }, 'trouble with a domain’s records')
  const routes = await openRouteDirectory({ ...foundation, onError })
  life.onStop({ name: 'sources of mail', stop: () => routes.close() })
  const dns = openDomainDns(config, routes, foundation.sealer)
  life.onStop({ name: 'domains’ resolver', stop: async () => dns.resolver.close() })
  const watch = createDomainWatch({ ...foundation, ...dns, onError })
  watch.start()
  life.onStop({ name: 'domain watch', stop: () => watch.stop() })
}

function startDispatcher(
  { config, foundation, life }: Pick<WorkerParts, 'config' | 'foundation' | 'life'>,
  {
    queue,
    roomNews,
    pace,
    onError,
  }: { queue: HandedQueue; roomNews: RoomNews; pace: DomainPace; onError: (error: Error) => void },
): void {
  const { database, wake } = foundation
  const leadership = openLeadership(database.url, 'dispatch', onError)
  life.onStop({ name: 'leadership', stop: () => leadership.close() })
  const admission = createAdmission({ database, queue, wake, onError })
  const rowsPerWorker = leasesPerConversation * config.workerConcurrency
  const dispatcher = createDispatcher({
    database,
    wake,
    queue,
    leadership,
    admission,
    pace,
    rowsPerWorker,
    onError,
  })
  roomNews.attach(dispatcher)
  dispatcher.start()
  life.onStop({ name: 'dispatcher', stop: () => dispatcher.stop().then(() => admission.drain()) })
}

function startDeadlines(
  { config, foundation, life }: Pick<WorkerParts, 'config' | 'foundation' | 'life'>,
  endExpired: Deliverer['endExpired'],
  onError: (error: Error) => void,
): void {
  const desk = { ...foundation, delivery: config.delivery ?? ('capture' as const) }
  const deadlines = createDeadlineWatch({
    ...foundation,
    explain: (tenantId, messageId) => explainMessage(desk, tenantId, messageId),
    endExpired,
    onError,
  })
  deadlines.start()
  life.onStop({ name: 'deadlines', stop: () => deadlines.stop() })
}

function startStats({ foundation, log, life }: Pick<WorkerParts, 'foundation' | 'log' | 'life'>): void {
  const onError = (err: Error) => log.error({ err }, 'the statistics are late')
  const onPaused = (tenantId: string) =>
    log.warn(
      { tenant: formatId('tenant', tenantId) },
      'a tenant’s bulk mail is held: too much of it bounced, or was called spam',
    )
  const stats = createStatsWatch({ ...foundation, onPaused, onError })
  stats.start()
  life.onStop({ name: 'statistics', stop: () => stats.stop() })
}

function startWebhooks({ config, foundation, log, life }: WorkerParts): void {
  const { database, wake } = foundation
  const http = openWebHttp({ allowNetworks: config.allowNetworks, dnsServers: config.dnsServers })
  life.onStop({ name: 'outgoing http', stop: () => http.close() })
  const webhooks = createWebhookDispatcher({ ...foundation, http, log: createWebhookLog(log) })
  webhooks.start()
  life.onStop({ name: 'webhooks', stop: () => webhooks.drain() })
  const onError = (err: Error) => log.error({ err }, 'worker trouble')
  const replayer = createWebhookReplayer({ database, wake, onError })
  replayer.start()
  life.onStop({ name: 'webhook replays', stop: () => replayer.stop() })
}
