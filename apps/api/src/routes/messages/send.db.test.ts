/** POST /send, by status. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { liveMemory } from '../../../../../tests/support/live-memory.ts'
import { until } from '../../../../../tests/support/until.ts'
import { message, openTestApi, type TestApi } from '../../open-api.test-support.ts'

let api: TestApi

beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api?.close())

const json = { 'content-type': 'application/json' }
const post = (body: object | string | Buffer, headers: Record<string, string> = {}, key?: string | null) =>
  api.ask('POST', '/send', { body, headers: { ...json, ...headers }, ...(key !== undefined && { key }) })

describe('202', () => {
  test('a message is answered with its id, where it goes, and each recipient once', async () => {
    const answer = await post({
      ...message,
      to: ['Ann@Example.test', 'bob@example.test'],
      cc: 'ann@EXAMPLE.test',
    })
    expect(answer.statusCode).toBe(202)
    expect(answer.headers['content-type']).toBe('application/json; charset=utf-8')
    expect(answer.json()).toEqual({
      id: expect.stringMatching(/^msg_[0-9a-f]{32}$/),
      status: 'queued',
      delivery: 'capture',
      created_at: expect.stringMatching(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/),
      recipients: [
        {
          id: expect.stringMatching(/^rcp_[0-9a-f]{32}$/),
          email: 'Ann@example.test',
          type: 'to',
          status: 'queued',
        },
        {
          id: expect.stringMatching(/^rcp_[0-9a-f]{32}$/),
          email: 'bob@example.test',
          type: 'to',
          status: 'queued',
        },
      ],
    })
  })

  test('the same key with the same bytes gets the stored answer, byte for byte, and is sent once', async () => {
    const headers = { 'idempotency-key': 'order-4711' }
    const first = await post(message, headers)
    const second = await post(message, headers)
    expect(first.headers['idempotency-replayed']).toBeUndefined()
    expect(second.statusCode).toBe(202)
    expect(second.headers['idempotency-replayed']).toBe('true')
    expect(second.rawPayload.equals(first.rawPayload)).toBe(true)
  })

  test('every form of an address is taken', async () => {
    const answer = await post({
      ...message,
      from: { email: 'hello@acme.test', name: 'Acme' },
      to: { email: 'ann@example.test' },
      cc: [{ email: 'bob@example.test', name: 'Bob' }, 'Eve <eve@example.test>'],
      reply_to: 'support@acme.test',
    })
    expect(answer.statusCode, answer.body).toBe(202)
  })
})

describe('400', () => {
  const faults: [string, object | string, string][] = [
    ['an unknown field', { ...message, colour: 'red' }, '/colour'],
    ['an unknown field of an address', { ...message, to: [{ email: 'a@b.test', nick: 'x' }] }, '/to/0/nick'],
    ['a field of a wrong type', { ...message, subject: 7 }, '/subject'],
    [
      'a number where a text belongs is not made one',
      { ...message, metadata: { order: 4711 } },
      '/metadata/order',
    ],
    ['a text where a truth value belongs', { ...message, sandbox: 'true' }, '/sandbox'],
    ['an address of a wrong type', { ...message, to: [7] }, '/to/0'],
    ['an address that is none', { ...message, to: ['ann'] }, '/to/0'],
    [
      'links to unsubscribe by where nobody waits for news',
      { ...message, unsubscribe: true },
      '/unsubscribe',
    ],
    [
      'a wish not to be unsubscribed from',
      { ...message, stream: 'bulk', unsubscribe: false },
      '/unsubscribe',
    ],
    ['no way to unsubscribe', { ...message, stream: 'bulk', unsubscribe: {} }, '/unsubscribe'],
    ['an unknown way', { ...message, stream: 'bulk', unsubscribe: { phone: '1' } }, '/unsubscribe/phone'],
    [
      'a way without TLS',
      { ...message, stream: 'bulk', unsubscribe: { url: 'http://a.test' } },
      '/unsubscribe/url',
    ],
    ['no from', { to: message.to, subject: 's', text: 't' }, '/from'],
    ['a list for a body', '[]', ''],
    ['no body', '', ''],
    ['half a body', '{"from":', ''],
    ['a byte order mark', '\ufeff{}', ''],
    ['__proto__', '{"from":"a@b.test","__proto__":{"to":"x"}}', '/__proto__'],
    ['__proto__ in disguise', '{"metadata":{"\\u005f_proto__":"x"}}', '/metadata/__proto__'],
    ['U+0000', { ...message, subject: 'a\0b' }, '/subject'],
    ['a lone surrogate', JSON.stringify({ ...message, text: 'x' }).replace('"x"', '"\\ud800"'), '/text'],
  ]
  test.each(faults)('%s is refused at its path', async (_, body, path) => {
    const answer = await post(body)
    expect(answer.statusCode).toBe(400)
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/)
    const problem = answer.json()
    expect(problem).toMatchObject({ status: 400, code: 'invalid_request', fix: expect.any(String) })
    expect(problem.request_id).toMatch(/^req_/)
    expect(problem.errors.map((error: { path: string }) => error.path)).toContain(path)
  })

  const pathsOf = async (body: object) =>
    (await post(body)).json().errors.map((error: { path: string }) => error.path)

  test('an idempotency key in the body is shown to its header', async () => {
    expect((await post({ ...message, idempotency_key: 'x' })).json().errors).toEqual([
      { path: '/idempotency_key', message: 'Is no field here: send it as the header Idempotency-Key.' },
    ])
  })

  test('all that is missing is named at once', async () => {
    expect(await pathsOf({})).toEqual(['/from', '/to', '/subject', '/text'])
    expect(await pathsOf({ raw: 'eA==' })).toEqual(['/from', '/to', '/raw'])
  })

  test('all faults of the shape are named at once, each at its own place', async () => {
    const body = { ...message, subject: 7, colour: 1, size: 2, to: ['ann@example.test', 7], stream: 'x' }
    expect((await pathsOf(body)).sort()).toEqual(['/colour', '/size', '/stream', '/subject', '/to/1'])
  })

  test('what values mean is judged beside the shape, and nothing is said of what stands where the shape is wrong', async () => {
    const body = {
      ...{ colour: 1, from: 'x y', to: ['b.test', 7, { name: 'Bob' }], subject: 7, ttl_seconds: 1 },
      ...{ stream: 'x', unsubscribe: true, headers: { Date: 'x', 'X-A': 1 }, send_at: 'soon' },
    }
    expect((await pathsOf(body)).sort()).toEqual(
      [
        ...[
          '/colour',
          '/from',
          '/to/0',
          '/to/1',
          '/to/2/email',
          '/subject',
          '/ttl_seconds',
          '/stream',
          '/text',
        ],
        ...['/headers/Date', '/headers/X-A', '/send_at'],
      ].sort(),
    )
  })

  test('a raw that is none says nothing of what stands beside it, nor of what it stands for', async () => {
    expect(await pathsOf({ ...message, raw: 5 })).toEqual(['/raw'])
    expect(await pathsOf({ from: 'a@b.test', to: 'c@d.test', raw: 5 })).toEqual(['/raw'])
  })

  test('of a body of more than 64 KiB the first fault is named', async () => {
    expect(await pathsOf({ ...message, colour: 1, size: 2, text: 'x'.repeat(65_536) })).toHaveLength(1)
  })

  test('octets that are not UTF-8 are refused', async () => {
    const answer = await post(Buffer.from('{"from":"a@b.test","subject":"\xff"}', 'latin1'))
    expect(answer.statusCode).toBe(400)
  })

  test('an unknown query key is refused', async () => {
    const answer = await api.ask('POST', '/send?dry_run=1', { body: message })
    expect(answer.json()).toMatchObject({ status: 400, errors: [{ path: 'dry_run' }] })
  })

  test.each([['x'.repeat(256)], ['with space'], ['\u00e9']])(
    'an unfit idempotency key is refused',
    async (key) => {
      const answer = await post(message, { 'idempotency-key': key })
      expect(answer.json()).toMatchObject({ status: 400, errors: [{ path: 'Idempotency-Key' }] })
    },
  )
})

describe('401 and 403', () => {
  test('nobody gets in without a key', async () => {
    const answer = await post(message, {}, null)
    expect(answer.json()).toMatchObject({ status: 401, code: 'invalid_key' })
    expect(answer.headers['www-authenticate']).toBe('Bearer')
  })

  test('a key without the scope send is refused before the body is looked at', async () => {
    const answer = await post('{"broken', {}, await api.keyWith('read', 'read:content', 'manage'))
    expect(answer.json()).toMatchObject({ status: 403, code: 'insufficient_scope' })
  })

  test('a tenant sends only from its own domains', async () => {
    const answer = await post(message, {}, api.stranger.key)
    expect(answer.json()).toMatchObject({ status: 403, code: 'domain_not_verified' })
  })
})

describe('409', () => {
  test('the same key with other bytes is refused', async () => {
    const headers = { 'idempotency-key': 'order-4712' }
    await post(message, headers)
    const answer = await post({ ...message, subject: 'Another' }, headers)
    expect(answer.json()).toMatchObject({ status: 409, code: 'idempotency_key_reused' })
  })
})

describe('413', () => {
  test('a message over the limit is refused', async () => {
    const answer = await post({ ...message, text: 'x'.repeat(4 * 1024 * 1024 + 1) })
    expect(answer.json()).toMatchObject({ status: 413, code: 'message_too_large' })
  })

  test('a body over one and a half times the limit is not read', async () => {
    const answer = await post(Buffer.alloc(6 * 1024 * 1024 + 1, 0x20))
    expect(answer.json()).toMatchObject({ status: 413, code: 'message_too_large' })
  })
})

describe('415', () => {
  const text = JSON.stringify(message)
  test.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/xml',
    'application/jsonp',
    'application/json; charset=utf-16',
    'text/json',
    ' ',
    'application/ld+json',
  ])('a body of the type %j does not reach the handler', async (type) => {
    const answer = await post(text, { 'content-type': type })
    expect(answer.statusCode).toBe(415)
    expect(answer.json()).toMatchObject({ code: 'unsupported_media_type' })
  })

  test.each([
    'application/json',
    'APPLICATION/JSON',
    'application/json;charset=UTF-8',
    'application/json ; charset="utf-8"',
  ])('a body of the type %j is taken', async (type) => {
    const answer = await post(text, { 'content-type': type })
    expect(answer.statusCode, answer.body).toBe(202)
  })

  test('a compressed body is refused, not unpacked', async () => {
    const answer = await post(Buffer.alloc(100), { 'content-encoding': 'gzip' })
    expect(answer.json()).toMatchObject({ status: 415, code: 'unsupported_media_type' })
  })
})

describe('JSON that was made to hurt', () => {
  test('a hundred thousand nested lists are refused within seconds of the processor', async () => {
    // Of this thread, so that what else the machine does is not counted.
    const before = process.threadCpuUsage()
    const deep = '['.repeat(100_000) + ']'.repeat(100_000)
    expect((await post(deep)).statusCode).toBe(400)
    expect((await post(`{"from":${deep}}`)).statusCode).toBe(400)
    expect((await post(`{"metadata":{"__proto__x":${deep}}}`)).statusCode).toBe(400)
    const { user, system } = process.threadCpuUsage(before)
    expect(user + system).toBeLessThan(3_000_000)
  })

  test('a body of many keys is refused', async () => {
    const keys = Array.from({ length: 200_000 }, (_, index) => `"k${index}":"v"`).join(',')
    const before = process.threadCpuUsage()
    expect((await post(`{${keys}}`)).statusCode).toBe(400)
    expect((await post(`{"metadata":{${keys}}}`)).statusCode).toBe(400)
    const { user, system } = process.threadCpuUsage(before)
    expect(user + system).toBeLessThan(3_000_000)
  })
})

describe('while messages wait for their commit', () => {
  test('what they were made from is held by nobody, with a key or without one', async () => {
    const inputs: WeakRef<object>[] = []
    const { foundation, ask, close } = await openTestApi({}, {}, ({ sendDesk }) => ({
      sendDesk: {
        ...sendDesk,
        send: (caller, input, ...others) => {
          inputs.push(new WeakRef(input))
          return sendDesk.send(caller, input, ...others)
        },
      },
    }))
    const client = await foundation.database.engine.connect()
    await client.query('BEGIN')
    await client.query('LOCK TABLE valija.messages IN SHARE MODE')
    // The second and the third wait in line behind the first.
    const keys: Record<string, string>[] = [{}, { 'idempotency-key': 'a' }, {}]
    const answers = keys.map((headers) => ask('POST', '/send', { body: message, headers }))
    await until('all are being sent', () => inputs.length === keys.length)
    const isHeld = (input: WeakRef<object>) => input.deref() !== undefined
    await until('none is held', () => liveMemory() > 0 && !inputs.some(isHeld), 7_000)
    await client.query('ROLLBACK')
    client.release()
    expect((await Promise.all(answers))[0]?.statusCode).toBe(202)
    await close()
  })
})
