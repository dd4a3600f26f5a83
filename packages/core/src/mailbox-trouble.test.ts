import { expect, test } from 'vitest'
import { type MailboxTroubleCode, mailboxPauseMs, mailboxTroubles } from './mailbox-trouble.ts'

const codes = Object.keys(mailboxTroubles) as MailboxTroubleCode[]

test.each(codes)('%s says in sentences what is the matter and what to do', (code) => {
  for (const text of [mailboxTroubles[code].meaning, mailboxTroubles[code].remedy])
    expect(text).toMatch(/^[A-Z].*\.$/)
})

test('the pause doubles with each failed look, up to an hour', () => {
  const pauses = [1, 2, 3, 8, 100, 5_000].map((failures) => mailboxPauseMs('unreachable', failures))
  expect(pauses).toEqual([30_000, 60_000, 120_000, 3_600_000, 3_600_000, 3_600_000])
})

test('a refused login is asked more seldom than a host that was away', () => {
  expect(mailboxPauseMs('login_refused', 1)).toBe(10 * mailboxPauseMs('unreachable', 1))
})
