/** GET /templates/:id. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectHidden, expectScope } from '../keys/refusals.test-support.ts'
import { templatesOf } from './templates.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

test('200: as its newest version is', async () => {
  const made = await templatesOf(api).make('hello', { html: '<b>{{ name }}</b>' })
  const answer = await api.ask('GET', `/templates/${made.id}`)
  expect(answer.json()).toEqual(made)
  expect(answer.json()).toMatchObject({ slug: 'hello', name: 'hello', html: '<b>{{ name }}</b>', version: 1 })
})

test('401 and 403 without a key that has the scope read', () =>
  expectScope(api, 'GET', '/templates/tpl_x', 'read'))

test('404 hides other tenants’ templates', async () => {
  const { id } = await templatesOf(api, api.stranger.key).make('theirs')
  await expectHidden(api, 'GET', (given) => `/templates/${given}`, id)
})
