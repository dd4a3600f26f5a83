/**
 * What `explain` can name as a cause: a closed list, each with a sentence for the documents (tools/generate-explanations.ts).
 *
 * A kind's name is published and never changes; new ones may come. The reasons of failures are kinds too, under their own names.
 */
import { type Reason, reasonMeanings, reasons } from '../reasons.ts'

/** What is no reason of a failure, by where it comes from. */
const otherKinds = {
  // Where it stands
  delivered: 'The receiving server took the mail.',
  captured: 'The mail went to the inbox (GET /inbox) and never left this machine.',
  simulated: 'The simulator plays this recipient; nothing leaves the machine.',
  scheduled: 'It waits for its send_at.',
  sending: 'A worker has it this moment.',
  cancelled: 'It was stopped on request.',
  suppressed: 'The address is on the suppression list.',
  erased: 'The data of this person was deleted: nothing more is known.',
  complained: 'Its reader reported it as spam, after it was delivered.',
  unsubscribed: 'Its reader unsubscribed by its link.',
  // What of ours it waits for
  next_in_line: 'It is due, and its turn comes within moments.',
  tenant_share: 'Other mails of the same tenant and stream are due before it.',
  workers_busy: 'It has been due for a while, and no worker has got to it.',
  no_worker: 'No worker is running.',
  tenant_suspended: 'The operator has suspended the tenant: its mail is held.',
  bulk_paused: 'Bulk mail of the tenant is held, by the operator or because of its rates.',
  queue_away: 'The store of the queue does not answer.',
  retry_schedule: 'It was tried, and waits for its next attempt.',
  expires_first: 'Its time is over before the next attempt.',
  crashed_workers: 'Workers died or hung while they had it: it is tried alone, or was given up.',
  // What it is held back by
  site_paused: 'The receiving site is left alone for a while, for what it answered.',
  site_slowed: 'The receiving site gets less mail at a time, for what it answered.',
  sender_held:
    'A rule holds back mail of this tenant or sender domain at the receiving provider, for what it answered.',
  route_paused: 'The route is paused, by somebody or because the relay refused our login.',
  route_down: 'The route’s relay takes no connections.',
  no_route: 'No running worker knows the route.',
  warm_up: 'The source address is warming up, and has sent what it may for now.',
  no_source: 'No running worker can send from an address of the pool.',
  restored:
    'The database was set back to an earlier time: the mail may have been delivered after that, so it is held, or has ended.',
  // What an attempt met, where it says more than the reason
  name_unavailable: 'The DNS gives no answer about the domain now.',
  null_mx: 'The domain says that it takes no mail (RFC 7505).',
  connection_refused: 'The receiving server could not be reached.',
  connection_timeout: 'The receiving server did not answer the connection.',
  connection_lost: 'The connection broke before the final reply.',
  timeout: 'The receiving server was silent for too long.',
  address_refused: 'The receiving server’s address is private, and its network is not allowed.',
  login_refused: 'The relay refused our login.',
  capability: 'The receiving server lacks an extension that this mail needs.',
  signing: 'The mail is to be signed, and could not be.',
  at_most_once:
    'The mail was handed over whole, and no reply came: it may have been delivered, and is not repeated because the tenant is set to at_most_once.',
  // What stands beside a cause
  rule: 'How the reply was read.',
  uncertain: 'The mail was handed over whole, and no reply came: it may arrive twice.',
  earlier_attempts: 'What it took before.',
  require_tls: 'The message demands verified TLS (require_tls).',
  mta_sts: 'The receiving domain demands verified TLS by its MTA-STS policy (RFC 8461).',
  dane: 'The receiving server demands TLS by its DNS records (DANE, RFC 7672).',
  domain_unsigned: 'The sender domain’s mail leaves without a DKIM signature.',
  dns_records: 'A DNS record of the sender domain is missing or wrong.',
  quarantined: 'The address is on the suppression list, but quarantined: it stops nothing yet.',
} as const

export type CauseKind = Reason | keyof typeof otherKinds

export const causeKinds = [...reasons, ...Object.keys(otherKinds)] as readonly CauseKind[]

/** A sentence for each kind. */
export const causeMeanings: Readonly<Record<CauseKind, string>> = {
  ...(Object.fromEntries(reasons.map((reason) => [reason, reasonMeanings[reason].meaning])) as Record<
    Reason,
    string
  >),
  ...otherKinds,
}

/** Why a recipient stands where it stands; `detail` is a sentence or two for people. */
export interface Cause {
  kind: CauseKind
  detail: string
}

/** Why, and the one thing to do about it. */
export interface Finding {
  /** The most likely true cause first; never empty. */
  because: Cause[]
  /** What cures it, or that nothing has to be done. */
  remedy: string
}

export interface Explanation extends Finding {
  /** Where it stands, in a sentence. */
  summary: string
}
