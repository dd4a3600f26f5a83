import { parseMailbox } from '@valija/mail'
import { describe, expect, test } from 'vitest'
import { decodeBody, encodeBody, type FieldsBody, type StoredBody } from './body-codec.ts'

function mailbox(text: string) {
  const parsed = parseMailbox(text)
  if (!parsed.ok) throw new Error(parsed.message)
  return parsed.value
}

const fields: FieldsBody = {
  kind: 'fields',
  composition: {
    from: mailbox('Ändré <a@b.test>'),
    replyTo: [],
    to: [mailbox('c@d.test')],
    cc: [],
    subject: 'Grüße ✓',
    text: 'a “line” for 5 €: \\ "\t\u{1F4E7}\r\n'.repeat(500),
    html: null,
    headers: [['X-Order', '42']],
    attachments: [
      {
        filename: 'a.bin',
        content: Buffer.from([0, 255, 10, 13]),
        contentType: null,
        contentId: null,
        disposition: null,
      },
      {
        filename: 'empty',
        content: Buffer.alloc(0),
        contentType: 'text/plain',
        contentId: 'x',
        disposition: 'inline',
      },
      {
        filename: 'b.bin',
        content: Buffer.alloc(70_000, 7),
        contentType: 'a/b',
        contentId: null,
        disposition: 'attachment',
      },
    ],
    messageId: '<x@b.test>',
    date: new Date('2026-11-23T14:00:00.123Z'),
    boundarySeed: 'abcdefghijklmnop',
  },
}

describe('a stored body', () => {
  test('gives back exactly what was put in, attachments and dates included', () => {
    expect(decodeBody(encodeBody(fields))).toEqual(fields)
    const raw: StoredBody = {
      kind: 'raw',
      bytes: Buffer.from('From: a@b.test\r\n\r\n\0\xff', 'latin1'),
      needsSmtpUtf8: true,
    }
    expect(decodeBody(encodeBody(raw))).toEqual(raw)
  })

  test('may have texts of any length, and is none the shorter or longer for the one before it', () => {
    // At the bounds of the room that is kept for them, in units of UTF-16, as UTF-8 of three octets, and escaped.
    const lengths = [0, 1, 43_690, 43_691, 131_000, 131_072, 400_000]
    for (const length of lengths) {
      for (const unit of ['a', '€', '"', '\u0001']) {
        const [text, html] = [unit.repeat(length), length % 2 ? null : `<p>${unit.repeat(length)}`]
        const body = { ...fields, composition: { ...fields.composition, text, html, attachments: [] } }
        const blob = encodeBody(body)
        encodeBody(fields)
        expect(decodeBody(blob)).toEqual(body)
      }
    }
  })

  test('is compressed, but for attachments, which mostly are so already', () => {
    const size = encodeBody(fields).length
    expect(size).toBeGreaterThan(70_000)
    expect(size).toBeLessThan(71_000)
  })

  test('of another version or damaged is refused and not misread', () => {
    const blob = encodeBody(fields)
    blob[0] = 9
    expect(() => decodeBody(blob)).toThrow(/version 9/)
    expect(() => decodeBody(encodeBody(fields).subarray(0, 30))).toThrow()
  })
})
