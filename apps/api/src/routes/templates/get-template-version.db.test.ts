/** GET /templates/:id/versions/:version. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectHidden, expectScope } from '../keys/refusals.test-support.ts'
import { templatesOf } from './templates.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

test('200: as it was made, whatever came after it', async () => {
  const { id } = await templatesOf(api).make('a', { variables: [{ name: 'name', type: 'string' }] })
  await api.ask('PATCH', `/templates/${id}`, { body: { text: 'two', variables: [], subject: 'two' } })
  expect((await api.ask('GET', `/templates/${id}/versions/1`)).json()).toMatchObject({
    ...{ version: 1, is_published: true, subject: 'Hello {{ name }}', text: 'Hello {{ name }}', html: null },
    variables: [{ name: 'name', type: 'string' }],
  })
})

test('401 and 403 without a key that has the scope read', () =>
  expectScope(api, 'GET', '/templates/tpl_x/versions/1', 'read'))

test('404 hides other tenants’ templates, and for numbers that are none', async () => {
  const { id } = await templatesOf(api, api.stranger.key).make('theirs')
  await expectHidden(api, 'GET', (given) => `/templates/${given}/versions/1`, id)
  const own = await templatesOf(api).make('own')
  for (const number of ['2', '0', '-1', '1.0', 'x', '99999999999', '%00'])
    expect((await api.ask('GET', `/templates/${own.id}/versions/${number}`)).statusCode).toBe(404)
})
