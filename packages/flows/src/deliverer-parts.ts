/** What a worker's delivering is made of: what it is given, and what it opens itself. */
import type { IdSource, Judge, MailLog, RetryPolicy, UnsubscribeTokens } from '@valija/core'
import type { Session, ShapingScope, SiteJob, SiteScheduler, TlsReports } from '@valija/courier'
import type { Database, DatabaseClock, LeasedDelivery, Wake } from '@valija/store'
import type { Compositions } from './compositions.ts'
import type { DomainPace } from './domain-pace.ts'
import type { DotMarks } from './dot-marks.ts'
import type { Destinations } from './find-destination.ts'
import type { GiveBackDesk } from './give-back.ts'
import type { HandOvers } from './hand-overs.ts'
import type { HeldLease, HeldLeases } from './held-leases.ts'
import type { Cell, Isolation } from './isolate-suspects.ts'
import type { JudgeDependencies } from './judge-attempt.ts'
import type { ReportFields } from './report-fields.ts'
import type { ReturnPaths } from './return-path.ts'
import type { RouteChooser } from './route-choice.ts'
import type { SettleDesk } from './settle-desk.ts'
import type { MailSigner } from './sign-mail.ts'
import type { SiteGate } from './site-observer.ts'

export interface DelivererDependencies {
  database: Database
  clock: DatabaseClock
  nextId: IdSource
  wake: Wake
  mailLog: MailLog
  signer: MailSigner
  unsubscribeTokens: UnsubscribeTokens
  reportFields: ReportFields
  routing: RouteChooser
  destinations: Destinations
  /** The envelope sender (DESIGN 4.9, 4.10). */
  returnPaths: Pick<ReturnPaths, 'of'>
  shaping: SiteGate
  tlsReports: Pick<TlsReports, 'countSession'>
  /** Told of each mail that a receiver has taken or refused. */
  pace: Pick<DomainPace, 'note'>
  judge: Judge
  retryPolicy: RetryPolicy
  /** Deliveries leased at the same time at most, those apart whose way is being looked up. */
  maxLeased: number
  /** Mails at most that are past their final dot and not on record yet. */
  maxHandedOver: number
  /** Starts a process that delivers what is suspected of ending its worker; null in such a process. */
  openCell: (() => Promise<Cell>) | null
  /** Somebody should look at this mail, which ended every process that had it: it has failed, and that is committed. */
  onGivenUp: (delivery: LeasedDelivery) => void
  /** Makes the scheduler, given what to do with jobs that it hands back. */
  createSites: (callbacks: SiteCallbacks) => SiteScheduler<DeliveryJob>
  onError: (error: Error) => void
}

export interface SiteCallbacks {
  onHeldBack: (jobs: DeliveryJob[], untilMs: number, scope: ShapingScope | null) => void
  onCrash: (job: DeliveryJob | null, error: unknown) => void
}

export interface DeliveryJob extends SiteJob {
  readonly delivery: LeasedDelivery
  readonly lease: HeldLease
  readonly routeKey: string
}

/** A delivery whose turn crashed waits this long, in milliseconds. */
export const crashPauseMs = 5_000

export interface DelivererParts extends DelivererDependencies {
  leases: HeldLeases
  compositions: Compositions
  desk: SettleDesk
  backDesk: GiveBackDesk
  dots: DotMarks
  handOvers: HandOvers
  isolation: Isolation | null
  judging: JudgeDependencies
  sites: SiteScheduler<DeliveryJob>
  /** Deliveries whose way is being looked up. */
  placing: Set<Promise<void>>
  /** Conversations under way. */
  running: Map<Session, Promise<unknown>>
  stopping: AbortSignal
}
