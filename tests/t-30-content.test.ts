/**
 * What was asked for is what arrives: every field of a mail, read back at the other end by programs that had no part in
 * writing it, and the envelope of each recipient.
 */
import { createHash, randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { mailReaders } from './support/mail-reader.ts'
import { endOfMail, type MailView, sendMail } from './support/messages.ts'
import { type ReceivedMail, type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { startValija, type Valija } from './support/valija.ts'

let peer: SmtpPeer
let valija: Valija

beforeAll(async () => {
  peer = await startSmtpPeer()
  valija = await startValija({ queue: 'postgres', delivery: 'smarthost', smarthost: peer })
  const vouched = { name: 'bücher.test', vouched: true }
  const made = await valija.admin('POST', '/domains', vouched, { 'valija-tenant': valija.tenantId })
  expect(made.status, made.text).toBe(201)
})

afterAll(async () => {
  await valija?.stop()
  await peer?.stop()
})

const sha256 = (content: Buffer): string => createHash('sha256').update(content).digest('hex')

/** 900 characters, none of them ASCII alone, with a blank at each end of the words that encoded words must keep. */
const SUBJECT = Array.from('Straße Ω 日本語 🙂 “quoted” ')
  .join('')
  .repeat(40)
  .slice(0, 899)
  .trim()
  .padEnd(900, '…')

/** Lines far over 998 octets, every kind of line end, dots at the beginning of lines, blanks at their ends. */
const TEXT = [
  'x'.repeat(5_000),
  `ü ${'ö '.repeat(3_000)}`,
  '.',
  '..',
  '.leading dot',
  'From the beginning',
  'blank at the end ',
  'tab at the end\t',
  '=?utf-8?q?not_an_encoded_word?=',
  '-- ',
  'end',
]
  .flatMap((line, i) => [line, ['\r\n', '\n', '\r'][i % 3]])
  .join('')

const HTML = `<p>${'long '.repeat(2_000)}</p>\r\n<img src="cid:logo@acme.test">\n<p>ä.\r.\n</p>\n.\n`

const FILES = {
  'Rechnung für März №7.pdf': Buffer.from('%PDF-1.7\n.\r\n'),
  '請求書 "2026"; final.txt': Buffer.from('Grüße\r.\r\n.\n'),
  'empty.bin': Buffer.alloc(0),
  'large.bin': randomBytes(1_000_000),
}
const LOGO = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
)

/** Twenty of every allowed kind; one value of exactly 2,000 octets, one name of 76 characters, one word of 900 octets. */
const HEADERS: Record<string, string> = {
  'X-Entity-Ref-ID': 'a b  c   d',
  'X-Unicode': 'Zoë sends 🙂 to 東京',
  'X-Long': 'word '.repeat(400).trim().padEnd(2_000, 'x'),
  'X-Long-Unicode': 'ü'.repeat(1_000),
  'X-Word': 'w'.repeat(900),
  [`X-${'n'.repeat(74)}`]: 'the longest name',
  'X-Looks-Encoded': '=?utf-8?q?literally_this?=',
  'X-Quotes': '"quoted" (comment) <angle> back\\slash; semi, comma',
  'X-Colon': ': Bcc: nobody',
  'x-lower': '1',
  'List-Unsubscribe': '<https://acme.test/u?id=1&x=%C3%BC>, <mailto:u@acme.test?subject=stop>',
  'List-Unsubscribe-Post': 'List-Unsubscribe=One-Click',
  'List-Id': 'News of Acme <news.acme.test>',
  'In-Reply-To': '<first@acme.test>',
  References: '<zeroth@acme.test> <first@acme.test>',
  Precedence: 'bulk',
  'Auto-Submitted': 'auto-replied',
  'Feedback-ID': 'campaign:acme:news:1',
  Importance: 'high',
  Comments: 'Größe: 10 µm',
}

const attachment = (filename: string, content: Buffer, more: object = {}) => ({
  filename,
  content: content.toString('base64'),
  ...more,
})

const FULL = {
  from: { email: 'Post@BÜCHER.test', name: 'Müller & Söhne, "GmbH" 株式会社' },
  to: [
    'Ann Ö. Smith <Ann@Example.ORG.>',
    { email: 'bob@MÜNCHEN.example', name: 'Боб, "the" builder <b@c.d>' },
    '"Last, First" <plain+tag@sub.example.org>',
    { email: '用户@例え.example', name: '用户' },
  ],
  cc: { email: "o'brien!#$%&*=?^_`{|}~@example.net", name: ' ' },
  bcc: ['Secret Ä <hidden@secret.example>', 'ANN@example.org', { email: 'other@secret.example' }],
  reply_to: ['Hilfe ü <help@elsewhere.example>', 'second@elsewhere.example'],
  subject: SUBJECT,
  text: TEXT,
  html: HTML,
  headers: HEADERS,
  attachments: [
    attachment('Rechnung für März №7.pdf', FILES['Rechnung für März №7.pdf']),
    attachment('請求書 "2026"; final.txt', FILES['請求書 "2026"; final.txt'], {
      content_type: 'text/plain; charset=utf-8',
    }),
    attachment('logo.png', LOGO, {
      content_id: '<logo@acme.test>',
      disposition: 'inline',
      content_type: 'image/png',
    }),
    attachment('empty.bin', FILES['empty.bin']),
    attachment('large.bin', FILES['large.bin'], { content_type: 'application/x-noise' }),
  ],
  tags: ['receipt', 'größe'],
  metadata: { order: '4711', 'ключ ~/': 'значение\nзначение' },
}

/** In order of to, cc, bcc; ANN@example.org is Ann@example.org a second time. */
const RECIPIENTS = [
  ['Ann@example.org', 'to'],
  ['bob@xn--mnchen-3ya.example', 'to'],
  ['plain+tag@sub.example.org', 'to'],
  ['用户@xn--r8jz45g.example', 'to'],
  ["o'brien!#$%&*=?^_`{|}~@example.net", 'cc'],
  ['hidden@secret.example', 'bcc'],
  ['other@secret.example', 'bcc'],
]

const withLineFeeds = (text: string): string => text.replace(/\r\n?/g, '\n')

/** The mails at the peer that belong to one message: one transaction for each recipient. */
async function arrived(message: MailView): Promise<ReceivedMail[]> {
  await peer.received(message.recipients.length)
  return peer.mails.filter((mail) => mail.text.includes(`Message-ID: ${message.rfc_message_id}\r\n`))
}

describe('a mail with every field', () => {
  let message: MailView
  let mails: ReceivedMail[]

  beforeAll(async () => {
    const { id } = await sendMail(valija.api, FULL)
    message = await endOfMail(valija.api, id)
    mails = await arrived(message)
  })

  test('goes to exactly the recipients asked for, each once, in canonical form and in a transaction of its own', () => {
    expect(message.status).toBe('delivered')
    expect(message.recipients.map(({ email, type }) => [email, type])).toEqual(RECIPIENTS)
    expect(mails.every((mail) => mail.to.length === 1)).toBe(true)
    expect(mails.map((mail) => mail.to[0]).sort()).toEqual(RECIPIENTS.map(([email]) => email).sort())
    expect(new Set(mails.map((mail) => mail.from))).toEqual(new Set(['Post@xn--bcher-kva.test']))
  })

  test('is the same for every recipient, with no trace of the hidden ones', () => {
    const [first] = mails
    for (const mail of mails) expect(mail.raw.equals(first!.raw)).toBe(true)
    const header = first!.text.slice(0, first!.text.indexOf('\r\n\r\n'))
    // "Secret Ä" begins with these when it is an encoded word in base64.
    for (const trace of ['secret.example', 'hidden@', 'ANN@', 'U2VjcmV0']) {
      expect(first!.raw.includes(trace), trace).toBe(false)
    }
    expect(header).not.toMatch(/^(?:resent-)?bcc/im)
  })

  test('holds CRLF only and no line over 998 octets', () => {
    const text = mails[0]!.text
    expect(text).not.toMatch(/\r(?!\n)|(?<!\r)\n|\0/)
    expect(Math.max(...text.split('\r\n').map((line) => line.length))).toBeLessThanOrEqual(998)
  })

  test('is what GET /messages/:id/raw and GET /messages/:id tell of it', async () => {
    const { url, tenantKey } = valija
    const answer = await fetch(`${url}/messages/${message.id}/raw`, {
      headers: { authorization: `Bearer ${tenantKey}` },
    })
    expect(answer.headers.get('content-type')).toBe('message/rfc822')
    expect(Buffer.from(await answer.arrayBuffer()).equals(mails[0]!.raw)).toBe(true)
    expect(message).toMatchObject({
      subject: SUBJECT,
      tags: FULL.tags,
      metadata: FULL.metadata,
      size_bytes: mails[0]!.raw.length,
    })
    expect(message.from).toContain('<Post@xn--bcher-kva.test>')
  })

  describe.each(mailReaders)('read by $reader', ({ isAbsent, read }) => {
    test.skipIf(isAbsent)('has the addresses, subject, texts and headers asked for', async () => {
      const mail = await read(mails[0]!.raw)
      expect(mail.from).toEqual([['Müller & Söhne, "GmbH" 株式会社', 'Post@xn--bcher-kva.test']])
      expect(mail.to).toEqual([
        ['Ann Ö. Smith', 'Ann@example.org'],
        ['Боб, "the" builder <b@c.d>', 'bob@xn--mnchen-3ya.example'],
        ['Last, First', 'plain+tag@sub.example.org'],
        ['用户', '用户@xn--r8jz45g.example'],
      ])
      expect(mail.cc).toEqual([['', "o'brien!#$%&*=?^_`{|}~@example.net"]])
      expect(mail.reply_to).toEqual([
        ['Hilfe ü', 'help@elsewhere.example'],
        ['', 'second@elsewhere.example'],
      ])
      expect(mail.subject).toBe(SUBJECT)
      expect(mail.text?.trimEnd()).toBe(withLineFeeds(TEXT).trimEnd())
      expect(mail.html?.trimEnd()).toBe(withLineFeeds(HTML).trimEnd())
      for (const [name, value] of Object.entries(HEADERS)) {
        const found = mail.headers.filter(([key]) => key === name.toLowerCase()).map(([, text]) => text)
        expect(found, name).toEqual([value])
      }
    })

    test.skipIf(isAbsent)('has no header field besides', async () => {
      const { headers } = await read(mails[0]!.raw)
      const own = [
        'from',
        'to',
        'cc',
        'reply-to',
        'subject',
        'date',
        'message-id',
        'mime-version',
        'content-type',
        'x-valija-recipient',
      ]
      const known = new Set([...own, ...Object.keys(HEADERS).map((name) => name.toLowerCase())])
      const names = headers.map(([name]) => name)
      expect(names.filter((name) => !known.has(name))).toEqual([])
      expect(new Set(names).size).toBe(names.length)
    })

    test.skipIf(isAbsent)('has the attachments asked for, byte by byte', async () => {
      const { attachments } = await read(mails[0]!.raw)
      const file = (filename: keyof typeof FILES, content_type: string) => ({
        filename,
        content_type,
        content_id: null,
        disposition: 'attachment',
        size: FILES[filename].length,
        sha256: sha256(FILES[filename]),
      })
      const logo = {
        filename: 'logo.png',
        content_type: 'image/png',
        content_id: 'logo@acme.test',
        disposition: 'inline',
      }
      const byName = (a: { filename: string }, b: { filename: string }) => (a.filename < b.filename ? -1 : 1)
      expect(attachments.sort(byName)).toEqual(
        [
          file('Rechnung für März №7.pdf', 'application/pdf'),
          file('請求書 "2026"; final.txt', 'text/plain'),
          { ...logo, size: LOGO.length, sha256: sha256(LOGO) },
          file('empty.bin', 'application/octet-stream'),
          file('large.bin', 'application/x-noise'),
        ].sort(byName),
      )
    })
  })
})

describe('a raw mail', () => {
  const kept = [
    'From: "Ann, of Acme" <ann@acme.test>',
    'To: somebody@elsewhere.example',
    'Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=',
    ' and a folded line',
    'Message-ID: <mine@acme.test>',
    'Date: Mon, 23 Nov 2026 10:00:00 +0100',
    'X-Valija-Own: stays',
    'X-Odd:    spaces   kept\t ',
    'MIME-Version: 1.0',
    'Content-Type: text/plain; charset=utf-8',
    'Content-Transfer-Encoding: quoted-printable',
  ]
  const removed = [
    'Return-Path: <x@evil.test>',
    'Received: from a by b; Mon, 23 Nov 2026 10:00:00 +0100',
    'DKIM-Signature: v=1; a=rsa-sha256; d=evil.test; s=x; bh=;',
    ' b=folded',
    'Bcc: hidden@secret.example,',
    ' hidden2@secret.example',
    'Resent-Bcc: hidden3@secret.example',
  ]
  const body = ['.', '..', '.dot', 'blank ', 'last=20']

  test('keeps every byte but what is not the sender’s to say, and goes to the envelope only', async () => {
    const header = [...removed.slice(0, 2), ...kept.slice(0, 4), ...removed.slice(2), ...kept.slice(4)]
    const raw = Buffer.from(`${header.join('\n')}\r\n\r\n${body.join('\n')}\n`).toString('base64')
    const to = ['first@example.org', 'Second@EXAMPLE.org']
    const { id } = await sendMail(valija.api, {
      from: 'bounces@acme.test',
      to,
      bcc: 'third@example.org',
      raw,
    })
    const message = await endOfMail(valija.api, id)
    expect(message).toMatchObject({
      status: 'delivered',
      subject: 'Grüße and a folded line',
      rfc_message_id: '<mine@acme.test>',
    })
    const mails = await arrived(message)
    const envelopes = mails.map((mail) => [mail.from, ...mail.to]).sort()
    expect(envelopes).toEqual([
      ['bounces@acme.test', 'Second@example.org'],
      ['bounces@acme.test', 'first@example.org'],
      ['bounces@acme.test', 'third@example.org'],
    ])
    for (const mail of mails) expect(mail.text).toBe(`${kept.join('\r\n')}\r\n\r\n${body.join('\r\n')}\r\n`)
  })

  test('gets a Message-ID and a Date when it has none that are valid', async () => {
    const raw = Buffer.from('From: ann@acme.test\nDate: yesterday\nMessage-ID: no id\n\nx\n').toString(
      'base64',
    )
    const { id } = await sendMail(valija.api, { from: 'ann@acme.test', to: 'a@example.org', raw })
    const message = await endOfMail(valija.api, id)
    const [mail] = await arrived(message)
    expect(mail!.text).toMatch(
      /^From: ann@acme\.test\r\nMessage-ID: <[^<>\s]+@acme\.test>\r\nDate: [^\r]+ \+0000\r\n\r\nx\r\n$/,
    )
  })
})
