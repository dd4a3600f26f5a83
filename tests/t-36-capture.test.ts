/** The capture inbox: what a program would have sent, for tests and people to look at, and nobody else to see. */
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { readByPostalMime } from './support/mail-reader.ts'
import {
  endOfMail,
  forEachOf,
  type Listed,
  type MailView,
  type ProblemBody,
  readAll,
  sendMail,
} from './support/messages.ts'
import { expectStatus, startValija, type TestTenant, type Valija } from './support/valija.ts'

type Entry = {
  id: string
  received_at: string
  mail_from: string
  rcpt_to: string[]
  from: string
  to: string
  subject: string
  rfc_message_id: string | null
  size_bytes: number
}
type Caught = Entry & {
  headers: { name: string; value: string }[]
  text: string | null
  html: string | null
  attachments: {
    filename: string | null
    content_type: string
    content_id: string | null
    size_bytes: number
  }[]
}

let valija: Valija
let other: TestTenant

beforeAll(async () => {
  valija = await startValija({ apis: 2, queue: 'postgres', delivery: 'capture' })
  other = await valija.addTenant('other', 'beta.test')
})
afterAll(() => valija?.stop())

beforeEach(async () => {
  expectStatus(await valija.api('DELETE', '/inbox'), 204)
  expect(await readAll(valija.api, '/inbox')).toEqual([])
})

const listed = async (query = ''): Promise<Entry[]> =>
  expectStatus(await valija.api<Listed<Entry>>('GET', `/inbox${query}`), 200).json.data

/** Posts and waits for the end: by then it is in the inbox. */
async function caught(fields: Record<string, unknown>): Promise<MailView> {
  const { id } = await sendMail(valija.api, valija.mail(fields))
  const end = await endOfMail(valija.api, id)
  expect(end.status).toBe('delivered')
  return end
}

const bytes = async (path: string): Promise<Buffer> => {
  const answer = await fetch(`${valija.url}${path}`, {
    headers: { authorization: `Bearer ${valija.tenantKey}` },
  })
  expect(answer.status).toBe(200)
  return Buffer.from(await answer.arrayBuffer())
}

describe('GET /inbox', () => {
  test('shows what was sent, newest first, one entry for each recipient’s transaction', async () => {
    const subjects = ['first', 'second, größer', 'third']
    for (const subject of subjects) await caught({ subject })
    const message = await caught({ subject: 'three', to: ['Ann <a@x.test>', 'b@x.test'], bcc: 'c@x.test' })
    const entries = await listed()
    expect(entries.slice(3).map(({ subject }) => subject)).toEqual([...subjects].reverse())
    expect(
      entries
        .slice(0, 3)
        .flatMap(({ rcpt_to }) => rcpt_to)
        .sort(),
    ).toEqual(['a@x.test', 'b@x.test', 'c@x.test'])
    for (const entry of entries.slice(0, 3)) {
      expect(entry).toMatchObject({
        mail_from: 'hi@acme.test',
        from: 'Acme <hi@acme.test>',
        to: 'Ann <a@x.test>, b@x.test',
        subject: 'three',
        rfc_message_id: message.rfc_message_id,
        size_bytes: message.size_bytes,
      })
    }
    const ids = entries.map(({ id }) => id)
    expect((await readAll<Entry>(valija.api, '/inbox', 2)).map(({ id }) => id)).toEqual(ids)
    expect((await listed(`?after=${ids[4]}`)).map(({ id }) => id)).toEqual(ids.slice(0, 4))
  })

  test('finds by recipient in any spelling, also by a hidden one', async () => {
    await caught({ to: ['Ann.Lee@MÜNCHEN.example', 'other@example.org'], bcc: 'Hidden@example.org' })
    for (const to of [
      'Ann.Lee@xn--mnchen-3ya.example',
      'ann.lee@münchen.example',
      'ANN.LEE@MÜNCHEN.example.',
    ]) {
      expect(
        (await listed(`?to=${encodeURIComponent(to)}`)).map(({ rcpt_to }) => rcpt_to),
        to,
      ).toEqual([['Ann.Lee@xn--mnchen-3ya.example']])
    }
    expect(await listed('?to=hidden@EXAMPLE.org')).toHaveLength(1)
    expect(await listed('?to=nobody@example.org')).toEqual([])
    const { status, json } = await valija.api<ProblemBody>('GET', '/inbox?to=nonsense')
    expect([status, json.errors?.[0]?.path]).toEqual([400, 'to'])
  })

  test('with wait answers as soon as there is one, on every API process', async () => {
    const waiting = valija.urls.map((url) =>
      fetch(`${url}/inbox?wait=20s&to=late@example.org`, {
        headers: { authorization: `Bearer ${valija.tenantKey}` },
      }),
    )
    const beside = await caught({ to: 'beside@example.org' })
    const startedAt = performance.now()
    await sendMail(valija.api, valija.mail({ to: 'late@example.org' }))
    for (const answer of await Promise.all(waiting)) {
      const { data } = (await answer.json()) as Listed<Entry>
      expect(data.map(({ rcpt_to }) => rcpt_to)).toEqual([['late@example.org']])
      expect(data[0]!.rfc_message_id).not.toBe(beside.rfc_message_id)
    }
    expect(performance.now() - startedAt).toBeLessThan(10_000)
  })

  test('with wait answers at once when there is one, and 200 with nothing at the end', async () => {
    await caught({ to: 'early@example.org' })
    const startedAt = performance.now()
    expect(await listed('?wait=60s&to=early@example.org')).toHaveLength(1)
    expect(performance.now() - startedAt).toBeLessThan(5_000)
    const againAt = performance.now()
    const { json } = expectStatus(
      await valija.api<Listed<Entry>>('GET', '/inbox?wait=1s&to=never@example.org'),
      200,
    )
    expect(json).toEqual({ data: [], next_cursor: null })
    expect(performance.now() - againAt).toBeGreaterThanOrEqual(990)
    for (const wait of ['61s', '1m', '20', '-1s', 's', '']) {
      const refused = await valija.api<ProblemBody>('GET', `/inbox?wait=${wait}`)
      expect([refused.status, refused.json.errors?.[0]?.path], wait).toEqual([400, 'wait'])
    }
  })

  test('never holds what was simulated', async () => {
    const { id } = await sendMail(
      valija.api,
      valija.mail({ sandbox: true, to: ['a@x.test', 'delivered@simulator.valija.test'] }),
    )
    await endOfMail(valija.api, id)
    const mail = await caught({ to: 'delivered@simulator.valija.test' })
    expect(mail).toMatchObject({ simulated: true })
    await caught({ to: 'real@x.test' })
    expect((await listed()).map(({ rcpt_to }) => rcpt_to)).toEqual([['real@x.test']])
  })
})

describe('GET /inbox/:id', () => {
  const content = Buffer.from('%PDF-1.7 \0\xff', 'latin1')
  const logo = Buffer.from('GIF89a')

  test('takes the mail apart: headers, text, html, attachments', async () => {
    await caught({
      subject: 'Grüße',
      text: 'Zeile 1\nZeile 2',
      html: '<p>ü <img src="cid:logo">',
      headers: { 'X-Order': '4711 ü' },
      attachments: [
        { filename: 'Rechnung ä.pdf', content: content.toString('base64') },
        { filename: 'logo.gif', content: logo.toString('base64'), content_id: 'logo' },
      ],
    })
    const [entry] = await listed()
    const { json } = expectStatus(await valija.api<Caught>('GET', `/inbox/${entry!.id}`), 200)
    const { headers, text, html, attachments, ...rest } = json
    expect(rest).toEqual(entry)
    expect(headers.find(({ name }) => name === 'X-Order')?.value).toBe('4711 ü')
    expect(headers.find(({ name }) => name === 'Subject')?.value).toBe('Grüße')
    expect(text?.trimEnd().replace(/\r\n/g, '\n')).toBe('Zeile 1\nZeile 2')
    expect(html?.trimEnd()).toBe('<p>ü <img src="cid:logo">')
    const sorted = attachments.sort((a, b) => String(a.filename).localeCompare(String(b.filename)))
    expect(sorted).toEqual([
      { filename: 'logo.gif', content_type: 'image/gif', content_id: 'logo', size_bytes: logo.length },
      {
        filename: 'Rechnung ä.pdf',
        content_type: 'application/pdf',
        content_id: null,
        size_bytes: content.length,
      },
    ])
    const files = await Promise.all([0, 1].map((i) => bytes(`/inbox/${entry!.id}/attachments/${i}`)))
    expect(new Set(files.map((file) => file.toString('hex')))).toEqual(
      new Set([content, logo].map((file) => file.toString('hex'))),
    )
    expectStatus(await valija.api('GET', `/inbox/${entry!.id}/attachments/2`), 404)
  })

  test('shows attachments for download only, never as a page of ours', async () => {
    await caught({
      attachments: [{ filename: '"><script>.html', content: 'PHNjcmlwdD4=', content_type: 'text/html' }],
    })
    const [entry] = await listed()
    const { headers } = await valija.api('GET', `/inbox/${entry!.id}/attachments/0`)
    expect(headers.get('content-disposition')).toMatch(
      /^attachment; filename="[^"]*"; filename\*=UTF-8''[^"]*$/,
    )
    expect(headers.get('x-content-type-options')).toBe('nosniff')
    expect(headers.get('content-security-policy')).toContain("default-src 'none'")
  })

  test('gives the raw mail, the same bytes as GET /messages/:id/raw', async () => {
    const { id } = await caught({
      text: '.\r\n..\r\n\u{1F642}\n',
      html: 'x'.repeat(2_000),
      attachments: [{ filename: 'a', content: content.toString('base64') }],
    })
    const [entry] = await listed()
    const raw = await bytes(`/inbox/${entry!.id}/raw`)
    expect(raw.length).toBe(entry!.size_bytes)
    expect(createHash('sha256').update(raw).digest('hex')).toBe(
      createHash('sha256')
        .update(await bytes(`/messages/${id}/raw`))
        .digest('hex'),
    )
    expect((await readByPostalMime(raw)).text?.trimEnd()).toBe('.\n..\n🙂')
  })
})

describe('another tenant', () => {
  test('sees nothing of it, waits for nothing of it, and deletes nothing of it', async () => {
    const waiting = other.call<Listed<Entry>>('GET', '/inbox?wait=2s')
    await caught({})
    const [entry] = await listed()
    expect((await waiting).json.data).toEqual([])
    for (const path of ['', '/raw', '/attachments/0'])
      expectStatus(await other.call('GET', `/inbox/${entry!.id}${path}`), 404)
    expectStatus(await other.call('DELETE', '/inbox'), 204)
    expect(await listed()).toEqual([entry])
  })
})

describe('DELETE /inbox', () => {
  test('empties it, and leaves the messages as they are', async () => {
    const mails = await forEachOf(Array.from({ length: 5 }), 5, (_, i) => caught({ subject: `s${i}` }))
    const entries = await listed()
    expect(entries).toHaveLength(5)
    expectStatus(await valija.api('DELETE', '/inbox'), 204)
    expect(await listed()).toEqual([])
    expectStatus(await valija.api('GET', `/inbox/${entries[0]!.id}`), 404)
    for (const { id } of mails) expectStatus(await valija.api('GET', `/messages/${id}/raw`), 200)
  })
})

describe('/ui/inbox', () => {
  test('is a page that runs nothing but its own script and loads nothing from elsewhere', async () => {
    const redirect = await fetch(`${valija.url}/ui`, { redirect: 'manual' })
    expect([redirect.status, redirect.headers.get('location')]).toEqual([302, '/ui/inbox'])
    const answer = await fetch(`${valija.url}/ui/inbox`)
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8'])
    const html = await answer.text()
    const policy = Object.fromEntries(
      (answer.headers.get('content-security-policy') ?? '')
        .split(/; */)
        .map((part) => part.split(/ (.*)/s).slice(0, 2)),
    )
    const scripts = [...html.matchAll(/<script[^>]*>([\s\S]*?)<\/script>/g)].map(([, script]) => script!)
    const hashes = scripts.map((script) => `'sha256-${createHash('sha256').update(script).digest('base64')}'`)
    expect(policy).toMatchObject({
      'default-src': "'none'",
      'connect-src': "'self'",
      'base-uri': "'none'",
      'form-action': "'none'",
      'frame-ancestors': "'none'",
    })
    expect(policy['script-src']).toBe(hashes.join(' '))
    // The script names schemes that a mail's links may have; whatever it would fetch, connect-src allows this origin only.
    const markup = html.replaceAll(/(<script[^>]*>)[\s\S]*?<\/script>/g, '$1')
    expect(markup).not.toMatch(/\son\w+=|javascript:|<script[^>]+src=|https?:\/\/(?!www\.w3\.org)/i)
    expect(html).not.toContain(valija.tenantKey)
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
    expect(answer.headers.get('referrer-policy')).toBe('no-referrer')
  })
})
