/** POST /send: the field route, and keys that are bound to one. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { adminKey, message, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { asOperator } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi({ delivery: 'smarthost', isAllInOne: false })
  const vouched = { name: 'acme.test', vouched: true }
  await api.ask('POST', '/domains', { ...asOperator(api.tenant.id), body: vouched })
  for (const [name, key] of [
    ['own', api.tenant.key],
    ['foreign', api.stranger.key],
    ['shared', adminKey],
  ] as const)
    await api.ask('POST', '/routes', { key, body: { name, kind: 'smarthost', host: 'relay.test' } })
  await api.ask('POST', '/routes', { key: adminKey, body: { name: 'direct', kind: 'mx' } })
})
afterAll(() => api.close())

const send = (fields: object, key = api.tenant.key) =>
  api.ask('POST', '/send', { key, body: { ...message, ...fields } })
const rowOf = async (id: string) => {
  const uuid = id.slice(4)
  const found = await api.foundation.database.engine.query(
    `SELECT d.route, m.delivery FROM valija.deliveries d JOIN valija.messages m ON m.id = d.message_id WHERE m.id = $1`,
    [uuid],
  )
  return found.rows[0]
}

describe('202', () => {
  test.each([
    [undefined, 'smarthost', 'smarthost'],
    ['smarthost', '=smarthost', 'smarthost'],
    ['capture', 'capture', 'capture'],
    ['own', 'own', 'smarthost'],
    ['shared', 'shared', 'smarthost'],
    ['direct', 'direct', 'mx'],
  ])('for route %j: row %s, delivery %s', async (route, name, delivery) => {
    const answer = await send({ route })
    expect([answer.statusCode, answer.json().delivery]).toEqual([202, delivery])
    expect(await rowOf(answer.json().id)).toEqual({ route: name, delivery })
  })

  test('for a route that was made the moment before', async () => {
    for (const name of ['fresh-1', 'fresh-2', 'fresh-3']) {
      await api.ask('POST', '/routes', { body: { name, kind: 'smarthost', host: 'relay.test' } })
      expect((await send({ route: name })).statusCode).toBe(202)
    }
  })

  test('a list of the inbox alone says capture', async () => {
    const list = { domain: 'staging.acme.test', routes: [{ route: 'capture' }] }
    await api.ask('POST', '/route-lists', { body: list })
    const captured = async () => (await send({ from: 'a@staging.acme.test' })).json().delivery
    await expect.poll(captured).toBe('capture')
    expect((await send({})).json().delivery).toBe('smarthost')
  })
})

test.each([['nowhere'], ['foreign'], ['mx']])('400 for %s names the choices', async (route) => {
  const answer = await send({ route })
  expect(answer.json()).toMatchObject({ status: 400, errors: [{ path: '/route' }] })
  expect(answer.json().errors[0].message).toMatch(/capture, smarthost, .*own/)
})

describe('a key that is bound to a route', () => {
  const keyFor = async (route: string) =>
    (await api.ask('POST', '/keys', { body: { name: 'k', scopes: ['send'], route } })).json()

  test('sends by it, also when the mail names it', async () => {
    const { key } = await keyFor('own')
    for (const route of [undefined, 'own'])
      expect(await rowOf((await send({ route }, key)).json().id)).toMatchObject({ route: 'own' })
  })

  test('403 when the mail names another, or when its route is not there', async () => {
    const { key } = await keyFor('own')
    expect((await send({ route: 'shared' }, key)).json()).toMatchObject({
      status: 403,
      code: 'key_restricted',
    })
    const { key: other } = await keyFor('mx')
    expect((await send({}, other)).json()).toMatchObject({
      status: 403,
      detail: expect.stringContaining('not set up here'),
    })
  })

  test('400 when the route does not exist', async () => {
    const body = { name: 'k', scopes: ['send'], route: 'foreign' }
    expect((await api.ask('POST', '/keys', { body })).json()).toMatchObject({ errors: [{ path: '/route' }] })
  })
})

test('403 for the default tenant of npm start that would send from any domain by a route which leaves the machine', async () => {
  const local = await openTestApi({ delivery: 'capture', isAllInOne: true })
  try {
    const body = { name: 'out', kind: 'smarthost', host: 'relay.test' }
    await local.ask('POST', '/routes', { body })
    const ask = (route?: string) => local.ask('POST', '/send', { body: { ...message, route } })
    expect((await ask()).statusCode).toBe(202)
    expect((await ask('capture')).statusCode).toBe(202)
    expect((await ask('out')).json()).toMatchObject({ status: 403, code: 'domain_not_verified' })
  } finally {
    await local.close()
  }
})
