/**
 * From what a report says of one recipient to what is written: state, event, and what follows for the mailbox. Whom it may be about is
 * the table in take-report.ts. Pure.
 */
import {
  type BounceJudgement,
  erasedDomain,
  type IdSource,
  mailboxFaultOf,
  reasonMeanings,
  stateAfter,
  statesBefore,
  storableText,
} from '@valija/core'
import type { ReportedRecipient } from '@valija/mail'
import type { ReportEffect, ReportedMail } from '@valija/store'
import { eventData } from './event-data.ts'
import type { Complaint } from './match-report.ts'

export interface EffectParts {
  nextId: IdSource
  nowMs: () => number
  fingerprint: Buffer
}

/** A bounce that came later, of a mail that was taken, or that our own conversation knows no end of. */
export function bounceEffect(
  { nextId, nowMs, fingerprint }: EffectParts,
  { mail, reported }: { mail: ReportedMail; reported: ReportedRecipient },
  judgement: BounceJudgement,
): ReportEffect {
  const { reason, bounceType, evidence } = judgement
  // Who is erased stays so: the server's words name the address.
  const reply = mail.domain === erasedDomain ? null : replyOf(reported)
  const { meaning, remedy } = reasonMeanings[reason]
  return {
    mail,
    fingerprint,
    kind: 'bounce',
    change: { to: stateAfter('bounce'), from: statesBefore('bounce') },
    reason,
    reply,
    enhancedStatus: reported.status,
    eventId: nextId(),
    eventType: 'message.bounced',
    createdAtMs: nowMs(),
    eventData: (seq, before) => ({
      ...dataOf(mail, seq),
      reason,
      bounce_type: bounceType,
      ...(reply !== null && { reply }),
      ...(reported.status !== null && { enhanced_status: reported.status }),
      ...(reported.remoteHost !== null && { host: storableText(reported.remoteHost) }),
      ...(reported.reportingHost !== null && { reported_by: storableText(reported.reportingHost) }),
      ...(before === stateAfter('deliver') && { after_delivery: true }),
      explanation: meaning,
      remedy,
    }),
    mailboxFault: mailboxFaultOf({ event: 'bounce', reason, evidence }, 'rcpt'),
  }
}

/** Somebody called it spam: the mail stays delivered. */
export function complaintEffect(
  { nextId, nowMs, fingerprint }: EffectParts,
  mail: ReportedMail,
  { feedbackType, source }: Complaint,
): ReportEffect {
  return {
    mail,
    fingerprint,
    kind: 'complaint',
    change: null,
    reason: null,
    reply: null,
    enhancedStatus: null,
    eventId: nextId(),
    eventType: 'message.complained',
    createdAtMs: nowMs(),
    eventData: (seq) => ({
      ...dataOf(mail, seq),
      feedback_type: storableText(feedbackType),
      ...(source !== null && { reported_by: storableText(source) }),
    }),
    mailboxFault: null,
  }
}

function dataOf(mail: ReportedMail, seq: number): object {
  const { messageId, recipientId, stream, fromDomain, tags, metadata, email } = mail
  return eventData(
    { id: messageId, stream, fromDomain, tags, metadata },
    { id: recipientId, email },
    null,
    seq,
  )
}

/** What was said of the failure, as a reply of a conversation is shown; its codes where there are no words. */
function replyOf({ text, replyCode, status }: ReportedRecipient): string | null {
  const codes = [replyCode, status].filter((part) => part !== null).join(' ')
  const words = text === '' ? codes : text
  return words === '' ? null : storableText(words)
}
