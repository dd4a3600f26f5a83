/** PATCH /keys/:id. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectFault, expectHidden, expectScope } from './refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const makeKey = async (fields: object = {}, key = api.tenant.key) =>
  (await api.ask('POST', '/keys', { key, body: { name: 'n', scopes: ['send', 'read'], ...fields } })).json()

describe('200', () => {
  test('changes the fields that are given and leaves the others', async () => {
    const { key: _, ...made } = await makeKey({ domains: ['acme.test'], route: 'smarthost' })
    const answer = await api.ask('PATCH', `/keys/${made.id}`, { body: { name: 'new', route: null } })
    expect(answer.statusCode).toBe(200)
    expect(answer.json()).toEqual({ ...made, name: 'new', route: null })
  })

  test('changes nothing for {}', async () => {
    const { key: _, ...made } = await makeKey()
    expect((await api.ask('PATCH', `/keys/${made.id}`, { body: {} })).json()).toEqual(made)
  })

  test('leaves the limits that are not named, and ends one by null', async () => {
    const { id } = await makeKey({ limits: { recipients_per_day: 7, max_recipients: 9 } })
    const change = async (limits: object) =>
      (await api.ask('PATCH', `/keys/${id}`, { body: { limits } })).json().limits
    expect(await change({ recipients_per_hour: 3 })).toEqual({
      recipients_per_day: 7,
      max_recipients: 9,
      recipients_per_hour: 3,
    })
    expect(await change({ max_recipients: null })).toEqual({ recipients_per_day: 7, recipients_per_hour: 3 })
  })

  test('takes a scope from a key that is in use, at once', async () => {
    const { id, key } = await makeKey()
    expect((await api.ask('GET', '/keys', { key })).statusCode).toBe(200)
    await api.ask('PATCH', `/keys/${id}`, { body: { scopes: ['send'] } })
    await expect
      .poll(async () => (await api.ask('GET', '/keys', { key })).statusCode, { timeout: 1_500 })
      .toBe(403)
  })
})

test('400 names what is wrong', async () => {
  const { id } = await makeKey()
  await expectFault(api, 'PATCH', `/keys/${id}`, { scopes: [] }, '/scopes')
  await expectFault(api, 'PATCH', `/keys/${id}`, { networks: ['x'] }, '/networks/0')
  await expectFault(api, 'PATCH', `/keys/${id}`, { key: 'x' }, '/key')
})

test('401 and 403 without a key that has the scope manage', async () =>
  expectScope(api, 'PATCH', `/keys/${(await makeKey()).id}`, 'manage', {}))

test('403: no key makes itself or another into more than it is', async () => {
  const bound = await makeKey({ scopes: ['manage'], domains: ['acme.test'] })
  const other = await makeKey()
  const ask = (id: string, body: object) => api.ask('PATCH', `/keys/${id}`, { key: bound.key, body })
  expect((await ask(bound.id, { domains: [] })).json()).toMatchObject({ status: 403, code: 'key_restricted' })
  expect((await ask(bound.id, { scopes: ['send'] })).json()).toMatchObject({
    status: 403,
    code: 'insufficient_scope',
  })
  expect((await ask(other.id, { name: 'mine' })).statusCode).toBe(403)
})

test('404 hides other tenants’ keys', async () =>
  expectHidden(api, 'PATCH', (id) => `/keys/${id}`, (await makeKey({}, api.stranger.key)).id, { name: 'x' }))
