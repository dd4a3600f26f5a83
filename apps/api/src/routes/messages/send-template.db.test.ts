/** POST /send, /send/batch and /send/preview with a template. */
import { createResolver } from '@valija/courier'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type DnsServer, startDnsServer } from '../../../../../tests/support/dns-server.ts'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { templatesOf } from '../templates/templates.test-support.ts'

let api: TestApi
let dns: DnsServer
beforeAll(async () => {
  dns = await startDnsServer()
  const resolver = createResolver({ servers: [dns.address], cache: { entries: 0, bytes: 0 } })
  api = await openTestApi({ maxMessageSizeBytes: 1_000_000 }, { resolver })
  const { make, part } = templatesOf(api)
  await make('hello', { html: '<p>Hello {{ name }}</p>' })
  await part('partial', 'foot', 'by Acme')
  await templatesOf(api, api.stranger.key).make('theirs')
})
afterAll(async () => {
  await api?.close()
  await dns?.stop()
})

const mail = { from: 'a@acme.test', to: 'b@example.test' }
const use = (more: object = {}) => ({
  ...mail,
  template: { slug: 'hello', variables: { name: 'Ann' }, ...more },
})
const send = (body: object, headers = {}) => api.ask('POST', '/send', { body, headers })
const faultsOf = async (body: object) => {
  const answer = await send(body)
  expect(answer.statusCode).toBe(400)
  return answer.json().errors
}
const pathsOf = async (body: object) => (await faultsOf(body)).map(({ path }: { path: string }) => path)
const rawOf = async (id: string) => (await api.ask('GET', `/messages/${id}/raw`)).body

describe('202', () => {
  test('what was rendered is stored: the template may change and go, the octets stay', async () => {
    const { id: template } = await templatesOf(api).make('passing', { html: '<p>{{ name }}</p>' })
    const answer = await send(use({ slug: 'passing' }))
    expect(answer.statusCode).toBe(202)
    const { id } = answer.json()
    expect((await api.ask('GET', `/messages/${id}`)).json().subject).toBe('Hello Ann')
    const before = await rawOf(id)
    expect(before).toContain('<p>Ann</p>')
    await api.ask('PATCH', `/templates/${template}`, { body: { html: 'other', publish: true } })
    await api.ask('DELETE', `/templates/${template}`)
    expect(await rawOf(id)).toBe(before)
  })

  test('a repetition has the stored answer, also once the template is gone', async () => {
    const { id: template } = await templatesOf(api).make('once')
    const headers = { 'idempotency-key': 'once' }
    const first = await send(use({ slug: 'once' }), headers)
    await api.ask('DELETE', `/templates/${template}`)
    const second = await send(use({ slug: 'once' }), headers)
    expect(second.headers['idempotency-replayed']).toBe('true')
    expect(second.body).toBe(first.body)
  })

  test('the message says from which version of which template it is, also in a batch, in lists and when it is sent again', async () => {
    const { id: template } = await templatesOf(api).make('told', { html: '<p>{{ name }}</p>' })
    await api.ask('PATCH', `/templates/${template}`, { body: { html: 'Two {{ name }}', publish: true } })
    const first = (await send(use({ slug: 'told', version: 1 }))).json()
    const messages = [use({ slug: 'told' }), { ...mail, subject: 'None', text: 'None' }]
    const { data } = (await api.ask('POST', '/send/batch', { body: { messages } })).json()
    await api.ask('DELETE', `/templates/${template}`)
    const templateOf = async (id: string) => (await api.ask('GET', `/messages/${id}`)).json().template
    expect(await templateOf(first.id)).toEqual({ slug: 'told', version: 1 })
    expect(await templateOf(data[0].id)).toEqual({ slug: 'told', version: 2 })
    expect(await templateOf(data[1].id)).toBeUndefined()
    const again = (await api.ask('POST', `/messages/${first.id}/resend`)).json()
    expect(await templateOf(again.id)).toEqual({ slug: 'told', version: 1 })
    const listed = (await api.ask('GET', '/messages?limit=4')).json().data
    const versions = listed.map((one: { template?: { version: number } }) => one.template?.version)
    expect(versions.sort()).toEqual([1, 1, 2, undefined])
  })

  test('the subject beside it stands in for its own', async () => {
    const answer = await send({ ...use(), subject: 'Mine' })
    expect((await api.ask('GET', `/messages/${answer.json().id}`)).json().subject).toBe('Mine')
  })

  test('a preview shows the same', async () => {
    const preview = (await api.ask('POST', '/send/preview', { body: use() })).json()
    expect(preview).toMatchObject({ subject: 'Hello Ann', text: 'Hello Ann\n', html: '<p>Hello Ann</p>\n' })
  })
})

describe('400', () => {
  test.each([
    ['an unknown slug', use({ slug: 'nothing' }), ['/template/slug']],
    ['one of another tenant', use({ slug: 'theirs' }), ['/template/slug']],
    ['a slug that is none', use({ slug: '../x' }), ['/template/slug']],
    ['a partial', use({ slug: 'foot' }), ['/template/slug']],
    ['an unknown version', use({ version: 7 }), ['/template/version']],
    ['a version that is none', use({ version: 2 ** 40 }), ['/template/version']],
    ['a missing variable', use({ variables: {} }), ['/template/variables/name']],
    ['text beside it', { ...use(), text: 'x', html: 'y' }, ['/text', '/html']],
    ['raw beside it', { ...use(), raw: 'eA==' }, ['/raw']],
    ['an unknown field in it', use({ data: {} }), ['/template/data']],
    [
      'a faulty address as well',
      { ...use({ variables: {} }), to: 'nobody' },
      ['/template/variables/name', '/to'],
    ],
    ['a shape that is none', { ...use({ variables: [] }), to: 'nobody' }, ['/template/variables', '/to']],
  ])('for %s', async (_, body, paths) => expect(await pathsOf(body)).toEqual(paths))

  test('a line break never gets into a header field: told at the variable', async () => {
    const name = 'Ann\r\nBcc: eve@evil.test'
    expect(await faultsOf(use({ variables: { name } }))).toEqual([
      { path: '/template/variables/name', message: expect.stringContaining('Goes into the subject.') },
    ])
  })

  test('a subject that becomes too long is told as any other', async () => {
    expect(await pathsOf(use({ variables: { name: 'x'.repeat(1_000) } }))).toEqual(['/subject'])
  })

  test('names of the language’s own properties get nowhere', async () => {
    const body = JSON.stringify(use()).replace('"name":"Ann"', '"name":"Ann","constructor":{"prototype":1}')
    expect(
      (await api.ask('POST', '/send', { body, headers: { 'content-type': 'application/json' } })).statusCode,
    ).toBe(202)
  })
})

test('413 for what renders to more than a message may be', async () => {
  const html = `{% for i in (1..11000) %}${'x'.repeat(100)}{% endfor %}`
  await templatesOf(api).make('long', { html })
  expect((await send(use({ slug: 'long' }))).json()).toMatchObject({ status: 413, code: 'message_too_large' })
})

describe('POST /send/batch', () => {
  const batch = (messages: object[], mode = 'strict') =>
    api.ask('POST', `/send/batch?mode=${mode}`, { body: { messages } })

  test('a thousand with one template, each as it is', async () => {
    const messages = Array.from({ length: 1_000 }, (_, i) => use({ variables: { name: `N${i}` } }))
    const answer = await batch(messages)
    expect(answer.statusCode).toBe(202)
    const { data } = answer.json()
    expect(data).toHaveLength(1_000)
    for (const i of [0, 499, 999])
      expect((await api.ask('GET', `/messages/${data[i].id}`)).json().subject).toBe(`Hello N${i}`)
  })

  test('several templates and none, in order; what is refused is told by itself', async () => {
    const plain = { ...mail, subject: 'Plain', text: 'x' }
    const messages = [use(), plain, use({ slug: 'none' }), use({ variables: {} }), use({ version: 1 })]
    const permissive = (await batch(messages, 'permissive')).json().data
    expect(permissive.map(({ status }: { status: number }) => status)).toEqual([202, 202, 400, 400, 202])
    expect(permissive[3].problem.errors[0].path).toBe('/messages/3/template/variables/name')
    const strict = await batch(messages)
    expect(strict.json()).toMatchObject({
      status: 400,
      errors: [{ path: '/messages/2/template/slug' }, { path: '/messages/3/template/variables/name' }],
    })
  })
})
