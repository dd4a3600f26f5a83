import { describe, expect, test } from 'vitest'
import { judge } from './disposition.ts'
import type { Phase, TransportFailure } from './transaction.ts'
import { transportFailures } from './transaction.ts'

const answered = (phase: Phase, code: number, enhanced: string | null, text = 'text') =>
  judge({ phase, reply: { code, enhanced, text }, failure: null })

describe('the end of a transaction', () => {
  test.each([
    ['body', 250, '2.0.0', 'OK', 'deliver', null],
    // A 250 that does not follow the final dot is no delivery.
    ['data', 250, '2.0.0', 'OK', 'defer', 'protocol'],
    ['rcpt', 550, '5.1.1', 'No such user', 'bounce', 'mailbox_unknown'],
    ['rcpt', 550, null, 'unknown', 'bounce', 'mailbox_unknown'],
    ['rcpt', 553, null, 'bad name', 'bounce', 'mailbox_unknown'],
    ['rcpt', 550, '5.2.1', 'disabled', 'bounce', 'mailbox_disabled'],
    ['rcpt', 552, null, 'over quota', 'bounce', 'mailbox_full'],
    ['rcpt', 550, '5.1.10', 'null MX', 'bounce', 'domain_unknown'],
    ['rcpt', 550, '5.7.1', 'relaying denied', 'bounce', 'policy'],
    ['body', 550, '5.7.26', 'unauthenticated', 'bounce', 'policy'],
    ['body', 552, null, 'too big', 'bounce', 'size'],
    ['body', 552, '5.3.4', 'too big', 'bounce', 'size'],
    ['body', 554, '5.6.0', 'bad content', 'bounce', 'content'],
    ['body', 554, null, 'no', 'bounce', 'rejected'],
    ['mail', 501, null, 'syntax', 'bounce', 'protocol'],
    ['rcpt', 451, '4.7.1', 'Greylisted, come back', 'defer', 'greylisted'],
    ['rcpt', 452, '4.2.2', 'mailbox full', 'defer', 'mailbox_full'],
    ['rcpt', 450, '4.1.1', 'unverified', 'defer', 'throttled'],
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
    const blames = (phase: Phase) => judge({ phase, reply: null, failure }).blame
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
    expect(judge({ phase: 'mail', reply: null, failure: 'too_large' })).toMatchObject({
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
      .filter(
        (failure: TransportFailure) => judge({ phase: 'connect', reply: null, failure }).event === 'fail',
      )
    expect(final).toEqual(['name_unknown', 'address_refused', 'capability', 'too_large', 'compose'])
  })

  test('that was not ours to make has no meaning for the recipient', () => {
    expect(() => judge({ phase: 'mail', reply: null, failure: 'lease_lost' })).toThrow()
  })
})
