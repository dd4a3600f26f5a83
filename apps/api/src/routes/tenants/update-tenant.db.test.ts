/** PATCH /tenants/:id. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../../../../../tests/support/until.ts'
import { adminKey, message, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectFault, expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
let id: string
beforeAll(async () => {
  api = await openTestApi()
  id = (await api.ask('POST', '/tenants', { key: adminKey, body: { name: 'acme' } })).json().id
})
afterAll(() => api.close())

const change = (body: object, of = id) => api.ask('PATCH', `/tenants/${of}`, { key: adminKey, body })

test('200: changes what is given and nothing else', async () => {
  expect((await change({ weight: 7 })).json()).toMatchObject({ id, name: 'acme', weight: 7, limits: {} })
  expect((await change({ name: 'acme 2' })).json()).toMatchObject({ name: 'acme 2', weight: 7 })
  expect((await change({ at_most_once: true })).json()).toMatchObject({ name: 'acme 2', at_most_once: true })
  expect((await change({})).json()).toMatchObject({ name: 'acme 2', weight: 7, at_most_once: true })
})

test('200: a shorter retention of its own, which null takes away; 400 for a longer one than the installation has', async () => {
  const days = { retention_days: 30, redact_after_days: 7 }
  expect((await change(days)).json()).toMatchObject(days)
  expect((await change({ retention_days: null })).json()).toMatchObject({ ...days, retention_days: null })
  await expectFault(api, 'PATCH', `/tenants/${id}`, { retention_days: 91 }, '/retention_days', {
    key: adminKey,
  })
  await expectFault(api, 'POST', '/tenants', { name: 'x', redact_after_days: 91 }, '/redact_after_days', {
    key: adminKey,
  })
  await expectFault(api, 'PATCH', `/tenants/${id}`, { redact_after_days: 0 }, '/redact_after_days', {
    key: adminKey,
  })
})

test.each([
  ['longer than the installation keeps content', { redact_after_days: 31 }, 'VALIJA_RETENTION_CONTENT'],
  ['longer than its mail is kept', { retention_days: 7, redact_after_days: 8 }, 'retention_days'],
])('400: content is not kept %s, on change as when it is made', async (_, days, name) => {
  const fault = { path: '/redact_after_days', message: expect.stringContaining(name) }
  expect((await change(days)).json()).toMatchObject({ status: 400, errors: [fault] })
  const made = await api.ask('POST', '/tenants', { key: adminKey, body: { name: 'kept', ...days } })
  expect(made.json()).toMatchObject({ status: 400, errors: [fault] })
})

test('200: a limit of its own is taken away by null', async () => {
  expect((await change({ limits: { queued: 5 } })).json()).toMatchObject({ limits: { queued: 5 } })
  expect((await change({ limits: { queued: null } })).json().limits).toEqual({})
})

test('200: limits of its alarms, each of which is taken away by null', async () => {
  const alarms = { bounce_rate: 0.02, pause_bulk: false, minimum_volume: 1_000 }
  expect((await change({ limits: { alarms } })).json()).toMatchObject({ limits: { alarms } })
  expect(
    (await change({ limits: { alarms: { bounce_rate: null, minimum_volume: null } } })).json().limits,
  ).toEqual({ alarms: { pause_bulk: false } })
  expect((await change({ limits: { alarms: null } })).json().limits).toEqual({})
})

test('200: limits that are not named stay as they are, also when several are changed at the same time', async () => {
  await change({ limits: { recipients_per_day: 7, alarms: { bounce_rate: 0.02 } } })
  const changes = [{ queued: 5 }, { max_recipients: 9 }, { alarms: { pause_bulk: false } }, {}]
  const answers = await Promise.all(changes.map((limits) => change({ limits })))
  expect(answers.map(({ statusCode }) => statusCode)).toEqual([200, 200, 200, 200])
  const left = { recipients_per_day: 7, queued: 5, max_recipients: 9 }
  expect((await change({})).json().limits).toEqual({
    ...left,
    alarms: { bounce_rate: 0.02, pause_bulk: false },
  })
  const ended = { alarms: { bounce_rate: null, pause_bulk: null } }
  expect((await change({ limits: ended })).json().limits).toEqual(left)
})

test('200: bulk mail that is held is accepted, says why it waits, and loses no time; other mail does not wait', async () => {
  const made = (await api.ask('POST', '/tenants', { key: adminKey, body: { name: 'bulky' } })).json()
  const headers = { 'valija-tenant': made.id }
  await api.ask('POST', '/domains', { key: adminKey, headers, body: { name: 'bulky.test', vouched: true } })
  expect((await change({ bulk_paused: true }, made.id)).json()).toMatchObject({
    status: 'active',
    bulk_paused: true,
    bulk_pause: { since: expect.stringMatching(/Z$/), reason: 'operator' },
  })
  const send = async (stream: string) => {
    const body = { ...message, from: 'a@bulky.test', stream }
    return (await api.ask('POST', '/send', { key: made.key, body })).json().id as string
  }
  const [bulk, code] = [await send('bulk'), await send('transactional')]
  const read = async (id: string) => (await api.ask('GET', `/messages/${id}`, { key: made.key })).json()
  const explain = async (id: string) =>
    (await api.ask('GET', `/messages/${id}/explain`, { key: made.key })).json().recipients[0]
  expect(await explain(bulk)).toMatchObject({
    because: [{ kind: 'bulk_paused' }],
    remedy: expect.stringContaining('"bulk_paused": false'),
  })
  expect((await explain(code)).because).not.toMatchObject([{ kind: 'bulk_paused' }])
  const { expires_at } = await read(bulk)
  await until('a later end', async () => (await read(bulk)).expires_at > expires_at)
  expect((await change({ bulk_paused: false }, made.id)).json()).toMatchObject({
    bulk_paused: false,
    bulk_pause: null,
  })
})

describe('200: a tenant that is suspended', () => {
  const send = (key: string, headers: Record<string, string> = {}) =>
    api.ask('POST', '/send', { key, headers, body: { ...message, from: 'a@held.test' } })
  const status = (of: string, to: string) => change({ status: to }, of)

  test('has nothing accepted, but stored answers; what it has waits, and its time does not run on', async () => {
    const made = (await api.ask('POST', '/tenants', { key: adminKey, body: { name: 'held' } })).json()
    const acting = { 'valija-tenant': made.id }
    const domain = { name: 'held.test', vouched: true }
    await api.ask('POST', '/domains', { key: adminKey, headers: acting, body: domain })
    const sent = (await send(made.key, { 'idempotency-key': 'once' })).json()
    expect((await status(made.id, 'suspended')).json()).toMatchObject({
      status: 'suspended',
      suspended_at: expect.stringMatching(/Z$/),
    })
    await until('a refusal', async () => (await send(made.key)).statusCode === 403)
    expect((await send(made.key)).json()).toMatchObject({ code: 'tenant_suspended' })
    const batch = { messages: [{ ...message, from: 'a@held.test' }] }
    expect((await api.ask('POST', '/send/batch', { key: made.key, body: batch })).json().code).toBe(
      'tenant_suspended',
    )
    expect((await send(adminKey, acting)).statusCode).toBe(403)
    expect((await send(made.key, { 'idempotency-key': 'once' })).json()).toEqual(sent)
    const read = async () => (await api.ask('GET', `/messages/${sent.id}`, { key: made.key })).json()
    const { expires_at } = await read()
    await until('a later end', async () => (await read()).expires_at > expires_at)
    const explained = (await api.ask('GET', `/messages/${sent.id}/explain`, { key: made.key })).json()
      .recipients[0]
    expect(explained).toMatchObject({ because: [{ kind: 'tenant_suspended' }] })
    expect(explained.remedy).toContain('"status": "active"')
    expect((await status(made.id, 'active')).json()).toMatchObject({ status: 'active', suspended_at: null })
    await until('an acceptance', async () => (await send(made.key)).statusCode === 202)
    const end = (await read()).expires_at
    expect(end > expires_at).toBe(true)
    expect((await read()).expires_at).toBe(end)
  })
})

test('400 names what is wrong', async () => {
  await expectFault(api, 'PATCH', `/tenants/${id}`, { weight: 1.5 }, '/weight', { key: adminKey })
  const unclear = { at_most_once: 'yes' }
  await expectFault(api, 'PATCH', `/tenants/${id}`, unclear, '/at_most_once', { key: adminKey })
  await expectFault(api, 'PATCH', `/tenants/${id}`, { key: 'x' }, '/key', { key: adminKey })
})

test('401 and 403 for everybody but the operator', () =>
  expectScope(api, 'PATCH', `/tenants/${id}`, 'operator', {}))

test('404 for an unknown one', async () => {
  expect((await change({}, 'ten_0192f0c1a2b37c4d8e5f60718293a4b5')).statusCode).toBe(404)
})

test('409 for a name that is taken', async () => {
  expect((await change({ name: 'stranger' })).json()).toMatchObject({ status: 409, code: 'conflict' })
})
