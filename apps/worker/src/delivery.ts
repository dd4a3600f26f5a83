/**
 * Wires the delivering part of a worker: the ways that mail can take, what the DNS is asked with, the sessions and what limits
 * them.
 */
import { hostname } from 'node:os'
import path from 'node:path'
import {
  createJudge,
  createUnsubscribeTokens,
  formatId,
  loadReplyRules,
  type MailLog,
  unsubscribePurpose,
} from '@valija/core'
import {
  type CaptureReceiver,
  createNetworkGuard,
  createOpenFirst,
  createResolver,
  createSiteScheduler,
  defaultDeadlines,
  localAddresses,
  resolveMailExchangers,
  startCaptureReceiver,
  type TlsReports,
} from '@valija/courier'
import {
  type Cell,
  configuredSources,
  createDeliverer,
  createDestinationNotes,
  createDestinations,
  createMailSigner,
  createReportFields,
  createReturnPaths,
  createShaper,
  createSiteScopes,
  type Deliverer,
  type Destinations,
  type DomainPace,
  keepCapturedMail,
  loadThrottleRules,
  openReceiverTls,
  openRouteChooser,
  type RouteChooser,
  type ThrottleRules,
} from '@valija/flows'
import { countInInstance, givenUpCount, type LeasedDelivery } from '@valija/store'
import type { WorkerParts } from './worker.ts'

/** Deliveries in hand for each conversation that may be under way: the next ones are ready when one ends. */
export const leasesPerConversation = 4
/** Of these, sites that are down or hold us up may keep an eighth in their lines, all together: the others go on beside them. */
const keptPerConversation = leasesPerConversation / 8
const idleMs = 10_000
/** Longer than mails wait at a relay that works hard (20 connections, 200 ms a mail, 400 ahead). */
const slowAfterMs = 4_000

type DeliveryParts = WorkerParts & {
  mailLog: MailLog
  /** Hears how fast each domain's receivers answer. */
  pace: DomainPace
  /** Null in a cell. */
  openCell: (() => Promise<Cell>) | null
}

/** Opens everything; it is registered with `life` to be stopped. */
export async function openDelivery(parts: DeliveryParts): Promise<Deliverer> {
  const { config, foundation, mailLog, pace, openCell, log, life } = parts
  const { database, clock, nextId, wake, sealer } = foundation
  const { rules, shaper } = await openShaping(parts)
  const { destinations, tlsReports } = await openDestinations(parts, rules)
  const routing = await openRouting(parts)
  const signer = createMailSigner({ database, sealer, wake })
  life.onStop({ name: 'signer', stop: () => signer.close() })
  const returnPaths = createReturnPaths({ bounceDomain: config.bounceDomain, sealer, database, wake })
  life.onStop({ name: 'return paths', stop: () => returnPaths.close() })
  const openFirst = createOpenFirst({ guard: createNetworkGuard(config.allowNetworks, localAddresses) })
  const deliverer = createDeliverer({
    database,
    clock,
    nextId,
    wake,
    mailLog,
    signer,
    unsubscribeTokens: createUnsubscribeTokens(sealer.signingKeys(unsubscribePurpose)),
    reportFields: createReportFields({ sealer, bounceDomain: config.bounceDomain }),
    onError: (err) => log.error({ err }, 'worker trouble'),
    maxLeased: leasesPerConversation * config.workerConcurrency,
    maxHandedOver: config.workerConcurrency,
    judge: createJudge(loadReplyRules()),
    retryPolicy: { networkScheduleMs: config.retryScheduleMs },
    routing,
    destinations,
    openCell,
    onGivenUp: createAlarm(parts),
    returnPaths,
    shaping: shaper,
    tlsReports,
    pace,
    createSites: (callbacks) =>
      createSiteScheduler({
        ...callbacks,
        shaper,
        limits: {
          idleMs,
          sockets: config.workerConcurrency,
          waitingInTrouble: Math.max(1, Math.floor(keptPerConversation * config.workerConcurrency)),
          slowAfterMs,
        },
        open: (destination) => openFirst(destination.candidates(), defaultDeadlines),
      }),
  })
  life.onStop({ name: 'deliveries', stop: () => deliverer.drain(), hurry: () => deliverer.hurry() })
  return deliverer
}

/** A poison message: a line to alarm on, and a number that every API process shows. */
function createAlarm({ foundation: { database }, log }: DeliveryParts): (delivery: LeasedDelivery) => void {
  return ({ messageId, recipientId, tenantId, crashes }) => {
    const mail = {
      message: formatId('message', messageId),
      recipient: formatId('recipient', recipientId),
      tenant: formatId('tenant', tenantId),
    }
    log.error({ ...mail, crashes }, 'poison message: it ended every process that had it, and is given up')
    countInInstance(database, givenUpCount).catch((err: unknown) => log.error({ err }, 'worker trouble'))
  }
}

async function openRouting({ config, foundation, log, life }: DeliveryParts): Promise<RouteChooser> {
  const routing = await openRouteChooser({
    ...foundation,
    delivery: config.delivery ?? 'capture',
    smarthost: config.smarthost,
    hasBounceDomain: config.bounceDomain !== null,
    sources: configuredSources(config.sourceIps, config.ehloName ?? hostname()),
    localAddresses,
    onError: (err) => log.error({ err }, 'worker trouble'),
    log: (fields, text) => log.warn(fields, text),
  })
  life.onStop({ name: 'routes', stop: () => routing.close() })
  return routing
}

async function openShaping({ config, foundation, metrics, log, life }: DeliveryParts) {
  const { database, wake, clock, nextId } = foundation
  const onError = (err: Error) => log.error({ err }, 'shaping trouble')
  const rules = await loadThrottleRules({
    file: path.join(config.dataDir, 'shaping.yaml'),
    onError,
    onReload: (file) => log.info({ file }, 'shaping rules read again'),
  })
  life.onStop({ name: 'shaping rules', stop: async () => rules.stop() })
  const waited = metrics?.distribution({
    name: 'valija_site_wait_seconds',
    help: 'How long connections and mails waited for their site to allow them.',
    labels: ['for'],
  })
  const shaper = createShaper({
    database,
    wake,
    clock,
    nextId,
    rules,
    workerId: nextId(),
    onError,
    ...(waited && { meters: { waited } }),
  })
  life.onStop({ name: 'shaping', stop: () => shaper.stop() })
  await shaper.start()
  return { rules, shaper }
}

async function openDestinations(
  { config, foundation, log, life }: DeliveryParts,
  rules: ThrottleRules,
): Promise<{ destinations: Destinations; tlsReports: Pick<TlsReports, 'countSession'> }> {
  const openCapture = createCaptureOpener({ config, foundation, life })
  // Where all mail goes there, it had better be told at the start that it cannot.
  if ((config.delivery ?? 'capture') === 'capture') await openCapture()
  const resolver = createResolver({ servers: config.dnsServers })
  life.onStop({ name: 'resolver', stop: () => resolver.close() })
  const uncached = createResolver({ servers: config.dnsServers, cache: { entries: 0, bytes: 0 } })
  life.onStop({ name: 'uncached resolver', stop: () => uncached.close() })
  const { policies, reports, close } = openReceiverTls({
    database: foundation.database,
    resolver,
    allowNetworks: [...config.allowNetworks],
    port: config.mxPort,
    onError: (err) => log.error({ err }, 'worker trouble'),
  })
  life.onStop({ name: 'receivers’ TLS', stop: close })
  const notes = createDestinationNotes({
    database: foundation.database,
    onError: (err) => log.error({ err }, 'worker trouble'),
  })
  life.onStop({ name: 'destination notes', stop: () => notes.stop() })
  const destinations = createDestinations({
    exchangersOf: (domain) => resolveMailExchangers(resolver, domain),
    exchangersAgain: (domain) => resolveMailExchangers(uncached, domain),
    policies,
    tlsReports: reports,
    scopes: createSiteScopes(rules.findProvider),
    notes,
    openCapture,
    mxPort: config.mxPort,
  })
  return { destinations, tlsReports: reports }
}

/** Our own receiver behind the capture route, started for its first mail: it takes 0.04 s, and where mail is sent there may be none. */
function createCaptureOpener({
  config,
  foundation,
  life,
}: Pick<DeliveryParts, 'config' | 'foundation' | 'life'>): () => Promise<CaptureReceiver> {
  let opening: Promise<CaptureReceiver> | null = null
  // Here, and not when it is started: it ends after the conversations with it.
  life.onStop({ name: 'capture receiver', stop: async () => (await opening)?.close() })
  return () => {
    opening ??= startCaptureReceiver({
      host: '127.0.0.1',
      maxSizeBytes: 2 * config.maxMessageSizeBytes,
      onMail: (mail) => keepCapturedMail(foundation, mail),
    }).catch((error: unknown) => {
      // The next mail tries again.
      opening = null
      throw error
    })
    return opening
  }
}
