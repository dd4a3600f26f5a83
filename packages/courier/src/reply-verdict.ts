/**
 * What a reply means at each step of the conversation.
 */
import type { SmtpReply } from '@valija/mail'
import { phaseOf, type Step } from './dialogue.ts'
import { replyVerdict, type Verdict } from './report.ts'

/** Whether a reply's code is the one that a step needs to go on. */
export function isAccepted(step: Step, code: number): boolean {
  if (step === 'greeting' || step === 'starttls') return code === 220
  if (step === 'auth') return code === 235 || code === 334
  if (step === 'data') return code === 354
  if (step === 'body' || step === 'handshake') return false
  return code >= 200 && code < 300
}

/** What a 4xx or 5xx at a step means. */
export function verdictOfRefusal(step: Step, reply: SmtpReply): Verdict {
  const verdict = replyVerdict(phaseOf(step), reply)
  if (step === 'starttls') return { ...verdict, failure: 'tls', detail: 'the peer refused STARTTLS' }
  if (step === 'auth' && reply.code >= 500) {
    return { ...verdict, failure: 'login_refused', detail: 'the peer refused the login' }
  }
  return verdict
}
