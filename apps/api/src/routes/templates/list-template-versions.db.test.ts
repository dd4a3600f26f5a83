/** GET /templates/:id/versions. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectHidden, expectScope } from '../keys/refusals.test-support.ts'
import { templatesOf } from './templates.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

test('200: newest first, page by page', async () => {
  const { id } = await templatesOf(api).make('a')
  for (const text of ['two', 'three']) await api.ask('PATCH', `/templates/${id}`, { body: { text } })
  const { data, next_cursor: next } = (await api.ask('GET', `/templates/${id}/versions?limit=2`)).json()
  expect(data).toMatchObject([{ version: 3, published_at: null }, { version: 2 }])
  const rest = (await api.ask('GET', `/templates/${id}/versions?limit=2&cursor=${next}`)).json()
  expect(rest).toEqual({
    data: [
      {
        id: expect.stringMatching(/^tpv_/),
        version: 1,
        size_bytes: 32,
        is_published: true,
        created_at: expect.stringMatching(/Z$/),
        published_at: expect.stringMatching(/Z$/),
      },
    ],
    next_cursor: null,
  })
})

test('401 and 403 without a key that has the scope read', () =>
  expectScope(api, 'GET', '/templates/tpl_x/versions', 'read'))

test('404 hides other tenants’ templates', async () => {
  const { id } = await templatesOf(api, api.stranger.key).make('theirs')
  await expectHidden(api, 'GET', (given) => `/templates/${given}/versions`, id)
})
