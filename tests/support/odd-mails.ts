/**
 * Mails as fast-check makes them up: raw ones with odd header fields, folds, empty bodies, 8-bit text, long lines and trailing
 * white space, and compositions. What comes out is ready to be signed and sent.
 */
import {
  type CheckedRaw,
  checkRaw,
  compose,
  identifyRaw,
  type Mailbox,
  parseAddress,
  type RawMessage,
} from '@valija/mail'
import fc from 'fast-check'

const defaults = { messageId: '<made-up@acme.test>', date: new Date('2026-11-23T10:00:00Z') }

/** White space as people and programs leave it lying about; a fold needs something behind it. */
const gap = fc.constantFrom(' ', '  ', '\t', ' \t ', '\r\n ', '\r\n\t', ' \r\n  ')
const word = fc.oneof(
  fc.string({ minLength: 1, maxLength: 12 }),
  fc.string({ unit: 'grapheme', minLength: 1, maxLength: 6 }),
  fc.constantFrom(
    ':',
    ';',
    'b=',
    'x;b=abc',
    '=?utf-8?Q?=C3=A9?=',
    '<a@b.test>',
    '"',
    '(',
    'é',
    'x'.repeat(300),
  ),
)
const clean = (text: string) => text.replace(/[\p{Cc}\s]/gu, '') || 'w'
const fieldValue = fc
  .array(fc.tuple(gap, word.map(clean)), { maxLength: 8 })
  .map((pairs) => pairs.flat().join(''))

/** Fields that may come once, and fields that may come more often. */
const singleName = fc.constantFrom(
  ...[
    'Subject',
    'SUBJECT',
    'To',
    'cc',
    'Reply-to',
    'List-Unsubscribe',
    'list-unsubscribe-post',
    'Feedback-ID',
  ],
  ...['In-Reply-To', 'References', 'MIME-Version', 'Content-Transfer-Encoding', 'Content-Disposition'],
)
const anyName = fc.constantFrom(
  'X-Odd',
  'x',
  'Comments',
  'Keywords',
  'List-Id',
  'List-Help',
  'Resent-To',
  'Auto-Submitted',
  'To-Do',
)

const fields = fc
  .tuple(
    fc.uniqueArray(fc.tuple(singleName, fieldValue), {
      selector: ([name]) => name.toLowerCase(),
      maxLength: 8,
    }),
    fc.array(fc.tuple(anyName, fieldValue), { maxLength: 8 }),
  )
  .map(([single, any]) => [...single, ...any].map(([name, value]) => `${name}:${value}\r\n`))
  .chain((lines) => fc.shuffledSubarray(lines, { minLength: lines.length }))

const line = fc.oneof(
  fc.string({ maxLength: 60 }),
  fc.string({ unit: 'grapheme', maxLength: 30 }),
  fc.constantFrom(
    '',
    '',
    ' ',
    '\t',
    'word  ',
    '\tword\t\t',
    '  a \t b',
    '.',
    '..',
    'From here',
    'é'.repeat(80),
    'x'.repeat(990),
  ),
)
const body = fc
  .tuple(
    fc.array(
      line.map((text) => text.replace(/[\0\r\n]/g, '')),
      { maxLength: 8 },
    ),
    fc.boolean(),
  )
  .map(([lines, isEnded]) => lines.join('\r\n') + (isEnded && lines.length > 0 ? '\r\n' : ''))

/** A raw mail from `acme.test` that Valija takes. */
export const oddRawMail: fc.Arbitrary<RawMessage> = fc
  .tuple(
    fields,
    fc.constantFrom(
      'From: a@acme.test\r\n',
      'fROM:\t"A, B" <a@acme.test>\r\n',
      'From: =?utf-8?Q?=C3=A9?=\r\n <a@acme.test>\r\n',
    ),
    body,
    fc.boolean(),
  )
  .map(([lines, from, text, isFirst]) =>
    checkRaw(Buffer.from(`${isFirst ? from + lines.join('') : lines.join('') + from}\r\n${text}`)),
  )
  .filter((reading) => reading.ok)
  .map((reading) => identifyRaw(reading.value as CheckedRaw, defaults))

const text = fc.option(
  fc
    .array(fc.oneof(line, fc.constantFrom('\n', '\r\n', '\r', '.\r\n', 'x'.repeat(1_200), 'é '.repeat(90))))
    .map((parts) => parts.join('').replaceAll('\0', '')),
)
const headerText = fc
  .oneof(fc.string({ maxLength: 120 }), fc.string({ unit: 'grapheme', maxLength: 60 }))
  .map((value) => value.replace(/\p{Cc}/gu, '').trim())
const mailbox = fc
  .tuple(fc.option(headerText), fc.constantFrom('a@acme.test', 'é@acme.test', 'x@xn--jgeva-dua.ee'))
  .map(([name, email]): Mailbox => {
    const address = parseAddress(email)
    if (!address.ok) throw new Error(address.message)
    return { name: name || null, address: address.value }
  })

/** A mail that Valija composes. */
export const oddComposition: fc.Arbitrary<Buffer> = fc
  .record({
    from: mailbox,
    replyTo: fc.array(mailbox, { maxLength: 2 }),
    to: fc.array(mailbox, { maxLength: 40 }),
    cc: fc.array(mailbox, { maxLength: 2 }),
    subject: headerText,
    text,
    html: text,
    headers: fc.array(
      fc.tuple(
        fc.constantFrom('X-A', 'List-Unsubscribe', 'List-Unsubscribe-Post', 'Feedback-ID', 'References'),
        headerText,
      ),
      { maxLength: 4 },
    ),
    attachments: fc.array(
      fc.record({
        filename: headerText.map((name) => name || 'a'),
        content: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
        contentType: fc.constantFrom(null, 'image/png'),
        contentId: fc.constantFrom(null, 'c1@a.test'),
        disposition: fc.constantFrom(null, 'attachment' as const, 'inline' as const),
      }),
      { maxLength: 2 },
    ),
    messageId: fc.constant(defaults.messageId),
    date: fc.constant(defaults.date),
    boundarySeed: fc.constant('0123456789abcdef0123456789abcdef'),
  })
  .map((composition) => compose(composition))
