/** The report of an attempt that ended on our side, before any connection. */
import type { TransactionReport, TransportFailure } from '@valija/core'

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
