/** Who learns what became of each attempt at a site, and answers whether the site is to be left alone for a while. */
import type { Disposition, TransactionReport } from '@valija/core'
import type { ShapingScope } from '@valija/courier'
import type { LeasedDelivery } from '@valija/store'

export interface SiteObserver {
  /**
   * @returns milliseconds until the site may be tried again, when the site itself was at fault: the mail that met it is due
   *   then, and uses up no step of its own schedule (DESIGN 4.16). Null: the failure, if any, is this mail's
   */
  observe(scope: ShapingScope, seen: SiteObservation): number | null
}

/** Also knows what is held back at sites that take others' mail. */
export interface SiteGate extends SiteObserver {
  /**
   * To be asked when a mail goes into its line.
   *
   * @returns until when (`steadyNowMs()`), and what explain shows; null: it may go
   */
  heldUntil(
    scope: ShapingScope,
    mail: Pick<LeasedDelivery, 'tenantId' | 'fromDomain'>,
  ): { untilMs: number; hold: string } | null
}

export interface SiteObservation {
  report: TransactionReport
  disposition: Disposition
  delivery: Pick<LeasedDelivery, 'tenantId' | 'fromDomain'>
}

/** The longest pause of a site that takes no connection, in milliseconds (DESIGN 4.16). */
const longestPauseMs = 5_000

/**
 * For sites that nobody shapes. Whether the host took no connection, or refused us before MAIL: it may be back any moment.
 * Broken TLS is the host's fault too, but it took the connection, and stays broken until somebody mends it: that is for the
 * schedule.
 */
export const reflexObserver: SiteObserver = {
  observe: (_, { report, disposition: { event, blame, reason } }) =>
    event === 'defer' && blame === 'host' && reason !== 'tls' && !report.isSimulated ? longestPauseMs : null,
}
