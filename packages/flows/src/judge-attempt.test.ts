import {
  createIdSource,
  createJudge,
  loadReplyRules,
  type Reason,
  reasonMeanings,
  type TransactionReport,
} from '@valija/core'
import type { LeasedDelivery } from '@valija/store'
import { describe, expect, test } from 'vitest'
import { failedReport } from './failed-report.ts'
import {
  complain,
  discard,
  expire,
  judgeAttempt as judgeWith,
  saidBy,
  suppress,
  withoutTexts,
} from './judge-attempt.ts'
import { simulateAttempt } from './simulate-attempt.ts'
import { reflexObserver } from './site-observer.ts'

const now = Date.parse('2026-11-23T14:00:00Z')
const id = '01a208de-6941-7000-a86b-41e17ac78d54'
const judging = {
  nextId: createIdSource(() => now),
  nowMs: () => now,
  judge: createJudge(loadReplyRules()),
  retryPolicy: { networkScheduleMs: [60_000, 180_000] },
  random: () => 0.5,
}
const delivery: LeasedDelivery = {
  recipientId: id,
  messageId: id,
  tenantId: id,
  weight: 1,
  stream: 'transactional',
  route: 'smarthost',
  simulation: null,
  avoid: null,
  attempts: 2,
  retrySteps: 1,
  epoch: 3,
  crashes: 0,
  isPastDot: false,
  isRestored: false,
  atMostOnce: false,
  dueAt: new Date(now),
  expiresAt: new Date(now + 100_000),
  isExpired: false,
  email: 'ann@example.org',
  domain: 'example.org',
  ordinal: 0,
  status: 'deferred',
  reason: 'throttled',
  suppression: null,
  seq: 5,
  fromEmail: 'hi@acme.test',
  fromDomain: 'acme.test',
  tags: ['a'],
  metadata: { k: 'v' },
  createdAt: new Date(now),
  sendAt: null,
  requireTls: false,
  isSimulated: false,
  isSensitive: false,
  isErased: false,
}
const scope = { key: 's', provider: null, site: 's', source: 'default', kind: 'relay' } as const
/** As a worker judges it whose sites nobody shapes. */
const judgeAttempt = (parts: typeof judging, of: LeasedDelivery, report: TransactionReport) =>
  judgeWith(parts, of, report, (disposition) =>
    reflexObserver.observe(scope, { report, disposition, delivery: of }),
  )
const answered = (code: number, text: string, more: Partial<TransactionReport> = {}): TransactionReport => ({
  ...failedReport('smarthost', 'protocol', ''),
  failure: null,
  detail: null,
  phase: 'body',
  reply: { code, enhanced: null, text },
  sizeBytes: 100,
  ...more,
})
const types = (settlement: { events: readonly { type: string }[] }) =>
  settlement.events.map((event) => event.type)

describe('an attempt', () => {
  test('that succeeded ends the recipient, whoever holds the lease by now', () => {
    const settlement = judgeAttempt(judging, delivery, answered(250, 'ok'))
    expect(settlement).toMatchObject({
      isFact: true,
      change: { to: 'delivered' },
      nextInMs: null,
      attempts: 3,
      sizeBytes: 100,
    })
    expect(settlement.deliveredAt).toEqual(new Date(now))
    expect(types(settlement)).toEqual(['message.attempted', 'message.delivered'])
    expect(settlement.events.map((event) => event.data)).toMatchObject([
      { seq: 6, outcome: 'delivered', uncertain: false },
      {
        seq: 7,
        email: 'ann@example.org',
        domain: 'acme.test',
        tags: ['a'],
        metadata: { k: 'v' },
        reply: '250 ok',
      },
    ])
    expect(settlement.seq).toBe(7)
  })

  test('whose end is not known is repeated, or ends its recipient where the tenant chose at_most_once', () => {
    const report = {
      ...failedReport('smarthost', 'connection_lost', 'gone'),
      phase: 'body',
      isUncertain: true,
    } as const
    expect(judgeAttempt(judging, delivery, report)).toMatchObject({ change: { to: 'deferred' } })
    const once = judgeAttempt(judging, { ...delivery, atMostOnce: true }, report)
    expect(once).toMatchObject({ change: { to: 'failed' }, reason: 'network', nextInMs: null, isFact: false })
    expect(once.attempt).toMatchObject({ outcome: 'failed', report: { uncertain: true } })
    expect(once.events[1]).toMatchObject({
      type: 'message.failed',
      data: { uncertain: true, explanation: expect.stringContaining('at_most_once') },
    })
    const certain = { ...report, isUncertain: false }
    expect(judgeAttempt(judging, { ...delivery, atMostOnce: true }, certain)).toMatchObject({
      change: { to: 'deferred' },
    })
  })

  test('that was deferred is tried again by the next step of the schedule, and no later than its expiry is promised', () => {
    const settlement = judgeAttempt(judging, delivery, answered(451, 'later'))
    expect(settlement).toMatchObject({
      isFact: false,
      change: { to: 'deferred' },
      nextInMs: 180_000,
      retrySteps: 2,
    })
    expect(settlement.events[1]?.data).toMatchObject({
      next_attempt_at: new Date(now + 100_000).toISOString(),
    })
  })

  test('that failed says in its event what the reason means and what to do, and keeps for explain what it rests on', () => {
    const settlement = judgeAttempt(judging, delivery, answered(550, '5.1.1 no such user', { phase: 'rcpt' }))
    const { meaning, remedy } = reasonMeanings[settlement.reason as Reason]
    expect(settlement.events[1]?.data).toMatchObject({ explanation: meaning, remedy })
    expect(settlement.attempt?.report).toMatchObject({
      judgement: { failure: null, action: 'fail', taught_by: expect.any(String) },
    })
    const { attempt, events } = judgeAttempt(judging, delivery, answered(250, 'ok'))
    expect(attempt?.report).not.toHaveProperty('judgement')
    expect(events[1]?.data).not.toHaveProperty('explanation')
  })

  test('that met a host’s own fault uses up no step of the schedule and goes on after the site’s pause', () => {
    const settlement = judgeAttempt(
      judging,
      delivery,
      failedReport('smarthost', 'connection_refused', 'refused'),
    )
    expect(settlement).toMatchObject({
      nextInMs: 5_000,
      retrySteps: 1,
      attempts: 3,
      reply: 'refused',
      reason: 'network',
    })
  })

  test.each([
    ['nonsense in place of a reply to the final dot', { failure: 'protocol', phase: 'body' }],
    ['nonsense at RCPT', { failure: 'protocol', phase: 'rcpt' }],
    ['TLS that fails on every connection', { failure: 'tls', phase: 'tls' }],
  ] as const)(
    'that met %s is tried again by the schedule: the site takes connections, so no pause slows it',
    (_what, met) => {
      const settlement = judgeAttempt(judging, delivery, {
        ...failedReport('smarthost', met.failure, 'x'),
        ...met,
      })
      expect(settlement).toMatchObject({ change: { to: 'deferred' }, nextInMs: 180_000, retrySteps: 2 })
    },
  )

  test('that met nonsense in place of a greeting goes on after the site’s pause', () => {
    const report = { ...failedReport('smarthost', 'protocol', 'x'), phase: 'greeting' as const }
    expect(judgeAttempt(judging, delivery, report)).toMatchObject({ nextInMs: 5_000, retrySteps: 1 })
  })

  test('whose reply PostgreSQL could not store is stored without what it refuses', () => {
    const transcript = [{ t_ms: 1, from: 'server' as const, line: 'x\0\ud800y' }]
    const settlement = judgeAttempt(
      judging,
      delivery,
      answered(550, 'no\0such\ud800', { phase: 'rcpt', transcript }),
    )
    expect(JSON.stringify(settlement)).not.toMatch(/\\u0000|\\ud800/)
    expect(settlement).toMatchObject({
      isFact: true,
      change: { to: 'bounced' },
      reply: '550 no\u{FFFD}such\u{FFFD}',
    })
  })

  test('is reported without duration fractions, with what the conversation was', () => {
    const { attempt } = judgeAttempt(
      judging,
      delivery,
      answered(250, 'ok', { durationMs: 12.7, host: 'mx.example.org' }),
    )
    expect(attempt).toMatchObject({
      number: 3,
      outcome: 'delivered',
      report: { duration_ms: 13, host: 'mx.example.org', route: 'smarthost' },
    })
  })
})

describe('an attempt that PostgreSQL refuses for a text in it', () => {
  const tls = {
    version: 'TLSv1.3',
    cipher: 'c',
    verified: false,
    policy: 'opportunistic',
    detail: 'xyzzy',
  } as const
  const transcript = [{ t_ms: 1, from: 'server' as const, line: 'xyzzy' }]
  const report = answered(550, 'xyzzy', { host: 'mx.example.org', phase: 'rcpt', tls, transcript })
  const settlement = judgeAttempt(judging, delivery, report)

  test('loses what the peer said, and nothing else', () => {
    const stripped = withoutTexts(settlement)
    // No digits of an id, which are drawn by chance, spell this.
    expect(JSON.stringify(stripped)).not.toContain('xyzzy')
    expect(stripped).toMatchObject({ isFact: true, change: { to: 'bounced' }, reason: 'rejected' })
    const [full, kept] = [settlement, stripped].map(({ attempt }) => attempt?.report)
    expect(kept).toEqual({ ...full, reply: null, tls: { ...tls, detail: null }, transcript: [] })
    expect(stripped.events.map(({ data }) => data)).toMatchObject([
      { seq: 6, email: 'ann@example.org', outcome: 'bounced', uncertain: false },
      { seq: 7, domain: 'acme.test', tags: ['a'], metadata: { k: 'v' }, bounce_type: 'hard' },
    ])
  })
})

describe('without an attempt', () => {
  test('a recipient whose time is over fails as expired', () => {
    const settlement = expire(judging, delivery)
    expect(settlement).toMatchObject({
      isFact: false,
      change: { to: 'failed' },
      reason: 'expired',
      attempt: null,
      attempts: 2,
    })
    expect(types(settlement)).toEqual(['message.failed'])
  })

  test('a complaint is an event and no change of state; a row that outlived its recipient only goes', () => {
    expect(complain(judging, delivery)).toMatchObject({
      change: null,
      seq: 6,
      events: [{ type: 'message.complained' }],
    })
    expect(discard(delivery)).toMatchObject({ change: null, nextInMs: null, events: [], seq: 5 })
  })
})

describe('what an end says of the mailbox', () => {
  const unknown = { phase: 'rcpt', reply: { code: 550, enhanced: '5.1.1', text: 'no such user' } } as const
  const fault = (report: TransactionReport) => judgeAttempt(judging, delivery, report).mailboxFault

  test('a refusal that denies it is told, and who denied it', () => {
    expect(fault(answered(550, '', unknown))).toEqual({ fault: 'mailbox_unknown', provider: 'example.org' })
  })

  test('who denied it is the provider of the domain, where that is known', () => {
    const settlement = judgeAttempt(judging, delivery, answered(550, '', unknown))
    expect(saidBy(settlement, 'google').mailboxFault).toMatchObject({ provider: 'google' })
    expect(saidBy(settlement, null)).toBe(settlement)
  })

  test('nothing is said by a delivery, by a deferral, and by the simulator', () => {
    expect(fault(answered(250, 'ok'))).toBeNull()
    expect(
      fault(answered(452, '', { phase: 'rcpt', reply: { code: 452, enhanced: '4.2.2', text: '' } })),
    ).toBeNull()
    expect(fault(answered(550, '', { ...unknown, isSimulated: true }))).toBeNull()
  })

  test('a mail whose time is over tells of the mailbox that was full to the last', () => {
    const full = { ...delivery, reason: 'mailbox_full' }
    expect(expire(judging, full).mailboxFault).toEqual({ fault: 'mailbox_full', provider: 'example.org' })
    expect(expire(judging, { ...full, simulation: 'timeout' }).mailboxFault).toBeNull()
    expect(expire(judging, delivery).mailboxFault).toBeNull()
  })
})

test('one that is suppressed by the time of its lease ends so, and the event names the entry', () => {
  const settlement = suppress(judging, delivery, { id, reason: 'complaint' })
  expect(settlement).toMatchObject({
    isFact: false,
    change: { to: 'suppressed' },
    reason: 'complaint',
    nextInMs: null,
    attempts: 2,
    attempt: null,
    seq: 6,
    events: [
      {
        type: 'message.suppressed',
        data: { seq: 6, reason: 'complaint', suppression_id: `sup_${id.replaceAll('-', '')}` },
      },
    ],
  })
})

describe('the simulator', () => {
  test.each([
    ['delivered', 0, 'delivered'],
    ['bounced', 0, 'bounced'],
    ['deferred', 0, 'deferred'],
    ['deferred', 1, 'delivered'],
    ['complained', 0, 'delivered'],
    ['timeout', 7, 'deferred'],
  ] as const)('plays %s, after %i attempts: %s', (simulation, attempts, expected) => {
    const report = simulateAttempt(simulation, attempts, new Date(now))
    const settlement = judgeAttempt(judging, { ...delivery, simulation, attempts }, report)
    expect(settlement.change?.to).toBe(expected)
    expect(settlement.events.every((event) => 'simulated' in event.data)).toBe(true)
  })
})
