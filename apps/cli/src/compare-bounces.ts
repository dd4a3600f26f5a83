/** Compares what we read from one mail with what is expected of it, recipient by recipient. Pure. */
import { type BounceJudgement, type JudgeBounce, reasonMeanings } from '@valija/core'
import type { IncomingMail, ReportedRecipient } from '@valija/mail'
import { isHard, meansTheSame, noFailures } from './sisimai-reasons.ts'

export interface ExpectedRecipient {
  /** In Sisimai's words. */
  reason: string
  hard: boolean
  recipient: string | null
}

export interface Miss {
  file: string
  recipient: string | null
  field: 'recipient' | 'hard' | 'reason'
  expected: string
  got: string
  /** What the report says, where it is about the reason. */
  text: string
}

/** Of one mail. A recipient too many or too few is one that is wrong in all fields. */
export interface Outcome {
  recipients: { reason: string; isRecipientRight: boolean; isHardRight: boolean; isReasonRight: boolean }[]
  falseSuppressions: number
  misses: Miss[]
}

export function compareMail(
  file: string,
  expected: readonly ExpectedRecipient[],
  mail: IncomingMail,
  judge: JudgeBounce,
): Outcome {
  const reported = mail.kind === 'bounce' ? mail.recipients : []
  const failed = reported.filter(({ action }) => action === 'failed' || action === 'delayed')
  const failures = expected.filter(({ reason }) => !noFailures.includes(reason))
  const left = [...failed]
  const outcome: Outcome = { recipients: [], falseSuppressions: 0, misses: [] }
  for (const one of failures) {
    const index = left.findIndex(({ address }) => address?.toLowerCase() === one.recipient?.toLowerCase())
    const [found] = index < 0 ? [] : left.splice(index, 1)
    compareRecipient(outcome, file, one, found === undefined ? null : { found, judgement: judge(found) })
  }
  for (const one of expected.filter(({ reason }) => noFailures.includes(reason))) {
    const isRight = failed.length === failures.length
    outcome.recipients.push({
      reason: one.reason,
      isRecipientRight: isRight,
      isHardRight: isRight,
      isReasonRight: isRight,
    })
  }
  for (const { address } of left) {
    outcome.misses.push({
      file,
      recipient: address,
      field: 'recipient',
      expected: 'nobody',
      got: address ?? 'an unnamed one',
      text: '',
    })
    // One that is named wrongly is one recipient that is wrong, not two.
    if (outcome.recipients.length < failed.length && failures.length > 0) {
      outcome.recipients.push({
        reason: 'nobody',
        isRecipientRight: false,
        isHardRight: false,
        isReasonRight: false,
      })
    }
  }
  if (failures.length === 0)
    outcome.falseSuppressions = failed.filter((one) => suppresses(one, judge(one))).length
  return outcome
}

function compareRecipient(
  outcome: Outcome,
  file: string,
  expected: ExpectedRecipient,
  got: { found: ReportedRecipient; judgement: BounceJudgement } | null,
): void {
  const { reason, hard, recipient } = expected
  const isHardRight = got !== null && isHard(got.judgement) === hard
  const isReasonRight = got !== null && meansTheSame(reason, got.judgement)
  outcome.recipients.push({ reason, isRecipientRight: got !== null, isHardRight, isReasonRight })
  const text =
    got === null
      ? ''
      : [got.found.phase ?? '-', got.found.status ?? '-', got.found.text].join(' ').slice(0, 250)
  const ours = got === null ? 'nothing' : `${got.judgement.reason} (${got.judgement.bounceType})`
  const miss = (field: Miss['field'], wanted: string, is: string) =>
    outcome.misses.push({ file, recipient, field, expected: wanted, got: is, text })
  if (got === null) return void miss('recipient', recipient ?? 'somebody', 'not found')
  if (!isHardRight) miss('hard', hard ? 'hard' : 'soft', ours)
  if (!isReasonRight) miss('reason', reason, ours)
}

/** Whether the delivery engine's rule for the reason would put the address on, or nearer to, the suppression list. */
function suppresses({ action }: ReportedRecipient, { reason, evidence }: BounceJudgement): boolean {
  return action === 'failed' && evidence !== 'guess' && reasonMeanings[reason].suppression !== 'never'
}

export function summarize(outcomes: readonly Outcome[]) {
  const all = outcomes.flatMap(({ recipients }) => recipients)
  const share = (right: number) => (all.length === 0 ? 1 : right / all.length)
  const byReason = new Map<string, { right: number; all: number }>()
  for (const { reason, isReasonRight } of all) {
    const count = byReason.get(reason) ?? { right: 0, all: 0 }
    byReason.set(reason, { right: count.right + Number(isReasonRight), all: count.all + 1 })
  }
  return {
    summary: {
      mails: outcomes.length,
      recipient: share(all.filter(({ isRecipientRight }) => isRecipientRight).length),
      hard: share(all.filter(({ isHardRight }) => isHardRight).length),
      reason: share(all.filter(({ isReasonRight }) => isReasonRight).length),
      false_suppressions: outcomes.reduce((sum, { falseSuppressions }) => sum + falseSuppressions, 0),
    },
    byReason,
  }
}
