/** DELETE /tenants/:id. */
import { insertInboxMail } from '@valija/store'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { adminKey, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { asOperator, expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const remove = (id: string) => api.ask('DELETE', `/tenants/${id}`, { key: adminKey })
const idOf = (uuid: string) => `ten_${uuid.replaceAll('-', '')}`

test('204: its key works no more, and what it had is gone', async () => {
  const { id: tenantId, key } = api.stranger
  const { database, nextId } = api.foundation
  await api.ask('POST', '/domains', { key, body: { name: 'gone.test' } })
  await api.ask('POST', '/webhooks', { key, body: { url: 'https://gone.test', events: ['*'] } })
  await api.ask('POST', '/suppressions', { key, body: { email: 'a@b.test' } })
  const mail = {
    mailFrom: '',
    rcptTo: ['a@b.test'],
    raw: Buffer.from('Subject: x\r\n\r\n'),
    receivedAt: new Date(),
  }
  await insertInboxMail(database.engine, { ...mail, id: nextId(), messageId: nextId(), tenantId })
  expect((await remove(idOf(tenantId))).statusCode).toBe(204)
  await expect
    .poll(async () => (await api.ask('GET', '/keys', { key })).statusCode, { timeout: 1_500 })
    .toBe(401)
  for (const table of ['api_keys', 'domains', 'webhooks', 'inbox', 'idempotency_keys', 'suppressions']) {
    const left = await database.engine.query(`SELECT FROM valija.${table} WHERE tenant_id = $1`, [tenantId])
    expect([table, left.rowCount]).toEqual([table, 0])
  }
  expect((await remove(idOf(tenantId))).statusCode).toBe(404)
  await expect.poll(async () => (await api.ask('GET', '/keys', asOperator(tenantId))).statusCode).toBe(404)
})

test('204: of a tenant with 20,000 rows of a kind, in pieces that keep nobody else from sending', async () => {
  const { id, key } = (await api.ask('POST', '/tenants', { key: adminKey, body: { name: 'large' } })).json()
  const { engine } = api.foundation.database
  await engine.query(
    `INSERT INTO valija.idempotency_keys (tenant_id, key, body_hash, message_id, response, expires_at)
     SELECT t.id, i, '', t.id, '', now() + interval '1 day' FROM valija.tenants AS t, generate_series(1, 20000) AS i WHERE t.name = 'large'`,
  )
  const removed = remove(id)
  let isGone = false
  const gone = removed.then(() => {
    isGone = true
  })
  while (!isGone) await api.send()
  await gone
  expect((await removed).statusCode).toBe(204)
  const left = await engine.query(
    'SELECT FROM valija.idempotency_keys WHERE tenant_id NOT IN (SELECT id FROM valija.tenants) LIMIT 1',
  )
  expect(left.rowCount).toBe(0)
  await expect.poll(async () => (await api.ask('GET', '/keys', { key })).statusCode).toBe(401)
})

test('401 and 403 for everybody but the operator', () =>
  expectScope(api, 'DELETE', '/tenants/ten_x', 'operator'))

test('404 for an unknown one', async () => {
  expect((await remove('ten_0192f0c1a2b37c4d8e5f60718293a4b5')).statusCode).toBe(404)
})

describe('409', () => {
  test('for the default tenant', async () => {
    expect((await remove(idOf(api.tenant.id))).json()).toMatchObject({ status: 409, code: 'conflict' })
  })

  test('while mails are on their way: nothing is changed', async () => {
    const { id, key } = (await api.ask('POST', '/tenants', { key: adminKey, body: { name: 'busy' } })).json()
    const operator = { key: adminKey, headers: { 'valija-tenant': id } }
    await api.ask('POST', '/domains', { ...operator, body: { name: 'busy.test', vouched: true } })
    const mail = { from: 'a@busy.test', to: 'b@example.test', subject: 's', text: 't' }
    expect((await api.ask('POST', '/send', { key, body: mail })).statusCode).toBe(202)
    expect((await remove(id)).json()).toMatchObject({
      status: 409,
      detail: expect.stringContaining('1 recipient'),
    })
    expect((await api.ask('GET', '/keys', { key })).statusCode).toBe(200)
  })
})
