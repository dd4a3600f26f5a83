/** Limits of tenants and keys, as requests meet them. */
import type { UsageLimitName } from '@valija/core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../../../tests/support/until.ts'
import { adminKey, message, openTestApi, type TestApi } from './open-api.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const makeKey = async (limits: object): Promise<string> => {
  const body = { name: 'bound', scopes: ['send', 'read', 'manage'], limits }
  return (await api.ask('POST', '/keys', { body })).json().key
}
const send = (key: string, fields: object = {}, headers = {}) =>
  api.ask('POST', '/send', { key, body: { ...message, ...fields }, headers })
const sendBatch = (key: string, messages: object[], mode: string) => {
  const body = { messages: messages.map((fields) => ({ ...message, ...fields })) }
  return api.ask('POST', `/send/batch?mode=${mode}`, { key, body })
}
const to = (...names: string[]) => ({ to: names.map((name) => `${name}@example.test`) })

describe('a quota of a key', () => {
  test('lets through what it says, and refuses the next with its name, its value and when to come back', async () => {
    const key = await makeKey({ recipients_per_day: 3 })
    expect((await send(key, to('a', 'b'))).statusCode).toBe(202)
    const refused = await send(key, to('c', 'd'))
    expect(refused.json()).toMatchObject({
      status: 429,
      code: 'quota_exceeded',
      limit: { of: 'key', name: 'recipients_per_day', value: 3, left: 1 },
    })
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
    expect(new Date(refused.json().limit.resets_at).getUTCHours()).toBe(0)
    expect((await send(key, to('c'))).statusCode).toBe(202)
  })

  test('that a message can never fit refuses it for good: 400 without Retry-After, and nothing is used', async () => {
    const key = await makeKey({ recipients_per_hour: 2 })
    const refused = await send(key, to('a', 'b', 'c'))
    expect(refused.json()).toMatchObject({
      status: 400,
      code: 'invalid_request',
      errors: [
        { path: '/to', message: expect.stringContaining('limits.recipients_per_hour of the key is 2') },
      ],
      limit: { of: 'key', name: 'recipients_per_hour', value: 2 },
    })
    expect(refused.headers['retry-after']).toBeUndefined()
    const batch = (await sendBatch(key, [to('a', 'b', 'c'), to('a', 'b')], 'permissive')).json()
    expect(batch.data.map(({ status }: { status: number }) => status)).toEqual([400, 202])
    expect((await send(key, to('a'))).statusCode).toBe(429)
  })

  test('is told in the headers of answers', async () => {
    const key = await makeKey({ recipients_per_day: 3, requests_per_minute: 100 })
    const { headers } = await send(key)
    expect(headers['ratelimit-policy']).toBe(
      '"key.requests_per_minute";q=100;w=60, "key.recipients_per_day";q=3;qu="recipients";w=86400',
    )
    expect(headers.ratelimit).toMatch(
      /^"key\.requests_per_minute";r=99;t=(?:60|[1-5]?\d), "key\.recipients_per_day";r=2;t=\d+$/,
    )
  })

  test('is not used by what is refused, nor by a repeated request', async () => {
    const key = await makeKey({ recipients_per_day: 2 })
    expect((await send(key, { to: [] })).statusCode).toBe(400)
    const repeat = () => send(key, {}, { 'idempotency-key': key.slice(-20) })
    const answers = await Promise.all([repeat(), repeat(), repeat()])
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([202, 202, 202])
    expect((await repeat()).headers['idempotency-replayed']).toBe('true')
    expect((await send(key)).statusCode).toBe(202)
    expect((await send(key)).statusCode).toBe(429)
    expect((await repeat()).statusCode).toBe(202)
  })

  test('refuses a strict batch whole, and of a permissive one what is beyond it', async () => {
    const key = await makeKey({ recipients_per_month: 4 })
    expect((await send(key, to('first'))).statusCode).toBe(202)
    const strict = await sendBatch(key, [to('a'), to('b', 'c'), to('d')], 'strict')
    expect(strict.json()).toMatchObject({ status: 429, code: 'quota_exceeded', limit: { left: 3 } })
    expect(strict.headers['retry-after']).toBeDefined()
    const permissive = (await sendBatch(key, [to('a'), to('b', 'c', 'd'), to('e', 'f')], 'permissive')).json()
    expect(permissive.data.map(({ status }: { status: number }) => status)).toEqual([202, 429, 202])
    expect(permissive.data[1].problem).toMatchObject({ code: 'quota_exceeded', limit: { left: 2 } })
  })

  test('that a strict batch can never fit refuses it for good, with how to split it, and nothing is used', async () => {
    const key = await makeKey({ recipients_per_month: 3 })
    const four = [to('a'), to('b', 'c'), to('d')]
    const refused = await sendBatch(key, four, 'strict')
    const message =
      'limits.recipients_per_month of the key is 3, and the batch has 4 recipients: it never fits, however long one waits. Split it into batches of at most 3, one a month, or send it with mode=permissive, which accepts what fits.'
    expect(refused.json()).toMatchObject({
      ...{ status: 400, code: 'invalid_request', detail: message, errors: [{ path: '/messages', message }] },
      limit: { of: 'key', name: 'recipients_per_month', value: 3 },
    })
    expect(refused.headers['retry-after']).toBeUndefined()
    expect((await sendBatch(key, four.slice(0, 2), 'strict')).statusCode).toBe(202)

    const careful = await makeKey({ recipients_per_hour_to_one_address: 1 })
    const twice = await sendBatch(careful, [to('a', 'Victim'), to('victim')], 'strict')
    expect(twice.json()).toMatchObject({
      status: 400,
      detail: expect.stringContaining('the batch has 2 messages to victim@example.test'),
    })
    expect((await sendBatch(careful, [to('victim'), to('a')], 'strict')).statusCode).toBe(202)
  })

  test('does not refuse the repetition of a batch that was accepted', async () => {
    const key = await makeKey({ recipients_per_day: 2 })
    const keyed = [to('a'), to('b')].map((one, n) => ({ ...one, idempotency_key: `fits-${n}` }))
    expect((await sendBatch(key, keyed, 'strict')).statusCode).toBe(202)
    expect((await sendBatch(key, keyed, 'strict')).statusCode).toBe(202)
    const another = await sendBatch(key, [...keyed, to('c')], 'strict')
    expect(another.json()).toMatchObject({ status: 429, limit: { left: 0 } })
  })

  test('is told of once', async () => {
    const key = await makeKey({ recipients_per_day: 1 })
    for (let i = 0; i < 3; i++) await send(key)
    const { rows } = await api.foundation.database.engine.query(
      `SELECT data FROM valija.events WHERE type = 'quota.reached' AND data ->> 'value' = '1'`,
    )
    expect(rows).toEqual([
      { data: expect.objectContaining({ of: 'key', limit: 'recipients_per_day', used: 1 }) },
    ])
  })
})

test('a request limit counts every request, with its own code', async () => {
  const key = await makeKey({ requests_per_minute: 2 })
  const ask = () => api.ask('GET', '/messages', { key })
  expect([(await ask()).statusCode, (await ask()).statusCode]).toEqual([200, 200])
  const refused = await ask()
  expect(refused.json()).toMatchObject({
    status: 429,
    code: 'rate_limited',
    limit: { name: 'requests_per_minute' },
  })
  expect(Number(refused.headers['retry-after'])).toBeLessThanOrEqual(60)
  expect(refused.headers.ratelimit).toMatch(/^"key\.requests_per_minute";r=0;t=\d+$/)
})

test('one address is not flooded: the next mail to it is refused, to others not', async () => {
  const key = await makeKey({ recipients_per_hour_to_one_address: 1 })
  expect((await send(key, to('victim'))).statusCode).toBe(202)
  const refused = await send(key, to('other', 'Victim'))
  expect(refused.json()).toMatchObject({ status: 429, code: 'rate_limited' })
  expect(refused.json().detail).toContain('victim@example.test')
  expect((await send(key, to('other'))).statusCode).toBe(202)
})

test('a tenant’s limit holds for all its keys together, and for the operator who acts for it', async () => {
  const made = (await api.ask('POST', '/tenants', { key: adminKey, body: { name: 'limited' } })).json()
  const limits: { [Name in UsageLimitName]?: number } = { recipients_per_day: 2 }
  const change = { key: adminKey, body: { limits } }
  expect((await api.ask('PATCH', `/tenants/${made.id}`, change)).json().limits).toEqual(limits)
  const simulated = { from: 'a@limited.test', to: 'delivered@simulator.valija.test', sandbox: true }
  const headers = { 'valija-tenant': made.id }
  const vouched = { name: 'limited.test', vouched: true }
  await api.ask('POST', '/domains', { key: adminKey, body: vouched, headers })
  const second = (
    await api.ask('POST', '/keys', { key: made.key, body: { name: 'second', scopes: ['send'] } })
  ).json().key
  expect((await send(made.key, simulated)).statusCode).toBe(202)
  expect((await send(second, simulated)).statusCode).toBe(202)
  expect((await send(second, simulated)).json()).toMatchObject({ status: 429, limit: { of: 'tenant' } })
  expect((await send(adminKey, simulated, headers)).statusCode).toBe(429)
})

describe('how large a message may be', () => {
  test('413 for its octets, 400 for recipients and attachments, each with the limit', async () => {
    const key = await makeKey({ max_message_bytes: 1_000, max_recipients: 2, max_attachments: 1 })
    const large = await send(key, { text: 'x'.repeat(2_000) })
    expect(large.json()).toMatchObject({
      status: 413,
      limit: { of: 'key', name: 'max_message_bytes', value: 1_000 },
    })
    const many = await send(key, to('a', 'b', 'c'))
    expect(many.json()).toMatchObject({
      status: 400,
      limit: { name: 'max_recipients' },
      errors: [{ path: '/to' }],
    })
    const attachment = { filename: 'a.txt', content: 'YQ==' }
    const two = await send(key, { attachments: [attachment, attachment] })
    expect(two.json()).toMatchObject({ status: 400, limit: { name: 'max_attachments', value: 1 } })
    expect((await send(key, { attachments: [attachment] })).statusCode).toBe(202)
    const batch = await sendBatch(key, [{}, to('a', 'b', 'c')], 'strict')
    expect(batch.json()).toMatchObject({
      status: 400,
      errors: [{ path: '/messages/1/to' }],
      limit: { value: 2 },
    })
  })
})

describe('a key with limits', () => {
  test('makes no key with more, and widens none', async () => {
    const key = await makeKey({ recipients_per_day: 10 })
    const make = (limits?: object) =>
      api.ask('POST', '/keys', { key, body: { name: 'wide', scopes: ['send'], ...(limits && { limits }) } })
    expect((await make()).json()).toMatchObject({ status: 403, code: 'key_restricted' })
    expect((await make({ recipients_per_day: 11 })).statusCode).toBe(403)
    const made = (await make({ recipients_per_day: 9 })).json()
    expect(made.limits).toEqual({ recipients_per_day: 9 })
    const widen = await api.ask('PATCH', `/keys/${made.id}`, {
      key,
      body: { limits: { recipients_per_day: null } },
    })
    expect(widen.statusCode).toBe(403)
  })

  test('has them changed, and taken away by null', async () => {
    const key = await makeKey({ recipients_per_day: 1 })
    await send(key)
    expect((await send(key)).statusCode).toBe(429)
    const { data } = (await api.ask('GET', '/keys')).json()
    const change = { body: { limits: { recipients_per_day: null } } }
    expect((await api.ask('PATCH', `/keys/${data[0].id}`, change)).json().limits).toEqual({})
    // Known within milliseconds, not at once.
    await until('a send that is accepted', async () => (await send(key)).statusCode === 202)
  })
})
