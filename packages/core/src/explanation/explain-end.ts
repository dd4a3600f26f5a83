/** Why a recipient ended as it did. */
import type { RecipientState } from '../recipient-state.ts'
import type { SuppressionReason } from '../suppression-policy.ts'
import type { Cause, Explanation } from './cause-kinds.ts'
import { explainFailure, serverOf, uncertainCause } from './explain-failure.ts'
import type { AttemptFacts, ExplanationFacts } from './facts.ts'
import { answerOrFailure, atTime, quoted, withCapital } from './words.ts'

export function explainEnd(facts: ExplanationFacts): Explanation {
  return afterWishes(facts, withoutContent(facts, withEntry(facts, explainOutcome(facts))))
}

/** What tells to send it again holds, but not by its id. */
function withoutContent({ message, recipient }: ExplanationFacts, explanation: Explanation): Explanation {
  if (message.isContentKept || recipient.status === 'delivered') return explanation
  const before = recipient.status === 'cancelled' ? nothing : explanation.remedy
  const remedy = `${before} Its content is not kept any more (content in GET /messages/:id): to send it again, send its content anew (POST /send).`
  return { ...explanation, remedy }
}

const endOfErased: Partial<Record<RecipientState, string>> = {
  delivered: 'was delivered',
  bounced: 'was refused',
  failed: 'was given up',
  suppressed: 'was not sent',
  cancelled: 'was cancelled',
}

/** What was said, and to whom, is gone; what can be looked up by the placeholder is nobody's. */
export function explainErased({ recipient }: ExplanationFacts): Explanation {
  const detail =
    'The data of this person was deleted on request (POST /recipients/erase). The address is a placeholder, and what its server said is not kept.'
  return {
    summary: `It ${endOfErased[recipient.status] ?? `is ${recipient.status}`}; the person’s data was deleted.`,
    because: [{ kind: 'erased', detail }],
    remedy:
      'Nothing can be done: why is not on record any more, and to this recipient it cannot be sent again.',
  }
}

function explainOutcome(facts: ExplanationFacts): Explanation {
  const { status, reason } = facts.recipient
  if (status === 'delivered') return explainDelivered(facts)
  if (status === 'suppressed') return explainSuppressed(facts)
  if (status === 'cancelled') return cancelled
  if (reason === 'expired') return explainExpired(facts)
  const failure = explainFailure(facts)
  const by = status === 'bounced' ? 'refused for good' : 'given up'
  const words = facts.recipient.reply === null ? '' : `: ${answerOrFailure(facts.recipient.reply)}`
  return {
    summary: `Was ${by}${words}.`,
    because: failure?.because ?? [
      { kind: 'other', detail: 'No attempt that tells more is on record any more.' },
    ],
    remedy: failure?.remedy ?? 'Send the mail again, and ask this of the new one.',
  }
}

const nothing = 'Nothing has to be done.'

const cancelled: Explanation = {
  summary: 'Was cancelled before it was sent.',
  because: [{ kind: 'cancelled', detail: 'It was stopped on request (POST /messages/:id/cancel).' }],
  remedy:
    'Nothing has to be done. If it is to be sent after all, send it again as a new message: POST /messages/:id/resend (npm run valija -- message resend <id>).',
}

function explainDelivered(facts: ExplanationFacts): Explanation {
  const { message, recipient, lastAttempt, nowMs } = facts
  const when = recipient.deliveredAtMs === null ? '' : ` at ${atTime(recipient.deliveredAtMs, nowMs)}`
  const beside = [...earlierAttempts(facts), ...(facts.uncertainAttempts > 0 ? [uncertainCause(facts)] : [])]
  if (!recipient.isSimulated && (message.delivery === 'capture' || lastAttempt?.route === 'capture')) {
    return {
      summary: `Is in the inbox since${when.replace(' at ', ' ')}.`,
      because: [
        {
          kind: 'captured',
          detail: `Mail is captured here: it is in the inbox (GET /inbox?to=${recipient.email}) and never left this machine.`,
        },
        ...beside,
      ],
      remedy: captureRemedy(facts),
    }
  }
  return {
    summary: `Was delivered${when}.`,
    because: [{ kind: 'delivered', detail: takenBy(lastAttempt) }, ...beside],
    remedy:
      'Nothing has to be done. If the recipient does not find it: the receiving server has it, and its postmaster can trace it by its Message-ID; look into the spam folder first.',
  }
}

function captureRemedy({ system }: ExplanationFacts): string {
  if (system.delivery === 'capture') {
    return 'Nothing has to be done for tests. If the mail is to reach its recipient, the operator has to start Valija with VALIJA_DELIVERY=smarthost or mx.'
  }
  return 'Nothing has to be done for tests. If the mail is to reach its recipient, send it again by another route: the message, its key or a list of routes named the inbox.'
}

function takenBy(attempt: AttemptFacts | null): string {
  if (attempt === null) return 'The receiving server took the mail.'
  const how =
    attempt.tls === null
      ? 'unencrypted'
      : `over ${attempt.tls.version}${attempt.tls.verified ? ' to a verified name' : ''}`
  const words = attempt.reply === null ? '' : `, and answered ${quoted(attempt.reply)}`
  const text = `${serverOf(attempt)} took it ${how}${words}.`
  return withCapital(text)
}

function earlierAttempts({ recipient }: ExplanationFacts): Cause[] {
  if (recipient.attempts < 2) return []
  const before = recipient.attempts - 1
  const detail = `It took ${recipient.attempts} attempts; what the ${before === 1 ? 'first one' : `${before} before`} met is in GET /messages/:id/attempts.`
  return [{ kind: 'earlier_attempts', detail }]
}

const whySuppressed: Record<SuppressionReason, string> = {
  manual: 'somebody added it',
  mailbox_unknown: 'its server said that there is no such mailbox',
  mailbox_disabled: 'its server said several times that the mailbox is disabled',
  mailbox_full: 'its mailbox was full for three mails in 14 days',
  complaint: 'its owner complained about a mail of this stream',
  unsubscribe: 'its owner unsubscribed from this stream',
}

function explainSuppressed({ recipient, suppression, message, nowMs }: ExplanationFacts): Explanation {
  const summary = 'Was not sent: the address is on the suppression list.'
  if (recipient.isSimulated) {
    return {
      summary,
      because: [{ kind: 'suppressed', detail: 'It is played as suppressed, and on no list.' }],
      remedy: nothing,
    }
  }
  if (suppression === null || suppression.isQuarantined) {
    const detail = `It was suppressed when the mail was sent (${recipient.reason ?? 'unknown'}), and is not any more.`
    return {
      summary,
      because: [{ kind: 'suppressed', detail }],
      remedy: 'Send the mail again: nothing stops it now.',
    }
  }
  const { id, reason, reply, createdAtMs } = suppression
  const words = reply === null ? '' : `: ${quoted(reply)}`
  const detail = `${recipient.email} is suppressed since ${atTime(createdAtMs, nowMs)} (${id}), because ${whySuppressed[reason]}${words}.`
  const isWish = reason === 'complaint' || reason === 'unsubscribe'
  const remedy = isWish
    ? `Do not send ${message.stream} mail there: its owner does not want it. Only if they ask for it again, remove the entry (DELETE /suppressions/${id}) and send the mail again.`
    : `If the address is to get mail again, remove the entry (DELETE /suppressions/${id}) and send the mail again.`
  return { summary, because: [{ kind: 'suppressed', detail }], remedy }
}

/** What it met to the last is why it failed; that its time is over only says when. */
function explainExpired(facts: ExplanationFacts): Explanation {
  const { message, recipient, nowMs } = facts
  const failure = explainFailure(facts)
  const tries =
    recipient.attempts === 0
      ? 'without an attempt'
      : `after ${recipient.attempts === 1 ? '1 attempt' : `${recipient.attempts} attempts`}`
  const time = atTime(message.expiresAtMs, nowMs)
  const detail = `Its time was over at ${time}, ${tries}${recipient.attempts === 0 ? ': it waited for its turn or was held back until then' : ''}.`
  const again = 'Send the mail again; ttl_seconds gives it more time.'
  return {
    summary: `Was given up ${tries}; its time was over at ${time}.`,
    because: [...(failure?.because ?? []), { kind: 'expired', detail }],
    remedy: failure?.remedy ?? again,
  }
}

/** What its reader said of it afterwards, which changes no state and is what counts from then on. */
function afterWishes(facts: ExplanationFacts, explanation: Explanation): Explanation {
  const { recipient, message, nowMs } = facts
  const { complainedAtMs, unsubscribedAtMs } = recipient
  if (complainedAtMs === null && unsubscribedAtMs === null) return explanation
  const entry = entryAfterWish(facts)
  const said: Cause[] = []
  if (complainedAtMs !== null) {
    const detail = `Its reader called it spam, and the provider told so at ${atTime(complainedAtMs, nowMs)}.${entry}`
    said.push({ kind: 'complained', detail })
  }
  if (unsubscribedAtMs !== null) {
    const detail = `Its reader followed its link to unsubscribe at ${atTime(unsubscribedAtMs, nowMs)}.${entry}`
    said.push({ kind: 'unsubscribed', detail })
  }
  const word = complainedAtMs === null ? 'unsubscribed by its link' : 'complained about it'
  return {
    summary: `${explanation.summary.replace(/\.$/, '')}; its reader ${word}.`,
    because: [...said, ...explanation.because],
    remedy: `Do not send ${message.stream} mail there again unless its owner asks for it.`,
  }
}

function entryAfterWish({ recipient, suppression, message }: ExplanationFacts): string {
  if (recipient.isSimulated) return ''
  if (suppression === null || suppression.isQuarantined) {
    return ' No entry of the suppression list stops mail to the address now.'
  }
  const isWish = suppression.reason === 'complaint' || suppression.reason === 'unsubscribe'
  return ` The address is suppressed by ${suppression.id}${isWish ? ` for ${message.stream} mail` : ''}.`
}

/** Of a mail that came back: what the suppression list makes of it, which is what becomes of the next mail. */
function withEntry(
  { recipient, suppression, nowMs }: ExplanationFacts,
  explanation: Explanation,
): Explanation {
  if (suppression === null || recipient.isSimulated) return explanation
  if (recipient.status !== 'bounced' && recipient.status !== 'failed') return explanation
  const { id, reason, isQuarantined, createdAtMs } = suppression
  const since = `${recipient.email} is on the suppression list since ${atTime(createdAtMs, nowMs)} as ${id} (${reason})`
  if (isQuarantined) {
    const detail = `${since}, but quarantined, because the answer was doubtful: it stops nothing yet.`
    return {
      ...explanation,
      because: [...explanation.because, { kind: 'quarantined', detail }],
      remedy: `Nothing has to be done: the next mail to it is tried, and what comes of that decides. If you know that the mailbox is gone, put the entry in force: PATCH /suppressions/${id} with {"status":"active"}.`,
    }
  }
  const detail = `${since}, in force: mail to it is not sent.`
  return {
    ...explanation,
    because: [...explanation.because, { kind: 'suppressed', detail }],
    remedy: `${explanation.remedy} Valija sends nothing to it while ${id} is on the suppression list; if it is there after all, remove that (DELETE /suppressions/${id}).`,
  }
}
