/** Reports of attempts that ended on our side. */
import type { TransactionReport, TransportFailure } from '@valija/core'

/** Before any connection. */
export function failedReport(route: string, failure: TransportFailure, detail: string): TransactionReport {
  return {
    route,
    host: null,
    ip: null,
    port: null,
    sourceIp: null,
    tls: null,
    phase: 'connect',
    reply: null,
    failure,
    detail,
    isUncertain: false,
    startedAt: new Date(),
    durationMs: 0,
    timingsMs: { dns: 0, connect: 0, tls: 0, ehlo: 0, envelope: 0, data: 0, total: 0 },
    transcript: [],
    sizeBytes: null,
    isSimulated: false,
  }
}

/**
 * Of an attempt whose process ended, or of whose time the database knows nothing, so that nobody knows the conversation.
 *
 * @param isPastDot the final dot may have gone out
 */
export function lostReport(
  route: string,
  failure: 'worker_lost' | 'crash' | 'restored',
  detail: string,
  isPastDot: boolean,
): TransactionReport {
  return {
    ...failedReport(route, failure, detail),
    phase: isPastDot ? 'body' : 'connect',
    isUncertain: isPastDot,
  }
}

const restoredDetail =
  'The database was set back to an earlier time: this mail may have been delivered after that.'

/** Of mail that is held after a restore and comes to its end. */
export const restoredReport = (route: string) => lostReport(route, 'restored', restoredDetail, true)
