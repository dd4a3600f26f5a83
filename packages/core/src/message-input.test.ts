import { Buffer } from 'node:buffer'
import { compose } from '@valija/mail'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type MessageInput, validateMessage } from './message-input.ts'
import { decodeBase64 } from './message-input-attachments.ts'

const now = new Date('2026-11-23T10:00:00Z')
const limits = { maxMessageSizeBytes: 10_000, now }
const minimal: MessageInput = { from: 'a@a.test', to: 'b@b.test', subject: 'Hi', text: 'Hello' }
const base64 = (text: string) => Buffer.from(text).toString('base64')

const check = (change: Partial<MessageInput>) => validateMessage({ ...minimal, ...change }, limits)
const accept = (change: Partial<MessageInput>) => {
  const result = check(change)
  if (!result.ok) throw new Error(JSON.stringify(result.errors))
  return result.value
}
/** Path and message of every fault, the message cut to what a test wants to see. */
const faults = (change: Partial<MessageInput>) => {
  const result = check(change)
  return result.ok ? [] : result.errors
}
const paths = (change: Partial<MessageInput>) => faults(change).map((fault) => fault.path)
const without = (...fields: (keyof MessageInput)[]) =>
  Object.fromEntries(fields.map((field) => [field, undefined]))
const file = { filename: 'a.txt', content: 'eA==' }

describe('a valid message', () => {
  it('gets its defaults', () => {
    expect(accept({})).toEqual({
      from: { name: null, address: expect.objectContaining({ email: 'a@a.test' }) },
      replyTo: [],
      to: [{ name: null, address: expect.objectContaining({ email: 'b@b.test' }) }],
      cc: [],
      recipients: [{ type: 'to', address: expect.objectContaining({ email: 'b@b.test' }) }],
      subject: 'Hi',
      text: 'Hello',
      html: null,
      headers: [],
      attachments: [],
      raw: null,
      tags: [],
      metadata: {},
      stream: 'transactional',
      sendAt: null,
      ttlSeconds: null,
      requireTls: false,
      unsubscribe: null,
      route: null,
      sandbox: false,
      isSensitive: false,
      lateAfterSeconds: null,
      renderedFrom: null,
      estimatedSizeBytes: 5,
    })
  })

  it('takes addresses in every form, in canonical form', () => {
    const message = accept({
      from: 'Ann <Ann@A.TEST.>',
      to: [{ email: 'b@JÕGEVA.ee', name: 'Bob, B.' }, 'c@c.test'],
      reply_to: { email: 'r@r.test' },
    })
    expect(message.from).toMatchObject({ name: 'Ann', address: { email: 'Ann@a.test' } })
    expect(message.to).toMatchObject([
      { name: 'Bob, B.', address: { email: 'b@xn--jgeva-dua.ee' } },
      { name: null },
    ])
    expect(message.replyTo).toMatchObject([{ name: null, address: { email: 'r@r.test' } }])
  })

  it('counts a mailbox once, the first of to, cc, bcc, and leaves the header lists as they are', () => {
    const message = accept({
      bcc: ['C@c.test', 'd@d.test', 'B@B.test'],
      cc: ['c@C.test.', 'b@b.test'],
      to: ['b@b.test', 'B@b.test'],
    })
    expect(message.recipients.map(({ type, address }) => [type, address.email])).toEqual([
      ['to', 'b@b.test'],
      ['cc', 'c@c.test'],
      ['bcc', 'd@d.test'],
    ])
    expect([message.to.length, message.cc.length]).toEqual([2, 2])
    expect(JSON.stringify([message.to, message.cc, message.headers])).not.toContain('d.test')
  })

  it('may have only hidden recipients, an empty subject and an empty text', () => {
    expect(accept({ ...without('to'), bcc: 'b@b.test', subject: '', text: '' })).toMatchObject({
      to: [],
      text: '',
    })
  })

  it('is what compose takes', async () => {
    const headers = { 'X-A': 'é', 'List-Id': '"A" <a.test>' }
    const { recipients: _, ...message } = accept({
      html: '<p>',
      attachments: [{ ...file, content_id: '<c@d>' }],
      headers,
    })
    const rest = { messageId: '<x@a.test>', date: now, boundarySeed: '0123456789abcdef' }
    expect((await compose({ ...message, ...rest })).toString()).toContain('Content-ID: <c@d>')
  })
})

describe('required', () => {
  it('are a recipient, a subject and content, all told at once', () => {
    expect(paths(without('to', 'subject', 'text'))).toEqual(['/to', '/subject', '/text'])
    expect(paths({ to: [] })).toEqual(['/to'])
  })

  it('a wrong recipient is not called a missing one as well', () => {
    expect(paths({ to: ['b'] })).toEqual(['/to/0'])
  })
})

describe('addresses', () => {
  it('every fault has its own path', () => {
    const bad: Partial<MessageInput> = {
      from: { email: 'x', name: 'a\nb' },
      to: ['b@b.test', 'x', { email: 'y' }],
      cc: 'z',
      bcc: [{ email: 'c@c.test', name: '\ud800' }],
      reply_to: 'a@x.test, b@y.test',
    }
    expect(paths(bad)).toEqual([
      '/from/email',
      '/from/name',
      '/reply_to',
      '/to/1',
      '/to/2/email',
      '/cc',
      '/bcc/0/name',
    ])
  })

  it('1,000 different recipients are the most, repeated ones not counted', () => {
    const many = Array.from({ length: 1_000 }, (_, i) => `u${i}@b.test`)
    expect(accept({ to: [...many, ...many] }).recipients).toHaveLength(1_000)
    expect(faults({ to: many, cc: 'v@b.test' })).toMatchObject(
      [{ path: '/to', message: /1001 recipients/ }].map((f) => ({
        ...f,
        message: expect.stringMatching(f.message),
      })),
    )
  })

  it('a display name has 256 characters at most', () => {
    expect(paths({ from: { email: 'a@a.test', name: '😀'.repeat(256) } })).toEqual([])
    expect(paths({ from: { email: 'a@a.test', name: 'x'.repeat(257) } })).toEqual(['/from/name'])
    expect(paths({ to: [`${'x'.repeat(257)} <b@b.test>`] })).toEqual(['/to/0'])
  })
})

describe('text', () => {
  it('subject: 998 characters, no control characters', () => {
    expect(paths({ subject: 'é'.repeat(998) })).toEqual([])
    for (const subject of ['x'.repeat(999), 'a\r\nBcc: v@v.test', 'a\tb', '\x7f', '\0', '\udc00']) {
      expect(paths({ subject })).toEqual(['/subject'])
    }
  })

  it('text and html: anything but U+0000 and lone surrogates', () => {
    expect(paths({ text: 'a\r\n\t\x01\x7f', html: '\ufffe😀' })).toEqual([])
    expect(paths({ text: '\0', html: '\ud83d' })).toEqual(['/text', '/html'])
  })

  it('tags and metadata', () => {
    expect(paths({ tags: Array(20).fill('x'.repeat(128)) })).toEqual([])
    expect(paths({ tags: Array(21).fill('x') })).toEqual(['/tags'])
    expect(paths({ tags: ['', 'x'.repeat(129), 'a\n', 'ok'] })).toEqual(['/tags/0', '/tags/1', '/tags/2'])
    const keys = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, 'v']))
    expect(paths({ metadata: keys(50) })).toEqual([])
    expect(paths({ metadata: keys(51) })).toEqual(['/metadata'])
    expect(paths({ metadata: { 'x~/y\n': 'v', [`${'k'.repeat(65)}`]: 'v', '': 'v' } })).toEqual([
      '/metadata/x~0~1y\n',
      `/metadata/${'k'.repeat(65)}`,
      '/metadata/',
    ])
    expect(paths({ metadata: { a: 'x'.repeat(512), b: 'x'.repeat(513), c: 'a\nb', d: '\0' } })).toEqual([
      '/metadata/b',
      '/metadata/d',
    ])
    const odd = JSON.parse('{"__proto__":"a\\u0000"}')
    expect(paths({ metadata: odd })).toEqual(['/metadata/__proto__'])
  })
})

describe('headers', () => {
  it.each([
    'X-Foo',
    'x-foo',
    'List-Unsubscribe',
    'LIST-ID',
    'Precedence',
    'Auto-Submitted',
    'Feedback-ID',
    'Importance',
    'Priority',
    'Comments',
    'Keywords',
  ])('%s may be set', (name) => expect(accept({ headers: { [name]: 'v' } }).headers).toEqual([[name, 'v']]))

  it.each([
    'Bcc',
    'From',
    'To',
    'Subject',
    'Sender',
    'Return-Path',
    'DKIM-Signature',
    'Received',
    'Content-Type',
    'MIME-Version',
    'X-Valija-Tag',
    'x-valija-',
    'X-',
    'List-',
    'X-A B',
    'X-A:',
    'X-é',
    'X-A\r\nBcc',
    '',
    '__proto__x',
    `X-${'a'.repeat(75)}`,
  ])('%j may not', (name) => expect(paths({ headers: { [name]: 'v' } })).toEqual([`/headers/${name}`]))

  it('a slash or a tilde in the name is escaped in the path', () => {
    expect(paths({ headers: { 'X/a~b': 'v' } })).toEqual(['/headers/X~1a~0b'])
  })

  it('the same name in another case is refused', () => {
    expect(paths({ headers: { 'X-A': 'v', 'x-a': 'w' } })).toEqual(['/headers/x-a'])
  })

  it('values: 2,000 octets, no control characters, not blank', () => {
    expect(paths({ headers: { 'X-A': 'é'.repeat(1_000) } })).toEqual([])
    for (const value of ['é'.repeat(1_001), 'a\r\nBcc: v@v.test', 'a\tb', '\0', '\ud800', '', ' ']) {
      expect(paths({ headers: { 'X-A': value } })).toEqual(['/headers/X-A'])
    }
    const many = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`X-${i}`, 'v']))
    expect(paths({ headers: many(100) })).toEqual([])
    expect(paths({ headers: many(101) })).toEqual(['/headers'])
  })

  it('fields with a grammar take only what can be sent in it', () => {
    expect(
      paths({
        headers: { References: '<a@b> <c@d>', 'List-Id': 'Café <l.a.test>', 'X-A': 'x'.repeat(2_000) },
      }),
    ).toEqual([])
    expect(paths({ headers: { References: 'a@b' } })).toEqual(['/headers/References'])
    expect(paths({ headers: { 'In-Reply-To': '<é@b>' } })).toEqual(['/headers/In-Reply-To'])
    expect(paths({ headers: { 'List-Unsubscribe': '<https://a.test/é>' } })).toEqual([
      '/headers/List-Unsubscribe',
    ])
    expect(paths({ headers: { 'List-Help': `<https://a.test/${'x'.repeat(900)}>` } })).toEqual([
      '/headers/List-Help',
    ])
  })
})

describe('attachments', () => {
  const one = (change: object) => ({ attachments: [{ ...file, ...change }] })

  it.each(['', 'eA==', 'eA', 'eHg=', 'eHg', '+/+/'])('content %j is base64', (content) => {
    expect(accept(one({ content })).attachments[0]?.content).toEqual(Buffer.from(content, 'base64'))
  })

  it.each([
    'e',
    'eA=',
    'eA===',
    'e A=',
    'eA==\n',
    '-_-_',
    'eA==eA==',
    '=',
    'é',
    'eHh\u0141',
    'data:text/plain;base64,eA==',
  ])('content %j is not', (content) => expect(paths(one({ content }))).toEqual(['/attachments/0/content']))

  it('what is base64 is told as by its definition, whatever stands in the text', () => {
    const isBase64 = (text: string) =>
      /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?$/.test(text)
    const character = fc.constantFrom(
      ...'Ab9+/AAAA',
      ...'==',
      '-',
      '_',
      ' ',
      '\n',
      '\t',
      '\0',
      'é',
      '\u0141',
      '\uff21',
      '\u{1f600}',
    )
    fc.assert(
      fc.property(fc.string({ unit: character, maxLength: 14 }), (content) => {
        expect(decodeBase64(content)).toEqual(isBase64(content) ? Buffer.from(content, 'base64') : null)
      }),
      { numRuns: 20_000 },
    )
  })

  it('any octets survive base64', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 50 }), fc.boolean(), (octets, isPadded) => {
        const content = Buffer.from(octets).toString('base64')
        const sent = isPadded ? content : content.replace(/=+$/, '')
        expect(accept(one({ content: sent })).attachments[0]?.content).toEqual(Buffer.from(octets))
      }),
    )
  })

  it.each(['', ' ', '.', '..', '../a', 'a\\b', 'a\r\nb', 'a\0', '\ud800', 'a\u202efdp.exe', 'x'.repeat(256)])(
    'filename %j is refused',
    (filename) => expect(paths(one({ filename }))).toEqual(['/attachments/0/filename']),
  )

  it('content_type is a media type that can be encoded', () => {
    for (const content_type of [
      'application/pdf',
      'text/csv; charset=utf-8',
      'text/calendar;method="REQ UEST"',
      'a/b+c',
    ]) {
      expect(accept(one({ content_type })).attachments[0]?.contentType).toBe(content_type)
    }
    for (const content_type of [
      '',
      'pdf',
      'a/b/c',
      'a/b;',
      'a/b; c',
      'a/b\r\nX: y',
      'multipart/mixed',
      'Message/rfc822',
    ]) {
      expect(paths(one({ content_type }))).toEqual(['/attachments/0/content_type'])
    }
  })

  it('content_id, with or without brackets, once', () => {
    expect(accept(one({ content_id: '<logo@a.test>' })).attachments[0]?.contentId).toBe('logo@a.test')
    for (const content_id of ['', '<>', 'a b', 'a>b', '<<a>>', 'é', 'a\n', 'x'.repeat(201)]) {
      expect(paths(one({ content_id }))).toEqual(['/attachments/0/content_id'])
    }
    const twins = [
      { ...file, content_id: 'a' },
      { ...file, content_id: '<a>' },
    ]
    expect(paths({ attachments: twins })).toEqual(['/attachments/1/content_id'])
  })

  it('100 are the most', () => {
    expect(paths({ attachments: Array(100).fill(file) })).toEqual([])
    expect(paths({ attachments: Array(101).fill(file) })).toEqual(['/attachments'])
  })
})

describe('raw', () => {
  const text =
    'From: Ann <h@h.test>\r\nSender: s@s.test\r\nSubject: =?utf-8?Q?J=C3=BCri=00?=\r\nTo: x@x.test\r\n\r\nBody'
  const raw = (message: string): Partial<MessageInput> => ({
    ...without('subject', 'text'),
    raw: base64(message),
  })

  it('is read for good; its header gives From, Sender and subject, never recipients', () => {
    const [head = '', body = ''] = text.split(/(?<=\r\n)\r\n/)
    expect(accept(raw(text))).toMatchObject({
      raw: {
        head: Buffer.from(head),
        body: Buffer.from(body),
        from: { name: 'Ann', address: { email: 'h@h.test' } },
        sender: { address: { email: 's@s.test' } },
      },
      from: { address: { email: 'a@a.test' } },
      subject: 'Jüri ',
      text: null,
      recipients: [{ type: 'to', address: { email: 'b@b.test' } }],
      estimatedSizeBytes: text.length,
    })
  })

  it('excludes what it holds itself', () => {
    const all = { subject: '', text: '', html: '', headers: {}, attachments: [], reply_to: 'r@r.test' }
    expect(paths({ ...raw(text), ...all })).toEqual([
      '/subject',
      '/text',
      '/html',
      '/headers',
      '/attachments',
      '/reply_to',
    ])
  })

  it('faults are told at /raw', () => {
    for (const message of [
      '',
      'x',
      'From: a@a.test, b@b.test\n\n',
      `From: a@a.test\n\n${'x'.repeat(999)}`,
      'From: a@a.test\n\n\0',
    ]) {
      expect(paths(raw(message))).toEqual(['/raw'])
    }
    expect(paths({ ...raw(text), raw: 'not base64!' })).toEqual(['/raw'])
  })
})

describe('size', () => {
  const tooLarge = {
    ok: false,
    code: 'message_too_large',
    errors: [{ path: '', message: expect.stringContaining('10000') }],
  }

  it('is octets of text and html and 4/3 of the decoded attachments', () => {
    const content = base64('x'.repeat(3_000))
    expect(
      accept({ text: 'é'.repeat(2_500), html: 'x'.repeat(1_000), attachments: [{ ...file, content }] })
        .estimatedSizeBytes,
    ).toBe(10_000)
    expect(
      check({ text: 'é'.repeat(2_500), html: 'x'.repeat(1_001), attachments: [{ ...file, content }] }),
    ).toEqual(tooLarge)
  })

  it('of a raw message is its octets', () => {
    const raw = (length: number) => ({
      ...without('subject', 'text'),
      raw: base64('From: a@a.test\n\n'.padEnd(length, 'x\n')),
    })
    expect(accept(raw(10_000)).estimatedSizeBytes).toBe(10_000)
    expect(check(raw(10_001))).toEqual(tooLarge)
  })

  it('goes before all other faults', () => {
    expect(check({ from: 'x', text: 'x'.repeat(10_001) })).toEqual(tooLarge)
  })
})

describe('time', () => {
  it.each([
    ['2026-11-23T10:00:01Z', '2026-11-23T10:00:01.000Z'],
    ['2026-11-24t00:30:00.5+01:00', '2026-11-23T23:30:00.500Z'],
    ['2027-11-23T10:00:00Z', '2027-11-23T10:00:00.000Z'],
  ])('send_at %s is %s', (send_at, expected) =>
    expect(accept({ send_at }).sendAt?.toISOString()).toBe(expected),
  )

  it('a time within the last five minutes means now', () => {
    expect(accept({ send_at: '2026-11-23T10:00:00Z' }).sendAt).toBeNull()
    expect(accept({ send_at: '2026-11-23T09:55:00Z' }).sendAt).toBeNull()
  })

  it.each([
    '2026-11-23T09:54:59Z',
    '2027-11-24T10:00:01Z',
    '',
    'tomorrow',
    '2026-12-01',
    '2026-12-01T10:00:00',
    '2027-02-30T10:00:00Z',
    '2026-12-01T25:00:00Z',
    '2026-12-01T10:00:60Z',
    '2026-13-01T10:00:00Z',
    '2026-12-01 10:00:00Z',
    '2026-12-01T10:00:00+99:00',
  ])('send_at %j is refused', (send_at) => expect(paths({ send_at })).toEqual(['/send_at']))

  it('ttl_seconds is a whole number of a minute to a week', () => {
    for (const ttl_seconds of [60, 604_800]) expect(accept({ ttl_seconds }).ttlSeconds).toBe(ttl_seconds)
    for (const ttl_seconds of [59, 604_801, 60.5, -1, Number.NaN])
      expect(paths({ ttl_seconds })).toEqual(['/ttl_seconds'])
  })
})

it('every message is a sentence', () => {
  const bad: Partial<MessageInput> = {
    from: '',
    to: ['a', 'a@b', { email: '@' }],
    subject: '\n',
    text: '\0',
    headers: { Bcc: '', 'X-A': '', References: 'x' },
    attachments: [{ filename: '/', content: '!', content_type: 'x', content_id: ' ' }],
    tags: [''],
    metadata: { '': '\0' },
    send_at: '',
    ttl_seconds: 0,
  }
  expect(faults(bad).length).toBeGreaterThan(15)
  for (const { message } of faults(bad)) expect(message).toMatch(/^[A-Z].*[.)]$/s)
})
