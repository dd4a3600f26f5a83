/** The body of POST /send is one JSON object of known fields and types, and raw is one mail in one reading. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Answer } from './support/http.ts'
import { forEachOf, type ProblemBody, readAll } from './support/messages.ts'
import { complaintAbout, expectRefusedAt, type Refusal } from './support/refusals.ts'
import { startValija, type Valija } from './support/valija.ts'

let valija: Valija

beforeAll(async () => {
  valija = await startValija({ workers: 0, queue: 'postgres', delivery: 'capture' })
})
afterAll(() => valija?.stop())

const expectRefused = (refusals: Refusal[]) => expectRefusedAt(valija, refusals)

const post = (body: unknown): Promise<Answer<ProblemBody>> => valija.api<ProblemBody>('POST', '/send', body)

const fileWith = (more: object) => ({ filename: 'a.txt', content: 'eA==', ...more })

describe('the shape of the body', () => {
  test('takes no unknown field at any level', async () => {
    const address = { email: 'a@x.test', nmae: 'A' }
    await expectRefused([
      { what: 'root', body: { sbject: 'x' }, path: '/sbject' },
      { what: 'escaped', body: { 'a/b~c': 'x' }, path: '/a~1b~0c' },
      { what: 'template', body: { template: { slug: 'x', vars: {} } }, path: '/template/vars' },
      { what: 'from', body: { from: { email: 'hi@acme.test', nmae: 'A' } }, path: '/from/nmae' },
      ...(['to', 'cc', 'bcc', 'reply_to'] as const).flatMap((field) => [
        { what: field, body: { [field]: address }, path: `/${field}/nmae` },
        { what: `${field} in a list`, body: { [field]: ['b@x.test', address] }, path: `/${field}/1/nmae` },
      ]),
      {
        what: 'attachment',
        body: { attachments: [fileWith({}), fileWith({ path: '/etc/passwd' })] },
        path: '/attachments/1/path',
      },
      {
        what: 'attachment by URL',
        body: { attachments: [fileWith({ href: 'http://127.0.0.1/' })] },
        path: '/attachments/0/href',
      },
    ])
  })

  test('takes no other types, and changes none', async () => {
    const wrong: [string, unknown, string?][] = [
      ...['from', 'to', 'cc', 'bcc', 'reply_to'].flatMap((field): [string, unknown, string?][] => [
        [field, 5],
        [field, null],
        [field, { email: 5 }, `/${field}/email`],
        [field, { name: 'x' }, `/${field}/email`],
        [field, { email: 'a@x.test', name: null }, `/${field}/name`],
      ]),
      ['from', ['hi@acme.test']],
      ['to', ['a@x.test', 5], '/to/1'],
      ['to', [['a@x.test']], '/to/0'],
      ['to', [null], '/to/0'],
      ...['subject', 'text', 'html', 'raw', 'send_at'].flatMap((field): [string, unknown][] => [
        [field, 5],
        [field, null],
        [field, ['x']],
      ]),
      ['headers', ['X-A: b']],
      ['headers', 'X-A: b'],
      ['headers', { 'X-A': 5 }, '/headers/X-A'],
      ['headers', { 'X-A': ['b'] }, '/headers/X-A'],
      ['attachments', {}],
      ['attachments', ['x'], '/attachments/0'],
      ['attachments', [{ filename: 'x' }], '/attachments/0/content'],
      ['attachments', [{ content: 'eA==' }], '/attachments/0/filename'],
      ['attachments', [fileWith({ content: { data: [1] } })], '/attachments/0/content'],
      ['tags', 'x'],
      ['tags', [5], '/tags/0'],
      ['metadata', ['x']],
      ['metadata', { a: 5 }, '/metadata/a'],
      ['metadata', { a: { b: 'c' } }, '/metadata/a'],
      ['stream', 'broadcast'],
      ['ttl_seconds', '60'],
      ['ttl_seconds', 60.5],
      ['sandbox', 'true'],
      ['sandbox', 1],
    ]
    await expectRefused(
      wrong.map(([field, value, path]) => ({
        what: `${field} ${JSON.stringify(value)}`,
        body: { [field]: value },
        path: path ?? `/${field}`,
      })),
    )
  })

  test('names what is missing, and every fault of the content at once', async () => {
    const { from: _, ...withoutFrom } = valija.mail()
    expect(complaintAbout(await post(withoutFrom), '/from')).toBeNull()
    const bare = await post({
      from: 'hi@acme.test',
      subject: '\n',
      headers: { Bcc: 'x', 'X-A': '' },
      tags: [''],
      to: ['a', 'b@x.test', 'c@'],
    })
    expect(bare.json.errors?.map((error) => error.path)).toEqual([
      '/to/0',
      '/to/2',
      '/subject',
      '/text',
      '/headers/Bcc',
      '/headers/X-A',
      '/tags/0',
    ])
    const nobody = await post({ from: 'hi@acme.test' })
    expect(nobody.json.errors?.map((error) => error.path)).toEqual(['/to', '/subject', '/text'])
  })

  test('stands alone when it is raw, and raw is one mail in one reading', async () => {
    const from = 'hi@acme.test'
    const encode = (text: string) => Buffer.from(text, 'latin1').toString('base64')
    const fine = encode('From: hi@acme.test\r\n\r\nx\r\n')
    const beside = { subject: 'x', text: 'x', html: 'x', headers: {}, attachments: [], reply_to: 'a@x.test' }
    const bad = [
      ...[
        '',
        'x',
        'From hi@acme.test\n\nx',
        'Subject: x\n\nx',
        'From: a@acme.test, b@acme.test\n\nx',
        'From: \n\nx',
      ],
      ...['From: a@acme.test\nFrom: b@acme.test\n\nx', 'From: a@acme.test\nSubject: x\nSubject: y\n\nx'],
      ...['From: a@acme.test\rBcc: b@x.test\n\nx', 'From: a@acme.test\n\nx\ry', 'From: a@acme.test\n\nx\0y'],
      ...[
        'From: a@acme.test\nno field\n\nx',
        'From: a@acme.test\n \nX-A: b\n\nx',
        'From: a@acme.test\nX-A: \xff\n\nx',
      ],
      ...[
        'From: a@evil.test <a@acme.test>\n\nx',
        'From: "a@acme.test" <b@[1.2.3.4]>\n\nx',
        '\nFrom: a@acme.test\n\nx',
      ],
      ...[`From: a@acme.test\n\n${'x'.repeat(999)}\n`, `From: a@acme.test\nX-A: ${'x'.repeat(999)}\n\nx`],
    ]
    const refusals = [
      ...Object.entries(beside).map(([field, value]) => ({
        body: { from, to: 'a@x.test', raw: fine, [field]: value },
        path: `/${field}`,
      })),
      ...bad.map((raw) => ({ body: { from, to: 'a@x.test', raw: encode(raw) }, path: '/raw' })),
      { body: { from, to: 'a@x.test', raw: 'not base64!' }, path: '/raw' },
    ]
    const complaints = await forEachOf(refusals, 8, async ({ body, path }) =>
      complaintAbout(await post(body), path),
    )
    expect(complaints.filter((entry) => entry !== null)).toEqual([])
  })

  test('is one JSON object in UTF-8', async () => {
    const json = { 'content-type': 'application/json' }
    const send = (body: string | Uint8Array, headers: Record<string, string> = json) =>
      valija.api<ProblemBody>('POST', '/send', body, headers)
    const mail = JSON.stringify(valija.mail())
    for (const body of [
      'null',
      '[]',
      '"x"',
      '5',
      '{',
      `${mail}${mail}`,
      '',
      `\ufeff${mail}`,
      '['.repeat(100_000),
    ]) {
      expect(complaintAbout(await send(body), ''), body.slice(0, 20)).toBeNull()
    }
    const latin1 = Buffer.from(mail.replace('Hello', 'Gr\u00fc\u00dfe'), 'latin1')
    expect(complaintAbout(await send(latin1), '')).toBeNull()
    expect(
      complaintAbout(await send(mail.replace('{', '{"__proto__":{"sandbox":true},')), '/__proto__'),
    ).toBeNull()
    for (const headers of [{ 'content-type': 'text/plain' }, {}, { ...json, 'content-encoding': 'gzip' }]) {
      const { status, json: problem } = await send(Buffer.from(mail), headers as Record<string, string>)
      expect([status, problem.code]).toEqual([415, 'unsupported_media_type'])
    }
  })
})

test('after all that, nothing was accepted', async () => {
  expect(await readAll(valija.api, '/messages')).toEqual([])
})
