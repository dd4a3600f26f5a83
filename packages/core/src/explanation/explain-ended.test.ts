import { describe, expect, test } from 'vitest'
import {
  bounced,
  explain,
  first,
  kinds,
  minuteMs,
  nowMs,
  type Parts,
  refused,
} from './explain-recipient.test-support.ts'
import { causeKinds, causeMeanings, type ExplanationFacts } from './index.ts'

describe('what has ended', () => {
  const end = (status: ExplanationFacts['recipient']['status'], parts: Parts = {}) =>
    explain({ recipient: { status, attempts: 1, ...parts.recipient }, delivery: null, ...without(parts) })
  const without = ({ recipient: _, ...parts }: Parts) => parts

  test('delivered: by whom it was taken, and how', () => {
    const lastAttempt = {
      ...refused,
      outcome: 'delivered',
      reason: null,
      reply: '250 ok',
      phase: 'body',
      judgement: null,
    } as const
    const explained = end('delivered', { lastAttempt, recipient: { deliveredAtMs: nowMs - 5_000 } })
    expect(explained.summary).toBe('Was delivered at 2026-11-25 13:59:55 UTC (5 s ago).')
    expect(explained.because).toEqual([
      { kind: 'delivered', detail: 'mx.example.org (192.0.2.1) took it unencrypted, and answered “250 ok”.' },
    ])
  })

  test('captured: where to find it', () => {
    const explained = end('delivered', { message: { delivery: 'capture' }, system: { delivery: 'capture' } })
    expect(explained.remedy).toContain('VALIJA_DELIVERY=smarthost or mx')
    expect(end('delivered', { message: { delivery: 'capture' } }).remedy).toContain('by another route')
    expect(explained.because[0]).toMatchObject({
      kind: 'captured',
      detail: expect.stringContaining('GET /inbox?to=ann@example.org'),
    })
  })

  describe('what its reader said afterwards comes first', () => {
    const delivered = {
      lastAttempt: { ...refused, outcome: 'delivered', reason: null, judgement: null },
    } as const
    const entry = {
      id: 'sup_1',
      reason: 'complaint',
      isQuarantined: false,
      reply: null,
      createdAtMs: nowMs,
    } as const

    test('a complaint, and by what the address is suppressed', () => {
      const recipient = { deliveredAtMs: nowMs - 60_000, complainedAtMs: nowMs - 5_000 }
      const explained = end('delivered', { ...delivered, recipient, suppression: entry })
      expect(explained.summary).toMatch(/^Was delivered at .*; its reader complained about it\.$/)
      expect(explained.because[0]).toEqual({
        kind: 'complained',
        detail:
          'Its reader called it spam, and the provider told so at 2026-11-25 13:59:55 UTC (5 s ago). The address is suppressed by sup_1 for transactional mail.',
      })
      expect(kinds(explained)).toEqual(['complained', 'delivered'])
      expect(explained.remedy).toContain('Do not send transactional mail there')
    })

    test('an unsubscribe; an entry that was taken off is none', () => {
      const recipient = { deliveredAtMs: nowMs - 60_000, unsubscribedAtMs: nowMs - 5_000 }
      const explained = end('delivered', { ...delivered, recipient })
      expect(explained.summary).toContain('; its reader unsubscribed by its link.')
      expect(explained.because[0]).toMatchObject({
        kind: 'unsubscribed',
        detail: expect.stringContaining('No entry of the suppression list stops mail'),
      })
    })
  })

  describe('of a mail that came back, the suppression list says what becomes of the next', () => {
    const late = (suppression: Parts['suppression']) =>
      end('bounced', {
        lastAttempt: { ...refused, outcome: 'delivered', reason: null, judgement: null },
        recipient: { reason: 'mailbox_unknown', reply: '550 5.1.1 gone' },
        suppression,
      })
    const entry = { id: 'sup_1', reason: 'mailbox_unknown', reply: null, createdAtMs: nowMs } as const

    test('in force', () => {
      const explained = late({ ...entry, isQuarantined: false })
      expect(explained.because.at(-1)).toMatchObject({
        kind: 'suppressed',
        detail: expect.stringMatching(/as sup_1 \(mailbox_unknown\), in force/),
      })
      expect(explained.remedy).toContain('DELETE /suppressions/sup_1')
    })

    test('quarantined: nothing is stopped', () => {
      const explained = late({ ...entry, isQuarantined: true })
      expect(explained.because.at(-1)).toMatchObject({ kind: 'quarantined' })
      expect(explained.remedy).toMatch(/^Nothing has to be done: .* PATCH \/suppressions\/sup_1/)
      expect(explained.remedy).not.toContain('do not send')
    })
  })

  test('simulated comes before whatever is played', () => {
    const explained = bounced('mailbox_unknown', '550 5.1.1 played', {
      recipient: { status: 'bounced', isSimulated: true, reason: 'mailbox_unknown', attempts: 1 },
    })
    expect(kinds(explained)).toEqual(['simulated', 'mailbox_unknown'])
    expect(explained.remedy).toContain('simulator.valija.test')
  })

  test('expired: what it met to the last comes before that its time was over', () => {
    const explained = end('failed', { recipient: { reason: 'expired' }, lastAttempt: refused })
    expect(kinds(explained)).toEqual(['connection_refused', 'expired'])
    expect(kinds(end('failed', { recipient: { reason: 'expired', attempts: 0 } }))).toEqual(['expired'])
  })

  test('without its content: how it is sent again nevertheless, and not by its id', () => {
    const message = { isContentKept: false }
    expect(explain({ delivery: null, message, recipient: { status: 'cancelled' } }).remedy).toBe(
      'Nothing has to be done. Its content is not kept any more (content in GET /messages/:id): to send it again, send its content anew (POST /send).',
    )
    const unknown = bounced('mailbox_unknown', '550 5.1.1 No such user', { message })
    expect(unknown.remedy).toMatch(/ Its content is not kept any more /)
    expect(explain({ delivery: null, message, recipient: { status: 'delivered' } }).remedy).not.toContain(
      'content',
    )
  })

  test('cancelled', () => {
    expect(first(end('cancelled'))).toBe('cancelled')
    expect(end('cancelled').remedy).toContain('POST /messages/:id/resend')
  })

  test.each([
    ['manual', 'remove the entry (DELETE /suppressions/sup_1)'],
    ['complaint', 'Do not send transactional mail there'],
  ] as const)('suppressed by %s', (reason, remedy) => {
    const suppression = {
      id: 'sup_1',
      reason,
      isQuarantined: false,
      reply: null,
      createdAtMs: nowMs - minuteMs,
    }
    const explained = end('suppressed', { suppression, recipient: { reason, attempts: 0 } })
    expect(first(explained)).toBe('suppressed')
    expect(explained.remedy).toContain(remedy)
  })

  test('somebody whose data was deleted is told of as that, whatever is on the list or in the inbox by now', () => {
    const recipient = { email: 'erased-0@erased.invalid', domain: 'erased.invalid', reason: 'manual' }
    for (const status of ['suppressed', 'delivered', 'bounced', 'failed', 'cancelled'] as const) {
      const explained = end(status, { recipient, message: { delivery: 'capture' } })
      expect(kinds(explained)).toEqual(['erased'])
      expect(JSON.stringify(explained)).not.toMatch(/inbox|Send the mail again|stops it|erased-0/)
      expect(explained.remedy).toContain('cannot be sent again')
    }
  })

  test('what is not on the list any more may be sent again', () => {
    expect(end('suppressed', { recipient: { reason: 'manual', attempts: 0 } }).remedy).toContain(
      'Send the mail again',
    )
  })
})

test('every kind has a sentence, and a scheduled mail its time', () => {
  for (const kind of causeKinds) expect(causeMeanings[kind]).toMatch(/\.$/)
  const sendAtMs = nowMs + 60 * minuteMs
  const explained = explain({
    recipient: { status: 'scheduled' },
    message: { sendAtMs },
    delivery: { state: 'waiting', dueAtMs: sendAtMs },
  })
  expect(explained.summary).toBe('Scheduled for 2026-11-25 15:00:00 UTC (in 1 h).')
})
