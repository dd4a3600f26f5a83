/**
 * What the end of one attempt, or of an opening that failed, says of the receiving site: whether it works (DESIGN 4.16).
 *
 * What counts against a site is: no connection, a 421, a refusal before MAIL; and connections lost after MAIL when they hit
 * three mails in a row.
 */
import type { TransactionReport } from './transaction.ts'

/**
 * `working`: it took the mail. `refused` and `deferred`: it judged it, for good or for now; explicit rules may know more.
 * `throttled`: it refused us. `unreachable`: it took no connection. `unwell`: it took one that could not be used, or refused our
 * login: reason for a short pause, never for a long one. `lost`: it broke off after MAIL.
 *
 * TLS that could not be had says nothing: it is one mail's or one domain's demand, for which all others of the site would have to
 * wait. The site scheduler leaves the destination alone that met it.
 */
export type Sighting = 'working' | 'refused' | 'deferred' | 'throttled' | 'unreachable' | 'unwell' | 'lost'

const mailPhases: readonly string[] = ['mail', 'rcpt', 'data', 'body']

/** @returns null when the attempt says nothing of the site: it did not come so far, or our side was at fault */
export function sightingOf(
  report: Pick<TransactionReport, 'phase' | 'reply' | 'failure' | 'isSimulated'>,
): Sighting | null {
  const { phase, reply, failure } = report
  if (report.isSimulated || phase === 'dns') return null
  const isEarly = !mailPhases.includes(phase)
  if (failure !== null) return sightingOfFailure(failure, isEarly)
  if (reply === null) return isEarly ? 'unreachable' : 'lost'
  if (phase === 'tls') return null
  if (phase === 'auth') return 'unwell'
  if (reply.code === 421 || isEarly) return 'throttled'
  if (reply.code >= 500) return 'refused'
  return reply.code >= 400 ? 'deferred' : 'working'
}

function sightingOfFailure(
  failure: NonNullable<TransactionReport['failure']>,
  isEarly: boolean,
): Sighting | null {
  switch (failure) {
    case 'connection_refused':
    case 'connection_timeout':
      return 'unreachable'
    case 'connection_lost':
    case 'timeout':
      return isEarly ? 'unreachable' : 'lost'
    case 'login_refused':
      return 'unwell'
    case 'protocol':
      return isEarly ? 'unwell' : 'lost'
    default:
      return null
  }
}
