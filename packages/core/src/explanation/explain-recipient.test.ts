import { describe, expect, test } from 'vitest'
import type { TransportFailure } from '../transaction.ts'
import {
  bounced,
  deferred,
  explain,
  first,
  kinds,
  minuteMs,
  nowMs,
  type Parts,
  refused,
} from './explain-recipient.test-support.ts'
import type { RouteFacts } from './index.ts'

describe('what is due and not taken is kept by ourselves, whatever its last attempt met', () => {
  test('a turn that comes within moments', () => {
    expect(explain({})).toMatchObject({
      because: [{ kind: 'next_in_line' }],
      remedy: 'Nothing has to be done.',
    })
  })

  test('no worker', () => {
    const { because, remedy } = explain({ system: { workers: 0 } })
    expect(because[0]?.kind).toBe('no_worker')
    expect(remedy).toMatch(/^Only the operator can mend this: start a worker/)
  })

  test('the store of the queue, without which one worker delivers alone', () => {
    const explained = explain({ system: { workers: 2, queueFault: 'connect ECONNREFUSED 127.0.0.1:6379' } })
    expect(kinds(explained)).toEqual(['queue_away'])
    expect(explained.because[0]?.detail).toContain('“connect ECONNREFUSED 127.0.0.1:6379”')
    expect(explained.remedy).toContain('bring Redis or Valkey back')
    const alone = explain({ system: { workers: 0, queueFault: 'connect ECONNREFUSED 127.0.0.1:6379' } })
    expect(kinds(alone)).toEqual(['queue_away', 'no_worker'])
  })

  test('the tenant’s own mail before it, with the number', () => {
    const waiting = { state: 'waiting' } as const
    const explained = explain({ delivery: waiting, ahead: { count: 1_234 } })
    expect(explained.because[0]).toEqual({
      kind: 'tenant_share',
      detail: expect.stringContaining('1,234 mails of your transactional stream are due before it'),
    })
    expect(
      explain({ delivery: waiting, ahead: { count: 10_000, isMore: true } }).because[0]?.detail,
    ).toContain('more than 10,000 mails')
  })

  test('workers that do not get to it', () => {
    const explained = explain({ delivery: { dueAtMs: nowMs - 45_000 } })
    expect(explained.because[0]).toMatchObject({
      kind: 'workers_busy',
      detail: expect.stringContaining('due for 45 s, and 2 workers'),
    })
  })

  test('an earlier failure comes behind', () => {
    const explained = deferred(
      {},
      { delivery: { state: 'waiting', dueAtMs: nowMs - minuteMs }, system: { workers: 0 } },
    )
    expect(kinds(explained).slice(0, 2)).toEqual(['no_worker', 'connection_refused'])
  })
})

describe('what was tried is explained by its last attempt', () => {
  test.each([
    ['name_doubtful', 'domain_unknown', 'typing error'],
    ['name_unavailable', 'name_unavailable', 'name servers'],
    ['connection_refused', 'connection_refused', 'take connections at mx.example.org:25'],
    ['connection_timeout', 'connection_timeout', 'take connections at mx.example.org:25'],
    ['connection_lost', 'connection_lost', 'Nothing has to be done'],
    ['timeout', 'timeout', 'Nothing has to be done'],
    ['tls', 'tls', 'mend the certificate of mx.example.org'],
    ['protocol', 'protocol', 'postmaster'],
    ['login_refused', 'login_refused', 'VALIJA_SMARTHOST_URL'],
    ['sign', 'signing', 'VALIJA_SECRET_KEY'],
    ['compose', 'internal', 'operator'],
    ['no_socket', 'internal', 'operator'],
    ['address_refused', 'address_refused', 'VALIJA_ALLOW_NETWORKS'],
    ['null_mx', 'null_mx', 'another address'],
    ['too_large', 'size', 'smaller mail'],
    ['capability', 'capability', 'SMTPUTF8'],
  ] satisfies [TransportFailure, string, string][])('%s: %s', (failure, kind, remedy) => {
    const reasonOf = {
      name_doubtful: 'domain_unknown',
      null_mx: 'domain_unknown',
      tls: 'tls',
      protocol: 'protocol',
      too_large: 'size',
    }
    const reason =
      (reasonOf as Record<string, string>)[failure] ??
      (/compose|no_socket/.test(failure) ? 'internal' : 'network')
    const explained = deferred({ reason, judgement: { ...refused.judgement!, failure } })
    expect(first(explained)).toBe(kind)
    expect(explained.remedy).toContain(remedy)
    expect(explained.because.at(-1)?.kind).toBe('retry_schedule')
  })

  test('a failure that a worker of a later version recorded is told by its sentence and its reason', () => {
    const failure = 'of_tomorrow' as TransportFailure
    const reply = 'the moon was not in its place'
    const explained = deferred({ reason: 'internal', reply, judgement: { ...refused.judgement!, failure } })
    expect(first(explained)).toBe('internal')
    expect(explained.because[0]!.detail).toContain('The moon was not in its place.')
    expect(explained.because[0]!.detail).not.toContain('undefined')
    expect(explained.remedy).toContain('operator')
  })

  test.each([
    ['a worker was lost', 'worker_lost', ['at_most_once', 'connection_lost']],
    ['the database was set back', 'restored', ['restored']],
  ] as const)(
    'what may have been delivered when %s says so first, and not that it is tried again',
    (_, failure, because) => {
      const judgement = { ...refused.judgement!, failure, action: 'fail' } as const
      const lastAttempt = {
        ...refused,
        outcome: 'failed',
        phase: 'body',
        isUncertain: true,
        judgement,
      } as const
      const explained = explain({
        recipient: { status: 'failed', attempts: 1, reason: 'network' },
        delivery: null,
        lastAttempt,
        uncertainAttempts: 1,
      })
      expect(kinds(explained)).toEqual(because)
      expect(explained.remedy).toContain('Send it again only if it did not')
    },
  )

  test('that its workers died comes before whatever else it waits for, and is why it was given up', () => {
    const suspect = { state: 'waiting', dueAtMs: nowMs + 5_000, hold: 'crashes:', crashes: 3 } as const
    const waiting = explain({ delivery: suspect })
    expect(first(waiting)).toBe('crashed_workers')
    expect(waiting.because[0]?.detail).toContain('It is tried alone')
    expect(
      first(explain({ recipient: { status: 'sending' }, delivery: { ...suspect, state: 'leased' } })),
    ).toBe('crashed_workers')
    expect(first(explain({ delivery: { ...suspect, crashes: 2 } }))).not.toBe('crashed_workers')
    const judgement = { ...refused.judgement!, failure: 'crash', action: 'fail' } as const
    const lastAttempt = {
      ...refused,
      outcome: 'failed',
      reason: 'internal',
      reply: '3 workers died.',
      judgement,
    }
    const ended = explain({
      recipient: { status: 'failed', attempts: 1, reason: 'internal' },
      delivery: null,
      lastAttempt,
    })
    expect(kinds(ended)).toEqual(['crashed_workers'])
    expect(ended.remedy).toContain('Tell the operator')
  })

  test('when the next try is stands in the schedule and in the remedy', () => {
    const { because, remedy } = deferred()
    expect(because.at(-1)?.detail).toBe(
      'It was tried once; the next attempt is at 2026-11-25 14:08:00 UTC (in 8 min). It is given up in 1 day.',
    )
    expect(remedy).toContain('Valija tries again by itself at 2026-11-25 14:08:00 UTC (in 8 min).')
  })

  test('while it is tried again, what it met before comes first still', () => {
    const explained = deferred(
      {},
      { recipient: { status: 'sending', attempts: 1 }, delivery: { state: 'leased' } },
    )
    expect(kinds(explained)).toEqual(['connection_refused', 'sending'])
  })

  test('a reply stands in quotes, with who said it and when in the conversation, and how it was read', () => {
    const explained = bounced('mailbox_unknown', '550 5.1.1 no such user')
    expect(explained.summary).toBe('Was refused for good: “550 5.1.1 no such user”.')
    expect(explained.because).toEqual([
      {
        kind: 'mailbox_unknown',
        detail:
          'mx.example.org (192.0.2.1) answered “550 5.1.1 no such user” to the recipient’s address (RCPT TO). The receiving server says that this address does not exist there.',
      },
      {
        kind: 'rule',
        detail: 'Read as mailbox_unknown by a rule that was learned from replies such as “a line”.',
      },
    ])
  })

  test('an attempt of an earlier version, which did not say how it was judged, still has its reason', () => {
    expect(
      first(
        deferred({ reason: 'greylisted', reply: '450 4.7.1 greylisted', phase: 'rcpt', judgement: null }),
      ),
    ).toBe('greylisted')
  })

  test('a bounce that came after the delivery is told as one', () => {
    const explained = explain({
      recipient: { status: 'bounced', attempts: 1, reason: 'mailbox_full', reply: '552 5.2.2 full' },
      delivery: null,
      lastAttempt: { ...refused, outcome: 'delivered', reason: null, judgement: null },
    })
    expect(explained.because[0]).toMatchObject({
      kind: 'mailbox_full',
      detail: expect.stringContaining('came back later: “552 5.2.2 full”'),
    })
  })

  test('a reply about the sender leads to what its domain lacks', () => {
    const sender = {
      id: 'dom_1',
      name: 'acme.test',
      isVouched: false,
      signsDkim: true,
      fault: { name: 's1._domainkey.acme.test', sentence: 'is missing: publish it' },
    }
    const explained = bounced('authentication', '550 5.7.26 unauthenticated', { sender })
    expect(kinds(explained).slice(0, 2)).toEqual(['authentication', 'dns_records'])
    expect(explained.remedy).toContain('Publish the DNS record s1._domainkey.acme.test')
  })

  test('who demanded the TLS that there was not is said', () => {
    const noTls = {
      reason: 'tls',
      phase: 'tls',
      judgement: { ...refused.judgement!, failure: 'tls' },
    } as const
    const demanded = deferred(noTls, { message: { requireTls: true } })
    expect(kinds(demanded).slice(0, 2)).toEqual(['tls', 'require_tls'])
    expect(demanded.remedy).toContain('without require_tls')
    expect(kinds(deferred(noTls, { hasStsPolicy: true })).slice(0, 2)).toEqual(['tls', 'mta_sts'])
    const tls = { version: 'TLSv1.3', cipher: 'c', verified: false, policy: 'dane', detail: 'x' } as const
    expect(kinds(deferred({ ...noTls, tls })).slice(0, 2)).toEqual(['tls', 'dane'])
  })

  test('a mail that may arrive twice says so', () => {
    expect(kinds(deferred({ isUncertain: true }, { uncertainAttempts: 1 }))).toContain('uncertain')
  })

  test('a suspended tenant’s mail is held by that alone', () => {
    expect(kinds(deferred({}, { message: { suspendedAtMs: nowMs } }))).toEqual(['tenant_suspended'])
  })

  test('a next attempt behind the expiry is none', () => {
    const explained = deferred({}, { message: { expiresAtMs: nowMs + 8 * minuteMs } })
    expect(kinds(explained)).toContain('expires_first')
    expect(explained.remedy).toMatch(
      /Its time is over before that, though: send it again with more ttl_seconds\.$/,
    )
  })
})

describe('what is held back is explained by who holds it', () => {
  const held = (hold: string, parts: Parts = {}) =>
    explain({ delivery: { state: 'waiting', dueAtMs: nowMs + 30_000, hold }, ...parts })
  const route: RouteFacts = {
    name: 'bulk',
    isOperators: false,
    id: 'rou_1',
    isPaused: true,
    pausedReason: 'login_refused',
    pausedUntilMs: null,
    condition: 'login_refused',
    reply: '535 5.7.8 wrong password',
    sinceMs: nowMs,
  }

  test.each([
    ['site: 192.0.2.1 default', 'site_paused'],
    ['held_at:google tenant', 'sender_held'],
    ['route_paused:bulk', 'route_paused'],
    ['route_down:bulk', 'route_down'],
    ['no_route:bulk', 'no_route'],
    ['warm_up:192.0.2.7', 'warm_up'],
    ['no_source:default', 'no_source'],
    ['restored:bulk', 'restored'],
  ])('%s: %s', (hold, kind) => {
    const { because, remedy } = held(hold)
    expect(because[0]?.kind).toBe(kind)
    expect(because[0]?.detail).toContain('2026-11-25 14:00:30 UTC (in 30 s)')
    expect(remedy.length).toBeGreaterThan(20)
  })

  test('after a restore it is held until the operator decides: its end is no next try, and nobody is told to send it again', () => {
    const dueAtMs = nowMs + 30_000
    const explained = held('restored:bulk', { message: { expiresAtMs: dueAtMs } })
    expect(explained.summary).toBe('Is held until the operator decides what becomes of it.')
    expect(kinds(explained)).toEqual(['restored', 'expires_first'])
    expect(explained.remedy).not.toContain('send it again with')
  })

  test('a refused login of a tenant’s own route is the tenant’s to mend, of another one the operator’s', () => {
    const own = held('route_paused:bulk', { route })
    expect(own.because[0]).toMatchObject({
      kind: 'login_refused',
      detail: expect.stringContaining('“535 5.7.8 wrong password”'),
    })
    expect(own.remedy).toMatch(/^Put user and password of the route bulk right \(PATCH \/routes\/rou_1\)/)
    expect(held('route_paused:bulk', { route: { ...route, isOperators: true } }).remedy).toMatch(
      /^Only the operator/,
    )
  })

  test.each(['route_paused:bulk', 'route_down:bulk'])(
    '%s: what was said to an operator’s route is not told',
    (hold) => {
      for (const condition of ['down', 'login_refused'] as const) {
        const told = held(hold, { route: { ...route, condition, isOperators: true } })
        expect(JSON.stringify(told)).not.toContain('535')
      }
    },
  )

  test('a pause whose time is over asks nobody to resume anything', () => {
    const over = { ...route, isPaused: false, pausedReason: null, condition: null, reply: null }
    const { because, remedy } = held('route_paused:bulk', { route: over })
    expect(because[0]).toMatchObject({
      kind: 'route_paused',
      detail: expect.stringContaining('not paused now'),
    })
    expect(remedy).toMatch(/^Nothing has to be done/)
  })

  test('the site’s own words are the cause, and what the mail met there itself comes before', () => {
    const site = {
      id: 'abc',
      name: 'google',
      condition: 'suspended',
      pausedUntilMs: nowMs + 30_000,
      sinceMs: nowMs,
      reply: '421 4.7.0 slow down',
      connections: 1,
      mailsPerSecond: null,
    } as const
    const behind = held('site:google * default', { site })
    expect(behind.because[0]).toMatchObject({
      kind: 'site_paused',
      detail: expect.stringContaining('“421 4.7.0 slow down”'),
    })
    const met = deferred(
      { reason: 'throttled', reply: '421 4.7.0 slow down', phase: 'mail', judgement: null },
      { site, delivery: { state: 'waiting', dueAtMs: nowMs + 30_000, hold: 'site:google * default' } },
    )
    expect(kinds(met).slice(0, 2)).toEqual(['throttled', 'site_paused'])
  })

  test('mail of one sender that a rule holds back names whose, where and for which reply', () => {
    const senderHolds = new Map([['google', '550 5.7.1 too many complaints']])
    const explained = held('held_at:google acme.test', { senderHolds })
    expect(explained.because[0]?.detail).toBe(
      'Mail from acme.test to google waits until 2026-11-25 14:00:30 UTC (in 30 s): it answered “550 5.7.1 too many complaints”.',
    )
    expect(held('held_at:google tenant').because[0]?.detail).toContain('All of your mail to google')
  })

  test('a hold that has nothing to do with the last attempt comes first', () => {
    const explained = deferred(
      {},
      { delivery: { state: 'waiting', dueAtMs: nowMs + 30_000, hold: 'warm_up:192.0.2.7' } },
    )
    expect(kinds(explained).slice(0, 2)).toEqual(['warm_up', 'connection_refused'])
  })
})
