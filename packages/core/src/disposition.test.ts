import { describe, expect, test } from 'vitest'
import { createJudge, withoutRepeat } from './disposition.ts'
import { loadReplyRules } from './reply-rules.ts'
import type { Phase, TransportFailure } from './transaction.ts'
import { transportFailures } from './transaction.ts'

const judge = createJudge(loadReplyRules())
const host = 'mx.example.org'
const answered = (phase: Phase, code: number, enhanced: string | null, text = 'text') =>
  judge({ phase, reply: { code, enhanced, text }, failure: null, host })
const failed = (failure: TransportFailure, phase: Phase) => judge({ phase, reply: null, failure, host })

describe('the end of a transaction', () => {
  test.each([
    ['body', 250, '2.0.0', 'OK', 'deliver', null],
    // A 250 that does not follow the final dot is no delivery.
    ['data', 250, '2.0.0', 'OK', 'defer', 'protocol'],
    ['rcpt', 550, '5.1.1', 'No such user', 'bounce', 'mailbox_unknown'],
    ['rcpt', 550, null, 'unknown', 'bounce', 'mailbox_unknown'],
    ['rcpt', 553, null, 'mailbox name not allowed', 'bounce', 'rejected'],
    ['rcpt', 550, '5.2.1', 'disabled', 'bounce', 'mailbox_disabled'],
    ['rcpt', 552, null, 'over quota', 'bounce', 'mailbox_full'],
    ['rcpt', 550, '5.1.10', 'null MX', 'bounce', 'domain_unknown'],
    ['rcpt', 550, '5.7.1', 'relaying denied', 'bounce', 'policy'],
    ['rcpt', 550, '5.7.99', 'not welcome', 'bounce', 'policy'],
    ['body', 550, '5.7.26', 'unauthenticated', 'bounce', 'authentication'],
    ['body', 552, null, 'too big', 'bounce', 'size'],
    ['body', 552, '5.3.4', 'too big', 'bounce', 'size'],
    ['body', 554, '5.6.0', 'bad content', 'bounce', 'content'],
    ['body', 554, null, 'no', 'bounce', 'rejected'],
    ['mail', 501, null, 'syntax', 'bounce', 'protocol'],
    ['rcpt', 451, '4.7.1', 'Greylisted, come back', 'defer', 'greylisted'],
    ['rcpt', 452, '4.2.2', 'mailbox full', 'defer', 'mailbox_full'],
    ['rcpt', 450, '4.1.1', 'unverified', 'defer', 'other'],
    ['mail', 421, '4.7.0', 'too many', 'defer', 'throttled'],
    ['rcpt', 354, null, 'nonsense', 'defer', 'protocol'],
    ['auth', 535, '5.7.8', 'bad login', 'defer', 'authentication'],
  ] as const)('in %s by %i %s "%s" is: %s, %s', (phase, code, enhanced, text, event, reason) => {
    expect(answered(phase, code, enhanced, text)).toMatchObject({ event, reason })
  })

  test.each(['connect', 'greeting', 'tls', 'ehlo'] as const)(
    'by a 5xx at %s blames the host, not the recipient',
    (phase) => {
      expect(answered(phase, 554, '5.7.1', 'go away')).toMatchObject({ event: 'defer', blame: 'host' })
    },
  )

  test.each(['protocol', 'tls'] as const)('by %s trouble blames the host only before MAIL', (failure) => {
    const blames = (phase: Phase) => failed(failure, phase).blame
    expect((['connect', 'greeting', 'tls', 'ehlo', 'auth'] as const).map(blames)).toEqual(
      Array(5).fill('host'),
    )
    expect((['mail', 'rcpt', 'data', 'body'] as const).map(blames)).toEqual(Array(4).fill('none'))
  })

  test('by a nonsensical reply after MAIL blames nobody else', () => {
    expect(answered('rcpt', 354, null).blame).toBe('none')
    expect(answered('ehlo', 354, null).blame).toBe('host')
  })

  test('by a mail larger than the peer takes is final, for its size', () => {
    expect(failed('too_large', 'mail')).toMatchObject({
      event: 'fail',
      reason: 'size',
      blame: 'message',
    })
  })

  test.each([
    'listed at zen.spamhaus.org',
    'your IP is on our block list',
    'poor reputation of 203.0.113.5',
    'blocked using RBL',
  ])('by a 5xx about reputation (%s) is tried again and kills no backlog', (text) => {
    for (const phase of ['mail', 'rcpt', 'body'] as const) {
      expect(answered(phase, 550, '5.7.1', text)).toMatchObject({
        event: 'defer',
        reason: 'reputation',
        bounceType: 'block',
      })
    }
  })

  test('without a reply is judged by its failure, each of them, and only a known end is final', () => {
    const final = transportFailures
      .filter((failure) => failure !== 'lease_lost')
      .filter((failure) => failed(failure, 'connect').event === 'fail')
    expect(final).toEqual([
      'name_unknown',
      'null_mx',
      'address_refused',
      'capability',
      'too_large',
      'restored',
      'crash',
      'compose',
    ])
  })

  test('that may have gone ends the recipient where it is not to be repeated; what surely did not is repeated', () => {
    const lost = failed('connection_lost', 'body')
    expect(withoutRepeat(lost, true)).toMatchObject({ event: 'fail', reason: 'network', action: 'fail' })
    expect(withoutRepeat(lost, false)).toBe(lost)
    const refused = answered('rcpt', 550, '5.1.1', 'No such user')
    expect(withoutRepeat(refused, true)).toBe(refused)
  })

  test('that was not ours to make has no meaning for the recipient', () => {
    expect(() => failed('lease_lost', 'mail')).toThrow()
  })
})

describe('what is done next', () => {
  test.each([
    ['a delivery', answered('body', 250, null), 'done'],
    ['greylisting', answered('rcpt', 450, null, 'Greylisted'), 'retry_same_source'],
    ['a blocklist that names our address', answered('rcpt', 550, null, 'in the RBL'), 'retry_other_source'],
    ['a login refused', answered('auth', 535, '5.7.8'), 'pause_route'],
    ['a login refused, as the session reports it', failed('login_refused', 'auth'), 'pause_route'],
    ['a relay that wants a login', answered('mail', 530, '5.7.0', 'Authentication required'), 'pause_route'],
    ['a bounce', answered('rcpt', 550, '5.1.1'), 'fail'],
    ['an end without a reply', failed('null_mx', 'dns'), 'fail'],
    ['any other trouble', failed('timeout', 'body'), 'retry'],
  ] as const)('after %s is told', (_, disposition, action) => {
    expect(disposition.action).toBe(action)
  })

  test('is the same after a refusal before MAIL as after one behind it, but the host is to blame', () => {
    expect(answered('greeting', 554, null, 'listed in the RBL')).toMatchObject({
      event: 'defer',
      reason: 'reputation',
      blame: 'host',
      action: 'retry_other_source',
    })
  })

  test('keeps a mail whose relay refuses the route or has too much to do, but no 5.7.x', () => {
    const rate = (enhanced: string | null) => answered('body', 550, enhanced, 'rate limit reached')
    expect([rate(null), rate('5.4.5'), rate('5.7.1')].map(({ event }) => event)).toEqual([
      'defer',
      'defer',
      'bounce',
    ])
    expect(rate('5.7.1')).toMatchObject({ reason: 'throttled', action: 'fail' })
  })
})

describe('a refusal of the sender', () => {
  test('is not taken for an unknown recipient, at MAIL or behind it', () => {
    for (const disposition of [
      answered('mail', 550, '5.1.1', 'User unknown'),
      answered('rcpt', 550, '5.1.0', '<a@b.test>: Sender address rejected: User unknown in table'),
      answered('rcpt', 550, null, 'Sender verify failed'),
    ]) {
      expect(disposition).toMatchObject({ event: 'bounce', reason: 'policy', blame: 'sending_domain' })
    }
  })
})
