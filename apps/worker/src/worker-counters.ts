/** What a worker counts, from its mail log. */
import { type MailCounters, reportsCounted } from '@valija/flows'
import type { Metrics } from '@valija/runtime'

export function createWorkerCounters(metrics: Metrics): MailCounters {
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
    // Of mailboxes; in `npm start` together with those that came over SMTP.
    reports: metrics.count(reportsCounted),
  }
}
