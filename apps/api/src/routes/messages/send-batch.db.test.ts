/** POST /send/batch, by status, in both modes. */
import { formatId, ProductError } from '@valija/core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { adminKey, message, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi

beforeAll(async () => {
  api = await openTestApi()
  // The default tenant may send from any domain; this one from its own.
  const operator = { 'valija-tenant': formatId('tenant', api.stranger.id) }
  const domain = { name: 'acme.test', vouched: true }
  const made = await api.ask('POST', '/domains', { key: adminKey, headers: operator, body: domain })
  expect(made.statusCode, made.body).toBe(201)
})
afterAll(() => api?.close())

interface Asking {
  mode?: string
  key?: string | null
  headers?: Record<string, string>
}

const post = (messages: unknown, { mode, key, headers }: Asking = {}) =>
  api.ask('POST', `/send/batch${mode === undefined ? '' : `?mode=${mode}`}`, {
    body: { messages } as object,
    ...(headers && { headers }),
    ...(key !== undefined && { key }),
  })
const permissive = (messages: unknown, more: Asking = {}) => post(messages, { ...more, mode: 'permissive' })

const countMessages = async (): Promise<number> => {
  const found = await api.foundation.database.engine.query('SELECT count(*)::int AS n FROM valija.messages')
  return found.rows[0].n
}
/** What is answered and how many messages are new. */
async function count(work: Promise<{ statusCode: number; body: string }>) {
  const before = await countMessages()
  const { statusCode } = await work
  return [statusCode, (await countMessages()) - before]
}
const pathsOf = (answer: { json(): { errors: { path: string }[] } }) =>
  answer.json().errors.map(({ path }) => path)
const idsOf = (answer: { json(): { data: { id: string }[] } }) => answer.json().data.map(({ id }) => id)

const named = (subject: string, more: object = {}) => ({ ...message, subject, ...more })
const invalid = named('s', { to: ['ann@example.test', 'bob'] })
const foreign = { ...named('f'), from: 'hi@not-ours.test' }

describe('202, strict', () => {
  test('every message is answered as by POST /send, in order, in one transaction', async () => {
    const messages = [
      named('first'),
      named('later', { send_at: new Date(Date.now() + 3_600_000).toISOString() }),
      named('with a file', { attachments: [{ filename: 'a.txt', content: 'eA==' }] }),
    ]
    const answer = await post(messages)
    expect(answer.statusCode, answer.body).toBe(202)
    expect(answer.headers['content-type']).toBe('application/json; charset=utf-8')
    expect(answer.headers['idempotency-replayed']).toBeUndefined()
    const { data } = answer.json()
    expect(data.map(({ status }: { status: string }) => status)).toEqual(['queued', 'scheduled', 'queued'])
    for (const id of idsOf(answer)) expect(id).toMatch(/^msg_[0-9a-f]{32}$/)
    const subjects = await Promise.all(
      idsOf(answer).map(async (id) => (await api.ask('GET', `/messages/${id}`)).json().subject),
    )
    expect(subjects).toEqual(['first', 'later', 'with a file'])
    const { rows } = await api.foundation.database.engine.query(
      'SELECT DISTINCT xmin::text FROM valija.messages WHERE id = ANY ($1::uuid[])',
      [idsOf(answer).map((id) => id.slice(4))],
    )
    expect(rows).toHaveLength(1)
  })

  test('a thousand messages in several statements have one commit, and each its body', async () => {
    const messages = Array.from({ length: 1_000 }, (_, i) => named(`n${i}`, { text: `body ${i}` }))
    const answer = await post(messages)
    expect(answer.statusCode, answer.body.slice(0, 500)).toBe(202)
    const ids = idsOf(answer)
    expect(new Set(ids).size).toBe(1_000)
    const { rows } = await api.foundation.database.engine.query(
      `SELECT count(*)::int AS messages, count(DISTINCT xmin::text)::int AS commits,
         (SELECT count(*)::int FROM valija.recipients WHERE message_id = ANY ($1::uuid[])) AS recipients,
         (SELECT count(*)::int FROM valija.bodies WHERE message_id = ANY ($1::uuid[])) AS bodies
       FROM valija.messages WHERE id = ANY ($1::uuid[])`,
      [ids.map((id) => id.slice(4))],
    )
    expect(rows).toEqual([{ messages: 1_000, commits: 1, recipients: 1_000, bodies: 1_000 }])
    const last = await api.ask('GET', `/messages/${ids[999]}/raw`)
    expect(last.body).toContain('body 999')
  })

  test('repeated with its keys it has the same answer, byte for byte, and nothing is sent again', async () => {
    const messages = ['a', 'b', 'c'].map((name) => named(name, { idempotency_key: `strict-${name}` }))
    const first = await post(messages)
    expect(first.statusCode, first.body).toBe(202)
    const before = await countMessages()
    const second = await post(messages)
    expect(second.statusCode).toBe(202)
    expect(second.body).toBe(first.body)
    expect(second.headers['idempotency-replayed']).toBe('true')
    expect(await countMessages()).toBe(before)
    // With one more, only that is new.
    const more = await post([named('d', { idempotency_key: 'strict-d' }), ...messages])
    expect(more.headers['idempotency-replayed']).toBeUndefined()
    expect(idsOf(more).slice(1)).toEqual(idsOf(first))
    expect(await countMessages()).toBe(before + 1)
  })

  test('the same message twice with one key is sent once', async () => {
    const twin = named('twin', { idempotency_key: 'twin' })
    const before = await countMessages()
    const answer = await post([twin, named('other'), { ...twin }])
    const [first, other, second] = idsOf(answer)
    expect(answer.statusCode).toBe(202)
    expect(second).toBe(first)
    expect(other).not.toBe(first)
    expect(await countMessages()).toBe(before + 2)
  })

  test('a message that POST /send has accepted with that key is not sent again', async () => {
    const alone = await api.ask('POST', '/send', {
      body: JSON.stringify(named('alone')),
      headers: { 'content-type': 'application/json', 'idempotency-key': 'alone' },
    })
    const answer = await post([named('alone', { idempotency_key: 'alone' })])
    expect(idsOf(answer)).toEqual([alone.json().id])
  })

  test('suppressed recipients are told, each in the answer of its message, and the others are sent to', async () => {
    await api.ask('POST', '/suppressions', { body: { email: 'gone@example.test' } })
    const answer = await post([
      named('1', { idempotency_key: 'sup-1' }),
      named('2', { to: ['gone@example.test', 'ann@example.test'], idempotency_key: 'sup-2' }),
      named('3', { to: 'gone@example.test' }),
    ])
    expect(answer.statusCode, answer.body).toBe(202)
    const { data } = answer.json()
    const statuses = data.map(
      ({ status, recipients }: { status: string; recipients: { status: string }[] }) => [
        status,
        ...recipients.map((recipient) => recipient.status),
      ],
    )
    expect(statuses).toEqual([
      ['queued', 'queued'],
      ['queued', 'suppressed', 'queued'],
      ['suppressed', 'suppressed'],
    ])
    const { rows } = await api.foundation.database.engine.query(
      'SELECT DISTINCT xmin::text FROM valija.messages WHERE id = ANY ($1::uuid[])',
      [idsOf(answer).map((id) => id.slice(4))],
    )
    expect(rows).toHaveLength(1)
    const events = await api.ask('GET', `/messages/${idsOf(answer)[1]}/events`)
    expect(
      events
        .json()
        .data.map(({ type }: { type: string }) => type)
        .sort(),
    ).toEqual(['message.accepted', 'message.accepted', 'message.suppressed'])
    const stored = await post([
      named('2', { to: ['gone@example.test', 'ann@example.test'], idempotency_key: 'sup-2' }),
    ])
    expect(stored.json().data).toEqual([data[1]])
  })
})

describe('200, permissive', () => {
  test('valid messages are accepted in one transaction, the others answered with their problems, in order', async () => {
    const key = api.stranger.key
    await permissive([named('used', { idempotency_key: 'used' })], { key })
    const before = await countMessages()
    const answer = await permissive(
      [
        named('one'),
        invalid,
        foreign,
        7,
        named('another', { idempotency_key: 'used' }),
        named('last', { text: 'x'.repeat(4 * 1024 * 1024 + 1) }),
        named('two', { idempotency_key: 'with space' }),
        named('three'),
      ],
      { key },
    )
    expect(answer.statusCode, answer.body).toBe(200)
    const { data } = answer.json()
    const shown = data.map(({ status, problem }: { status: number; problem?: { code: string } }) =>
      problem ? [status, problem.code] : [status],
    )
    expect(shown).toEqual([
      [202],
      [400, 'invalid_request'],
      [403, 'domain_not_verified'],
      [400, 'invalid_request'],
      [409, 'idempotency_key_reused'],
      [413, 'message_too_large'],
      [400, 'invalid_request'],
      [202],
    ])
    const places = data.flatMap(({ problem }: { problem?: { errors: { path: string }[] } }) =>
      problem ? problem.errors.map(({ path }) => path) : [],
    )
    expect(places).toEqual([
      '/messages/1/to/1',
      '/messages/2/from',
      '/messages/3',
      '/messages/4/idempotency_key',
      '/messages/5',
      '/messages/6/idempotency_key',
    ])
    expect(data[1].problem).toMatchObject({
      status: 400,
      fix: expect.any(String),
      request_id: expect.stringMatching(/^req_/),
    })
    expect(await countMessages()).toBe(before + 2)
    const { rows } = await api.foundation.database.engine.query(
      'SELECT DISTINCT xmin::text FROM valija.messages WHERE id = ANY ($1::uuid[])',
      [[data[0], data[7]].map(({ message: { id } }: { message: { id: string } }) => id.slice(4))],
    )
    expect(rows).toHaveLength(1)
  })

  test('refused messages may come again with their keys, once they are put right', async () => {
    const wrong = { ...invalid, idempotency_key: 'again' }
    expect((await permissive([wrong])).json().data[0].status).toBe(400)
    const right = await permissive([{ ...wrong, to: 'ann@example.test' }])
    expect(right.json().data[0].status).toBe(202)
    const again = await permissive([{ ...wrong, to: 'ann@example.test' }])
    expect(again.body).toBe(right.body)
    expect(again.headers['idempotency-replayed']).toBe('true')
  })

  test('of two messages with one key that differ the second is refused, and the twin of a refused one as well', async () => {
    const answer = await permissive(
      [
        named('x', { idempotency_key: 'k1' }),
        named('y', { idempotency_key: 'k1' }),
        { ...foreign, idempotency_key: 'k2' },
        { ...foreign, idempotency_key: 'k2' },
      ],
      { key: api.stranger.key },
    )
    const { data } = answer.json()
    expect(data.map(({ status }: { status: number }) => status)).toEqual([202, 409, 403, 403])
    expect(data[1].problem.errors[0].message).toContain('Message 0')
    expect(data[3].problem.errors[0].path).toBe('/messages/3/from')
  })

  test('nothing that can be accepted is no fault of the request', async () => {
    expect(await count(permissive([invalid, invalid]))).toEqual([200, 0])
  })
})

describe('400', () => {
  test('strict: all faults of all messages are named, and nothing is kept', async () => {
    const before = await countMessages()
    const answer = await post(
      [
        named('fine'),
        { ...named('shape'), colour: 1, subject: 7 },
        invalid,
        {},
        foreign,
        named('k', { idempotency_key: '' }),
      ],
      { key: api.stranger.key },
    )
    expect(answer.statusCode).toBe(400)
    expect(pathsOf(answer).sort()).toEqual([
      '/messages/1/colour',
      '/messages/1/subject',
      '/messages/2/to/1',
      '/messages/3/from',
      '/messages/3/subject',
      '/messages/3/text',
      '/messages/3/to',
      '/messages/4/from',
      '/messages/5/idempotency_key',
    ])
    expect(answer.json()).toMatchObject({
      code: 'invalid_request',
      detail: expect.stringContaining('(and 8 more)'),
    })
    expect(await countMessages()).toBe(before)
  })

  test.each([
    ['no message', [], '/messages'],
    ['more than a thousand', Array.from({ length: 1_001 }, () => ({})), '/messages'],
    ['no list', { 0: message }, '/messages'],
    ['none at all', undefined, '/messages'],
    [
      'more than 10,000 recipients in all',
      Array.from({ length: 11 }, () =>
        named('s', { to: Array.from({ length: 1_000 }, (_, i) => `a${i}@b.test`) }),
      ),
      '/messages',
    ],
  ])('%s is refused in both modes', async (_, messages, path) => {
    for (const mode of ['strict', 'permissive']) {
      const answer = await post(messages, { mode })
      expect([answer.statusCode, pathsOf(answer)]).toEqual([400, [path]])
    }
  })

  test('10,000 recipients are taken', async () => {
    const to = Array.from({ length: 1_000 }, (_, i) => `a${i}@b.test`)
    const answer = await post(Array.from({ length: 10 }, (_, i) => named(`${i}`, { to })))
    expect(answer.statusCode, answer.body.slice(0, 500)).toBe(202)
    expect(answer.json().data.map(({ recipients }: { recipients: object[] }) => recipients.length)).toEqual(
      Array(10).fill(1_000),
    )
  })

  test('a key of the request is refused, in both modes', async () => {
    for (const mode of ['strict', 'permissive']) {
      const answer = await post([message], { mode, headers: { 'idempotency-key': 'whole' } })
      expect([answer.statusCode, pathsOf(answer)]).toEqual([400, ['Idempotency-Key']])
    }
  })

  test('an unknown mode, an unknown query key, and an unknown field beside the messages are refused', async () => {
    expect(pathsOf(await post([message], { mode: 'loose' }))).toEqual(['mode'])
    expect(
      pathsOf(await api.ask('POST', '/send/batch?colour=red', { body: { messages: [message] } })),
    ).toEqual(['colour'])
    expect(
      pathsOf(await api.ask('POST', '/send/batch', { body: { messages: [message], colour: 1 } })),
    ).toEqual(['/colour'])
    expect(pathsOf(await api.ask('POST', '/send/batch', { body: [message] }))).toEqual([''])
  })

  test('POST /send does not know idempotency_key', async () => {
    const answer = await api.ask('POST', '/send', { body: { ...message, idempotency_key: 'x' } })
    expect(pathsOf(answer)).toEqual(['/idempotency_key'])
  })

  test('of much that is nothing but faults not all is searched, and each message has its first fault', async () => {
    const bad = { ...message, tags: Array.from({ length: 15_000 }, () => 7) }
    // Of this thread, so that what else the machine does is not counted.
    const before = process.threadCpuUsage()
    const answer = await post(Array.from({ length: 190 }, () => bad))
    const { user, system } = process.threadCpuUsage(before)
    const places = pathsOf(answer).map((path) => path.split('/', 3).join('/'))
    expect([answer.statusCode, new Set(places).size]).toEqual([400, 190])
    expect(user + system).toBeLessThan(8_000_000)
  })
})

describe('401 and 403', () => {
  test('only with the scope send', () => expectScope(api, 'POST', '/send/batch', 'send'))

  test('another tenant’s domain is refused, with the place of each message', async () => {
    const answer = await post([foreign, message, foreign], { key: api.stranger.key })
    expect(answer.json()).toMatchObject({ status: 403, code: 'domain_not_verified' })
    expect(pathsOf(answer)).toEqual(['/messages/0/from', '/messages/2/from'])
  })

  test('another tenant has keys of its own', async () => {
    const mine = await post([named('mine', { idempotency_key: 'shared' })])
    const theirs = await post([named('theirs', { idempotency_key: 'shared' })], { key: api.stranger.key })
    expect([mine.statusCode, theirs.statusCode]).toEqual([202, 202])
    expect(theirs.headers['idempotency-replayed']).toBeUndefined()
    expect((await api.ask('GET', `/messages/${idsOf(theirs)[0]}`)).statusCode).toBe(404)
  })
})

describe('409', () => {
  test('strict: a key that stands for another message stops all', async () => {
    await post([named('was', { idempotency_key: 'taken' })])
    const work = post([named('new'), named('is', { idempotency_key: 'taken' })])
    expect(await count(work)).toEqual([409, 0])
    expect((await work).json().code).toBe('idempotency_key_reused')
    expect(pathsOf(await work)).toEqual(['/messages/1/idempotency_key'])
  })

  test('strict: two different messages with one key stop all', async () => {
    const work = post([named('x', { idempotency_key: 'two' }), named('y', { idempotency_key: 'two' })])
    expect(await count(work)).toEqual([409, 0])
  })

  test('a key that is worked on for longer than 2 s: strict keeps nothing, permissive all else', async () => {
    const holder = await api.foundation.database.engine.connect()
    try {
      await holder.query('BEGIN')
      const name = `${api.tenant.id} held`
      await holder.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 42))', [name])
      const messages = [
        named('a', { idempotency_key: 'aaa' }),
        named('h', { idempotency_key: 'held' }),
        named('z'),
      ]
      const before = await countMessages()
      const strict = await post(messages)
      expect(strict.json()).toMatchObject({ status: 409, code: 'idempotency_in_progress' })
      expect(strict.headers['retry-after']).toBe('1')
      expect(await countMessages()).toBe(before)
      const { data } = (await permissive(messages)).json()
      expect(data.map(({ status }: { status: number }) => status)).toEqual([202, 409, 202])
      expect(data[1].problem.code).toBe('idempotency_in_progress')
      expect(await countMessages()).toBe(before + 2)
    } finally {
      await holder.query('ROLLBACK')
      holder.release()
    }
  })

  test('the same batch many times at once is accepted once', async () => {
    const messages = Array.from({ length: 10 }, (_, i) => named(`${i}`, { idempotency_key: `storm-${i}` }))
    const before = await countMessages()
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, i) =>
        (i % 2 ? post : permissive)([...messages].sort(() => Math.random() - 0.5)),
      ),
    )
    expect(new Set(answers.map(({ statusCode }) => statusCode))).toEqual(new Set([200, 202]))
    expect(await countMessages()).toBe(before + 10)
  })
})

describe('413 and 415', () => {
  test('strict: a message over the limit of one', async () => {
    const answer = await post([message, named('l', { text: 'x'.repeat(4 * 1024 * 1024 + 1) })])
    expect(answer.json()).toMatchObject({ status: 413, code: 'message_too_large' })
    expect(pathsOf(answer)).toEqual(['/messages/1'])
  })

  test('a body over one and a half times the limit of a message is not read', async () => {
    const body = Buffer.alloc(6 * 1024 * 1024 + 1, 0x20)
    const headers = { 'content-type': 'application/json' }
    expect((await api.ask('POST', '/send/batch', { body, headers })).statusCode).toBe(413)
  })

  test('what is no JSON is not taken', async () => {
    const headers = { 'content-type': 'text/plain' }
    expect((await api.ask('POST', '/send/batch', { body: '{}', headers })).statusCode).toBe(415)
  })
})

test('429 and 503 are about all of it, in both modes, with Retry-After', async () => {
  let error = new ProductError('internal')
  const sendBatch = () => Promise.reject(error)
  const local = await openTestApi({}, { sendDesk: { send: sendBatch, sendBatch } })
  for (const code of ['queue_full', 'overloaded', 'database_unavailable'] as const) {
    error = new ProductError(code, { retryAfterS: 7 })
    for (const mode of ['strict', 'permissive']) {
      const answer = await local.ask('POST', `/send/batch?mode=${mode}`, { body: { messages: [message] } })
      expect([answer.json().code, answer.headers['retry-after']]).toEqual([code, '7'])
    }
  }
  await local.close()
})
