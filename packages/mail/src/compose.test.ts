import { Buffer } from 'node:buffer'
import fc from 'fast-check'
import PostalMime, { decodeWords } from 'postal-mime'
import { describe, expect, it } from 'vitest'
import { type ComposedAttachment, type Composition, compose, needsSmtpUtf8 } from './compose.ts'
import { type Mailbox, parseMailbox } from './mailbox.ts'

const box = (input: string): Mailbox => {
  const result = parseMailbox(input)
  if (!result.ok) throw new Error(result.message)
  return result.value
}
const plain: Composition = {
  from: box('Ann <ann@a.test>'),
  replyTo: [],
  to: [box('bob@b.test')],
  cc: [],
  subject: 'Hello',
  text: 'Hi Bob',
  html: null,
  headers: [],
  attachments: [],
  messageId: '<0190@a.test>',
  date: new Date('2026-11-23T10:00:00.500Z'),
  boundarySeed: '0123456789abcdef0123456789abcdef',
}
const file = (change: Partial<ComposedAttachment>): ComposedAttachment => ({
  filename: 'a.txt',
  content: Buffer.from('x'),
  contentType: null,
  contentId: null,
  disposition: null,
  ...change,
})
const sent = async (change: Partial<Composition>) =>
  (await compose({ ...plain, ...change })).toString('latin1')
const read = async (change: Partial<Composition>) => PostalMime.parse(await compose({ ...plain, ...change }))
const shown = (mailbox: Mailbox) => ({ name: mailbox.name ?? '', address: mailbox.address.email })
/** What MIME does not keep: the kind of the line ends, and the last of them. */
const lines = (text: string | undefined | null) =>
  (text ?? '').replace(/\r\n|\r|\n/g, '\n').replace(/\n+$/, '')
const headerOf = (mail: Awaited<ReturnType<typeof read>>, name: string) =>
  mail.headers.find((header) => header.key === name)?.value

function expectSafeBytes(bytes: string): void {
  expect(bytes.replaceAll('\r\n', '')).not.toMatch(/[\r\n\0]/)
  expect(Math.max(...bytes.split('\r\n').map((line) => line.length))).toBeLessThanOrEqual(998)
}

describe('bytes', () => {
  it('are these, for a plain message', async () => {
    expect(await sent({})).toBe(
      [
        'From: Ann <ann@a.test>',
        'To: bob@b.test',
        'Subject: Hello',
        'Date: Mon, 23 Nov 2026 10:00:00 +0000',
        'Message-ID: <0190@a.test>',
        'MIME-Version: 1.0',
        'Content-Transfer-Encoding: 7bit',
        'Content-Type: text/plain; charset=utf-8',
        '',
        'Hi Bob',
        '',
      ].join('\r\n'),
    )
  })

  it('are the same for the same composition, with every kind of part', async () => {
    const rich = {
      html: '<b>x</b>',
      attachments: [file({}), file({ contentId: 'c' })],
      cc: [box('c@c.test')],
    }
    const first = await sent(rich)
    expect(first.match(/boundary=/g)?.length).toBe(3)
    expect(await sent(rich)).toBe(first)
  })

  it('name nobody when all recipients are hidden', async () => {
    const bytes = await sent({ to: [] })
    expect(bytes).toContain('\r\nTo: undisclosed-recipients:;\r\n')
    expect(await sent({ to: [], cc: [box('c@c.test')] })).not.toMatch(/^To:/m)
  })

  it('say nothing that nobody asked for', async () => {
    expect(await sent({ html: '<p>', attachments: [file({})] })).not.toMatch(
      /x-mailer|auto-submitted|bcc|nmp|nodemailer/i,
    )
  })

  it('fold long headers and leave no long line, whatever the value', async () => {
    const headers: [string, string][] = [
      ['X-Long', 'x'.repeat(2_000)],
      ['X-Words', 'lorem ipsum '.repeat(150).trim()],
      ['X-Spaces', `a${' '.repeat(1_500)}b`],
    ]
    const bytes = await sent({
      headers,
      subject: 's'.repeat(998),
      text: 'y'.repeat(5_000),
      html: 'é'.repeat(9_999),
    })
    expectSafeBytes(bytes)
    const mail = await read({ headers, subject: 's'.repeat(998) })
    expect(mail.subject).toBe('s'.repeat(998))
    expect(headerOf(mail, 'x-words')).toBe(headers[1]?.[1])
  })
})

describe('addresses', () => {
  it('keep their A-labels, beside a UTF-8 local part too', async () => {
    const to = [box('"Õun, Jüri" <jüri@jõgeva.ee>'), box('x@例子.测试')]
    const bytes = (await compose({ ...plain, to })).toString()
    expect(bytes.replaceAll('\r\n ', ' ')).toContain('<jüri@xn--jgeva-dua.ee>, x@xn--fsqu00a.xn--0zwm56d')
    expect(needsSmtpUtf8({ ...plain, to })).toBe(true)
    expect(needsSmtpUtf8({ ...plain, replyTo: [box('ü@b.test')] })).toBe(true)
    expect(needsSmtpUtf8(plain)).toBe(false)
  })

  it('are never split or joined by what stands in a display name', async () => {
    const to = [
      '"a@x.test, b" <b@b.test>',
      '"v@evil.test>" <c@b.test>',
      '"=?utf-8?Q?x=40evil.test?=" <d@b.test>',
    ].map(box)
    expect((await read({ to })).to).toEqual(to.map(shown))
  })
})

describe('headers', () => {
  it('keep the grammar of structured fields', async () => {
    const bytes = await sent({
      headers: [
        ['List-Id', '"My list" <list.a.test>'],
        ['List-Help', 'Café <https://a.test/?a=1&b="2">'],
      ],
    })
    expect(bytes).toContain('\r\nList-Id: "My list" <list.a.test>\r\n')
    expect(bytes).toContain('\r\nList-Help: =?UTF-8?Q?Caf=C3=A9?= <https://a.test/?a=1&b="2">\r\n')
  })

  it.each(['Bcc', 'from', 'Sender', 'Content-Type', 'X-A: b\r\nBcc', 'X A', ''])(
    'refuse the name %j',
    async (name) => {
      await expect(sent({ headers: [[name, 'v@evil.test']] })).rejects.toThrow(TypeError)
    },
  )

  it('refuse a Message-ID or a boundary seed that could carry something else', async () => {
    await expect(sent({ messageId: '<x@a.test>\r\nBcc: v@evil.test' })).rejects.toThrow(TypeError)
    await expect(sent({ boundarySeed: 'x"; y=' })).rejects.toThrow(TypeError)
  })

  it('carry no line break into the header', async () => {
    const evil = 'x\r\nBcc: v@evil.test\r\n\r\nbody\0'
    const mail = await read({
      subject: evil,
      headers: [
        ['X-A', evil],
        ['List-Id', evil],
      ],
    })
    expect(mail.headers.map((header) => header.key)).not.toContain('bcc')
    expect(mail.bcc).toBeUndefined()
  })

  it('an empty subject leaves the field out', async () => {
    expect(await sent({ subject: '' })).not.toMatch(/^subject/im)
  })
})

describe('parts', () => {
  it.each([
    ['', null],
    [null, ''],
    ['', ''],
    [null, null],
    ['a\rb\nc\r\nd', '<p>\r</p>\n'],
    ['.\r\n.\r\n', 'From x'],
    ['trailing space \nand tab\t\n', null],
    ['\u2028é\f', 'x\ufeff'],
  ])('text %j and html %j are read back', async (text, html) => {
    const mail = await read({ text, html })
    expectSafeBytes(await sent({ text, html }))
    expect(lines(mail.text)).toBe(lines(text))
    expect(lines(mail.html)).toBe(lines(html))
  })

  it('an attachment with a content id stands beside the HTML, with or without brackets', async () => {
    for (const contentId of ['logo@a.test', '<logo@a.test>']) {
      const change = {
        html: '<img src="cid:logo@a.test">',
        attachments: [file({ contentId, filename: 'l.png' })],
      }
      expect(await sent(change)).toContain('multipart/related')
      const mail = await read(change)
      expect(mail.attachments).toMatchObject([
        {
          contentId: '<logo@a.test>',
          related: true,
          disposition: 'inline',
          mimeType: 'image/png',
          filename: 'l.png',
        },
      ])
    }
  })

  it('never read a file or a URL that their content names', async () => {
    const names = ['/etc/passwd', 'http://127.0.0.1/', 'data:text/plain,x']
    for (const name of names) {
      const bytes = await sent({
        text: name,
        attachments: [file({ filename: name, content: Buffer.from(name) })],
      })
      expect(bytes).toContain(name)
      expect(bytes).toContain(Buffer.from(name).toString('base64'))
    }
  })

  it.each([
    'text/plain\r\nBcc: v@evil.test',
    'text/plain; charset=x\r\n\r\nbody',
    'text/plain; a\r\nBcc: v@evil.test=b',
    'image/png; \u00e9=1; x=\0',
    'multi(x)part/mixed; boundary="b"',
    '(c) multipart/mixed; boundary=b',
    `image/${'x'.repeat(2_000)}`,
    `image/png; a="${'x'.repeat(3_000)}"; ${'y'.repeat(3_000)}=1`,
    "image/png; name=other.exe; name*0*=utf-8''evil.exe",
    '',
    ' ',
    ';',
    '\udc00/\0',
  ])(
    'an attachment of type %j keeps its name and content, and no other field comes of it',
    async (contentType) => {
      const attachments = [file({ contentType, filename: 'a.bin', content: Buffer.from('x\n') })]
      expectSafeBytes(await sent({ attachments }))
      const mail = await read({ attachments })
      expect(mail.attachments).toHaveLength(1)
      expect(mail.attachments[0]).toMatchObject({ filename: 'a.bin', disposition: 'attachment' })
      expect(mail.attachments[0]?.mimeType).not.toMatch(/^(?:multipart|message)\//)
      expect(Buffer.from(mail.attachments[0]?.content as ArrayBuffer).toString()).toBe('x\n')
      expect(mail.text?.trim()).toBe('Hi Bob')
      expect(mail.headers).toEqual((await read({ attachments: [file({})] })).headers)
    },
  )

  it('a file name or a content id with what no header may hold ends no field and makes no long line', async () => {
    for (const evil of [
      'x\r\nBcc: v@evil.test\r\n\r\nbody',
      '\0\x7f\t"',
      'x'.repeat(5_000),
      '\u00e9'.repeat(5_000),
    ]) {
      const attachments = [file({ filename: evil }), file({ filename: evil, contentId: evil })]
      const change = { html: '<p>', attachments }
      expectSafeBytes(await sent(change))
      const mail = await read(change)
      expect(mail.attachments).toHaveLength(2)
      expect(mail.headers.map(({ key }) => key)).not.toContain('bcc')
      expect(mail.html?.trim()).toBe('<p>')
    }
  })

  it('a message or multipart attached is sent as plain bytes', async () => {
    const content = Buffer.from('Subject: x\n\n\0bare\r')
    for (const change of [{ filename: 'x.eml' }, { contentType: 'multipart/mixed; boundary=b' }]) {
      const attachments = [file({ content, ...change })]
      expectSafeBytes(await sent({ attachments }))
      const [attached] = (await read({ attachments })).attachments
      expect(attached?.mimeType).toBe('application/octet-stream')
      expect(Buffer.from(attached?.content as ArrayBuffer)).toEqual(content)
    }
  })
})

describe('properties', () => {
  /** No control characters (refused at the door) and no white space at the ends (readers drop it there). */
  const value = fc
    .oneof(
      fc.string({ maxLength: 120 }),
      fc.string({ unit: 'grapheme', maxLength: 60 }),
      fc.constantFrom('=?utf-8?Q?a?=', '=? ?='),
    )
    .map((text) => text.replace(/\p{Cc}/gu, '').trim())
    .filter((text) => text !== '')
  const body = fc.option(
    fc
      .array(
        fc.oneof(
          fc.string(),
          fc.string({ unit: 'grapheme' }),
          fc.constantFrom('\r', '\n', '\r\n', '.', '--', 'x'.repeat(1_200), 'é '.repeat(90)),
        ),
      )
      // NUL is refused at the door; a reader takes a byte order mark in front for what it is.
      .map((parts) =>
        parts
          .join('')
          .replaceAll('\0', '')
          .replace(/^\ufeff+/, ''),
      ),
  )
  const mailbox = fc
    .tuple(fc.option(value), fc.constantFrom('a@b.test', 'é@b.test', 'x@xn--jgeva-dua.ee'))
    .map(([name, email]): Mailbox => ({ ...box(email), name }))
  const attachment = fc.record({
    // Readers decode an encoded word wherever they find one, in a file name that spells one out too.
    filename: value
      .map((text) => text.replace(/[/\\]/g, '_').replaceAll('=?', ''))
      .filter((text) => text !== ''),
    content: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    contentType: fc.constantFrom(null, 'text/csv; charset=utf-8', 'application/pdf', 'image/png'),
    contentId: fc.constantFrom(null, 'c1@a.test', '<c2>'),
    disposition: fc.constantFrom(null, 'attachment' as const, 'inline' as const),
  })
  // Text that is asked to stand inline is read as a part of the text, as it should be.
  const readAsFile = attachment.map((part) =>
    part.disposition === 'inline' ? { ...part, contentType: 'image/png' } : part,
  )
  const composition = fc.record({
    from: mailbox,
    replyTo: fc.array(mailbox, { maxLength: 3 }),
    to: fc.array(mailbox, { maxLength: 5 }),
    cc: fc.array(mailbox, { maxLength: 3 }),
    subject: value,
    text: body,
    html: body,
    headers: fc.array(fc.tuple(fc.constantFrom('X-A', 'X-Bcd', 'Comments'), value), { maxLength: 4 }),
    attachments: fc.array(readAsFile, { maxLength: 3 }),
    messageId: fc.constant(plain.messageId),
    date: fc.constant(plain.date),
    boundarySeed: fc.constant(plain.boundarySeed),
  })

  it('what is read back is what was asked', { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(composition, async (asked) => {
        const bytes = await compose(asked)
        expectSafeBytes(bytes.toString('latin1'))
        const mail = await PostalMime.parse(bytes)
        expect(mail.from).toEqual(shown(asked.from))
        expect(mail.replyTo ?? []).toEqual(asked.replyTo.map(shown))
        if (asked.to.length + asked.cc.length > 0) expect(mail.to ?? []).toEqual(asked.to.map(shown))
        expect(mail.cc ?? []).toEqual(asked.cc.map(shown))
        expect(mail.subject).toBe(asked.subject)
        const custom = mail.headers.filter((header) => /^(?:x-a|x-bcd|comments)$/.test(header.key))
        expect(custom.map((header) => [header.originalKey, decodeWords(header.value)])).toEqual(asked.headers)
        expect(mail.messageId).toBe(asked.messageId)
        expect(mail.date).toBe('2026-11-23T10:00:00.000Z')
        if (asked.text !== null) expect(lines(mail.text)).toBe(lines(asked.text))
        if (asked.html !== null) expect(lines(mail.html)).toBe(lines(asked.html))
        const files = mail.attachments.map((part) => [
          part.filename,
          Buffer.from(part.content as ArrayBuffer).toString('hex'),
        ])
        expect(files.sort()).toEqual(
          asked.attachments.map((part) => [part.filename, part.content.toString('hex')]).sort(),
        )
      }),
      { numRuns: 400 },
    )
  })
})
