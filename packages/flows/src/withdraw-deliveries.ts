/** Taking deliveries that a worker holds and has not begun out of its lines, and giving them back. */
import { steadyNowMs } from '@valija/core'
import type { SiteScheduler } from '@valija/courier'
import type { DatabaseClock, LeasedDelivery, Wake } from '@valija/store'
import type { DeliveryJob } from './deliverer-parts.ts'
import type { GiveBackDesk } from './give-back.ts'
import type { HeldLease } from './held-leases.ts'
import type { Isolation } from './isolate-suspects.ts'
import { type Recalled, recalledForMs } from './recall-mail.ts'

/** A worker's lines, and where it gives back. */
export interface Lines {
  sites: Pick<SiteScheduler<DeliveryJob>, 'withdraw'>
  isolation: Pick<Isolation, 'giveBackIf'> | null
  backDesk: Pick<GiveBackDesk, 'giveBack'>
}

/** A mail whose time is over while it waits for its site is noticed this soon: well within the second that is promised. */
const expiryEveryMs = 250

/** When a delivery that was not begun is due again, by `steadyNowMs()`: at once, but for one that was recalled. */
export function dueAgain({ isRecalled }: HeldLease): number {
  return isRecalled ? steadyNowMs() + recalledForMs : 0
}

/** @param onBack called when they are given back */
export function giveBack(
  backDesk: Pick<GiveBackDesk, 'giveBack'>,
  jobs: readonly DeliveryJob[],
  untilMs: number,
  hold: string | null,
  onBack?: () => void,
): void {
  const leases = jobs.map(({ lease }) => lease)
  backDesk.giveBack(leases, untilMs, hold, onBack)
}

/** Gives back what of the mail that is meant is not begun. */
export function withdrawMail(
  { sites, backDesk, isolation }: Lines,
  isMeant: (mail: Recalled) => boolean,
): void {
  const withdrawn = sites.withdraw(({ delivery }) => isMeant(delivery))
  giveBack(backDesk, withdrawn, steadyNowMs() + recalledForMs, null)
  isolation?.giveBackIf(isMeant)
}

/** Gives back mails whose time is over: PostgreSQL decides, and whoever watches deadlines ends them if it says so too. */
export function watchExpiry({
  sites,
  backDesk,
  isolation,
  clock,
  wake,
}: Lines & { clock: Pick<DatabaseClock, 'nowMs'>; wake: Pick<Wake, 'send'> }): NodeJS.Timeout {
  const isOver = ({ expiresAt }: LeasedDelivery) => expiresAt.getTime() <= clock.nowMs()
  return setInterval(() => {
    const withdrawn = sites.withdraw(({ delivery }) => isOver(delivery))
    giveBack(backDesk, withdrawn, 0, null, () => wake.send('deadlines'))
    isolation?.giveBackIf(isOver)
  }, expiryEveryMs)
}
