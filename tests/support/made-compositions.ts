/** Compositions as fast-check makes them up: what the API lets through, of all sizes, scripts and kinds of part. */
import { type ComposedAttachment, type Composition, type Mailbox, parseMailbox } from '@valija/mail'
import fc from 'fast-check'

/** Fields of the sender's own: free text, and some with a grammar, with values that have it. */
const freeNames = ['x-a', 'X-Bcd', 'Comments']
const structuredFields: [string, string][] = [
  ['List-Unsubscribe', '<https://a.test/u?x=1&y=%20>, <mailto:u@a.test?subject=x>'],
  ['List-Id', '"A list" <list.a.test>'],
  ['References', '<1.2@a.test> <3@b.test>'],
  ['In-Reply-To', `<${'r'.repeat(90)}@a.test>`],
  ['Feedback-ID', 'bulk:0a1b:acme:valija'],
  ['Auto-Submitted', 'auto-generated'],
  ['Precedence', 'bulk'],
]
export const ownFieldNames = [...freeNames, ...structuredFields.map(([name]) => name)].map((name) =>
  name.toLowerCase(),
)

const emails = [
  ...[
    'a@b.test',
    "o'hara+x=y@b.test",
    `${'l'.repeat(64)}@b.test`,
    `a@${'d'.repeat(60)}.${'e'.repeat(60)}.test`,
  ],
  ...['é@b.test', 'jüri@jõgeva.ee', 'x@jõgeva.ee', '用户@例子.测试', 'почта@пример.рф'],
]

/** No control characters (refused at the door) and no white space at the ends (readers drop it there). */
const value = fc
  .oneof(
    { weight: 4, arbitrary: fc.string({ maxLength: 120 }) },
    { weight: 4, arbitrary: fc.string({ unit: 'grapheme', maxLength: 60 }) },
    fc.constantFrom(
      '=?utf-8?Q?a?=',
      'a@x.test, b',
      'v@evil.test>',
      '(',
      'x'.repeat(998),
      'é'.repeat(300),
      'word '.repeat(99),
    ),
  )
  .map((text) => text.replace(/\p{Cc}/gu, '').trim())
  .filter((text) => text !== '')

const piece = fc.oneof(
  fc.string(),
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom(
    '\r',
    '\n',
    '\r\n',
    '.',
    '\n.\n',
    '\nFrom x',
    '--',
    '=20',
    ' \n',
    'x'.repeat(1_200),
    'é '.repeat(90),
  ),
)
/** NUL is refused at the door; a reader takes a byte order mark in front for what it is. */
const shortText = fc.array(piece, { maxLength: 12 }).map((parts) =>
  parts
    .join('')
    .replaceAll('\0', '')
    .replace(/^\ufeff+/, ''),
)
const longText = fc
  .tuple(shortText, fc.integer({ min: 1_000, max: 200_000 }))
  .map(([text, size]) => `${text}x\n`.repeat(Math.ceil(size / (text.length + 2))))
const body = fc.option(fc.oneof({ weight: 30, arbitrary: shortText }, { weight: 1, arbitrary: longText }))

const mailbox = fc.tuple(fc.option(value), fc.constantFrom(...emails)).map(([name, email]): Mailbox => {
  const parsed = parseMailbox(email)
  if (!parsed.ok) throw new Error(parsed.message)
  return { ...parsed.value, name }
})

const attachment = fc
  .record({
    // Readers decode an encoded word wherever they find one, in a file name that spells one out too.
    filename: value.map(
      (text) => text.replace(/[/\\]/g, '_').replaceAll('=?', '').slice(0, 255).trim() || 'a',
    ),
    content: fc
      .oneof(
        { weight: 20, arbitrary: fc.uint8Array({ maxLength: 300 }) },
        {
          weight: 1,
          arbitrary: fc
            .integer({ max: 150_000 })
            .map((size) => new Uint8Array(Math.abs(size) % 150_000).fill(size)),
        },
      )
      .map((octets) => Buffer.from(octets)),
    contentType: fc.constantFrom(
      null,
      'text/csv; charset=utf-8',
      'application/pdf',
      'image/png',
      'message/rfc822',
    ),
    contentId: fc.constantFrom(null, 'c1@a.test', '<c2>'),
    disposition: fc.constantFrom(null, 'attachment' as const, 'inline' as const),
  })
  // Text that is asked to stand inline is read as a part of the text, as it should be.
  .map(
    (file): ComposedAttachment =>
      file.disposition === 'inline' ? { ...file, contentType: 'image/png' } : file,
  )

export const madeComposition: fc.Arbitrary<Composition> = fc.record({
  from: mailbox,
  replyTo: fc.array(mailbox, { maxLength: 3 }),
  to: fc.array(mailbox, { minLength: 1, maxLength: 6 }),
  cc: fc.array(mailbox, { maxLength: 3 }),
  subject: value,
  text: body,
  html: body,
  headers: fc
    .tuple(
      fc.array(fc.tuple(fc.constantFrom(...freeNames), value), { maxLength: 3 }),
      fc.subarray(structuredFields),
    )
    .map(([free, structured]) => [...free, ...structured]),
  attachments: fc.array(attachment, { maxLength: 3 }),
  messageId: fc.constantFrom('<0190@a.test>', `<${'m'.repeat(100)}@a.test>`),
  date: fc
    .date({ min: new Date(0), max: new Date('2090-01-01'), noInvalidDate: true })
    .map((date) => new Date(Math.floor(date.getTime() / 1_000) * 1_000)),
  boundarySeed: fc.string({ unit: fc.constantFrom(...'09azAZ'), minLength: 16, maxLength: 40 }),
})
