/**
 * One mail of each family of mail systems, written for this test in the shape of theirs: whom it is about, what was said, and what
 * is no bounce. `samples/expected.json` is in the form that `valija eval-bounces` takes.
 */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { readIncoming } from './read-incoming.ts'

interface Expected {
  recipient: string | null
  reason: string
  status: string
  reply: string
}

const file = (name: string) => readFileSync(new URL(`samples/${name}`, import.meta.url))
const expected: Record<string, Expected[]> = JSON.parse(file('expected.json').toString())
const failures = Object.entries(expected).filter(
  ([name]) => !name.startsWith('no-') && name !== 'delivered.eml',
)

describe('a bounce', () => {
  test.each(failures)(
    '%s names its recipients, with the reply and status of each',
    async (name, recipients) => {
      const mail = await readIncoming(file(`mail/${name}`))
      if (mail.kind !== 'bounce') throw new Error(`is read as ${mail.kind}`)
      const read = mail.recipients.map(({ address, replyCode, status }) => ({
        recipient: address,
        reply: String(replyCode ?? ''),
        status: status ?? '',
      }))
      expect(read).toEqual(recipients.map(({ recipient, reply, status }) => ({ recipient, reply, status })))
    },
  )

  test.each([
    ['postfix', 'rcpt'],
    ['sendmail', 'rcpt'],
    ['exim', 'rcpt'],
    ['qmail', 'rcpt'],
    ['yahoo', 'rcpt'],
    ['nemesis', 'rcpt'],
    ['interscan', 'rcpt'],
    ['trouble-report', 'rcpt'],
    ['courier', 'rcpt'],
    ['mdaemon', 'rcpt'],
    ['hmailserver', 'rcpt'],
  ])('of %s tells that %s was refused', async (name, phase) => {
    const mail = await readIncoming(file(`mail/${name}.eml`))
    expect(mail.kind === 'bounce' && mail.recipients[0]?.phase).toBe(phase)
  })

  test('from an address that is not a mail system’s is second-hand', async () => {
    const mail = await readIncoming(file('mail/ticket-like-bounce.eml'))
    expect(mail).toMatchObject({ kind: 'bounce', recipients: [{ isSecondHand: true }] })
  })

  test.each([
    'exim-frozen',
    'postfix-delayed',
    'late-exchange',
    'late-french',
    'late-german',
    'late-japanese',
    'late-qmail-like',
    'late-spanish',
    'late-symantec',
  ])('%s is only late', async (name) => {
    const mail = await readIncoming(file(`mail/${name}.eml`))
    expect(mail).toMatchObject({ kind: 'bounce', recipients: [{ action: 'delayed' }] })
  })

  test('that a person forwarded is second-hand', async () => {
    const mail = await readIncoming(file('mail/forwarded-as-text.eml'))
    expect(mail).toMatchObject({ kind: 'bounce', recipients: [{ isSecondHand: true }] })
  })

  test.each(
    failures.filter(([name]) =>
      /^(?:exim|qmail|mxlogic|postfix|sendmail|yahoo|gmail|imail|zoho)\.eml$/.test(name),
    ),
  )('%s has the returned mail’s Message-ID and token', async (name) => {
    const mail = await readIncoming(file(`mail/${name}`))
    expect(mail).toMatchObject({ original: { messageId: '<m1@example.com>', recipientToken: 'tok-4711' } })
  })
})

describe('no bounce', () => {
  test.each([
    ['no-vacation', 'auto_reply'],
    ['no-vacation-bare', 'auto_reply'],
    ['no-challenge', 'challenge'],
    ['no-read-receipt', 'auto_reply'],
    ['no-person-about-bounce', 'other'],
    ['no-null-path-person', 'other'],
    ['no-newsletter', 'other'],
    ['no-ticket', 'auto_reply'],
    ['no-forwarded-by-person', 'other'],
    ['no-complaint', 'complaint'],
    ['no-dmarc-report', 'dmarc_report'],
    ['no-newsletter-about-bounces', 'other'],
    ['no-vacation-german', 'auto_reply'],
    ['no-vacation-japanese', 'auto_reply'],
    ['no-left-company', 'auto_reply'],
    ['no-challenge-link', 'challenge'],
    ['no-quarantine-digest', 'other'],
    ['no-quoting-reply', 'other'],
    ['no-help-desk-quote', 'other'],
    ['no-log-report', 'other'],
    ['no-receipt-read', 'auto_reply'],
    ['no-list-post-of-bounce', 'other'],
    ['no-parcel', 'other'],
    ['no-payment', 'other'],
    ['no-welcome', 'other'],
  ])('is %s: %s', async (name, kind) => {
    expect((await readIncoming(file(`mail/${name}.eml`))).kind).toBe(kind)
  })

  test('is a report that the mail was delivered', async () => {
    const mail = await readIncoming(file('mail/delivered.eml'))
    expect(mail).toMatchObject({ kind: 'bounce', recipients: [{ action: 'delivered' }] })
  })
})
