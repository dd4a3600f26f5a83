import { Buffer } from 'node:buffer'
import { describe, expect, it } from 'vitest'
import { readIncoming } from './read-incoming.ts'

const token = 'b-abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrstuvwxyz'
const returnPath = `${token}@bounces.example.com`

function mail(...lines: string[]): Buffer {
  return Buffer.from(lines.join('\r\n'))
}

const deliveryStatus = mail(
  'Return-Path: <>',
  'From: Mail Delivery System <MAILER-DAEMON@mx.example.net>',
  `To: ${returnPath}`,
  'Subject: Undelivered Mail Returned to Sender',
  'MIME-Version: 1.0',
  'Content-Type: multipart/report; report-type=delivery-status; boundary="rep"',
  '',
  '--rep',
  'Content-Type: text/plain',
  '',
  'Your mail could not be delivered.',
  '--rep',
  'Content-Type: message/delivery-status',
  '',
  'Reporting-MTA: dns; mx.example.net',
  '',
  'Original-Recipient: rfc822; jo@example.net',
  'Final-Recipient: rfc822; jo@inner.example.net',
  'Action: failed',
  'Status: 5.1.1',
  'Remote-MTA: dns; inner.example.net',
  'Diagnostic-Code: smtp; 550 5.1.1 <jo@inner.example.net>:',
  '  no such person here',
  '',
  '--rep',
  'Content-Type: message/rfc822',
  '',
  `Return-Path: <${returnPath}>`,
  'Message-ID: <1@example.com>',
  'X-Valija-Recipient: opaque',
  'From: hi@example.com',
  'To: Jo <jo@example.net>',
  'Subject: Your invoice',
  '',
  'Hello',
  '--rep--',
  '',
)

describe('a delivery status (RFC 3464)', () => {
  it('gives each recipient with what was said of it, and what is quoted of our mail', async () => {
    expect(await readIncoming(deliveryStatus)).toEqual({
      kind: 'bounce',
      recipients: [
        {
          address: 'jo@inner.example.net',
          originalAddress: 'jo@example.net',
          action: 'failed',
          status: '5.1.1',
          replyCode: 550,
          text: '550 5.1.1 <jo@inner.example.net>: no such person here',
          remoteHost: 'inner.example.net',
          reportingHost: 'mx.example.net',
          phase: null,
          context: 'Your mail could not be delivered.',
        },
      ],
      original: {
        messageId: '<1@example.com>',
        returnPath,
        recipientToken: 'opaque',
        from: 'hi@example.com',
        to: 'jo@example.net',
        subject: 'Your invoice',
      },
    })
  })
})

describe('a complaint (RFC 5965)', () => {
  it('keeps our own token where the addresses are blacked out', async () => {
    const complaint = mail(
      'From: feedback@provider.example',
      'To: fbl@example.com',
      'Subject: complaint',
      'MIME-Version: 1.0',
      'Content-Type: multipart/report; report-type=feedback-report; boundary="arf"',
      '',
      '--arf',
      'Content-Type: text/plain',
      '',
      'This is an abuse report.',
      '--arf',
      'Content-Type: message/feedback-report',
      '',
      'Feedback-Type: Abuse',
      'User-Agent: Provider-FBL/1.0',
      'Version: 1',
      'Original-Rcpt-To: redacted@provider.example',
      '--arf',
      'Content-Type: text/rfc822-headers',
      '',
      'Message-ID: <1@example.com>',
      'X-Valija-Recipient: opaque',
      'From: hi@example.com',
      'To: undisclosed',
      '--arf--',
    )
    expect(await readIncoming(complaint)).toMatchObject({
      kind: 'complaint',
      feedbackType: 'abuse',
      recipients: [],
      source: 'Provider-FBL/1.0',
      original: { messageId: '<1@example.com>', recipientToken: 'opaque' },
    })
  })
})

describe('a report for people', () => {
  const report = (fields: string[], lines: string[]) =>
    readIncoming(
      mail('From: MAILER-DAEMON@mx.example.net', 'Subject: Undelivered mail', ...fields, '', ...lines, ''),
    )

  it('that went over a list is second-hand, whatever it quotes', async () => {
    const posted = await report(['List-Id: <talk.example.org>'], ['Undeliverable: jo@example.net'])
    expect(posted).toMatchObject({ recipients: [{ address: 'jo@example.net', isSecondHand: true }] })
  })

  it('whose answer is only a code takes the words from beside it', async () => {
    const told = await report(
      [],
      [
        "Your mail to jo@example.net couldn't be delivered.",
        '',
        "jo wasn't found there.",
        '',
        'Status code: 550 5.1.10',
      ],
    )
    expect(told).toMatchObject({
      recipients: [{ status: '5.1.10', text: expect.stringContaining("wasn't found") }],
    })
  })

  it('ends where the returned mail begins, quoted or not, and takes no version for a status', async () => {
    const told = await report(
      [],
      [
        'Failed to deliver to jo@example.net',
        '',
        '>Return-Path: <hi@example.com>',
        '>Subject: tool 2.3.0: 550 bugs',
      ],
    )
    expect(told).toMatchObject({ recipients: [{ address: 'jo@example.net', status: null, replyCode: null }] })
  })
})

describe('what a person’s assistant answers', () => {
  const word = (text: string) => `=?UTF-8?B?${Buffer.from(text).toString('base64')}?=`
  const answer = async (subject: string, text: string, ...fields: string[]) => {
    const head = ['Return-Path: <>', 'From: Jo <jo@example.net>', `To: ${returnPath}`, ...fields]
    const type = ['MIME-Version: 1.0', 'Content-Type: text/plain; charset=utf-8']
    return (await readIncoming(mail(...head, `Subject: ${word(subject)}`, ...type, '', text, ''))).kind
  }

  it.each([
    ['ไม่สามารถตอบอีเมลได้', 'ฉันไม่สามารถตอบอีเมลได้ jo@example.net'],
    ['تعذر الرد على رسالتك', 'تعذر الرد على رسالتك من jo@example.net'],
    ['تعذر الوصول إليّ', 'أنا خارج المكتب، jo@example.net: تعذر الرد'],
    ['Thất bại khi trả lời', 'Tôi không thể trả lời thư của jo@example.net'],
    ['Saya gagal membalas', 'jo@example.net tidak dapat membalas sampai Senin'],
    ['נכשל המענה', 'jo@example.net: לא ניתן לענות'],
    ['Undeliverable until Monday', 'jo@example.net cannot be reached, mail is not delivered to me'],
  ])('is no bounce, in whatever language: %s', async (subject, text) => {
    expect(await answer(subject, text, 'Auto-Submitted: auto-replied')).toBe('auto_reply')
  })

  it.each([
    ['ไม่สามารถตอบอีเมลได้', 'ฉันไม่สามารถตอบอีเมลได้ jo@example.net'],
    ['تعذر الرد على رسالتك', 'تعذر الرد على رسالتك من jo@example.net'],
    ['Tự động trả lời: vắng mặt', 'Tôi không thể trả lời thư của jo@example.net'],
    ['Sedang cuti', 'jo@example.net tidak dapat membalas sampai Senin'],
    ['מענה אוטומטי', 'jo@example.net: לא ניתן לענות'],
  ])('is known by its subject without a field: %s', async (subject, text) => {
    expect(await answer(subject, text)).toBe('auto_reply')
  })

  it.each([
    ['ไม่สามารถส่งอีเมลได้', 'ไม่สามารถส่งถึง <al@example.net>'],
    ['تعذر تسليم الرسالة', 'تعذر تسليم الرسالة إلى <al@example.net>'],
    ['فشل في إرسال رسالتك', 'فشل في إرسال الرسالة إلى <al@example.net>'],
    ['Gửi thư thất bại', 'Không thể gửi tới <al@example.net>: thất bại'],
    ['Pesan gagal dikirim', 'Pesan tidak dapat dikirim ke <al@example.net>'],
    ['מסירת ההודעה נכשלה', 'לא ניתן למסור אל <al@example.net>'],
    ['Αποτυχία παράδοσης', 'Αποτυχία παράδοσης στο <al@example.net>'],
  ])('is not taken for it when a delivery failed: %s', async (subject, text) => {
    expect(await answer(subject, text)).toBe('bounce')
  })

  it('is a bounce when it quotes a server’s answer', async () => {
    const said = 'Not delivered to <al@example.net>: 550 5.1.1 no such user'
    expect(await answer('Undeliverable mail', said, 'Auto-Submitted: auto-replied')).toBe('bounce')
  })
})

it('a delivery status tells each address once, however often an alias led to it', async () => {
  const block = ['', 'Final-Recipient: rfc822; jo@example.net', 'Action: failed', 'Status: 5.4.6']
  const report = mail(
    'From: postmaster@example.net',
    'Subject: failed',
    '',
    'Reporting-MTA: dns; mx',
    ...block,
    ...block,
  )
  expect(await readIncoming(report)).toMatchObject({ recipients: [{ address: 'jo@example.net' }] })
})

it('a delivery status without a diagnostic takes an answer from a field beside it, and no disclaimer', async () => {
  const failed = ['Final-Recipient: rfc822; jo@example.net', 'Action: failed']
  const head = ['From: postmaster@example.net', 'Subject: failed', '', 'Reporting-MTA: dns; mx', '']
  const beside = mail(...head, ...failed, 'Status: 5.0.0', 'X-Supplementary-Info: <smtp; 550 no such user>')
  expect(await readIncoming(beside)).toMatchObject({
    recipients: [{ replyCode: 550, text: '550 no such user>' }],
  })
  const disclaimer = 'This mail is confidential and not for unknown people.'
  const plain = mail(...head, ...failed, 'Status: 5.1.1', '', disclaimer)
  expect(await readIncoming(plain)).toMatchObject({ recipients: [{ status: '5.1.1', text: '' }] })
})

it('anything else is not acted on', async () => {
  expect(await readIncoming(mail('From: jo@example.net', 'Subject: Hello', '', 'Hello!'))).toEqual({
    kind: 'other',
  })
  expect(await readIncoming(Buffer.alloc(0))).toEqual({ kind: 'other' })
})
