/** DELETE /templates/:id. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectHidden, expectScope } from '../keys/refusals.test-support.ts'
import { templatesOf } from './templates.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const remove = (id: string) => api.ask('DELETE', `/templates/${id}`)

test('204: it is gone with its versions, its slug is free; what was accepted is as it was rendered', async () => {
  const { make } = templatesOf(api)
  const { id } = await make('a')
  const template = { slug: 'a', variables: { name: 'Ann' } }
  const sent = await api.send({ subject: undefined, text: undefined, template })
  expect((await remove(id)).statusCode).toBe(204)
  expect((await api.ask('GET', `/templates/${id}`)).statusCode).toBe(404)
  expect((await api.ask('GET', `/messages/${sent.id}`)).json()).toMatchObject({ subject: 'Hello Ann' })
  expect((await make('a')).version).toBe(1)
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'DELETE', '/templates/tpl_x', 'manage'))

test('404 hides other tenants’ templates, and leaves them', async () => {
  const { key } = api.stranger
  const { id } = await templatesOf(api, key).make('theirs')
  await expectHidden(api, 'DELETE', (given) => `/templates/${given}`, id)
  expect((await api.ask('GET', `/templates/${id}`, { key })).statusCode).toBe(200)
})

test('409 for a layout or partial that is used, until it is not', async () => {
  const { make, part } = templatesOf(api)
  const base = await part('layout', 'base', '{% block %}{% endblock %}')
  const user = await make('user', { text: undefined, html: "{% layout 'base' %}" })
  expect((await remove(base.id)).json()).toMatchObject({ status: 409, detail: 'It is still used by user.' })
  expect((await remove(user.id)).statusCode).toBe(204)
  expect((await remove(base.id)).statusCode).toBe(204)
})
