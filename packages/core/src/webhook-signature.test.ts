import { createHmac } from 'node:crypto'
import { Webhook } from 'standardwebhooks'
import { describe, expect, test } from 'vitest'
import {
  createWebhookSecret,
  joinWebhookSecrets,
  signWebhook,
  splitWebhookSecrets,
  webhookSecretOwner,
} from './webhook-signature.ts'

const body = '{"id":"evt_1","data":{"subject":"Grüße 👋"}}'

describe('signing a webhook', () => {
  test('a fixed case gives what HMAC-SHA256 over id.timestamp.body gives', () => {
    const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
    const headers = signWebhook('evt_1', 1_614_265_330_999, body, [secret])
    const key = Buffer.from('MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'base64')
    const mac = createHmac('sha256', key).update(`evt_1.1614265330.${body}`).digest('base64')
    expect(headers).toEqual({
      'webhook-id': 'evt_1',
      'webhook-timestamp': '1614265330',
      'webhook-signature': `v1,${mac}`,
    })
  })

  test("the specification's own library accepts it", () => {
    const secret = createWebhookSecret()
    const headers = signWebhook('evt_1', Date.now(), body, [secret])
    expect(new Webhook(secret).verify(body, headers)).toEqual(JSON.parse(body))
  })

  test('during a rotation receivers with either secret accept it, and with another none', () => {
    const [old, fresh] = [createWebhookSecret(), createWebhookSecret()]
    const headers = signWebhook('evt_1', Date.now(), body, [fresh, old])
    for (const secret of [old, fresh]) expect(() => new Webhook(secret).verify(body, headers)).not.toThrow()
    expect(() => new Webhook(createWebhookSecret()).verify(body, headers)).toThrow()
  })

  test('a changed body, id or time is refused', () => {
    const secret = createWebhookSecret()
    const headers = signWebhook('evt_1', Date.now(), body, [secret])
    const isRefused = (text: string, changed: object) =>
      expect(() => new Webhook(secret).verify(text, { ...headers, ...changed })).toThrow()
    isRefused(`${body} `, {})
    isRefused(body, { 'webhook-id': 'evt_2' })
    isRefused(body, { 'webhook-timestamp': String(Math.floor(Date.now() / 1000) + 1) })
  })
})

describe('webhook secrets', () => {
  test('have 32 random octets in base64 behind whsec_', () => {
    const secret = createWebhookSecret()
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
    expect(createWebhookSecret()).not.toBe(secret)
  })

  test('one or two come back as they were joined, newest first', () => {
    const pair = [createWebhookSecret(), createWebhookSecret()]
    expect(splitWebhookSecrets(joinWebhookSecrets(pair))).toEqual(pair)
    expect(splitWebhookSecrets(joinWebhookSecrets(pair.slice(1)))).toEqual(pair.slice(1))
  })

  test('their owner names tenant and webhook', () => {
    expect(webhookSecretOwner('t', 'w')).toBe('webhook:t:w')
  })
})
