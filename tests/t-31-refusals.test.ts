/**
 * What is not a mail that can be sent as it was asked for is refused: 400 with the exact place of every fault, 413 for
 * size. And nothing of what was refused is ever seen by the other side.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { client } from './support/http.ts'
import { endOfMail, type ProblemBody, readAll, sendMail } from './support/messages.ts'
import { expectRefusedAt, isProblem, type Refusal } from './support/refusals.ts'
import { type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { startValija, type Valija } from './support/valija.ts'

let peer: SmtpPeer
let valija: Valija

beforeAll(async () => {
  peer = await startSmtpPeer()
  const env = { VALIJA_MAX_MESSAGE_SIZE: '256KiB' }
  valija = await startValija({ queue: 'postgres', delivery: 'smarthost', smarthost: peer, env })
})

afterAll(async () => {
  await valija?.stop()
  await peer?.stop()
})

const expectRefused = (refusals: Refusal[]) => expectRefusedAt(valija, refusals)

const hex = (text: string): string => Array.from(text, (char) => char.codePointAt(0)!.toString(16)).join(' ')

/** All of C0 and DEL, line breaks with a header behind them, and halves of surrogate pairs. */
const VECTORS: string[] = [
  ...Array.from({ length: 32 }, (_, code) => String.fromCharCode(code)),
  '\x7f',
  '\r\nBcc: victim@evil.test\r\n',
  '\nBcc: victim@evil.test',
  '\r\n\r\n<script>',
  '\r\n ',
  '\ud800',
  '\udc00',
  '\udc00\ud800',
]

const ADDRESS_FIELDS = ['from', 'to', 'cc', 'bcc', 'reply_to'] as const

/** A field that ends up in the header or the envelope, with something bad in it. */
type Place = (bad: string) => { body: Record<string, unknown>; path: string }

const addressPlaces = ADDRESS_FIELDS.flatMap((field): Place[] => {
  const at = (value: (bad: string) => unknown, step = ''): Place[] => {
    const single: Place = (bad) => ({ body: { [field]: value(bad) }, path: `/${field}${step}` })
    const listed: Place = (bad) => ({
      body: { [field]: ['x@acme.test', value(bad)] },
      path: `/${field}/1${step}`,
    })
    return field === 'from' ? [single] : [single, listed]
  }
  return [
    ...at((bad) => `A${bad}nn <ann@acme.test>`),
    ...at((bad) => `"A${bad}nn" <ann@acme.test>`),
    ...at((bad) => `an${bad}n@acme.test`),
    ...at((bad) => `Ann <ann@ac${bad}me.test>`),
    ...at((bad) => ({ email: `ann@acme.test${bad}` }), '/email'),
    ...at((bad) => ({ email: 'ann@acme.test', name: `A${bad}nn` }), '/name'),
  ]
})

const fileWith = (more: object) => ({ filename: 'a.txt', content: 'eA==', ...more })
const attachmentPlaces: Place[] = (['filename', 'content_type', 'content_id'] as const).map(
  (name) => (bad) => ({
    body: {
      attachments: [fileWith({}), fileWith({ [name]: `${name === 'content_type' ? 'text/x' : 'x'}${bad}y` })],
    },
    path: `/attachments/1/${name}`,
  }),
)

const escaped = (step: string): string => step.replaceAll('~', '~0').replaceAll('/', '~1')

const otherPlaces: Place[] = [
  (bad) => ({ body: { subject: `Hello${bad}you` }, path: '/subject' }),
  (bad) => ({ body: { subject: bad }, path: '/subject' }),
  (bad) => ({ body: { headers: { 'X-A': `a${bad}b` } }, path: '/headers/X-A' }),
  (bad) => ({
    body: { headers: { 'List-Unsubscribe': `<https://acme.test/${bad}>` } },
    path: '/headers/List-Unsubscribe',
  }),
  (bad) => ({ body: { tags: ['fine', `a${bad}b`] }, path: '/tags/1' }),
]

describe('control characters and broken Unicode', () => {
  test('are refused in every field that reaches header or envelope, each at its place', async () => {
    const places = [...addressPlaces, ...attachmentPlaces, ...otherPlaces]
    const refusals = places.flatMap((place, i) =>
      // A shorter list for the many spellings of one address field: each still meets every vector in some place.
      VECTORS.filter((_, v) => i >= addressPlaces.length || (v + i) % 3 === 0 || v > 32).map((bad) => {
        const { body, path } = place(bad)
        return { what: `${hex(bad)} in ${path}`, body, path }
      }),
    )
    expect(refusals.length).toBeGreaterThan(1_000)
    await expectRefused(refusals)
  })

  test('are refused in the names of headers and keys of metadata', async () => {
    const keyPlaces = VECTORS.flatMap((bad) => [
      { what: `${hex(bad)} in a header name`, field: 'headers', key: `X-A${bad}: b` },
      { what: `${hex(bad)} in a metadata key`, field: 'metadata', key: `a${bad}b` },
    ])
    // What no text can hold is told at the object, since its path could not be written down either.
    const isUnwritable = (key: string) => key.includes('\0') || !key.isWellFormed()
    await expectRefused(
      keyPlaces.map(({ what, field, key }) => ({
        what,
        body: { [field]: { [key]: 'x' } },
        path: isUnwritable(key) ? `/${field}` : `/${field}/${escaped(key)}`,
      })),
    )
  })

  test('are refused in text, html and metadata only where no mail or database can hold them', async () => {
    const places: Place[] = [
      (bad) => ({ body: { text: `a${bad}b` }, path: '/text' }),
      (bad) => ({ body: { html: `a${bad}b` }, path: '/html' }),
      (bad) => ({ body: { metadata: { 'a/~b': `a${bad}b` } }, path: '/metadata/a~1~0b' }),
    ]
    await expectRefused(
      places.flatMap((place) =>
        ['\0', '\ud800', '\udc00x'].map((bad) => ({
          what: `${hex(bad)} in ${place(bad).path}`,
          ...place(bad),
        })),
      ),
    )
  })
})

describe('addresses', () => {
  test('in a form that some program reads otherwise are refused in every field', async () => {
    const bad = [
      'a@x.test, b@y.test',
      'a@x.test; b@y.test',
      'a@x.test b@y.test',
      '<a@x.test> <b@y.test>',
      'Ann <a@x.test>, Bob <b@y.test>',
      '"quoted"@x.test',
      '"a@evil.test"@x.test',
      '"a\\"b"@x.test',
      'a(comment)@x.test',
      'a@x.test(comment)',
      'a@(comment)x.test',
      'group: a@x.test;',
      'undisclosed-recipients:;',
      '<@relay.test:a@x.test>',
      '@relay.test:a@x.test',
      'a@[127.0.0.1]',
      'a@[IPv6:::1]',
      'a@127.0.0.1',
      'a@b@x.test',
      'a',
      '@x.test',
      'a@',
      'a@localhost',
      '.a@x.test',
      'a.@x.test',
      'a..b@x.test',
      'a@x..test',
      'a@.x.test',
      'a@-x.test',
      'a@x_y.test',
      'a@x.test..',
      'a\u200b@x.test',
      'a@x\u00ad.test',
      'a@x\u3002test',
      'a\uff20x.test',
      'a@\u2170.test',
      'a\\@x.test',
      'mailto:a@x.test',
      '=?utf-8?q?a?=@x.test',
      `${'a'.repeat(65)}@x.test`,
      `a@${'x'.repeat(64)}.test`,
      `a@${'x.'.repeat(130)}test`,
      'Ann a@x.test',
      'Ann <a@x.test',
      'Ann a@x.test>',
      'Ann, of Acme <a@x.test>',
      '"Ann <a@x.test>',
      '',
      ' ',
    ]
    const isWhole = (text: string) => !/[<>]/.test(text)
    await expectRefused(
      ADDRESS_FIELDS.flatMap((field) =>
        bad.flatMap((text) => {
          const at = field === 'from' ? `/${field}` : `/${field}/0`
          const inList = (value: unknown) => ({ [field]: field === 'from' ? value : [value] })
          return [
            { what: `${field} ${text}`, body: inList(text), path: at },
            ...(isWhole(text)
              ? [{ what: `${field} {${text}}`, body: inList({ email: text }), path: `${at}/email` }]
              : []),
          ]
        }),
      ),
    )
  })

  test('with a display name over 256 characters are refused', async () => {
    const name = 'ü'.repeat(257)
    await expectRefused([
      { what: 'from', body: { from: { email: 'hi@acme.test', name } }, path: '/from/name' },
      { what: 'to', body: { to: `${name} <a@x.test>` }, path: '/to' },
    ])
  })
})

describe('header names', () => {
  test('that are not the client’s to set are refused', async () => {
    const names = [
      ...[
        'Bcc',
        'bcc',
        'To',
        'Cc',
        'From',
        'Sender',
        'Reply-To',
        'Subject',
        'Date',
        'Message-ID',
        'Return-Path',
      ],
      ...['Content-Type', 'Content-Transfer-Encoding', 'Content-Disposition', 'MIME-Version', 'Received'],
      ...['DKIM-Signature', 'ARC-Seal', 'Authentication-Results', 'Resent-To', 'Errors-To', 'Apparently-To'],
      ...[
        'X-Valija-Tag',
        'x-valija-send-at',
        'Return-Receipt-To',
        'Disposition-Notification-To',
        'X-',
        'List-',
      ],
      ...[
        'X A',
        'X:A',
        'X-Ä',
        ' X-A',
        'X-A ',
        '',
        ':',
        'X-A:',
        '__proto__x',
        'constructor',
        'X-A/b~c:',
        `X-${'a'.repeat(75)}`,
      ],
    ]
    await expectRefused(
      names.map((name) => ({
        what: name,
        body: { headers: { [name]: 'x' } },
        path: `/headers/${escaped(name)}`,
      })),
    )
  })

  test('given twice, and values that no line can hold, are refused', async () => {
    const at = (name: string, value: string) => ({
      what: name,
      body: { headers: { [name]: value } },
      path: `/headers/${name}`,
    })
    await expectRefused([
      { what: 'twice', body: { headers: { 'X-A': '1', 'x-a': '2' } }, path: '/headers/x-a' },
      at('X-Long', 'x'.repeat(2_001)),
      at('X-Octets', 'ü'.repeat(1_001)),
      at('References', `<${'x'.repeat(1_000)}@acme.test>`),
      at('X-Empty', ''),
      at('X-Blank', '  '),
      at('In-Reply-To', 'no message id'),
      at('List-Unsubscribe', '<https://acme.test/ü>'),
      at('List-Help', '<https://acme.test'),
      {
        what: '101',
        body: { headers: Object.fromEntries(Array.from({ length: 101 }, (_, i) => [`X-${i}`, 'x'])) },
        path: '/headers',
      },
    ])
  })
})

describe('limits', () => {
  const many = (count: number, at: string) => Array.from({ length: count }, (_, i) => `r${i}@${at}.test`)

  test('of recipients and attachments are kept', async () => {
    await expectRefused([
      { what: '1,001 recipients', body: { to: many(1_001, 'x') }, path: '/to' },
      {
        what: '1,001 over three lists',
        body: { to: many(400, 'x'), cc: many(400, 'y'), bcc: many(201, 'z') },
        path: '/to',
      },
      { what: 'none', body: { to: [] }, path: '/to' },
      {
        what: '101 attachments',
        body: { attachments: Array.from({ length: 101 }, () => fileWith({})) },
        path: '/attachments',
      },
      ...['%', 'e', 'eA=', 'eA', 'e A==', 'eA==\n', 'eB_-', '=', 'eA===', 'data:;base64,eA=='].flatMap(
        (content) =>
          // Without its padding "eA" is fine.
          content === 'eA'
            ? []
            : [
                {
                  what: `base64 ${content}`,
                  body: { attachments: [fileWith({ content })] },
                  path: '/attachments/0/content',
                },
              ],
      ),
      {
        what: 'type',
        body: { attachments: [fileWith({ content_type: 'text' })] },
        path: '/attachments/0/content_type',
      },
      {
        what: 'composite type',
        body: { attachments: [fileWith({ content_type: 'message/rfc822' })] },
        path: '/attachments/0/content_type',
      },
      {
        what: 'empty name',
        body: { attachments: [fileWith({ filename: '' })] },
        path: '/attachments/0/filename',
      },
      {
        what: 'long name',
        body: { attachments: [fileWith({ filename: 'x'.repeat(256) })] },
        path: '/attachments/0/filename',
      },
      {
        what: 'hidden ending',
        body: { attachments: [fileWith({ filename: 'a\u202egpj.exe' })] },
        path: '/attachments/0/filename',
      },
      {
        what: 'same id',
        body: { attachments: [fileWith({ content_id: 'a' }), fileWith({ content_id: '<a>' })] },
        path: '/attachments/1/content_id',
      },
      {
        what: 'disposition',
        body: { attachments: [fileWith({ disposition: 'hidden' })] },
        path: '/attachments/0/disposition',
      },
    ])
  })

  test('of tags, metadata, lengths and times are kept', async () => {
    const entries = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, 'v']))
    const time = (inMs: number) => new Date(Date.now() + inMs).toISOString()
    await expectRefused([
      { what: 'subject', body: { subject: 'ü'.repeat(999) }, path: '/subject' },
      { what: '21 tags', body: { tags: many(21, 'x') }, path: '/tags' },
      { what: 'long tag', body: { tags: ['x'.repeat(129)] }, path: '/tags/0' },
      { what: 'empty tag', body: { tags: [''] }, path: '/tags/0' },
      { what: '51 keys', body: { metadata: entries(51) }, path: '/metadata' },
      {
        what: 'long key',
        body: { metadata: { ['k'.repeat(65)]: 'v' } },
        path: `/metadata/${'k'.repeat(65)}`,
      },
      { what: 'long value', body: { metadata: { k: 'v'.repeat(513) } }, path: '/metadata/k' },
      ...[0, -1, 59, 604_801, 1e9].map((ttl_seconds) => ({
        what: `ttl ${ttl_seconds}`,
        body: { ttl_seconds },
        path: '/ttl_seconds',
      })),
      ...[
        '',
        'tomorrow',
        '2027-02-30T00:00:00Z',
        '2027-01-01',
        '2027-01-01T00:00:00',
        time(-600_000),
        time(367 * 86_400_000),
      ].map((send_at) => ({ what: `send_at ${send_at}`, body: { send_at }, path: '/send_at' })),
    ])
  })

  test('of size are 413, whether told from the fields, the raw mail or the body', async () => {
    const quarter = 256 * 1024
    const large = [
      valija.mail({ text: 'x'.repeat(quarter + 1) }),
      valija.mail({ text: 'x'.repeat(quarter / 2), html: 'ü'.repeat(quarter / 4 + 1) }),
      valija.mail({
        attachments: [fileWith({ content: Buffer.alloc((quarter * 3) / 4 + 9).toString('base64') })],
      }),
      {
        from: 'hi@acme.test',
        to: 'a@x.test',
        raw: Buffer.alloc(quarter + 1, 'From: hi@acme.test\n').toString('base64'),
      },
      valija.mail({ text: '\u0001'.repeat(quarter / 3) }), // six octets each in JSON: the body is over its limit
      valija.mail({ metadata: { k: 'v'.repeat(2 * quarter) } }),
    ]
    for (const body of large) {
      const { status, json, headers } = await valija.api<ProblemBody>('POST', '/send', body)
      expect([status, json.code, isProblem(headers)]).toEqual([413, 'message_too_large', true])
    }
    const other = await valija.api<ProblemBody>('POST', '/keys', {
      name: 'x'.repeat(1_100_000),
      scopes: ['read'],
    })
    expect([other.status, other.json.code]).toEqual([413, 'message_too_large'])
  })

  test('a body that is still on its way when it is refused costs nobody the answer', async () => {
    const body = Buffer.alloc(20_000_000, 'x')
    const json = { 'content-type': 'application/json' }
    for (let round = 0; round < 5; round++) {
      expect((await valija.api('POST', '/send', body, json)).status).toBe(413)
      expect((await valija.api('POST', '/suppressions', body, json)).status).toBe(413)
      expect((await client(valija.url, 'vlj_wrong')('POST', '/send', body, json)).status).toBe(401)
    }
  })
})

/** Last: everything above has been asked by now. */
describe('after all that', () => {
  test('lines of any length and odd controls in text and html are delivered', async () => {
    const { id } = await sendMail(
      valija.api,
      valija.mail({ text: `${'x'.repeat(100_000)}\x01\x1b[31m`, html: `<p>${'ü'.repeat(50_000)}\x08` }),
    )
    expect((await endOfMail(valija.api, id)).status).toBe('delivered')
  })

  test('the other side has seen nothing but what was accepted', async () => {
    const accepted = await readAll<{ id: string; rfc_message_id: string }>(valija.api, '/messages')
    expect(accepted).toHaveLength(1)
    expect(peer.mails).toHaveLength(1)
    const commands = peer.transcript
      .filter((line) => /^\d+< (?:MAIL|RCPT)/i.test(line))
      .map((line) => line.replace(/^\d+< /, ''))
    expect(commands).toHaveLength(2)
    expect(commands[0]).toMatch(/^MAIL FROM:<hi@acme\.test>/)
    expect(commands[1]).toMatch(/^RCPT TO:<ann@example\.org>/)
  })
})
