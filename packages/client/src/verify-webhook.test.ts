/** Webhooks as the official library signs them; what is not genuine is refused. */
import { Webhook } from 'standardwebhooks'
import { expect, test } from 'vitest'
import { verifyWebhook, WebhookVerificationError } from './verify-webhook.ts'

const secret = `whsec_${Buffer.from('a secret of twenty-four b').toString('base64')}`
const former = `whsec_${Buffer.from('the secret before that one').toString('base64')}`
const event = {
  id: 'evt_1',
  type: 'message.delivered',
  timestamp: '2026-11-23T14:05:09.123Z',
  data: { email: 'ü@b.test' },
}
const body = JSON.stringify(event)

/** As it would come now, or when it is said. */
function signed(text = body, by = [secret], at = new Date()) {
  return {
    'webhook-id': 'evt_1',
    'webhook-timestamp': `${Math.floor(at.getTime() / 1000)}`,
    'webhook-signature': by.map((one) => new Webhook(one).sign('evt_1', at, text)).join(' '),
  }
}

const refused = async (...given: Parameters<typeof verifyWebhook>) => {
  const error = await verifyWebhook(...given).then(
    () => 'taken',
    (thrown: unknown) => thrown,
  )
  return error instanceof WebhookVerificationError ? error.code : error
}

test('what the official library signs is taken, as text, as bytes, with headers of fetch and of Node', async () => {
  expect(await verifyWebhook(body, signed(), secret)).toEqual([event])
  expect(await verifyWebhook(Buffer.from(body), signed(), secret)).toEqual([event])
  expect(await verifyWebhook(body, new Headers(signed()), secret)).toEqual([event])
  const capitals = Object.fromEntries(
    Object.entries(signed()).map(([name, value]) => [name.toUpperCase(), value]),
  )
  expect(await verifyWebhook(body, capitals, secret)).toEqual([event])
})

test('a batch is all its events', async () => {
  const batch = JSON.stringify([event, { ...event, id: 'evt_2' }])
  expect((await verifyWebhook(batch, signed(batch), secret)).map(({ id }) => id)).toEqual(['evt_1', 'evt_2'])
})

test('while the secret is rotated either side may know both', async () => {
  expect(await refused(body, signed(body, [former]), secret)).toBe('forged')
  expect(await verifyWebhook(body, signed(body, [former]), [secret, former])).toEqual([event])
  expect(await verifyWebhook(body, signed(body, [secret, former]), former)).toEqual([event])
})

test('what was changed on the way is forged', async () => {
  const headers = signed()
  expect(await refused(body.replace('ü', 'u'), headers, secret)).toBe('forged')
  expect(await refused(body, { ...headers, 'webhook-id': 'evt_2' }, secret)).toBe('forged')
  const later = `${Number(headers['webhook-timestamp']) + 1}`
  expect(await refused(body, { ...headers, 'webhook-timestamp': later }, secret)).toBe('forged')
  const signature = headers['webhook-signature']
  for (const other of [
    signature.replace('v1,', 'v1a,'),
    'v1,',
    'v1,%%%',
    'v1',
    signature.slice(0, -4),
    `${signature},`,
  ])
    expect(await refused(body, { ...headers, 'webhook-signature': other }, secret)).toBe('forged')
})

test('one from long ago or ahead of time is stale, by a tolerance that can be said', async () => {
  const at = (seconds: number) => signed(body, [secret], new Date(Date.now() + seconds * 1000))
  expect(await refused(body, at(-310), secret)).toBe('stale')
  expect(await refused(body, at(310), secret)).toBe('stale')
  expect(await verifyWebhook(body, at(-290), secret)).toEqual([event])
  expect(await refused(body, at(-60), secret, { toleranceSeconds: 30 })).toBe('stale')
  expect(await refused(body, { ...at(0), 'webhook-timestamp': 'NaN' }, secret)).toBe('stale')
})

test('without its headers it is missing, and signed nonsense is unreadable', async () => {
  expect(await refused(body, {}, secret)).toBe('missing')
  expect(await refused('{', signed('{'), secret)).toBe('unreadable')
})

test('a secret that is none is a fault of the program, not of the webhook', async () => {
  for (const none of ['', 'whsec_', 'whsec_%%%'])
    expect(await refused(body, signed(), none)).toBeInstanceOf(TypeError)
  expect(await refused(body, signed(), [])).toBe('forged')
})
