/** PATCH /suppressions/:id. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectFault, expectHidden, expectScope } from '../keys/refusals.test-support.ts'
import { quarantine, suppressionEvents } from './suppressions.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const add = async (email: string, more: object = {}) =>
  (await api.ask('POST', '/suppressions', { body: { email, ...more } })).json()
const change = (id: string, body: object) => api.ask('PATCH', `/suppressions/${id}`, { body })
const told = async (email: string) =>
  (await suppressionEvents(api, email)).map(({ type, stream }) => `${type} ${stream ?? 'both'}`)

describe('200', () => {
  test('a quarantined entry is confirmed, and told of now', async () => {
    const { id } = await add('a@example.test')
    await quarantine(api, 'a@example.test')
    const before = await told('a@example.test')
    const answer = await change(id, { status: 'active' })
    expect(answer.json()).toMatchObject({
      id,
      status: 'active',
      reason: 'mailbox_unknown',
      reply: '550 5.1.1 no',
    })
    expect(await told('a@example.test')).toEqual([...before, 'suppression.added both'])
    const { recipients } = await api.send({ to: 'a@example.test' })
    expect(recipients[0]).toMatchObject({ status: 'suppressed' })
  })

  test('another stream is told as one entry that goes and one that comes, in this order', async () => {
    const { id } = await add('b@example.test')
    expect((await change(id, { stream: 'bulk' })).json()).toMatchObject({ id, stream: 'bulk' })
    expect((await change(id, { stream: null })).json()).toMatchObject({ id, stream: null })
    expect(await told('b@example.test')).toEqual([
      'suppression.added both',
      'suppression.removed both',
      'suppression.added bulk',
      'suppression.removed bulk',
      'suppression.added both',
    ])
  })

  test('what is so already changes nothing, and is not told', async () => {
    const { id, ...entry } = await add('c@example.test', { stream: 'bulk' })
    for (const body of [{}, { status: 'active' }, { stream: 'bulk' }]) {
      expect((await change(id, body)).json()).toEqual({ id, ...entry })
    }
    expect(await told('c@example.test')).toHaveLength(1)
  })

  test('of a quarantined entry only its stream: nothing is told', async () => {
    const { id } = await add('d@example.test')
    await quarantine(api, 'd@example.test')
    expect((await change(id, { stream: 'bulk' })).json()).toMatchObject({
      stream: 'bulk',
      status: 'quarantined',
    })
    expect(await told('d@example.test')).toHaveLength(1)
  })
})

describe('400', () => {
  test.each([
    [{ status: 'quarantined' }, '/status'],
    [{ stream: 'news' }, '/stream'],
    [{ email: 'x@example.test' }, '/email'],
  ])('for %j', (body, path) => expectFault(api, 'PATCH', '/suppressions/sup_x', body, path))
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'PATCH', '/suppressions/sup_x', 'manage', { status: 'active' }))

test('404 hides other tenants’ entries, and leaves them', async () => {
  const { key } = api.stranger
  const added = await api.ask('POST', '/suppressions', { key, body: { email: 'b@example.test' } })
  const { id } = added.json()
  await expectHidden(api, 'PATCH', (given) => `/suppressions/${given}`, id, { stream: 'bulk' })
  expect((await api.ask('GET', `/suppressions/${id}`, { key })).json()).toEqual(added.json())
})

test('409 for a stream that the address has another entry for; nothing is changed or told', async () => {
  const { id } = await add('e@example.test')
  await add('e@example.test', { stream: 'bulk' })
  const answer = await change(id, { stream: 'bulk' })
  expect(answer.json()).toMatchObject({
    status: 409,
    code: 'conflict',
    detail: expect.stringContaining('bulk'),
  })
  expect((await api.ask('GET', `/suppressions/${id}`)).json()).toMatchObject({ stream: null })
  expect(await told('e@example.test')).toHaveLength(2)
})
