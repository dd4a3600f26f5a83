/**
 * Compares the ledgers (docs: faults and invariants I1 to I6). Every way in which they contradict each other is a finding, and one
 * finding makes the run red.
 */
import { createExplainer, type DuplicateCause, duplicateCauses } from './duplicates.ts'
import type { ClientEntry, EventEntry, FaultEntry, MessageEntry, SinkEntry, WebhookEntry } from './ledgers.ts'
import { modeOf } from './mails.ts'

export interface Ledgers {
  clients: readonly ClientEntry[]
  sink: readonly SinkEntry[]
  webhooks: readonly WebhookEntry[] | null
  events: readonly EventEntry[]
  messages: readonly MessageEntry[]
  faults: readonly FaultEntry[]
  /** Conversations that a worker may have under way. */
  concurrency: number
}

/** What is promised. */
export const rules = {
  I1: 'every recipient of a 2xx is at exactly one end',
  I2: 'what is delivered has come',
  I3: 'what has come is delivered, or an attempt of it is uncertain',
  I4: 'what came twice was past its final dot when a fault hit it',
  I5: 'what came twice has the same Message-ID and the same bytes, and they are those that GET /messages/:id/raw shows',
  I6: 'every end has its event, once and last, and its webhook',
  I7: 'what is sent at most once never comes twice, and fails only as uncertain, with its event, after something broke',
  kills: 'a kill doubles no more mails than a worker may have conversations under way',
  answers: 'no answer but 2xx and those that may be repeated',
  key: 'one message for one idempotency key',
  events: 'the stream skips nothing and repeats nothing',
  rest: 'at rest no row and no hint is left',
  exits: 'no process ends by itself',
} as const
export type Rule = keyof typeof rules

export interface Finding {
  rule: Rule
  what: string
}

export interface Verdict {
  findings: Finding[]
  accepted: { messages: number; recipients: number; replays: number; retried: number }
  /** Posts whose clients never learned what became of them, and how many of those are there. */
  unknown: { messages: number; found: number }
  delivered: number
  bounced: number
  lost: number
  duplicates: Record<DuplicateCause, number>
  differing: number
  mostDuplicatesPerKill: number
  /** Recipients of the tenant that chose `at_most_once`. */
  once: OnceTally
}

export interface OnceTally {
  delivered: number
  /** Ended as failed, for they may have arrived; and those of them that had. */
  uncertain: number
  uncertainCame: number
  /** Came more than once. */
  doubled: number
}

type RecipientView = MessageEntry['recipients'][number]

export function judge(ledgers: Ledgers): Verdict {
  const findings: Finding[] = []
  const find = (rule: Rule, what: string) => findings.push({ rule, what })
  const { clients, events, faults } = ledgers
  judgeAnswers(clients, events, find)
  judgeEvents(events, find)
  for (const { kind, life, detail } of faults) {
    if (kind === 'exit' && detail.includes('unexpected')) find('exits', `${life}: ${detail}`)
  }
  const mails = Map.groupBy(ledgers.sink, ({ to }) => to)
  const ends = judgeRecipients(ledgers, mails, find)
  const duplicates = judgeDuplicates(mails, ledgers, find)
  if (ledgers.webhooks) judgeWebhooks(ledgers.webhooks, events, find)
  const accepted = clients.filter(({ outcome }) => outcome.kind === 'accepted')
  const first = [...new Map(accepted.map((entry) => [entry.number, entry])).values()]
  const unknown = clients.filter(({ outcome }) => outcome.kind === 'unknown')
  const numbers = new Set(events.map(({ number }) => number))
  return {
    findings,
    accepted: {
      messages: first.length,
      recipients: first.reduce((sum, { outcome }) => sum + recipientsOf(outcome).length, 0),
      replays: accepted.filter(({ outcome }) => outcome.kind === 'accepted' && outcome.isReplay).length,
      retried: accepted.filter(({ tries }) => tries > 1).length,
    },
    unknown: { messages: unknown.length, found: unknown.filter(({ number }) => numbers.has(number)).length },
    ...ends,
    ...duplicates,
    once: judgeOnce(ledgers, mails, find),
  }
}

function recipientsOf(outcome: ClientEntry['outcome']): { id: string; email: string }[] {
  return outcome.kind === 'accepted' ? outcome.recipients : []
}

type Find = (rule: Rule, what: string) => void

/** Answers that must not be, and two messages where one was asked for. */
function judgeAnswers(clients: readonly ClientEntry[], events: readonly EventEntry[], find: Find): void {
  const ids = new Map<number, Set<string>>()
  const idsOf = (number: number) => {
    const known = ids.get(number) ?? new Set<string>()
    ids.set(number, known)
    return known
  }
  for (const { number, messageId, type } of events) {
    if (type.startsWith('message.')) idsOf(number).add(messageId)
  }
  for (const { number, outcome } of clients) {
    if (outcome.kind === 'wrong') find('answers', `mail ${number}: ${outcome.status} ${outcome.body}`)
    if (outcome.kind === 'accepted') idsOf(number).add(outcome.id)
  }
  for (const [number, found] of ids) {
    if (found.size > 1) find('key', `mail ${number} is ${found.size} messages: ${[...found].join(', ')}`)
  }
}

const isEndType = (type: string) => /^message\.(?:delivered|bounced|failed|suppressed|cancelled)$/.test(type)

/** The stream: no event twice, each recipient's numbered 1, 2, 3 …, the end last. */
function judgeEvents(events: readonly EventEntry[], find: Find): void {
  const seen = new Set<string>()
  for (const { id } of events) {
    if (seen.has(id)) find('events', `${id} came twice`)
    seen.add(id)
  }
  const own = events.filter(({ type }) => type.startsWith('message.'))
  for (const [recipientId, list] of Map.groupBy(own, (event) => event.recipientId)) {
    const inOrder = list.toSorted((one, other) => one.seq - other.seq)
    const types = inOrder.map(({ type }) => type)
    const story = `${recipientId}: ${inOrder.map(({ seq, type }) => `${seq} ${type}`).join(', ')}`
    // Attempts that deferred a recipient again are numbered as well, and not shown: gaps are no contradiction.
    if (new Set(inOrder.map(({ seq }) => seq)).size < list.length) find('I6', `one number twice: ${story}`)
    if (types[0] !== 'message.accepted') find('events', `does not begin with its acceptance: ${story}`)
    if (types.filter(isEndType).length > 1) find('I6', `two ends: ${story}`)
    if (types.some(isEndType) && !isEndType(types.at(-1) ?? '')) find('I6', `goes on after its end: ${story}`)
  }
}

/** I1 to I3 and I6, recipient by recipient. */
function judgeRecipients(
  { clients, messages, events, faults }: Ledgers,
  mails: ReadonlyMap<string, readonly SinkEntry[]>,
  find: Find,
): { delivered: number; bounced: number; lost: number } {
  const views = new Map(messages.map((message) => [message.id, message]))
  const endings = new Map(
    events.filter(({ type }) => isEndType(type)).map(({ recipientId, type }) => [recipientId, type]),
  )
  const explain = createExplainer(faults)
  /** Its worker could not tell what it saw. */
  const isHindered = (mail: SinkEntry) => explain({ ...mail, answer: '250' }) !== 'unexplained'
  const tally = { delivered: 0, bounced: 0, lost: 0 }
  for (const { number, outcome } of clients) {
    if (outcome.kind === 'accepted' && !views.has(outcome.id)) {
      find('I1', `mail ${number}: ${outcome.id} was answered ${outcome.status}, and is not there`)
      tally.lost += outcome.recipients.length
    }
  }
  for (const message of views.values()) {
    const bytes = new Set(
      message.recipients.flatMap(({ email }) => mails.get(email)?.map(({ sha256 }) => sha256) ?? []),
    )
    if (message.sha256 !== undefined) bytes.add(message.sha256)
    if (bytes.size > 1) find('I5', `${message.id} came in ${bytes.size} forms`)
    for (const recipient of message.recipients) {
      const what = `${message.id} ${recipient.email} is ${recipient.status}`
      const came = mails.get(recipient.email) ?? []
      if (recipient.status === 'delivered') tally.delivered += 1
      if (recipient.status === 'bounced') tally.bounced += 1
      if (isLost(message, recipient, came)) tally.lost += 1
      const hasToBeUncertain = came.some((mail) => mail.answer === 'cut' && !isHindered(mail))
      judgeRecipient(
        { message, recipient, came, hasToBeUncertain, end: endings.get(recipient.id) },
        (rule, why) => find(rule, `${what}: ${why}`),
      )
    }
  }
  return tally
}

interface Case {
  message: MessageEntry
  recipient: RecipientView
  came: readonly SinkEntry[]
  /** The receiver took it and never said so, to a worker that lived on. */
  hasToBeUncertain: boolean
  /** Type of the event that ended it. */
  end: string | undefined
}

function judgeRecipient({ message, recipient, came, hasToBeUncertain, end }: Case, find: Find): void {
  const isRefused = recipient.email.startsWith('no-')
  const expected = isRefused ? 'bounced' : 'delivered'
  if (recipient.status !== expected && !isGivenUpOnce(message, recipient))
    find('I1', `it should be ${expected}`)
  if (recipient.status === 'delivered' && !came.some(({ answer }) => answer === '250')) {
    find('I2', came.length === 0 ? 'it never came' : 'it came, and 250 was never said')
  }
  if (came.length > 0 && recipient.status !== 'delivered' && !message.uncertain?.[recipient.id]) {
    find('I3', `it came ${came.length} times`)
  }
  if (hasToBeUncertain && !message.uncertain?.[recipient.id])
    find('I3', 'the receiver cut, and no attempt is uncertain')
  if (came.some(({ number }) => number !== message.number)) find('I5', 'it came with the content of another')
  if (came.some(({ messageId }) => messageId !== message.rfcMessageId))
    find('I5', 'it came with another Message-ID')
  if (end !== `message.${recipient.status}`) find('I6', `its last event is ${end ?? 'none'}`)
}

function isLost(message: MessageEntry, recipient: RecipientView, came: readonly SinkEntry[]): boolean {
  if (recipient.email.startsWith('no-') || isGivenUpOnce(message, recipient)) return false
  return recipient.status !== 'delivered' || came.length === 0
}

/** It may have arrived, and its tenant wants no second copy: the one other end that it can have. */
function isGivenUpOnce({ number, uncertain }: MessageEntry, { id, status }: RecipientView): boolean {
  return modeOf(number) === 'once' && status === 'failed' && (uncertain?.[id] ?? 0) > 0
}

/** I7: the mail of the tenant that chose `at_most_once`. */
function judgeOnce(
  { messages, events, faults }: Ledgers,
  mails: ReadonlyMap<string, readonly SinkEntry[]>,
  find: Find,
): OnceTally {
  const explain = createExplainer(faults)
  const told = new Set(events.filter(({ isUncertain }) => isUncertain).map(({ recipientId }) => recipientId))
  const hasBroken = faults.some(({ victim }) => victim === 'worker' || victim === 'postgres')
  const tally = { delivered: 0, uncertain: 0, uncertainCame: 0, doubled: 0 }
  for (const message of messages) {
    if (modeOf(message.number) !== 'once') continue
    for (const recipient of message.recipients) {
      const came = mails.get(recipient.email) ?? []
      const what = `${message.id} ${recipient.email} is ${recipient.status}`
      if (recipient.status === 'delivered') tally.delivered += 1
      if (came.length > 1) {
        tally.doubled += 1
        find('I7', `${what}, and came ${came.map(describe).join('; ')}`)
      }
      if (!isGivenUpOnce(message, recipient)) continue
      tally.uncertain += 1
      if (came.length > 0) tally.uncertainCame += 1
      if (!told.has(recipient.id)) find('I7', `${what}: its event does not say that it may have arrived`)
      const isExplained = came.length === 0 ? hasBroken : came.some((mail) => explain(mail) !== 'unexplained')
      if (!isExplained) find('I7', `${what}, and nothing broke: ${came.map(describe).join('; ')}`)
    }
  }
  return tally
}

/** I4 and I5: every mail that came more than once. */
function judgeDuplicates(
  mails: ReadonlyMap<string, readonly SinkEntry[]>,
  { faults, concurrency }: Ledgers,
  find: Find,
): Pick<Verdict, 'duplicates' | 'differing' | 'mostDuplicatesPerKill'> {
  const explain = createExplainer(faults)
  const names = Object.keys(duplicateCauses) as DuplicateCause[]
  const duplicates = Object.fromEntries(names.map((cause) => [cause, 0])) as Record<DuplicateCause, number>
  const perKill = new Map<string, number>()
  let differing = 0
  for (const [to, list] of mails) {
    const inOrder = list.toSorted((one, other) => one.atMs - other.atMs)
    if (new Set(inOrder.map(({ sha256, messageId }) => `${sha256} ${messageId}`)).size > 1) {
      differing += 1
      find('I5', `${to} came ${list.length} times, and not the same`)
    }
    for (const mail of inOrder.slice(0, -1)) {
      const cause = explain(mail)
      duplicates[cause] += 1
      if (cause === 'killed' || cause === 'killedWaiting')
        perKill.set(mail.ehlo, (perKill.get(mail.ehlo) ?? 0) + 1)
      if (cause === 'unexplained') find('I4', `${to}: ${inOrder.map(describe).join('; ')}`)
    }
  }
  for (const [life, count] of perKill) {
    if (count > concurrency)
      find('kills', `the death of ${life} doubled ${count} mails, ${concurrency} are allowed`)
  }
  return { duplicates, differing, mostDuplicatesPerKill: Math.max(0, ...perKill.values()) }
}

const describe = ({ ehlo, atMs, answer }: SinkEntry) =>
  `by ${ehlo} at ${Math.round(atMs)}, answered ${answer}`

/** I6: every end was told, under a signature that holds. */
function judgeWebhooks(webhooks: readonly WebhookEntry[], events: readonly EventEntry[], find: Find): void {
  const told = new Set(webhooks.map(({ recipientId, type }) => `${recipientId} ${type}`))
  for (const { id, isSigned } of webhooks)
    if (!isSigned) find('I6', `webhook ${id}: its signature does not hold`)
  for (const { id, type, recipientId } of events) {
    if (isEndType(type) && !told.has(`${recipientId} ${type}`)) find('I6', `${id} ${type}: no webhook came`)
  }
}
