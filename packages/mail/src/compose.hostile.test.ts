/**
 * Hostile input to our composer and to nodemailer's: what each does with it, at every place where text comes in. Either it is refused, or
 * it is harmless: the fields of the mail are those of a mail without it, every line is ended by CRLF and has at most 998 octets, and there
 * is no NUL. Where the two are not alike the table says so, and why.
 */
import { Buffer } from 'node:buffer'
import PostalMime from 'postal-mime'
import { describe, expect, it } from 'vitest'
import { composeByNodemailer } from '../../../tests/support/nodemailer-composer.ts'
import { type ComposedAttachment, type Composition, compose } from './compose.ts'
import { parseMailbox } from './mailbox.ts'

const attacks = {
  'a field behind CRLF': 'x\r\nBcc: v@evil.test',
  'a field behind a bare LF': 'x\nBcc: v@evil.test',
  'a field behind a bare CR': 'x\rBcc: v@evil.test',
  'a field behind a fold': 'x\r\n \r\nBcc: v@evil.test',
  'an end of the header': 'x\r\n\r\n<script>',
  'a NUL': 'x\0y',
  'control characters': 'x\x01\x0b\x7f\x1by',
  'a lone dot': 'x\r\n.\r\nMAIL FROM:<v@evil.test>',
  'a lone dot behind bare LF': 'x\n.\nMAIL FROM:<v@evil.test>',
  'a lone dot behind bare CR': 'x\r.\rMAIL FROM:<v@evil.test>',
  'a boundary': 'x\r\n--=_-0123456789abcdef-Part_1--\r\n\r\nx',
  'a line of 5,000 octets': 'x'.repeat(5_000),
  'a line of 5,000 beyond ASCII': 'é'.repeat(5_000),
  'spaces that fill lines': `a${' '.repeat(3_000)}b`,
  'an address in a name': '"v@evil.test>, <w@evil.test>',
  'half a surrogate pair': 'x\ud800y',
} as const
type Attack = keyof typeof attacks

const plain: Composition = {
  from: boxOf('a@a.test'),
  ...{ replyTo: [], to: [boxOf('b@b.test')], cc: [], subject: 's', text: 'Hi', html: '<p>Hi' },
  ...{ headers: [['X-A', 'x']], attachments: [], messageId: '<1@a.test>' },
  ...{ date: new Date('2026-11-23T10:00:00Z'), boundarySeed: '0123456789abcdef' },
}
const fileWith = (change: Partial<ComposedAttachment>): Partial<Composition> => ({
  attachments: [
    {
      filename: 'a.pdf',
      content: Buffer.from('x'),
      contentType: null,
      contentId: null,
      disposition: null,
      ...change,
    },
  ],
})
const places = {
  subject: (text) => ({ subject: text }),
  'a field': (text) => ({ headers: [['X-A', text]] }),
  'a name of a recipient': (text) => ({ to: [{ ...boxOf('b@b.test'), name: text }] }),
  'a text': (text) => ({ text }),
  'an html': (text) => ({ html: text }),
  'a file’s name': (text) => fileWith({ filename: text }),
  'a file’s type': (text) => fileWith({ contentType: `image/png; a=${text}` }),
  'a file’s content id': (text) => fileWith({ contentId: text }),
  'a field’s name': (text) => ({ headers: [[`X-A: ${text}`, 'x']] }),
  'a Message-ID': (text) => ({ messageId: `<${text}@a.test>` }),
} satisfies Record<string, (text: string) => Partial<Composition>>
type Place = keyof typeof places

const composers = { ours: async (asked: Composition) => compose(asked), nodemailer: composeByNodemailer }
type Composer = keyof typeof composers

function boxOf(email: string) {
  const parsed = parseMailbox(email)
  if (!parsed.ok) throw new Error(parsed.message)
  return parsed.value
}

/** What it did: `harmless`, `refused`, or what is wrong with the mail. */
async function outcome(composer: Composer, place: Place, attack: Attack): Promise<string> {
  const asked = { ...plain, ...places[place](attacks[attack]) }
  let bytes: Buffer
  try {
    bytes = await composers[composer](asked)
  } catch {
    return 'refused'
  }
  const text = bytes.toString('latin1')
  if (/[\r\n]/.test(text.replaceAll('\r\n', ''))) return 'a bare CR or LF'
  if (text.includes('\0')) return 'a NUL'
  if (text.split('\r\n').some((line) => line.length > 998)) return 'a long line'
  const [mail, usual] = await Promise.all(
    [bytes, composers[composer]({ ...plain, attachments: asked.attachments.map(harmlessFile) })].map(
      async (mail) => PostalMime.parse(await mail),
    ),
  )
  const keys = (of: typeof mail) => of?.headers.map(({ key }) => key).sort()
  if (JSON.stringify(keys(mail)) !== JSON.stringify(keys(usual))) return 'other fields'
  const emails = mail?.to?.map(({ address }) => address)
  if (JSON.stringify(emails) !== '["b@b.test"]') return 'other recipients'
  if (mail?.attachments.length !== asked.attachments.length) return 'other parts'
  return 'harmless'
}

const harmlessFile = (file: ComposedAttachment) => ({
  ...file,
  filename: 'a.pdf',
  contentType: null,
  contentId: file.contentId && 'c',
})

const injections = (Object.keys(attacks) as Attack[]).filter((attack) => !attack.startsWith('a line of'))
const longLines: Attack[] = ['a line of 5,000 octets', 'a line of 5,000 beyond ASCII']

/** Everything else is harmless with both. */
const differences: { why: string; in: Place[]; attacks: Attack[]; ours: string; theirs: string }[] = [
  {
    why: 'a word without a space is encoded by us; nodemailer folds at spaces only',
    in: ['subject', 'a field', 'a name of a recipient', 'a file’s name', 'a file’s content id'],
    ...{ attacks: ['a line of 5,000 octets'], ours: 'harmless', theirs: 'a long line' },
  },
  {
    why: 'a content id is shortened by us; nodemailer encodes nothing within its brackets and folds nowhere',
    in: ['a file’s content id'],
    ...{ attacks: ['a line of 5,000 beyond ASCII'], ours: 'harmless', theirs: 'a long line' },
  },
  {
    why: 'nodemailer drops what may not stand in a field’s name, and sends the field by what is left',
    in: ['a field’s name'],
    ...{ attacks: injections, ours: 'refused', theirs: 'other fields' },
  },
  {
    why: 'nodemailer drops line ends and control characters of a Message-ID, and sends what is left',
    in: ['a Message-ID'],
    ...{ attacks: injections, ours: 'refused', theirs: 'harmless' },
  },
  {
    why: 'nodemailer bounds neither',
    in: ['a field’s name', 'a Message-ID'],
    ...{ attacks: longLines, ours: 'refused', theirs: 'a long line' },
  },
]

describe.each(Object.keys(places) as Place[])('in %s', (place) => {
  it.each(Object.keys(attacks) as Attack[])('%s is refused or harmless', async (attack) => {
    const found = {
      ours: await outcome('ours', place, attack),
      theirs: await outcome('nodemailer', place, attack),
    }
    const known = differences.find((row) => row.in.includes(place) && row.attacks.includes(attack))
    expect(found).toEqual({ ours: known?.ours ?? 'harmless', theirs: known?.theirs ?? 'harmless' })
  })
})

describe('in an address', () => {
  it.each(Object.keys(attacks) as Attack[])('%s is refused before anything is composed', (attack) => {
    const text = attacks[attack]
    for (const address of [`${text}@b.test`, `b@${text}.test`, `b@b.test${text}`, `b@b.test>${text}`])
      expect(parseMailbox(address).ok).toBe(false)
  })
})
