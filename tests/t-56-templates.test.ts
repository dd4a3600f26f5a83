/**
 * Templates from start to end: the lines of docs/api-guide.md, as they stand there, at a running installation with two APIs; what arrives;
 * and that a template which does not end keeps nobody else's mail.
 */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { client } from './support/http.ts'
import { endOfMail, type Listed, sendMail } from './support/messages.ts'
import { needsProgram } from './support/until.ts'
import { expectStatus, startValija, type TestTenant, type Valija } from './support/valija.ts'

let valija: Valija
let other: TestTenant
beforeAll(async () => {
  valija = await startValija({ apis: 2, queue: 'postgres', delivery: 'capture' })
  other = await valija.addTenant('other', 'beta.test')
})
afterAll(() => valija?.stop())

const guide = readFileSync(new URL('../docs/api-guide.md', import.meta.url), 'utf8')
const [section = ''] = /^## Templates\n.*?(?=^## )/ms.exec(guide) ?? []
const samples = [...section.matchAll(/^```sh\n(.*?)^```/gms)].map(([, lines = '']) => lines)

/** Runs lines of the guide; answers what each `valija` printed. */
async function run(lines: string): Promise<Record<string, unknown>[]> {
  const prelude = `set -eu\nvalija() { curl -sS --fail-with-body -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' "$@"; echo; }\n`
  const env = { ...process.env, URL: valija.url, KEY: valija.tenantKey }
  const { stdout } = await promisify(execFile)('bash', ['-c', prelude + lines], { env })
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
}

async function received(id: unknown): Promise<{ subject: string; html: string; text: string }> {
  await endOfMail(valija.api, String(id))
  const { json } = await valija.api<Listed<{ id: string; subject: string; rfc_message_id: string }>>(
    'GET',
    '/inbox',
  )
  const { rfc_message_id: messageId } = (
    await valija.api<{ rfc_message_id: string }>('GET', `/messages/${id}`)
  ).json
  const caught = json.data.find((mail) => mail.rfc_message_id === messageId)!
  return (await valija.api<{ subject: string; html: string; text: string }>('GET', `/inbox/${caught.id}`))
    .json
}

test.skipIf(needsProgram('curl'))('the guide’s lines do what it says', async () => {
  const [first = '', versions = '', layouts = ''] = samples
  expect(samples).toHaveLength(3)
  const [made, sent] = await run(first)
  expect(await received(sent!.id)).toMatchObject({
    subject: 'Your receipt 4711',
    html: '<p>Hello Ann,</p><ul><li>Tea: 4.20</li></ul>\n',
    text: expect.stringMatching(/Hello Ann,\s+\* Tea: 4\.20/),
  })
  const [changed, rendered, tested, published, listed] = await run(
    versions.replaceAll('tpl_…', String(made!.id)),
  )
  expect(changed).toMatchObject({ version: 2, published_version: 1 })
  expect(rendered).toMatchObject({
    version: 2,
    subject: 'Receipt 1',
    html: expect.stringContaining('Hello there'),
  })
  expect(await received(tested!.id)).toMatchObject({ subject: 'Receipt 1' })
  expect(published).toMatchObject({ version: 2, published_version: 2 })
  expect(listed!.data).toMatchObject([
    { version: 2, is_published: true },
    { version: 1, is_published: false },
  ])
  const welcome = (await run(layouts)).at(-1)
  expect(await received(welcome!.id)).toMatchObject({
    subject: 'Welcome',
    html: '<body><h1>Welcome, Ann</h1><p>Acme Ltd, Graz</p></body>\n',
  })
})

test('what is published at one API is sent by the other from then on', async () => {
  const [one, two] = valija.urls.map((url) => client(url, valija.tenantKey))
  const body = { slug: 'shared', subject: 'First', text: 'x' }
  const { id } = expectStatus(await one!<{ id: string }>('POST', '/templates', body), 201).json
  const mail = { from: `a@acme.test`, to: 'b@example.org', template: { slug: 'shared' } }
  const subjectOf = async () => {
    const sent = await sendMail(two!, mail)
    return (await valija.api<{ subject: string }>('GET', `/messages/${sent.id}`)).json.subject
  }
  expect(await subjectOf()).toBe('First')
  expectStatus(await one!('PATCH', `/templates/${id}`, { subject: 'Second', publish: true }), 200)
  expect(await subjectOf()).toBe('Second')
})

test('templates that do not end are refused, and other tenants’ mail goes on meanwhile', async () => {
  const make = (call: TestTenant['call'], slug: string, html: string) =>
    call('POST', '/templates', { slug, subject: 'x', html, publish: false })
  const mine = { slug: 'mine', subject: 'x', text: '{{ n }}' }
  expectStatus(await valija.api('POST', '/templates', mine), 201)
  // It prints nothing: a fast machine would come to the end of what may be printed before its time is over.
  const loop = '{% for i in (1..3000) %}{% for j in (1..3000) %}{% assign k = j %}{% endfor %}{% endfor %}'
  expectStatus(await make(other.call, 'loop', loop), 201)
  // It cannot even be read in time.
  const unreadable = make(other.call, 'long', '{{ a.b }}'.repeat(55_000))
  const send = (call: TestTenant['call'], from: string, template: object) =>
    call('POST', '/send', { from, to: 'b@example.org', template })
  const bad = Array.from({ length: 8 }, () => send(other.call, 'a@beta.test', { slug: 'loop', version: 1 }))
  for (let n = 0; n < 20; n++)
    expectStatus(await send(valija.api, 'a@acme.test', { slug: 'mine', variables: { n } }), 202)
  for (const { status, text } of await Promise.all([...bad, unreadable])) {
    // On a busy machine the last of them have waited too long for their turn.
    if (status !== 503) expect(text).toContain('too long to render')
    expect([400, 503]).toContain(status)
  }
})
