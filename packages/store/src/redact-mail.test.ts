/** One person's address goes out of a mail to several, and nothing else changes. */
import { Buffer } from 'node:buffer'
import { createAddressEraser } from '@valija/core'
import { parseAddress } from '@valija/mail'
import { describe, expect, test } from 'vitest'
import { decodeBody, encodeBody } from './body-codec.ts'
import { redactBody, redactRaw } from './redact-mail.ts'

const eraser = createAddressEraser('ann@example.org', 'erased-0@erased.invalid')
const redacted = (lines: string[], encoding: BufferEncoding = 'utf8') =>
  redactRaw(Buffer.from(lines.join('\r\n'), encoding), eraser)
    .toString(encoding)
    .split('\r\n')

describe('of a raw mail', () => {
  test.each([
    ['To: ann@example.org, Bob <bob@example.org>', 'To: erased-0@erased.invalid, Bob <bob@example.org>'],
    ['To: Ann Smith <Ann@Example.org>, bob@example.org', 'To: <erased-0@erased.invalid>, bob@example.org'],
    ['Cc: bob@example.org, "Smith, Ann" <ann@example.org>', 'Cc: bob@example.org, <erased-0@erased.invalid>'],
    ['Cc: "Smith \\"A\\", Ann" <ann@example.org>', 'Cc: <erased-0@erased.invalid>'],
    ['Cc: =?utf-8?q?J=C3=B6?= <ann@example.org>', 'Cc: <erased-0@erased.invalid>'],
    ['Cc: joann@example.org, ann@example.org.test', 'Cc: joann@example.org, ann@example.org.test'],
  ])('%j becomes %j', (before, after) => {
    expect(redacted([before, '', 'x'])).toEqual([after, '', 'x'])
  })

  test('a folded name goes with its address, and the line stays folded', () => {
    const lines = ['To: bob@example.org,', ' Ann Smith', ' <ann@example.org>', 'Subject: x', '', '']
    expect(redacted(lines).join('\r\n')).toMatch(
      /^To: bob@example\.org,\r\n <erased-0@erased\.invalid>\r\nSubject: x\r\n\r\n$/,
    )
  })

  test('the text loses the address where it is written out; octets that are no UTF-8 stay what they are', () => {
    expect(redacted(['Subject: x', '', 'Dear \xff\xfe ann@example.org,', 'bob'], 'latin1')).toEqual([
      ...['Subject: x', '', 'Dear \xff\xfe erased-0@erased.invalid,', 'bob'],
    ])
  })

  test.each([['“”'], ['—'], ['…'], ['\u00a0'], ['\xff']])(
    '%j beside the address keeps it no longer',
    (mark) => {
      const encoding = mark === '\xff' ? 'latin1' : 'utf8'
      expect(redacted(['X: y', '', `${mark}ann@example.org${mark}`], encoding)).toEqual([
        ...['X: y', '', `${mark}erased-0@erased.invalid${mark}`],
      ])
    },
  )

  test('a name begins in its own line, also with a quotation mark too many', () => {
    const lines = ['Subject: 5" x', 'To: "Ann" A" <ann@example.org>', '', '']
    expect(redacted(lines)).toEqual(['Subject: 5" x', 'To: <erased-0@erased.invalid>', '', ''])
  })

  const ways: [string, string][] = [
    ['words before a comma', `${'a '.repeat(990)},`],
    ['folded words', `${'aaa\r\n '.repeat(330)},`],
    ['quotation marks', '"\\'.repeat(1_000)],
    ['quoted backslashes', `"${'\\'.repeat(2_000)}" `],
  ]
  test.each(ways)('a header of a megabyte with names of %s takes no second of the processor', (_, name) => {
    const mailbox = `${name}<ann@example.org>,`
    const header = Buffer.from(`To: ${mailbox.repeat(1_000_000 / mailbox.length)}\r\n\r\n`)
    const before = process.threadCpuUsage()
    const after = redactRaw(header, eraser)
    const { user, system } = process.threadCpuUsage(before)
    expect(after.includes('ann@')).toBe(false)
    expect(after.includes('<erased-0@erased.invalid>')).toBe(true)
    expect((user + system) / 1000).toBeLessThan(1_000)
  })

  test('a name of a megabyte goes as a whole', () => {
    const line = `To: ${'"a\\" '.repeat(200_000)}"<ann@example.org>`
    expect(redacted([line, '', ''])[0]).toBe('To: <erased-0@erased.invalid>')
  })
})

test('of fields: name and address in To and Cc, and the address in texts and headers; attachments are not looked into', () => {
  const mailbox = (name: string | null, text: string) => {
    const parsed = parseAddress(text)
    if (!parsed.ok) throw new Error(parsed.message)
    return { name, address: parsed.value }
  }
  const content = Buffer.from('ann@example.org')
  const composition = {
    from: mailbox('Acme', 'hi@acme.test'),
    replyTo: [],
    to: [mailbox('Ann', 'Ann@example.org'), mailbox('Bob', 'bob@example.org')],
    cc: [],
    subject: 'For ann@example.org',
    text: 'Dear ann@example.org and bob@example.org',
    html: null,
    headers: [['X-For', 'ann@example.org']] as [string, string][],
    attachments: [{ filename: 'a.txt', content, contentType: null, contentId: null, disposition: null }],
    messageId: '<1@acme.test>',
    date: new Date(0),
    boundarySeed: 'a'.repeat(16),
  }
  const after = decodeBody(redactBody(encodeBody({ kind: 'fields', composition }), eraser))
  expect(after).toEqual({
    kind: 'fields',
    composition: {
      ...composition,
      to: [mailbox(null, 'erased-0@erased.invalid'), composition.to[1]],
      subject: 'For erased-0@erased.invalid',
      text: 'Dear erased-0@erased.invalid and bob@example.org',
      headers: [['X-For', 'erased-0@erased.invalid']],
    },
  })
})
