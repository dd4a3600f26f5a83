/** GET /templates. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectScope } from '../keys/refusals.test-support.ts'
import { templatesOf } from './templates.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const slugs = async (query = '') => {
  const { data, next_cursor: next } = (await api.ask('GET', `/templates${query}`)).json()
  return { slugs: data.map(({ slug }: { slug: string }) => slug), next }
}

describe('200', () => {
  test('newest first, page by page, those of the tenant only, without what they hold', async () => {
    const { make, part } = templatesOf(api)
    await make('one')
    await part('partial', 'two', 'x')
    await part('layout', 'three', 'x')
    await templatesOf(api, api.stranger.key).make('theirs')
    expect(await slugs()).toEqual({ slugs: ['three', 'two', 'one'], next: null })
    const first = await slugs('?limit=2')
    expect(first.slugs).toEqual(['three', 'two'])
    expect(await slugs(`?limit=2&cursor=${first.next}`)).toEqual({ slugs: ['one'], next: null })
    expect((await api.ask('GET', '/templates')).json().data[0]).not.toHaveProperty('html')
  })

  test('by slug and by kind', async () => {
    expect((await slugs('?slug=one')).slugs).toEqual(['one'])
    expect((await slugs('?slug=theirs')).slugs).toEqual([])
    expect((await slugs('?kind=partial')).slugs).toEqual(['two'])
  })
})

test.each([
  ['limit=0', 'limit'],
  ['cursor=x', 'cursor'],
  ['kind=mail', 'kind'],
])('400 for ?%s', async (query, path) => {
  expect((await api.ask('GET', `/templates?${query}`)).json()).toMatchObject({
    status: 400,
    errors: [{ path }],
  })
})

test('401 and 403 without a key that has the scope read', () => expectScope(api, 'GET', '/templates', 'read'))
