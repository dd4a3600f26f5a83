/** Calls over real sockets to a server that fails as it is told. */
import { expect, expectTypeOf, onTestFinished, test, vi } from 'vitest'
import { type Domain, Valija, ValijaError } from './index.ts'
import { type Asked, problem, type ScriptedAnswer, startScriptedApi } from './scripted-api.test-support.ts'

const mail = { from: 'hi@acme.test', to: 'ann@example.org', subject: 'Hello', text: 'It works.' }
const accepted = { status: 202, json: { id: 'msg_1', status: 'queued' } }
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const keyOf = ({ headers }: Asked) => headers['idempotency-key']
const refusal = (call: Promise<unknown>): Promise<ValijaError> =>
  call.then(
    () => expect.unreachable('it was not refused'),
    (error) => error,
  )

test('a call has the key, the tenant, a path below that of the url, and the JSON of the message', async () => {
  const { url, asked } = await startScriptedApi([accepted])
  const client = new Valija({ url: `${url}/mail/`, apiKey: 'vlj_key\n', tenant: 'ten_1' })
  expect(await client.send(mail)).toEqual(accepted.json)
  const { method, path, headers, body } = asked[0]!
  expect([method, path, JSON.parse(body)]).toEqual(['POST', '/mail/send', mail])
  expect(headers).toMatchObject({
    authorization: 'Bearer vlj_key',
    'valija-tenant': 'ten_1',
    'content-type': 'application/json',
    'idempotency-key': expect.stringMatching(uuid),
  })
})

test.each<[string, ScriptedAnswer]>([
  ['a cut connection', 'cut'],
  ['500', problem(500, 'internal')],
  ['502 of a proxy', { status: 502, type: 'text/html', text: '<h1>Bad gateway</h1>' }],
  ['503', problem(503, 'database_unavailable', { 'retry-after': '0' })],
  ['429', problem(429, 'rate_limited', { 'retry-after': '0' })],
  ['409 for a try that is still in flight', problem(409, 'idempotency_in_progress')],
])('after %s a send is repeated with the same key and bytes', async (_name, trouble) => {
  const { asked, client } = await startScriptedApi([trouble, trouble, accepted])
  expect(await client.send(mail)).toEqual(accepted.json)
  expect(asked).toHaveLength(3)
  expect(new Set(asked.map(keyOf)).size).toBe(1)
  expect(new Set(asked.map(({ body }) => body)).size).toBe(1)
})

test('two sends have keys of their own, and one that is given is taken', async () => {
  const { asked, client } = await startScriptedApi([accepted])
  await client.send(mail)
  await client.send(mail)
  await client.send(mail, { idempotencyKey: 'order-42' })
  expect(new Set(asked.map(keyOf)).size).toBe(3)
  expect(keyOf(asked[2]!)).toBe('order-42')
})

test('each message of a batch has a key, the same at every try, and its own where it brings one', async () => {
  const { asked, client } = await startScriptedApi(['cut', { status: 202, json: { data: [accepted.json] } }])
  const absent: object = { idempotency_key: undefined }
  await client.sendBatch([mail, { ...mail, idempotency_key: 'mine' }, { ...mail, ...absent }])
  const keys = asked.map(({ body }) =>
    (JSON.parse(body) as { messages: { idempotency_key: string }[] }).messages.map(
      (one) => one.idempotency_key,
    ),
  )
  expect(keys).toHaveLength(2)
  expect(keys[0]).toEqual([expect.stringMatching(uuid), 'mine', expect.stringMatching(uuid)])
  expect(keys[0]![0]).not.toBe(keys[0]![2])
  expect(keys[1]).toEqual(keys[0])
  expect(asked[0]).toMatchObject({ path: '/send/batch?mode=strict' })
  expect(keyOf(asked[0]!)).toBeUndefined()
})

test('a refusal is not repeated, and tells what the problem tells', async () => {
  const { asked, client } = await startScriptedApi([
    {
      status: 400,
      json: {
        ...problem(400, 'invalid_request').json,
        detail: '/to/0: is not an address',
        errors: [{ path: '/to/0', message: 'is not an address' }],
      },
    },
  ])
  const error = await refusal(client.send(mail))
  expect(error).toBeInstanceOf(ValijaError)
  expect(error).toMatchObject({
    name: 'ValijaError',
    message: '/to/0: is not an address',
    code: 'invalid_request',
    status: 400,
    fix: 'Do.',
    errors: [{ path: '/to/0', message: 'is not an address' }],
    requestId: 'req-7',
    isRetryable: false,
  })
  expect(asked).toHaveLength(1)
})

test('Retry-After is waited for', async () => {
  const { asked, client } = await startScriptedApi([
    problem(429, 'rate_limited', { 'retry-after': '1' }),
    accepted,
  ])
  await client.send(mail)
  expect(asked[1]!.atMs - asked[0]!.atMs).toBeGreaterThanOrEqual(990)
})

test('a Retry-After beyond the deadline is not waited for', async () => {
  const { asked, client } = await startScriptedApi([problem(429, 'queue_full', { 'retry-after': '600' })])
  expect(await refusal(client.send(mail))).toMatchObject({ code: 'queue_full', retryAfterMs: 600_000 })
  expect(asked).toHaveLength(1)
})

test('the deadline ends the tries, with what the last one met', async () => {
  // The shortest waits: tries begin after 0, 125, 375 and 875 ms, and the next one would have no time.
  vi.spyOn(Math, 'random').mockReturnValue(0)
  onTestFinished(() => void vi.restoreAllMocks())
  const { asked, client } = await startScriptedApi([problem(503, 'database_unavailable')])
  const error = await refusal(client.send(mail, { deadlineMs: 2_000 }))
  expect(error).toMatchObject({ code: 'database_unavailable', status: 503 })
  expect(asked.length).toBeGreaterThan(1)
})

test('no try begins that the deadline would cut: what the last one was told is thrown', async () => {
  const { asked, client } = await startScriptedApi([
    problem(503, 'database_unavailable', { 'retry-after': '10' }),
    'silence',
  ])
  expect(await refusal(client.send(mail, { deadlineMs: 10_200 }))).toMatchObject({ status: 503 })
  expect(asked).toHaveLength(1)
})

test('nor does one after a wait that took longer than the time that was left, as where the machine slept', async () => {
  const now = performance.now.bind(performance)
  let sleptMs = 0
  vi.spyOn(performance, 'now').mockImplementation(() => now() + sleptMs)
  onTestFinished(() => void vi.restoreAllMocks())
  const { asked, client } = await startScriptedApi(() => {
    setTimeout(() => {
      sleptMs = 60_000
    }, 700)
    return problem(503, 'database_unavailable', { 'retry-after': '1' })
  })
  expect(await refusal(client.send(mail, { deadlineMs: 30_000 }))).toMatchObject({ status: 503 })
  expect(asked).toHaveLength(1)
})

test('as many tries as were allowed, and no more', async () => {
  const { url, asked } = await startScriptedApi([problem(503, 'database_unavailable')])
  const client = new Valija({ url, apiKey: 'vlj_key', maxTries: 2 })
  expect(await refusal(client.send(mail))).toMatchObject({ status: 503 })
  expect(asked).toHaveLength(2)
})

test('a try without an answer is given up and repeated; when all were, it says that it may have been accepted', async () => {
  const { asked, client } = await startScriptedApi(['silence', accepted])
  expect(await client.send(mail, { timeoutMs: 1_000 })).toEqual(accepted.json)
  expect(asked).toHaveLength(2)
  const { client: other } = await startScriptedApi(['silence'])
  const error = await refusal(other.send(mail, { timeoutMs: 1_000, deadlineMs: 1_700 }))
  expect(error).toMatchObject({ code: 'no_answer', status: null, isRetryable: true })
})

test('where nothing listens it says where and why', async () => {
  const error = await refusal(
    new Valija({ url: 'http://127.0.0.1:1', apiKey: 'x', deadlineMs: 1 }).send(mail),
  )
  expect(error).toMatchObject({ code: 'no_answer' })
  expect(error.message).toMatch(/127\.0\.0\.1:1 cannot be reached \(.*ECONNREFUSED|bad port/)
})

test.each([
  ['apiKey', { apiKey: 'secret\nkey' }],
  ['apiKey', { apiKey: 'secret\u0001' }],
  ['apiKey', { apiKey: 'secret€' }],
  ['apiKey', { apiKey: '' }],
  ['tenant', { apiKey: 'secret', tenant: 'secret\r\nx: y' }],
])('%s that no header can hold is refused at once, and not told: %j', (name, options) => {
  const make = () => new Valija({ url: 'http://127.0.0.1:1', ...options })
  expect(make).toThrow(TypeError)
  expect(make).toThrow(new RegExp(`^${name} must be(?!.*secret)`, 's'))
})

test.each([
  [undefined, 'is missing'],
  ['', 'is missing'],
  ['mail.acme.example', 'must begin with http:// or https://'],
  ['localhost:3000', 'must begin with http:// or https://'],
  ['ftp://mail.acme.example', 'must begin with http:// or https://'],
])('the url %j is refused at once: it %s', (url, what) => {
  const make = () => new Valija({ url: url as string, apiKey: 'vlj_key' })
  expect(make).toThrow(TypeError)
  expect(make).toThrow(`url ${what}: where the API is, such as https://mail.acme.example.`)
})

test('the signal ends a call under way and one that waits, with its reason', async () => {
  for (const answer of ['silence', problem(429, 'rate_limited', { 'retry-after': '60' })] as const) {
    const abort = new AbortController()
    const { client } = await startScriptedApi((_, count) => {
      if (count === 1) setTimeout(() => abort.abort(new Error('enough')), 50)
      return answer
    })
    const { message } = await refusal(client.send(mail, { signal: abort.signal }))
    expect(message).toBe('enough')
  }
})

test('a read is repeated, another write is not, unless the 429 says that nothing was done', async () => {
  const { asked, client } = await startScriptedApi([problem(500, 'internal'), { json: { id: 'msg_1' } }])
  expect(await client.messages.get('msg_1')).toEqual({ id: 'msg_1' })
  expect(asked.map(({ path }) => path)).toEqual(['/messages/msg_1', '/messages/msg_1'])

  const write = await startScriptedApi([problem(500, 'internal')])
  expect(await refusal(write.client.request('POST /domains', { body: { name: 'acme.test' } }))).toMatchObject(
    {
      code: 'internal',
    },
  )
  expect(write.asked).toHaveLength(1)

  const limited = await startScriptedApi([
    problem(429, 'rate_limited'),
    { status: 201, json: { id: 'dom_1' } },
  ])
  await limited.client.request('POST /domains', { body: { name: 'acme.test' } })
  expect(limited.asked).toHaveLength(2)
})

test('cancelling and moving are repeated, and a resend is so with a key', async () => {
  const { asked, client } = await startScriptedApi((_, count) =>
    count % 2 === 1 ? 'cut' : { json: { id: 'msg_1' } },
  )
  await client.messages.cancel('msg_1')
  await client.messages.move('msg_1', new Date(0))
  await client.messages.move('msg_1', null)
  await client.messages.resend('msg_1', { recipients: ['ann@example.org'] })
  expect(asked.map(({ method, path, body }) => `${method} ${path} ${body}`)).toEqual(
    [
      'POST /messages/msg_1/cancel ',
      'PATCH /messages/msg_1 {"send_at":"1970-01-01T00:00:00.000Z"}',
      'PATCH /messages/msg_1 {"send_at":null}',
      'POST /messages/msg_1/resend {"recipients":["ann@example.org"]}',
    ].flatMap((line) => [line, line]),
  )
  expect(keyOf(asked[6]!)).toMatch(uuid)
  expect(keyOf(asked[7]!)).toBe(keyOf(asked[6]!))
})

test('a list goes on over its pages, and a page is one', async () => {
  const { asked, client } = await startScriptedApi(({ path }) => ({
    json: path.includes('cursor=c2')
      ? { data: [{ id: 'c' }], next_cursor: null }
      : { data: [{ id: 'a' }, { id: 'b' }], next_cursor: 'c2' },
  }))
  const search = { status: 'bounced', 'metadata.order': 'a&b', after: undefined } as const
  const found = client.messages.list(search as never)
  expect(await found.toArray()).toEqual([{ id: 'a' }, { id: 'b' }, { id: 'c' }])
  expect(asked.map(({ path }) => path)).toEqual([
    '/messages?status=bounced&metadata.order=a%26b',
    '/messages?status=bounced&metadata.order=a%26b&cursor=c2',
  ])
  expect(await found.toArray(2)).toHaveLength(2)
  expect(asked).toHaveLength(3)
  expect(await found.page('c2')).toEqual({ data: [{ id: 'c' }], next_cursor: null })
})

test('answers are what they are: JSON, text, bytes, nothing', async () => {
  const { client } = await startScriptedApi([
    { type: 'text/plain; charset=utf-8', text: 'a TXT ü' },
    { type: 'message/rfc822', text: 'From: ü' },
    { status: 204, text: '' },
  ])
  expect(await client.request('GET /domains/{id}/zone', { path: { id: 'dom_1' } })).toBe('a TXT ü')
  expect(await client.messages.raw('msg_1')).toEqual(new TextEncoder().encode('From: ü'))
  expect(await client.request('DELETE /keys/{id}', { path: { id: 'key_1' } })).toBeUndefined()
})

test('a redirect is not followed: the key goes nowhere else', async () => {
  const { asked, url, client } = await startScriptedApi([
    { status: 302, headers: { location: '/elsewhere' }, text: '' },
  ])
  expect(await refusal(client.send(mail))).toMatchObject({ code: 'unknown_answer', status: 302 })
  expect(asked).toHaveLength(1)
  expect(url).toContain('127.0.0.1')
})

test('a parameter of the path that is written with a colon or has no value is refused before anything is asked', async () => {
  const { asked, client } = await startScriptedApi([{ json: {} }])
  const ask = (name: string, input?: object) =>
    refusal(client.request(name as 'GET /messages/{id}', input as { path: { id: string } }))
  for (const error of [
    await ask('GET /messages/:id', { path: { id: 'msg_1' } }),
    await ask('GET /messages/{id}'),
    await ask('GET /messages/{id}', { path: { id: '' } }),
  ]) {
    expect(error).toBeInstanceOf(TypeError)
    expect(error.message).toMatch(/\{id\}.*\{ path: \{ id \} \}/)
  }
  expect(asked).toEqual([])
  await client.request('GET /messages/{id}', { path: { id: 'msg_1' } })
  expect(asked.map(({ path }) => path)).toEqual(['/messages/msg_1'])
})

test('operations are typed by the description', () => {
  const client = new Valija({ url: 'http://127.0.0.1', apiKey: 'x' })
  const typed = () => [
    client.request('GET /queue'),
    // @ts-expect-error: an id is needed
    client.request('GET /messages/{id}'),
    // @ts-expect-error: it is called name
    client.request('POST /domains', { body: { nam: 'acme.test' } }),
    // @ts-expect-error: there is no such status
    client.request('GET /messages', { query: { status: 'lost' } }),
    // @ts-expect-error: it never ends
    client.list('GET /events'),
  ]
  expect(typed).toBeTypeOf('function')
  const verify = () => client.request('POST /domains/{id}/verify', { path: { id: 'dom_1' } })
  expectTypeOf(verify).returns.resolves.toEqualTypeOf<Domain>()
})

test('a table is sent as it is, and again after trouble', async () => {
  const { asked, client } = await startScriptedApi(['cut', { json: { added: 1 } }])
  const body = 'email\r\nann@example.org\r\n'
  await client.request('POST /suppressions/import', { body, query: { dry_run: true } })
  expect(asked).toMatchObject(
    Array.from({ length: 2 }, () => ({
      path: '/suppressions/import?dry_run=true',
      headers: { 'content-type': 'text/csv' },
      body,
    })),
  )
})
