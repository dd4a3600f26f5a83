/**
 * Why a recipient that is not at its end waits: for its time, for a hold to end, for its next attempt, or for a turn with a worker.
 *
 * What comes first is what keeps the mail now. Something that is due and not taken is kept by ourselves, whatever its last attempt
 * met; something that is not due is kept by what it is held back for, or by that attempt.
 */
import { pauseWords } from '../alarm-policy.ts'
import { crashesOfSuspect } from '../crash-policy.ts'
import type { Cause, Explanation, Finding } from './cause-kinds.ts'
import { explainFailure, scheduleCause, serverOf, uncertainCause } from './explain-failure.ts'
import { explainHold } from './explain-hold.ts'
import { explainSite } from './explain-site.ts'
import type { DeliveryFacts, ExplanationFacts } from './facts.ts'
import { atTime, countOf, inWords, quoted } from './words.ts'

/** A mail that is due is taken within moments; after so long somebody asks why it is not. */
const momentsMs = 5_000

export function explainWaiting(facts: ExplanationFacts): Explanation {
  const { recipient, delivery, nowMs } = facts
  if (recipient.status === 'sending') return withSuspicion(facts, explainSending(facts))
  // Between the end of a recipient and what is read of its row.
  if (delivery === null) return { summary: 'Its end is being written down.', ...nextInLine }
  const { sendAtMs, suspendedAtMs, bulkPause } = facts.message
  if (suspendedAtMs !== null) return explainSuspended(facts, suspendedAtMs)
  if (bulkPause !== null) return explainBulkPause(facts, bulkPause)
  if (recipient.status === 'scheduled' && sendAtMs !== null && sendAtMs > nowMs)
    return explainScheduled(facts, sendAtMs)
  const failure = explainFailure(facts)
  const addLimit = addLimits(facts, delivery)
  const withLimits = (waiting: Explanation) => withSuspicion(facts, addLimit(waiting))
  if (delivery.dueAtMs > nowMs) return withLimits(explainLater(facts, delivery, failure))
  return withLimits(explainDue(facts, delivery, failure))
}

/** That its workers died explains more than whatever else it waits for. */
function withSuspicion({ delivery }: ExplanationFacts, waiting: Explanation): Explanation {
  if (delivery === null || delivery.crashes < crashesOfSuspect) return waiting
  const detail = `${delivery.crashes} times in a row the process that had it died, hung or was stopped, which need not be its fault. It is tried alone, by a process that has nothing else to do; if that crashes as well, it is given up.`
  return {
    ...waiting,
    because: [{ kind: 'crashed_workers', detail }, ...waiting.because],
    remedy: `Nothing has to be done: it is tried by itself. ${operatorLooks}`,
  }
}

const operatorLooks = 'The operator finds in the workers’ log why they ended.'

const nextInLine: Finding = {
  because: [{ kind: 'next_in_line', detail: 'It is due, and its turn comes within moments.' }],
  remedy: 'Nothing has to be done.',
}

function explainSending(facts: ExplanationFacts): Explanation {
  const failure = explainFailure(facts)
  const where =
    facts.lastAttempt === null ? (facts.site?.name ?? facts.recipient.domain) : serverOf(facts.lastAttempt)
  const sending: Cause = {
    kind: 'sending',
    detail: `A worker has it: it is in conversation with ${where}, or next in the line of mails for it.`,
  }
  const site = explainSite(facts.site, facts.nowMs)
  return {
    summary: failure === null ? 'It is being sent this moment.' : 'It is being tried again this moment.',
    because: [...(failure?.because ?? []), ...(site?.because ?? []), sending],
    remedy: (failure ?? site)?.remedy ?? 'Nothing has to be done: ask again in a moment.',
  }
}

/** Whatever else it waits for: while this lasts nothing is sent. */
function explainSuspended({ nowMs }: ExplanationFacts, suspendedAtMs: number): Explanation {
  const detail = `Since ${atTime(suspendedAtMs, nowMs)} the tenant is suspended. Nothing is lost: its mail is held, and its time does not run on meanwhile.`
  return {
    summary: 'Is held: the tenant is suspended.',
    because: [{ kind: 'tenant_suspended', detail }],
    remedy:
      'Only the operator of this installation can lift it (PATCH /tenants/:id with "status": "active"); what is due then goes at once.',
  }
}

function explainBulkPause(
  { nowMs }: ExplanationFacts,
  { sinceMs, reason }: NonNullable<ExplanationFacts['message']['bulkPause']>,
): Explanation {
  const { explanation, remedy } = pauseWords(reason)
  const detail = `Since ${atTime(sinceMs, nowMs)} the bulk mail of the tenant is held. ${explanation} Its time does not run on meanwhile.`
  return {
    summary: 'Is held: bulk mail of the tenant is.',
    because: [{ kind: 'bulk_paused', detail }],
    remedy,
  }
}

function explainScheduled({ nowMs }: ExplanationFacts, sendAtMs: number): Explanation {
  return {
    summary: `Scheduled for ${atTime(sendAtMs, nowMs)}.`,
    because: [
      { kind: 'scheduled', detail: `It was asked to be sent at ${atTime(sendAtMs, nowMs)} (send_at).` },
    ],
    remedy:
      'Nothing has to be done: it is sent at that time. To have it now, move it: PATCH /messages/:id with {"send_at": null} (npm run valija -- message move <id> --now).',
  }
}

/** Not due: held back, or between two attempts. */
function explainLater(
  facts: ExplanationFacts,
  delivery: DeliveryFacts,
  failure: Finding | null,
): Explanation {
  const hold = explainHold(facts, delivery)
  const next = atTime(delivery.dueAtMs, facts.nowMs)
  const schedule = facts.recipient.attempts > 0 ? [scheduleCause(facts, delivery.dueAtMs)] : []
  if (hold === null && failure === null) {
    const turn: Cause = { kind: 'next_in_line', detail: `Its turn comes at ${next}.` }
    return { summary: `Waits until ${next}.`, because: [turn, ...schedule], remedy: nextInLine.remedy }
  }
  // The mail's own attempt tells more of its site than that the site is left alone since; of another hold it knows nothing.
  const isSameStory = hold !== null && failure !== null && hold.isOfSite
  const [first, second] = isSameStory ? [failure, hold] : [hold ?? failure, hold === null ? null : failure]
  const until =
    facts.recipient.attempts > 0
      ? `Was not delivered yet; the next attempt is at ${next}.`
      : `Is held back until ${next}.`
  return {
    // That time is its end, not a try.
    summary: isOfRestore(hold?.because) ? 'Is held until the operator decides what becomes of it.' : until,
    because: [
      ...(first?.because ?? []),
      ...(second?.because ?? []),
      // Beside a hold of the same site that is nothing new.
      ...((hold === null && explainSite(facts.site, facts.nowMs)?.because) || []),
      ...schedule,
    ],
    remedy: first?.remedy ?? nextInLine.remedy,
  }
}

/** Due, and no worker has it: what of ours keeps it, before whatever it met. */
function explainDue(facts: ExplanationFacts, delivery: DeliveryFacts, failure: Finding | null): Explanation {
  const hold = explainHold(facts, delivery)
  const ours = findOwnCause(facts, delivery)
  const before = [...(failure?.because ?? []), ...(hold?.because ?? [])]
  const overdue = inWords(Math.max(0, facts.nowMs - delivery.dueAtMs))
  if (ours === null) {
    const first = failure ?? hold
    return {
      summary:
        facts.recipient.attempts > 0
          ? 'Is due for its next attempt.'
          : 'Is due, and its turn comes within moments.',
      because: [...before, ...nextInLine.because],
      remedy: first?.remedy ?? nextInLine.remedy,
    }
  }
  return {
    summary: `Has been due for ${overdue}, and waits for its turn.`,
    because: [...ours.because, ...before],
    remedy: ours.remedy,
  }
}

function findOwnCause(facts: ExplanationFacts, delivery: DeliveryFacts): Finding | null {
  const { system, ahead, message, nowMs } = facts
  const causes: Cause[] = []
  if (system.queueFault !== null) causes.push(queueCause(system.queueBackend, system.queueFault))
  if (system.workers === 0) {
    const detail = 'No worker process is connected to the database, so nothing is sent. No mail is lost.'
    causes.push({ kind: 'no_worker', detail })
  }
  if (causes.length > 0) return { because: causes, remedy: remedyOfSystem(facts) }
  if (delivery.state === 'waiting' && ahead.count > 0) return shareOf(ahead, message.stream)
  const overdueMs = nowMs - delivery.dueAtMs
  if (overdueMs < momentsMs) return null
  const detail = `It has been due for ${inWords(overdueMs)}, and ${countOf(system.workers, 'worker')} ${system.workers === 1 ? 'is' : 'are'} connected: busy with other mail, or stopped.`
  return {
    because: [{ kind: 'workers_busy', detail }],
    remedy:
      'Ask the operator to look at the workers’ log and to start more of them; nothing is lost meanwhile.',
  }
}

function queueCause(backend: string, fault: string): Cause {
  const store = backend === 'redis' ? 'Redis or Valkey (REDIS_URL)' : 'The queue in PostgreSQL'
  return {
    kind: 'queue_away',
    detail: `${store} does not answer: ${quoted(fault)}. Until it does, one worker delivers alone; no mail is lost.`,
  }
}

function remedyOfSystem({ system }: ExplanationFacts): string {
  if (system.queueFault === null) {
    return 'Only the operator can mend this: start a worker (npm run valija -- worker); all that waits then goes by itself.'
  }
  return system.queueBackend === 'redis'
    ? 'Only the operator can mend this: bring Redis or Valkey back; all workers then go on by themselves.'
    : 'Only the operator can mend this: look into the log for why the queue in PostgreSQL fails; all workers then go on by themselves.'
}

function shareOf({ count, isMore }: ExplanationFacts['ahead'], stream: string): Finding {
  const mails = `${isMore ? 'more than ' : ''}${countOf(count, 'mail')}`
  const detail = `${mails} of your ${stream} stream are due before it. Tenants and streams take turns, so that nobody’s run delays the others.`
  const urgent =
    stream === 'bulk'
      ? 'What is urgent belongs in the transactional stream, which does not wait for bulk mail.'
      : 'What is not urgent belongs in the bulk stream ("stream": "bulk"), so that it does not stand before your other mail.'
  return {
    because: [{ kind: 'tenant_share', detail }],
    remedy: `Nothing has to be done: it is sent when those before it are. ${urgent}`,
  }
}

const isOfRestore = (because: readonly Cause[] = []) => because.some(({ kind }) => kind === 'restored')

/** What is true of the time ahead, and of earlier attempts, wherever it waits. */
function addLimits(facts: ExplanationFacts, delivery: DeliveryFacts): (waiting: Explanation) => Explanation {
  const { message, nowMs, suppression } = facts
  const more: Cause[] = []
  if (Math.max(delivery.dueAtMs, nowMs) >= message.expiresAtMs) {
    const detail = `Its time is over at ${atTime(message.expiresAtMs, nowMs)}: it is given up then without another attempt.`
    more.push({ kind: 'expires_first', detail })
  }
  if (facts.uncertainAttempts > 0) more.push(uncertainCause(facts))
  if (suppression?.isQuarantined) {
    const detail = `The address is on the suppression list as ${suppression.id} (${suppression.reason}), but quarantined: it stops nothing yet.`
    more.push({ kind: 'quarantined', detail })
  }
  return (waiting) => {
    const known = new Set(waiting.because.map(({ kind }) => kind))
    const because = [...waiting.because, ...more.filter(({ kind }) => !known.has(kind))]
    // Whoever sends what is held after a restore again may double it.
    const isTooLate = because.some(({ kind }) => kind === 'expires_first') && !isOfRestore(because)
    const late = isTooLate
      ? ' Its time is over before that, though: send it again with more ttl_seconds.'
      : ''
    return { ...waiting, because, remedy: `${waiting.remedy}${late}` }
  }
}
