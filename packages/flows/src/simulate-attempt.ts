/**
 * The mailbox simulator's side of a delivery: reports like those of real conversations, without any.
 */
import type { Simulation, TransactionReport } from '@valija/core'
import type { SmtpReply } from '@valija/mail'

const replies = {
  delivered: { code: 250, enhanced: '2.0.0', text: 'OK: simulated delivery' },
  bounced: { code: 550, enhanced: '5.1.1', text: 'No such user here (simulated)' },
  deferred: { code: 451, enhanced: '4.7.1', text: 'Try again later (simulated)' },
} as const satisfies Record<string, SmtpReply>

/**
 * What the simulated server answered.
 *
 * @param attempts attempts made so far
 * @param startedAt by PostgreSQL's clock
 */
export function simulateAttempt(
  simulation: Simulation,
  attempts: number,
  startedAt: Date,
): TransactionReport {
  const isTimeout = simulation === 'timeout'
  const reply = isTimeout ? null : replyOf(simulation, attempts)
  return {
    route: 'simulator',
    host: 'simulator.valija.test',
    ip: null,
    port: null,
    sourceIp: null,
    tls: null,
    phase: isTimeout ? 'connect' : reply?.code === 250 ? 'body' : 'rcpt',
    reply,
    failure: isTimeout ? 'connection_timeout' : null,
    detail: isTimeout ? 'The connection timed out (simulated).' : null,
    isUncertain: false,
    startedAt,
    durationMs: 0,
    timingsMs: { dns: 0, connect: 0, tls: 0, ehlo: 0, envelope: 0, data: 0, total: 0 },
    transcript: [],
    sizeBytes: null,
    isSimulated: true,
  }
}

function replyOf(simulation: Simulation, attempts: number): SmtpReply {
  if (simulation === 'bounced') return replies.bounced
  if (simulation === 'deferred' && attempts === 0) return replies.deferred
  return replies.delivered
}
