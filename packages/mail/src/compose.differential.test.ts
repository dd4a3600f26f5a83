/**
 * What we compose against what nodemailer's MailComposer makes of the same parts, octet by octet: versions before this writer sent that, and a
 * mail that one of them began to send is the same when it is sent again. `SCALE=1` compares 100 times as many.
 *
 * What parsers that are not ours find in both, and DKIM verifiers: tests/t-57-composer-difference.test.ts.
 */
import { Buffer } from 'node:buffer'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { composeByNodemailer } from '../../../tests/support/nodemailer-composer.ts'
import { type ComposedAttachment, type Composition, compose } from './compose.ts'
import { parseMailbox } from './mailbox.ts'

const runs = Math.round(200_000 * Number(process.env.SCALE ?? '0.01'))
const sender = parseMailbox('a@b.test')
if (!sender.ok) throw new Error(sender.message)
const about: Omit<Composition, 'text' | 'html' | 'attachments'> = {
  from: sender.value,
  replyTo: [],
  to: [],
  cc: [],
  subject: '',
  headers: [],
  messageId: '<0190@a.test>',
  date: new Date('2026-11-23T10:00:00.500Z'),
  boundarySeed: '0123456789abcdef0123456789abcdef',
}
type Parts = Pick<Composition, 'text' | 'html' | 'attachments' | 'boundarySeed'>

/** Content-* fields, the empty line and the body. */
function ours(parts: Parts): string {
  const message = compose({ ...about, ...parts }).toString('latin1')
  const before = 'MIME-Version: 1.0\r\n'
  return message.slice(message.indexOf(before) + before.length)
}

/** The same by nodemailer, as the versions before composed: its other fields are dropped. */
async function theirs(parts: Parts): Promise<string> {
  const message = (await composeByNodemailer({ ...about, ...parts })).toString('latin1')
  const end = message.indexOf('\r\n\r\n')
  const fields = message.slice(0, end).split(/\r\n(?![ \t])/)
  const contentFields = fields.filter((field) => /^content-/i.test(field)).map((field) => `${field}\r\n`)
  return contentFields.join('') + message.slice(end + 2)
}

const upTo = (maximum: number) => fc.integer({ min: 0, max: maximum })
/** Words and gaps of all lengths, so that line ends, escapes and characters of all widths come to lie at every place of a line. */
const piece = fc.oneof(
  fc.string({ maxLength: 90 }),
  fc.string({ unit: 'binary', maxLength: 30 }),
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.string({ unit: fc.constantFrom(' ', '\t', '\r', '\n', '\r\n', 'a', '.', '=', 'é'), maxLength: 90 }),
  fc
    .tuple(fc.constantFrom('a', '=', '€', '😀', ' ', '.', '\ud800', '\x7f', '\u2028'), upTo(170))
    .map(([unit, count]) => unit.repeat(count)),
  fc.constantFrom('\r\n', '\n', '\r', '.\r\n', 'From here', '--=_-0123456789abcdef', '\0', '\ufeff'),
)
const bodyText = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(''))
/** Around the sizes at which nodemailer does otherwise: slices of 65,536 octets, and 131,072 characters. */
const longText = fc
  .tuple(bodyText, bodyText, fc.constantFrom(65_536, 131_072), fc.integer({ min: -90, max: 90 }))
  .map(([start, end, size, more]) => {
    const unit = `${start}x\n`
    return unit.repeat(Math.ceil((size + 90) / unit.length)).slice(0, size + more) + end
  })
const body = upTo(49).chain(
  (chance): fc.Arbitrary<string | null> => (chance === 25 ? longText : fc.option(bodyText)),
)

/** What the API takes, and control characters. */
const name = fc
  .oneof(
    fc.string({ maxLength: 255 }),
    fc.string({ unit: 'binary', maxLength: 60 }),
    fc.string({ unit: 'grapheme', maxLength: 60 }),
    fc.constantFrom(
      '=?utf-8?Q?a?=',
      'a.eml',
      '-a.pdf',
      'a\tb',
      'a\x01.pdf',
      'a\x7f',
      "it's.csv",
      '%41 "b".png',
      'x'.repeat(255),
      'é'.repeat(255),
    ),
  )
  .map((text) => text || 'a')
const token = fc.string({ unit: fc.constantFrom(..."!#$%&'*+-.^_`{|}~aZ09"), minLength: 1, maxLength: 40 })
const parameter = fc
  .tuple(
    fc.constantFrom('; ', ';', ' ; '),
    fc.oneof(token, fc.constantFrom('name', 'NAME*', 'charset', 'boundary', 'filename*0*', '__proto__')),
    fc.oneof(
      token,
      fc.string({ maxLength: 90 }).map((text) => `"${text.replace(/["\\]/g, '')}"`),
    ),
  )
  .map(([separator, key, value]) => `${separator}${key}=${value}`)
const type = fc.oneof(
  fc.constantFrom(
    null,
    'application/pdf',
    'image/png',
    'text/plain',
    'Text/CSV; charset=utf-8',
    'message/rfc822',
  ),
  fc
    .tuple(fc.oneof(token, fc.constantFrom('text', 'image')), token, fc.array(parameter, { maxLength: 3 }))
    .map(([main, sub, parameters]) => `${main}/${sub}${parameters.join('')}`),
)
const contentId = fc
  .string({ unit: fc.constantFrom(...'azAZ09.@-_!;:"\\()'), minLength: 1, maxLength: 200 })
  .chain((id) => fc.constantFrom(id, `<${id}>`))
const attachment: fc.Arbitrary<ComposedAttachment> = fc.record({
  filename: name,
  content: fc.uint8Array({ maxLength: 300 }).map((octets) => Buffer.from(octets)),
  contentType: type,
  contentId: fc.option(contentId),
  disposition: fc.constantFrom(null, 'attachment' as const, 'inline' as const),
})
const parts: fc.Arbitrary<Parts> = fc.record({
  text: body,
  html: body,
  attachments: fc.oneof(fc.constant<ComposedAttachment[]>([]), fc.array(attachment, { maxLength: 3 })),
  boundarySeed: fc.string({ unit: fc.constantFrom(...'09azAZ'), minLength: 16, maxLength: 40 }),
})

it('is what nodemailer makes of the same parts, octet by octet', { timeout: 3_600_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(parts, async (asked) => {
      expect(ours(asked)).toBe(await theirs(asked))
    }),
    { numRuns: runs },
  )
})

const plain = { html: null, attachments: [], boundarySeed: about.boundarySeed }
const units = [
  'a',
  'a ',
  'a=',
  'é',
  '€',
  '😀',
  'word. ',
  'word\n',
  `${'x'.repeat(76)}\n`,
  `${'x'.repeat(77)}\n`,
]

it('so is a text of any length around a line, the end of which may be white space', async () => {
  for (const unit of units) {
    for (const end of ['', ' ', ' \n', '\t', 'é']) {
      for (let length = 45; length < 160; length += end === '' ? 1 : 13) {
        const text = (length % 2 === 0 ? 'é' : '') + unit.repeat(length).slice(0, length) + end
        expect(ours({ ...plain, text })).toBe(await theirs({ ...plain, text }))
      }
    }
  }
})

it('so is a text of any length around a slice of 65,536 octets, and one of white space that is longer', async () => {
  const shifts = [...Array(16).keys()]
  const long = (unit: string) => unit.repeat(Math.ceil(66_000 / Buffer.byteLength(unit)))
  const units = [
    'é',
    'x',
    'words of a ',
    `${'x'.repeat(40)} ${'x'.repeat(12)} \n`,
    `${'é'.repeat(40)}\n`,
    ' \n',
    '=  \n',
  ]
  const slices = units.flatMap((unit) =>
    shifts.map((shift) => 'é'.repeat(8) + 'x'.repeat(shift) + long(unit)),
  )
  const white = [65_535, 65_536, 65_537, 140_000].flatMap((length) =>
    shifts
      .slice(0, 5)
      .map((shift) => `é${long('words of a ')}${'of '.repeat(4 * shift)}b${' '.repeat(length)}`),
  )
  for (const text of [...slices, ...white])
    expect(ours({ ...plain, text })).toBe(await theirs({ ...plain, text }))
})

it('so is a text of short lines around the 131,072 characters from which on it is encoded', async () => {
  for (const more of [-1, 0, 1, 2]) {
    const text = 'word\r\n'.repeat(21_845).slice(0, 131_070) + 'ab'.repeat(2).slice(0, 2 + more)
    expect(ours({ ...plain, text })).toBe(await theirs({ ...plain, text }))
  }
})

it('so is a file of any length around a line and a slice of base64', async () => {
  const lengths = [...Array(120).keys(), 233_471, 233_472, 233_473, 500_000]
  for (const length of lengths) {
    const content = Buffer.alloc(length, 'valija ÿ')
    const file = { filename: 'a', content, contentType: null, contentId: null, disposition: null }
    const asked = { text: 'x', html: null, attachments: [file], boundarySeed: about.boundarySeed }
    expect(ours(asked)).toBe(await theirs(asked))
  }
})
