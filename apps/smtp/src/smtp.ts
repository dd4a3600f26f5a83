/**
 * What takes mail over SMTP: the listener for bounces and complaints. Everything is wired here and nowhere else.
 */
import { hostname } from 'node:os'
import { createMailLog, openBounceJudge } from '@valija/core'
import {
  createReportAddresses,
  type Foundation,
  type MailCounters,
  meterMailLog,
  reportsCounted,
  StartError,
  takeReport,
} from '@valija/flows'
import type { Config, Life, Logger, Metrics } from '@valija/runtime'
import { type Certificate, readCertificate } from './certificate.ts'
import { startReportListener } from './report-listener.ts'

export interface SmtpParts {
  config: Config
  foundation: Foundation
  /** Null where nobody can read them: a process of its own has no HTTP. */
  metrics: Metrics | null
  log: Logger
  life: Life
  /** Where none is configured; null: then there is no TLS. */
  ownCertificate?: () => Promise<Certificate | null>
  /** Whether any free port will do where the port is taken. */
  takesAnyPort?: boolean
}

export interface SmtpAddresses {
  bounce: { host: string; port: number }
}

/**
 * Starts the listeners; everything is registered with `life` to be stopped.
 *
 * @throws {StartError} when the certificate cannot be used, or the port is not to be had
 */
export async function startSmtp(parts: SmtpParts): Promise<SmtpAddresses> {
  const { config, foundation, metrics, log, life } = parts
  const counters = metrics === null ? null : createCounters(metrics)
  const addresses = createReportAddresses(foundation)
  const desk = {
    ...foundation,
    addresses,
    judgeBounce: openBounceJudge(),
    mailLog: meterMailLog(
      createMailLog((fields, text) => log.info(fields, text)),
      counters ?? {},
    ),
  }
  const certificate = (await readCertificate(config)) ?? (await parts.ownCertificate?.()) ?? null
  const listener = await startReportListener({
    host: config.host,
    port: config.bouncePort,
    takesAnyPort: parts.takesAnyPort ?? false,
    name: config.ehloName ?? hostname(),
    certificate,
    maxSizeBytes: Math.ceil(config.maxMessageSizeBytes * sizeOfReturned),
    read: addresses.read,
    take: (raw, recipients) => takeReport(desk, { raw, recipients, via: { kind: 'smtp' } }),
    onRefused: (reason) => counters?.refused.add({ reason }),
    onError: (err) => log.error({ err }, 'bounce intake trouble'),
  }).catch((error: NodeJS.ErrnoException) => {
    throw new StartError(whyNotListening(error, config), { cause: error })
  })
  life.onStop({ name: 'bounce intake', stop: () => listener.close(), hurry: () => listener.hurry() })
  const { host, port } = listener
  log.info({ host, port, tls: certificate !== null }, 'bounce intake ready')
  return { bounce: { host, port } }
}

/** A bounce may return the whole mail, and adds to it. */
const sizeOfReturned = 1.5

interface IntakeCounters extends MailCounters {
  refused: { add(labels: { reason: string }, by?: number): void }
}

function createCounters(metrics: Metrics): IntakeCounters {
  return {
    reports: metrics.count(reportsCounted),
    refused: metrics.count({
      name: 'valija_report_refusals_total',
      help: 'Recipients, mails and connections that the bounce intake refused: foreign, forged and expired addresses, no room, PostgreSQL away.',
      labels: ['reason'],
    }),
  }
}

/** One sentence for the operator. */
function whyNotListening(error: NodeJS.ErrnoException, { host, bouncePort: port }: Config): string {
  if (error.code === 'EADDRINUSE') {
    return `Port ${port} on ${host} is taken: stop the program that listens there, or set VALIJA_BOUNCE_PORT to another one.`
  }
  if (error.code === 'EACCES') {
    return `Port ${port} may not be opened by this user: set VALIJA_BOUNCE_PORT to one above 1023, or grant CAP_NET_BIND_SERVICE.`
  }
  if (error.code === 'EADDRNOTAVAIL')
    return `This machine has no address ${host}: set HOST to one that it has.`
  return `The bounce intake cannot listen on ${host} port ${port}: ${error.message}.`
}
