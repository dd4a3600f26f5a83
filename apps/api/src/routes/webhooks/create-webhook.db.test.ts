/** POST /webhooks. */
import { splitWebhookSecrets, webhookSecretOwner } from '@valija/core'
import { maxWebhooks } from '@valija/store'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectFault, expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const add = (body: object) => api.ask('POST', '/webhooks', { body })

describe('201', () => {
  test('gives the secret once', async () => {
    const answer = await add({ url: 'https://acme.test/hook', events: ['*'] })
    expect(answer.statusCode).toBe(201)
    expect(answer.json()).toEqual({
      id: expect.stringMatching(/^whk_[0-9a-f]{32}$/),
      batch: null,
      disabled_at: null,
      failing_since: null,
      last_error: null,
      pending: { events: 0, is_exact: true },
      former_secret_until: null,
      url: 'https://acme.test/hook',
      events: ['*'],
      domains: [],
      tags: [],
      secret: expect.stringMatching(/^whsec_[A-Za-z0-9+/]{43}=$/),
      status: 'enabled',
      disabled_reason: null,
      created_at: expect.stringMatching(/Z$/),
    })
    expect((await api.ask('GET', '/webhooks')).body).not.toContain('whsec_')
  })

  test('keeps the secret sealed for this webhook of this tenant', async () => {
    const { id, secret } = (await add({ url: 'http://127.0.0.1:1/x', events: ['message.delivered'] })).json()
    const { engine } = api.foundation.database
    const row = await engine.query('SELECT id, secret FROM valija.webhooks WHERE id = $1', [id.slice(4)])
    const sealed: Buffer = row.rows[0].secret
    expect(sealed.includes(Buffer.from(secret.slice(6), 'base64'))).toBe(false)
    expect(sealed.includes(secret)).toBe(false)
    const { sealer } = api.foundation
    const opened = sealer.open(sealed, webhookSecretOwner(api.tenant.id, row.rows[0].id))
    expect(splitWebhookSecrets(opened)).toEqual([secret])
    expect(() => sealer.open(sealed, webhookSecretOwner(api.stranger.id, row.rows[0].id))).toThrow()
  })

  test('takes domains and tags to choose by', async () => {
    const body = {
      url: 'https://a.test',
      events: ['message.attempted'],
      domains: ['ACME.test'],
      tags: ['otp'],
    }
    expect((await add(body)).json()).toMatchObject({ domains: ['acme.test'], tags: ['otp'] })
  })
})

describe('400', () => {
  const url = 'https://a.test'
  test.each([
    ['no URL', { events: ['*'] }, '/url'],
    ['no events', { url }, '/events'],
    ['an empty list of events', { url, events: [] }, '/events'],
    ['an unknown event', { url, events: ['*', 'message.lost'] }, '/events/1'],
    ['another protocol', { url: 'ftp://a.test', events: ['*'] }, '/url'],
    ['a script', { url: 'javascript:alert(1)', events: ['*'] }, '/url'],
    ['no URL at all', { url: 'a.test/hook', events: ['*'] }, '/url'],
    ['a user', { url: 'https://me@a.test', events: ['*'] }, '/url'],
    ['a password', { url: 'https://me:secret@a.test', events: ['*'] }, '/url'],
    ['a line break', { url: 'https://a.test/\r\nx', events: ['*'] }, '/url'],
    ['a domain that is none', { url, events: ['*'], domains: ['x'] }, '/domains/0'],
    ['a tag that is too long', { url, events: ['*'], tags: ['x'.repeat(129)] }, '/tags/0'],
    ['a secret of its own', { url, events: ['*'], secret: 'whsec_x' }, '/secret'],
  ])('for %s', (_, body, path) => expectFault(api, 'POST', '/webhooks', body, path))
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'POST', '/webhooks', 'manage', { url: 'https://a.test', events: ['*'] }))

test('409 when a tenant has as many as it may', async () => {
  const { engine } = api.foundation.database
  await engine.query(
    `INSERT INTO valija.webhooks (id, tenant_id, url, events, secret)
     SELECT gen_random_uuid(), $1, 'https://a.test', '{*}', '' FROM generate_series(1, $2)`,
    [api.stranger.id, maxWebhooks - 1],
  )
  const body = { url: 'https://a.test', events: ['*'] }
  const addOne = () => api.ask('POST', '/webhooks', { key: api.stranger.key, body })
  expect((await addOne()).statusCode).toBe(201)
  expect((await addOne()).json()).toMatchObject({
    code: 'conflict',
    detail: expect.stringContaining(`${maxWebhooks} webhooks`),
  })
  expect((await add(body)).statusCode).toBe(201)
})
