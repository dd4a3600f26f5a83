import { describe, expect, test } from 'vitest'
import { createJudge } from './disposition.ts'
import { reasons } from './reasons.ts'
import { loadReplyRules } from './reply-rules.ts'
import {
  isBurst,
  judgeMailbox,
  type MailboxHistory,
  mailboxFaultOf,
  mailboxFaultOfExpiry,
} from './suppression-policy.ts'
import type { TransactionReport } from './transaction.ts'

const dayMs = 86_400_000
const history = (more: Partial<MailboxHistory> = {}): MailboxHistory => ({
  faults: 1,
  quarantinedForMs: null,
  deliveredMsAgo: null,
  isBurst: false,
  ...more,
})

const judge = createJudge(loadReplyRules())

describe('what a reply says of the mailbox', () => {
  const faultOf = (phase: TransactionReport['phase'], code: number, enhanced: string | null, text: string) =>
    mailboxFaultOf(judge({ phase, reply: { code, enhanced, text }, failure: null, host: null }), phase)

  test.each([
    ['rcpt', 550, '5.1.1', 'no such user', 'mailbox_unknown'],
    ['body', 550, '5.1.1', 'no such user', 'mailbox_unknown'],
    ['rcpt', 550, '5.2.1', 'disabled', 'mailbox_disabled'],
    ['rcpt', 552, '5.2.2', 'over quota', 'mailbox_full'],
    ['rcpt', 452, '4.2.2', 'over quota', null],
    ['rcpt', 450, '4.2.1', 'come again', null],
    ['rcpt', 450, '4.1.1', 'user unknown', null],
    ['rcpt', 550, '5.1.0', 'refused', null],
    ['rcpt', 550, null, '', null],
    ['rcpt', 552, null, '', null],
    ['rcpt', 550, '5.1.0', '<a@b.test>: Sender address rejected: User unknown', null],
    ['rcpt', 550, '5.2.1', 'the user is receiving mail at a rate that prevents more', null],
    ['mail', 550, '5.1.1', 'no such user', null],
    ['connect', 550, '5.1.1', 'no such user', null],
    ['rcpt', 550, '5.7.1', 'refused by policy', null],
    ['rcpt', 550, '5.1.1', 'blocked, see spamhaus', null],
    ['body', 554, '5.6.0', 'content refused', null],
    ['rcpt', 556, '5.1.10', 'null MX', null],
    ['body', 250, '2.0.0', 'taken', null],
  ] as const)('at %s: %i %s %s → %s', (phase, code, enhanced, text, expected) => {
    expect(faultOf(phase, code, enhanced, text)).toBe(expected)
  })

  test('no other reason is one, whatever happened', () => {
    const others = reasons.filter((reason) => !reason.startsWith('mailbox_'))
    for (const reason of others) {
      expect(mailboxFaultOf({ event: 'bounce', reason, evidence: 'status' }, 'rcpt')).toBeNull()
      expect(mailboxFaultOfExpiry(reason)).toBeNull()
    }
  })

  test('a mail whose time went by before a full mailbox counts; one that is unknown for the time being does not', () => {
    expect(mailboxFaultOfExpiry('mailbox_full')).toBe('mailbox_full')
    expect(mailboxFaultOfExpiry('mailbox_unknown')).toBeNull()
    expect(mailboxFaultOfExpiry(null)).toBeNull()
  })
})

describe('a mailbox that does not exist', () => {
  test.each<[string, Partial<MailboxHistory>, string]>([
    ['is suppressed at once', {}, 'suppress'],
    ['is quarantined when it took mail 30 days ago', { deliveredMsAgo: 30 * dayMs }, 'quarantine'],
    ['is suppressed when it took mail 31 days ago', { deliveredMsAgo: 31 * dayMs }, 'suppress'],
    ['is quarantined when its provider denies many', { isBurst: true }, 'quarantine'],
    ['is confirmed a day later', { quarantinedForMs: dayMs }, 'suppress'],
    ['is confirmed by the third mail', { quarantinedForMs: 1_000, faults: 3 }, 'suppress'],
    ['stays quarantined until then', { quarantinedForMs: dayMs - 1, faults: 2 }, 'none'],
    [
      'stays so while its provider denies many',
      { quarantinedForMs: 9 * dayMs, faults: 9, isBurst: true },
      'none',
    ],
    [
      'is confirmed when it took its last mail before',
      { quarantinedForMs: dayMs, deliveredMsAgo: 2 * dayMs },
      'suppress',
    ],
    [
      'begins anew when it took a mail meanwhile',
      { quarantinedForMs: 2 * dayMs, deliveredMsAgo: dayMs },
      'quarantine',
    ],
  ])('%s', (_, more, expected) => {
    expect(judgeMailbox('mailbox_unknown', history(more))).toBe(expected)
  })
})

test.each(['mailbox_full', 'mailbox_disabled'] as const)('%s is suppressed by the third mail', (fault) => {
  expect([1, 2, 3].map((faults) => judgeMailbox(fault, history({ faults })))).toEqual([
    'none',
    'none',
    'suppress',
  ])
})

test('a provider is not believed from 20 addresses in 10 minutes on, when that is over 3 times as many as usual', () => {
  expect([isBurst(19, 0), isBurst(20, 0), isBurst(20, 6.6), isBurst(20, 6.7), isBurst(60, 20)]).toEqual([
    false,
    true,
    true,
    false,
    false,
  ])
})
