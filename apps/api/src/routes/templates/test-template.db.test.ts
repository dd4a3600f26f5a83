/** POST /templates/:id/test. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { asOperator, expectFault, expectHidden, expectScope } from '../keys/refusals.test-support.ts'
import { templatesOf } from './templates.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const sendTest = (id: string, body: object, key = api.tenant.key) =>
  api.ask('POST', `/templates/${id}/test`, { key, body })
const mail = { from: 'a@acme.test', to: 'me@example.test', variables: { name: 'Ann' } }

describe('202', () => {
  test('the newest version is sent, published or not', async () => {
    const { id } = await templatesOf(api).make('a')
    await api.ask('PATCH', `/templates/${id}`, { body: { subject: 'Draft for {{ name }}' } })
    const answer = await sendTest(id, mail)
    expect(answer.statusCode).toBe(202)
    expect(answer.json()).toMatchObject({ recipients: [{ email: 'me@example.test', status: 'queued' }] })
    const message = (await api.ask('GET', `/messages/${answer.json().id}`)).json()
    expect(message.subject).toBe('Draft for Ann')
  })

  test('without from it is from the newest verified domain', async () => {
    const { id } = await templatesOf(api).make('b')
    const { from: _, ...rest } = mail
    expect((await sendTest(id, rest)).json()).toMatchObject({ status: 400, errors: [{ path: '/from' }] })
    const vouched = { name: 'shop.test', vouched: true }
    await api.ask('POST', '/domains', { ...asOperator(api.tenant.id), body: vouched })
    const answer = await sendTest(id, rest)
    expect((await api.ask('GET', `/messages/${answer.json().id}`)).json().from).toBe('templates@shop.test')
  })
})

test('400 for no recipient, and for what is missing', async () => {
  const { id } = await templatesOf(api).make('c')
  await expectFault(api, 'POST', `/templates/${id}/test`, { ...mail, to: undefined }, '/to')
  await expectFault(
    api,
    'POST',
    `/templates/${id}/test`,
    { ...mail, variables: {} },
    '/template/variables/name',
  )
})

test('401 and 403 without a key that has the scope send', () =>
  expectScope(api, 'POST', '/templates/tpl_x/test', 'send', mail))

test('404 hides other tenants’ templates', async () => {
  const { id } = await templatesOf(api, api.stranger.key).make('theirs')
  await expectHidden(api, 'POST', (given) => `/templates/${given}/test`, id, mail)
})
