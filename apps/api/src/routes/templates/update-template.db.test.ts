/** PATCH /templates/:id. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectFault, expectHidden, expectScope } from '../keys/refusals.test-support.ts'
import { templatesOf } from './templates.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const change = (id: string, body: object) => api.ask('PATCH', `/templates/${id}`, { body })
/** Of a mail of it; undefined: it is refused. */
const subjectOf = async (slug: string, version?: number) => {
  const template = { slug, variables: { name: 'Ann' }, ...(version !== undefined && { version }) }
  const body = { from: 'a@acme.test', to: 'b@example.test', template }
  const { id } = (await api.ask('POST', '/send', { body })).json()
  return (await api.ask('GET', `/messages/${id}`)).json().subject
}

describe('200', () => {
  test('what it holds changes as a draft, and is sent once it is published', async () => {
    const { id } = await templatesOf(api).make('a')
    expect((await change(id, { subject: 'Hi {{ name }}' })).json()).toMatchObject({
      subject: 'Hi {{ name }}',
      text: 'Hello {{ name }}',
      version: 2,
      published_version: 1,
    })
    expect(await subjectOf('a')).toBe('Hello Ann')
    expect(await subjectOf('a', 2)).toBe('Hi Ann')
    expect((await change(id, { publish: true })).json()).toMatchObject({ version: 2, published_version: 2 })
    expect(await subjectOf('a')).toBe('Hi Ann')
    expect(await subjectOf('a', 1)).toBe('Hello Ann')
  })

  test('changed and published at once', async () => {
    const { id } = await templatesOf(api).make('b')
    const answer = await change(id, { subject: 'Hey {{ name }}', publish: true })
    expect(answer.json()).toMatchObject({ version: 2, published_version: 2 })
    expect(await subjectOf('b')).toBe('Hey Ann')
  })

  test('name and slug change at once; what is so already makes no version', async () => {
    const { id } = await templatesOf(api).make('c')
    expect((await change(id, { slug: 'c2', name: 'C', text: 'Hello {{ name }}' })).json()).toMatchObject({
      ...{ slug: 'c2', name: 'C', version: 1 },
    })
    expect(await subjectOf('c2')).toBe('Hello Ann')
    expect(await subjectOf('c')).toBeUndefined()
  })

  test('what changes nothing leaves it as it was, with the time of its last change', async () => {
    const { id } = await templatesOf(api).make('same')
    const before = (await api.ask('GET', `/templates/${id}`)).json()
    expect((await change(id, {})).json()).toEqual(before)
    expect((await change(id, { slug: 'same', text: before.text })).json()).toEqual(before)
    expect((await api.ask('GET', `/templates/${id}`)).json()).toEqual(before)
  })

  test('null takes a part away', async () => {
    const { id } = await templatesOf(api).make('d', { html: '<b>x</b>' })
    expect((await change(id, { text: null })).json()).toMatchObject({
      text: null,
      html: '<b>x</b>',
      version: 2,
    })
  })

  test('a hundred versions are kept, and the published one', async () => {
    const { id } = await templatesOf(api).make('e')
    for (let i = 2; i <= 103; i++) await change(id, { text: `${i}` })
    const { data } = (await api.ask('GET', `/templates/${id}/versions?limit=100`)).json()
    expect(data[0].version).toBe(103)
    expect((await api.ask('GET', `/templates/${id}/versions/1`)).statusCode).toBe(200)
    expect((await api.ask('GET', `/templates/${id}/versions/2`)).statusCode).toBe(404)
    expect((await api.ask('GET', `/templates/${id}/versions/4`)).statusCode).toBe(200)
  })
})

describe('400', () => {
  test('nothing is changed', async () => {
    const made = await templatesOf(api).make('f')
    const path = `/templates/${made.id}`
    await expectFault(api, 'PATCH', path, { text: '{% if %}' }, '/text')
    await expectFault(api, 'PATCH', path, { text: null }, '/text')
    await expectFault(api, 'PATCH', path, { subject: null }, '/subject')
    await expectFault(api, 'PATCH', path, { slug: 'A' }, '/slug')
    await expectFault(api, 'PATCH', path, { kind: 'partial' }, '/kind')
    await expectFault(api, 'PATCH', path, { html: "{% render 'none' %}", publish: true }, '/html')
    expect((await api.ask('GET', path)).json()).toEqual(made)
  })
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'PATCH', '/templates/tpl_x', 'manage', { name: 'x' }))

test('404 hides other tenants’ templates, and leaves them', async () => {
  const made = await templatesOf(api, api.stranger.key).make('theirs')
  await expectHidden(api, 'PATCH', (given) => `/templates/${given}`, made.id, { name: 'mine' })
  const { key } = api.stranger
  expect((await api.ask('GET', `/templates/${made.id}`, { key })).json()).toEqual(made)
})

describe('409', () => {
  test('for a slug that another one has', async () => {
    const { make } = templatesOf(api)
    await make('g')
    const { id } = await make('h')
    expect((await change(id, { slug: 'g' })).json()).toMatchObject({
      status: 409,
      code: 'conflict',
      title: 'There is one already',
    })
  })

  test('for all but one of those that take a slug at the same moment', async () => {
    const { make } = templatesOf(api)
    const made = await Promise.all(['k', 'l', 'm'].map((slug) => make(slug)))
    const answers = await Promise.all(made.map(({ id }) => change(id, { slug: 'best' })))
    expect(answers.map(({ statusCode }) => statusCode).sort()).toEqual([200, 409, 409])
  })

  test('for another slug of a partial that is used', async () => {
    const { make, part } = templatesOf(api)
    const { id } = await part('partial', 'foot', 'x')
    await make('i', { html: "{% render 'foot' %}" })
    const answer = await change(id, { slug: 'feet' })
    expect(answer.json()).toMatchObject({ status: 409, detail: 'It is still used by i.' })
  })

  test('of changes at the same time one counts, the others are told', async () => {
    const { id } = await templatesOf(api).make('j')
    const answers = await Promise.all(['x', 'y', 'z'].map((text) => change(id, { text })))
    const statuses = answers.map(({ statusCode }) => statusCode)
    expect(statuses).toContain(200)
    for (const status of statuses) expect([200, 409]).toContain(status)
    const { version } = (await api.ask('GET', `/templates/${id}`)).json()
    expect(version).toBe(1 + statuses.filter((status) => status === 200).length)
  })
})
