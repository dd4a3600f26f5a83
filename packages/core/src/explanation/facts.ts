/** What an explanation is made of: everything that is known of a recipient when somebody asks. Times are milliseconds since 1970. */
import type { PauseReason } from '../alarm-policy.ts'
import type { Action, Blame } from '../disposition.ts'
import type { DeliveryState, RecipientState } from '../recipient-state.ts'
import type { RouteKind } from '../route.ts'
import type { Stream } from '../stream.ts'
import type { SuppressionReason } from '../suppression-policy.ts'
import type { Phase, TlsFacts, TransportFailure } from '../transaction.ts'

export interface ExplanationFacts {
  /** PostgreSQL's clock. */
  nowMs: number
  message: MessageFacts
  recipient: RecipientFacts
  /** Null at the recipient's end. */
  delivery: DeliveryFacts | null
  /** Null before the first one. */
  lastAttempt: AttemptFacts | null
  /** Attempts whose end is not known. */
  uncertainAttempts: number
  /** The address's entry on the list, in force or quarantined. */
  suppression: SuppressionFacts | null
  /** The receiving site; null while nothing is known of it. */
  site: SiteFacts | null
  /** What a rule holds this tenant's or sender domain's mail back for, by the name of the site. */
  senderHolds: ReadonlyMap<string, string | null>
  /** The route that the mail waits for or took last; null for one that nothing is known against. */
  route: RouteFacts | null
  /** Mails of the same tenant and stream that wait and are due before this one. */
  ahead: { count: number; isMore: boolean }
  /** The sender domain; null when it is none of the tenant's. */
  sender: SenderFacts | null
  /** The recipient's domain has an MTA-STS policy in force. */
  hasStsPolicy: boolean
  system: SystemFacts
}

export interface MessageFacts {
  stream: Stream
  /** Where it was accepted for. */
  delivery: string
  sendAtMs: number | null
  expiresAtMs: number
  /** Since when the tenant is suspended; null when it is not. */
  suspendedAtMs: number | null
  /** Since when the tenant's bulk mail is held, and why; null when it is not, and for other mail. */
  bulkPause: { sinceMs: number; reason: PauseReason['reason'] | 'operator' } | null
  requireTls: boolean
  fromDomain: string
  /** What was said in it, as POST /messages/:id/resend needs it. */
  isContentKept: boolean
}

export interface RecipientFacts {
  email: string
  domain: string
  /** As it is shown. */
  status: RecipientState
  reason: string | null
  reply: string | null
  attempts: number
  nextAttemptAtMs: number | null
  deliveredAtMs: number | null
  /** When its provider told that its reader called it spam. */
  complainedAtMs: number | null
  /** When its reader followed the link of this very mail. */
  unsubscribedAtMs: number | null
  isSimulated: boolean
}

export interface DeliveryFacts {
  state: DeliveryState
  dueAtMs: number
  /** What it is held back by: a kind, a colon, and whose (packages/flows/src/begin-delivery.ts). */
  hold: string | null
  /** Leases in a row that ran out under it: its worker died, hung or was stopped. */
  crashes: number
}

export interface AttemptFacts {
  number: number
  outcome: string
  reason: string | null
  startedAtMs: number
  route: string
  /** It went to a relay, and not to the recipient's own exchangers. */
  isRelay: boolean
  host: string | null
  ip: string | null
  port: number | null
  tls: TlsFacts | null
  phase: Phase
  /** The reply, or the failure in a sentence. */
  reply: string | null
  isUncertain: boolean
  /** Null for what succeeded, and for attempts of earlier versions. */
  judgement: JudgementFacts | null
}

/** What the attempt's end was taken for (disposition.ts). */
export interface JudgementFacts {
  failure: TransportFailure | null
  blame: Blame
  action: Action
  evidence: 'success' | 'failure' | 'rule' | 'status' | 'guess'
  taughtBy: string | null
}

export interface SuppressionFacts {
  /** As programs see it. */
  id: string
  reason: SuppressionReason
  isQuarantined: boolean
  reply: string | null
  createdAtMs: number
}

export interface SiteFacts {
  /** By which the operator may lift its pause. */
  id: string
  /** Its name for people: provider or first exchanger. */
  name: string
  condition: 'ok' | 'slowed' | 'suspended'
  pausedUntilMs: number | null
  sinceMs: number | null
  /** What slowed it. */
  reply: string | null
  /** Null: as many as its limits allow. */
  connections: number | null
  mailsPerSecond: number | null
}

export interface RouteFacts {
  name: string
  /** The operator's, so that only he can change it. */
  isOperators: boolean
  /** As programs see it; null for the installation's own. */
  id: string | null
  /** A pause whose time is over is none. */
  isPaused: boolean
  pausedReason: string | null
  pausedUntilMs: number | null
  /** As all workers know it; null while it can be used. */
  condition: 'down' | 'login_refused' | null
  /** What the relay said; null for the operator's, whose relays are not shown. */
  reply: string | null
  sinceMs: number | null
}

export interface SenderFacts {
  /** As programs see it. */
  id: string
  name: string
  isVouched: boolean
  signsDkim: boolean
  /** The first record that DNS was seen to lack or have wrong; null when none, or never looked. */
  fault: { name: string; sentence: string } | null
}

export interface SystemFacts {
  /** VALIJA_DELIVERY. */
  delivery: RouteKind
  /** Worker processes that are connected to PostgreSQL. */
  workers: number
  /** Why the queue's store does not answer; null when it does. */
  queueFault: string | null
  queueBackend: 'redis' | 'postgres'
}
