import { expect, test } from 'vitest'
import { explanationText } from './explanation-text.ts'

const recipient = {
  email: 'ann@example.org',
  status: 'deferred',
  summary: 'Was not delivered yet.',
  because: [
    {
      kind: 'mailbox_full',
      detail: 'mx.example.org answered “452 4.2.2 full” and more words than one line takes.',
    },
    { kind: 'rule', detail: 'Read so.' },
  ],
  next_attempt_at: '2026-11-25T14:08:00.000Z',
  remedy: 'The recipient has to make room.',
}

test('each recipient is a paragraph: why first, what to do last, broken between words', () => {
  expect(explanationText([recipient], 60).split('\n')).toEqual([
    'ann@example.org  deferred',
    '             Was not delivered yet.',
    '  why        mx.example.org answered “452 4.2.2 full” and',
    '             more words than one line takes. [mailbox_full]',
    '  and        Read so. [rule]',
    '  next       2026-11-25T14:08:00.000Z',
    '  what to do The recipient has to make room.',
  ])
})

test('what a server said cannot move the terminal', () => {
  const hostile = { ...recipient, because: [{ kind: 'other', detail: 'answered “\u001b[2Jgone\r\n”' }] }
  expect(explanationText([hostile], 80)).not.toMatch(/[^\P{Cc}\n]/u)
})
