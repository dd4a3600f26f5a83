/** POST /templates. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectFault, expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const receipt = {
  slug: 'receipt',
  name: 'Receipt',
  subject: 'Your receipt {{ number }}',
  text: 'Hello {{ first_name }}',
  html: '<p>Hello {{ first_name }}</p>',
}
const add = (body: object, key = api.tenant.key) => api.ask('POST', '/templates', { key, body })
/** The mail that is sent of it, or the refusal. */
const used = async (slug: string, more: object) => {
  const body = { from: 'a@acme.test', to: 'b@example.test', template: { slug, ...more } }
  const answer = (await api.ask('POST', '/send', { body })).json()
  return answer.id === undefined ? answer : (await api.ask('GET', `/messages/${answer.id}`)).json()
}

describe('201', () => {
  test('its first version is published at once', async () => {
    const answer = await add(receipt)
    expect(answer.statusCode).toBe(201)
    expect(answer.json()).toEqual({
      ...receipt,
      id: expect.stringMatching(/^tpl_[0-9a-f]{32}$/),
      kind: 'template',
      variables: [],
      version: 1,
      published_version: 1,
      created_at: expect.stringMatching(/Z$/),
      updated_at: expect.stringMatching(/Z$/),
    })
    const mail = await used('receipt', { variables: { number: '4711', first_name: 'Ann' } })
    expect(mail).toMatchObject({ subject: 'Your receipt 4711' })
  })

  test('a draft is not sent, unless its version is named', async () => {
    const { slug, ...rest } = { ...receipt, slug: 'draft', publish: false }
    expect((await add({ slug, ...rest })).json()).toMatchObject({ version: 1, published_version: null })
    const variables = { number: '1', first_name: 'Ann' }
    expect(await used('draft', { variables })).toMatchObject({
      status: 400,
      errors: [{ path: '/template/slug', message: expect.stringContaining('published') }],
    })
    expect(await used('draft', { variables, version: 1 })).toMatchObject({ subject: 'Your receipt 1' })
  })

  test('the same slug is another template for another tenant', async () => {
    const answer = await add({ ...receipt, subject: 'Theirs' }, api.stranger.key)
    expect(answer.statusCode).toBe(201)
    const mail = await used('receipt', { variables: { number: '4711', first_name: 'Ann' } })
    expect(mail).toMatchObject({ subject: 'Your receipt 4711' })
  })
})

describe('400', () => {
  test.each([
    ['no slug', { ...receipt, slug: undefined }, '/slug'],
    ['a slug with other letters', { ...receipt, slug: 'Über uns' }, '/slug'],
    ['no subject', { slug: 'a', text: 'x' }, '/subject'],
    ['no content', { slug: 'a', subject: 'x' }, '/text'],
    ['a partial with a subject', { slug: 'a', kind: 'partial', subject: 'x', text: 'x' }, '/subject'],
    ['an unknown filter', { ...receipt, html: '\n{{ a | frobnicate }}' }, '/html'],
    ['an unclosed tag', { ...receipt, text: '{% if a %}' }, '/text'],
    ['a file outside', { ...receipt, html: "{% render '../../etc/passwd' %}" }, '/html'],
    ['a partial that is not there', { ...receipt, html: "{% render 'none' %}" }, '/html'],
    [
      'a default of another type',
      { ...receipt, variables: [{ name: 'a', type: 'number', default: 'x' }] },
      '/variables/0/default',
    ],
    ['a type that is none', { ...receipt, variables: [{ name: 'a', type: 'money' }] }, '/variables/0/type'],
  ])('for %s', (_, body, path) => expectFault(api, 'POST', '/templates', body, path))

  test('names the line, and what is used and not declared', async () => {
    const answer = await add({
      ...receipt,
      slug: 'typo',
      html: 'Hello\n{{ frist_name }}',
      variables: [
        { name: 'number', type: 'string' },
        { name: 'first_name', type: 'string' },
      ],
    })
    expect(answer.json().errors).toEqual([
      {
        path: '/html',
        message: 'Line 2: frist_name is used and not declared. Add it to variables, or correct the name.',
      },
    ])
  })
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'POST', '/templates', 'manage', receipt))

test('409 for a slug that the tenant has already', async () => {
  expect((await add(receipt)).json()).toMatchObject({
    status: 409,
    code: 'conflict',
    title: 'There is one already',
    detail: expect.stringContaining('receipt'),
  })
})
