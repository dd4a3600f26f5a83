/** PATCH /domains/:id. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { asOperator, expectFault, expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const add = async (name: string, key = api.tenant.key) =>
  (await api.ask('POST', '/domains', { key, body: { name } })).json().id
const change = (id: string, body: object, tenantId = api.tenant.id) =>
  api.ask('PATCH', `/domains/${id}`, { ...asOperator(tenantId), body })

test('200: the operator vouches, and stops to', async () => {
  const id = await add('a.test')
  expect((await change(id, { vouched: true })).json()).toMatchObject({
    status: 'verified',
    vouched: true,
    dkim: false,
  })
  expect((await change(id, { dkim: true })).json()).toMatchObject({ status: 'verified', dkim: true })
  expect((await change(id, { vouched: false })).json()).toMatchObject({
    status: 'pending',
    vouched: false,
    dkim: false,
  })
  expect((await change(id, {})).json()).toMatchObject({ status: 'pending', vouched: false, dkim: false })
})

test('200 takes the right to send away soon after', async () => {
  const id = await add('b.test', api.stranger.key)
  const mail = { from: 'a@b.test', to: 'b@example.test', subject: 's', text: 't' }
  const send = async () => (await api.ask('POST', '/send', { key: api.stranger.key, body: mail })).statusCode
  await change(id, { vouched: true }, api.stranger.id)
  await expect.poll(send, { timeout: 1_500 }).toBe(202)
  await change(id, { vouched: false }, api.stranger.id)
  await expect.poll(send, { timeout: 1_500 }).toBe(403)
})

test('200 for the tenant itself that signs another way: new keys when they are needed, the known ones otherwise', async () => {
  const made = await api.ask('POST', '/domains', { body: { name: 'h.test', dkim_algorithms: ['rsa'] } })
  const { id, records } = made.json()
  const patch = async (algorithms: string[]) => {
    const answer = await api.ask('PATCH', `/domains/${id}`, { body: { dkim_algorithms: algorithms } })
    return namesOf(answer.json().records)
  }
  const namesOf = (all: { purpose: string; name: string }[]) =>
    all.filter(({ purpose }) => purpose !== 'dmarc').map(({ name }) => name)
  const names = namesOf(records)
  const both = await patch(['rsa', 'ed25519'])
  expect(both.slice(0, 2)).toEqual(names)
  expect(both).toHaveLength(3)
  expect(await patch(['ed25519'])).toEqual([both[0], both[2]])
  expect(await patch(['ed25519', 'rsa'])).toEqual(both)
})

test('200 gives keys to a domain of an earlier version, once, also when it is asked twice at the same time', async () => {
  const id = await add('i.test')
  const { engine } = api.foundation.database
  await engine.query(
    `DELETE FROM valija.dkim_keys WHERE domain_id = (SELECT id FROM valija.domains WHERE name = 'i.test')`,
  )
  const answers = await Promise.all([change(id, { vouched: true, dkim: true }), change(id, {})])
  expect(answers.map((answer) => answer.json().records.length)).toEqual([4, 4])
  const shown = await api.ask('GET', `/domains/${id}`)
  expect(shown.json().records).toHaveLength(4)
})

test('400 for a signature that nobody vouches for, and for another name', async () => {
  const id = await add('c.test')
  await expectFault(api, 'PATCH', `/domains/${id}`, { dkim: true }, '/dkim', asOperator(api.tenant.id))
  await expectFault(api, 'PATCH', `/domains/${id}`, { name: 'd.test' }, '/name', asOperator(api.tenant.id))
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'PATCH', '/domains/dom_x', 'manage', {}))

test('403 for a tenant that vouches for itself', async () => {
  const answer = await api.ask('PATCH', `/domains/${await add('e.test')}`, { body: { vouched: true } })
  expect(answer.json()).toMatchObject({ status: 403, code: 'insufficient_scope' })
})

test('404 for a domain of another tenant than the one acted for', async () => {
  const id = await add('f.test', api.stranger.key)
  expect((await change(id, { vouched: true })).statusCode).toBe(404)
  expect((await change('nonsense', {})).statusCode).toBe(404)
})

test('409 for a name that another tenant has verified', async () => {
  const [own, other] = [await add('g.test'), await add('g.test', api.stranger.key)]
  await change(own, { vouched: true })
  expect((await change(other, { vouched: true }, api.stranger.id)).json()).toMatchObject({ code: 'conflict' })
})

test('200 moves the return path to another name below the domain; 400 for one elsewhere', async () => {
  const made = await api.ask('POST', '/domains', {
    body: { name: 'rp.test', return_path_host: 'mail-bounce' },
  })
  expect(made.json().return_path_host).toBe('mail-bounce.rp.test')
  const patch = (host: string) =>
    api.ask('PATCH', `/domains/${made.json().id}`, { body: { return_path_host: host } })
  expect((await patch('In.Bounce.RP.test')).json().return_path_host).toBe('in.bounce.rp.test')
  for (const host of ['bounce.other.test', 'rp.test', 'a b', '']) {
    const { errors } = (await patch(host)).json()
    expect(errors).toMatchObject([{ path: '/return_path_host' }])
  }
})
