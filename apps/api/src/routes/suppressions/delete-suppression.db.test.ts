/** DELETE /suppressions/:id. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { attempt } from '../../settle.test-support.ts'
import { expectHidden, expectScope } from '../keys/refusals.test-support.ts'
import { quarantine, suppressionEvents } from './suppressions.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const add = async (email: string) => (await api.ask('POST', '/suppressions', { body: { email } })).json().id
const remove = async (id: string) => (await api.ask('DELETE', `/suppressions/${id}`)).statusCode
const isListed = async (email: string) =>
  (await api.ask('GET', `/suppressions?email=${email}`)).json().data.length > 0

describe('204', () => {
  test('the address is sent to again; told by an event', async () => {
    const id = await add('a@example.test')
    expect(await remove(id)).toBe(204)
    const { recipients } = await api.send({ to: 'a@example.test' })
    expect(recipients[0]).toMatchObject({ status: 'queued' })
    expect(await suppressionEvents(api, 'a@example.test')).toMatchObject([
      { type: 'suppression.added', suppression_id: id },
      { type: 'suppression.removed', suppression_id: id, reason: 'manual' },
    ])
    const again = await api.ask('DELETE', `/suppressions/${id}`)
    expect(again.json()).toMatchObject({ status: 404, detail: expect.stringContaining('?status=removed') })
  })

  test('a quarantined entry goes untold: it stopped nothing', async () => {
    const id = await add('b@example.test')
    await quarantine(api, 'b@example.test')
    const before = await suppressionEvents(api, 'b@example.test')
    expect(await remove(id)).toBe(204)
    expect(await suppressionEvents(api, 'b@example.test')).toEqual(before)
  })

  test('what was said of a full mailbox is forgotten: it takes three mails again', async () => {
    const bounce = async () => {
      const { recipients } = await api.send({ to: 'full@example.test' })
      await attempt(api, recipients[0]!.id, 552, '5.2.2', 'over quota')
    }
    for (let mails = 0; mails < 3; mails++) await bounce()
    const [entry] = (await api.ask('GET', '/suppressions?email=full@example.test')).json().data
    expect(entry).toMatchObject({ reason: 'mailbox_full', status: 'active' })
    await remove(entry.id)
    await bounce()
    await bounce()
    expect(await isListed('full@example.test')).toBe(false)
    await bounce()
    expect(await isListed('full@example.test')).toBe(true)
  })
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'DELETE', '/suppressions/sup_x', 'manage'))

test('404 hides other tenants’ entries, and leaves them', async () => {
  const { key } = api.stranger
  const { id } = (await api.ask('POST', '/suppressions', { key, body: { email: 'b@example.test' } })).json()
  await expectHidden(api, 'DELETE', (given) => `/suppressions/${given}`, id)
  expect((await api.ask('GET', `/suppressions/${id}`, { key })).statusCode).toBe(200)
})
