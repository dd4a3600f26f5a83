/**
 * One thing that cures a failure, for a developer whose service sends mail; where only the operator of Valija or the receiving side
 * can do it, the remedy says so. What is not here has the remedy of its reason (reasons.ts).
 */

import { type Reason, reasonMeanings } from '../reasons.ts'
import { isEnd } from '../recipient-state.ts'
import type { CauseKind } from './cause-kinds.ts'
import type { ExplanationFacts } from './facts.ts'
import { atTime, withCapital } from './words.ts'

type Remedy = (facts: ExplanationFacts) => string

export function remedyFor(facts: ExplanationFacts, kind: CauseKind, reason: Reason): string {
  return remedies[kind]?.(facts) ?? reasonMeanings[reason].remedy
}

/** What happens by itself: tried again, or nothing more. */
function after(facts: ExplanationFacts): string {
  const { recipient, delivery, nowMs } = facts
  if (isEnd(recipient.status)) return 'Then send the mail again: this one has ended.'
  if (recipient.status === 'sending') return 'Valija is trying again this moment.'
  const nextMs = recipient.nextAttemptAtMs ?? delivery?.dueAtMs ?? nowMs
  return nextMs <= nowMs
    ? 'Valija tries again as soon as its turn comes.'
    : `Valija tries again by itself at ${atTime(nextMs, nowMs)}.`
}

function nothingToDo(why: string): Remedy {
  return (facts) =>
    isEnd(facts.recipient.status)
      ? `${why} Send the mail again; more ttl_seconds gives it more time.`
      : `Nothing has to be done. ${why} ${after(facts)}`
}

const findOutFirst: Remedy = () =>
  'Find out whether it arrived: its Message-ID is in GET /messages/:id as rfc_message_id. Send it again only if it did not.'

const remedies: Partial<Record<CauseKind, Remedy>> = {
  name_unavailable: (facts) =>
    `The owner of ${facts.recipient.domain} has to mend its name servers; if all domains fail so, the operator has to look at the resolver (VALIJA_DNS_SERVERS). ${after(facts)}`,
  domain_unknown: (facts) =>
    isEnd(facts.recipient.status)
      ? reasonMeanings.domain_unknown.remedy
      : `Check the part after the @ for a typing error; if it is right, its owner has to publish MX records. Valija looks once more before it gives up. ${after(facts)}`,
  null_mx: ({ recipient }) =>
    `Use another address: ${recipient.domain} says by its MX record “0 .” that it takes no mail, and only its owner can change that.`,
  connection_refused: (facts) => `${reachable(facts)} ${after(facts)}`,
  connection_timeout: (facts) => `${reachable(facts)} ${after(facts)}`,
  connection_lost: nothingToDo('Connections break now and then.'),
  timeout: nothingToDo('The receiving server is slow or overloaded, and only its owner can change that.'),
  address_refused: ({ lastAttempt }) =>
    `If ${lastAttempt?.host ?? 'the receiving host'} is yours, have the operator add its network to VALIJA_ALLOW_NETWORKS; otherwise the owner of the domain has to point its MX record at a public address. Then send the mail again.`,
  tls: tlsRemedy,
  login_refused: loginRemedy,
  at_most_once: findOutFirst,
  restored: findOutFirst,
  crashed_workers: () =>
    'Tell the operator: the worker’s log has the error, and what in this mail ends a process is a fault of Valija that should be reported. Do not send it again as it is; without its attachments, or as text alone, it may go.',
  authentication: authenticationRemedy,
  capability: capabilityRemedy,
  signing: (facts) =>
    `Only the operator can mend this: VALIJA_SECRET_KEY has to be the one that the DKIM keys were sealed with. ${after(facts)}`,
  mailbox_full: (facts) =>
    isEnd(facts.recipient.status)
      ? 'The recipient has to make room; then send the mail again, or reach them some other way.'
      : `The recipient has to make room. ${after(facts)}`,
  greylisted: nothingToDo('This is usual for a first mail: the server wants to see whether we come back.'),
  throttled: nothingToDo('Valija slows down for this destination.'),
  other: nothingToDo('The receiving server has trouble of its own.'),
}

function reachable({ lastAttempt }: ExplanationFacts): string {
  const host = lastAttempt?.host ?? 'the receiving server'
  const place = lastAttempt?.port ? `${host}:${lastAttempt.port}` : host
  if (lastAttempt?.isRelay)
    return `The relay has to take connections at ${place}: the operator has to start it, or to correct the route.`
  return `The receiving server has to take connections at ${place}, which is its owner’s to mend; if all destinations fail so, the operator has to see whether port ${lastAttempt?.port ?? 25} is open outwards.`
}

function tlsRemedy(facts: ExplanationFacts): string {
  const { message, recipient, lastAttempt } = facts
  const host = lastAttempt?.host ?? 'the receiving server'
  if (lastAttempt?.isRelay && !message.requireTls) {
    return `The certificate of the relay ${host} has to be valid for its name, or the operator sets another tls on the route. ${after(facts)}`
  }
  if (message.requireTls) {
    return 'Send the mail again without require_tls if it may travel unencrypted; otherwise the receiving server has to offer TLS with a valid certificate.'
  }
  return `The owner of ${recipient.domain} has to mend the certificate of ${host} or the published policy: the mail goes with the TLS that was promised, or not at all. ${after(facts)}`
}

function loginRemedy(facts: ExplanationFacts): string {
  const { route } = facts
  if (route === null || route.id === null) {
    return `Only the operator can mend this: put user and password of VALIJA_SMARTHOST_URL right and start Valija again. ${after(facts)}`
  }
  const act = `put user and password of the route ${route.name} right (PATCH /routes/${route.id})`
  return `${route.isOperators ? `Have the operator ${act}` : withCapital(act)}; the mail then goes on by itself.`
}

function authenticationRemedy({ sender }: ExplanationFacts): string {
  if (sender === null) return reasonMeanings.authentication.remedy
  if (sender.isVouched && !sender.signsDkim) {
    return `Have the operator set "dkim": true for ${sender.name} (PATCH /domains/${sender.id}), publish the DKIM records that GET /domains/${sender.id} shows, and send the mail again.`
  }
  if (sender.fault === null) return reasonMeanings.authentication.remedy
  return `Publish the DNS record ${sender.fault.name} as GET /domains/${sender.id} shows it, and send the mail again.`
}

function capabilityRemedy({ lastAttempt, recipient }: ExplanationFacts): string {
  if (lastAttempt?.reply?.includes('8BITMIME')) {
    return 'Send text and html instead of raw, or encode the parts of raw as quoted-printable or base64.'
  }
  return `Send to an address of ${recipient.domain} without letters beyond ASCII, if the recipient has one; otherwise the receiving server has to offer SMTPUTF8.`
}
