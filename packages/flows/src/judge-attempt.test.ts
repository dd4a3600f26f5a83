import { createIdSource, type TransactionReport } from '@valija/core'
import type { LeasedDelivery } from '@valija/store'
import { describe, expect, test } from 'vitest'
import { failedReport } from './failed-report.ts'
import { complain, discard, expire, judgeAttempt, withoutTexts } from './judge-attempt.ts'
import { simulateAttempt } from './simulate-attempt.ts'

const now = Date.parse('2026-11-23T14:00:00Z')
const id = '01a208de-6941-7000-a86b-41e17ac78d54'
const judging = {
  nextId: createIdSource(() => now),
  nowMs: () => now,
  retryPolicy: { networkScheduleMs: [60_000, 180_000] },
  random: () => 0.5,
}
const delivery: LeasedDelivery = {
  recipientId: id,
  messageId: id,
  tenantId: id,
  stream: 'transactional',
  route: 'smarthost',
  simulation: null,
  attempts: 2,
  retrySteps: 1,
  epoch: 3,
  dueAt: new Date(now),
  expiresAt: new Date(now + 100_000),
  isExpired: false,
  email: 'ann@example.org',
  domain: 'example.org',
  ordinal: 0,
  status: 'deferred',
  seq: 5,
  fromEmail: 'hi@acme.test',
  fromDomain: 'acme.test',
  tags: ['a'],
  metadata: { k: 'v' },
  createdAt: new Date(now),
  sendAt: null,
  isSimulated: false,
}
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
    detail: 'bad',
  } as const
  const transcript = [{ t_ms: 1, from: 'server' as const, line: 'bad' }]
  const report = answered(550, 'bad', { host: 'mx.example.org', phase: 'rcpt', tls, transcript })
  const settlement = judgeAttempt(judging, delivery, report)

  test('loses what the peer said, and nothing else', () => {
    const stripped = withoutTexts(settlement)
    expect(JSON.stringify(stripped)).not.toContain('bad')
    expect(stripped).toMatchObject({ isFact: true, change: { to: 'bounced' }, reason: 'mailbox_unknown' })
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
