/** POST /suppressions/import. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { quarantine, suppressionEvents } from './suppressions.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const headers = { 'content-type': 'text/csv; charset=utf-8' }
const upload = (body: string | Buffer, query = '', more: object = {}) =>
  api.ask('POST', `/suppressions/import${query}`, { headers, body, ...more })
const entriesOf = async (email: string) => (await api.ask('GET', `/suppressions?email=${email}`)).json().data
const countEvents = async () => {
  const { rows } = await api.foundation.database.engine.query(
    `SELECT count(*)::int AS count FROM valija.events WHERE type = 'suppression.added'`,
  )
  return rows[0].count as number
}

describe('200', () => {
  test('every line becomes an entry, told by an event; what is sent then is suppressed', async () => {
    const answer = await upload(
      'email,stream,reason\r\nAnn@Example.TEST,,\r\nbob@example.test,bulk,unsubscribe\r\n"carl@example.test",both,complaint\r\n',
    )
    expect(answer.json()).toEqual({
      dry_run: false,
      rows: 3,
      added: 3,
      present: 0,
      skipped: 0,
      rejected: 0,
      errors: [],
      ignored_columns: [],
    })
    expect(await entriesOf('ann@example.test')).toMatchObject([
      { email: 'Ann@example.test', stream: null, reason: 'manual', status: 'active' },
    ])
    expect(await entriesOf('bob@example.test')).toMatchObject([{ stream: 'bulk', reason: 'unsubscribe' }])
    expect(await suppressionEvents(api, 'carl@example.test')).toMatchObject([
      { type: 'suppression.added', stream: null, reason: 'complaint' },
    ])
    expect((await api.send({ to: 'ann@example.test' })).recipients[0]).toMatchObject({ status: 'suppressed' })
  })

  test('lines with a fault are told with their numbers, and the others are kept', async () => {
    const lines = [
      'Email Address,Stream,Reason,Notes',
      'dora@example.test,,,"two\nlines"',
      'no address,,,',
      'eve@example.test,news,,',
      '',
      'fay@example.test,bulk,because,',
      '"gus@example.test"x,,,',
      'hal@example.test,,,',
      ',,,x',
    ]
    const { rows, added, rejected, errors, ignored_columns } = (await upload(lines.join('\n'))).json()
    expect({ rows, added, rejected, ignored_columns }).toEqual({
      rows: 7,
      added: 2,
      rejected: 5,
      ignored_columns: ['Notes'],
    })
    expect(errors).toMatchObject([
      { line: 4, column: 'email' },
      { line: 5, column: 'stream', message: expect.stringContaining('bulk') },
      { line: 7, column: 'reason', message: expect.stringContaining('?reason=') },
      { line: 8, column: null, message: expect.stringContaining('quote') },
      { line: 10, column: 'email' },
    ])
    for (const email of ['dora@example.test', 'hal@example.test'])
      expect(await entriesOf(email)).toHaveLength(1)
    expect(await entriesOf('gus@example.test')).toEqual([])
  })

  test('sent again, or with an address twice, it changes nothing more and tells nothing more', async () => {
    const file = 'email\nida@example.test\nIDA@example.test\njo@example.test\n'
    expect((await upload(file)).json()).toMatchObject({ rows: 3, added: 2, present: 1 })
    const before = await countEvents()
    expect((await upload(file)).json()).toMatchObject({ rows: 3, added: 0, present: 3 })
    expect(await countEvents()).toBe(before)
  })

  test('a quarantined address comes into force', async () => {
    await upload('email\nkim@example.test\n')
    await quarantine(api, 'kim@example.test')
    expect((await upload('email,reason\nkim@example.test,complaint\n')).json()).toMatchObject({ added: 1 })
    expect(await entriesOf('kim@example.test')).toMatchObject([{ status: 'active', reason: 'complaint' }])
  })

  test('as a trial it changes nothing, and says what it would', async () => {
    await upload('email\nlea@example.test\n')
    const before = await countEvents()
    const answer = await upload('email\nlea@example.test\nmoe@example.test\nx\n', '?dry_run=true')
    expect(answer.json()).toMatchObject({ dry_run: true, rows: 3, added: 1, present: 1, rejected: 1 })
    expect(await entriesOf('moe@example.test')).toEqual([])
    expect(await countEvents()).toBe(before)
  })

  test('the query decides for all lines, whatever their columns say', async () => {
    const file = 'email,reason,status,created\nned@example.test,550 5.1.1 no such user,5.1.1,1700000000\n'
    const answer = await upload(file, '?reason=mailbox_unknown&stream=bulk')
    expect(answer.json()).toMatchObject({ added: 1, ignored_columns: ['created'] })
    expect(await entriesOf('ned@example.test')).toMatchObject([{ reason: 'mailbox_unknown', stream: 'bulk' }])
  })

  test.each([
    ['EmailAddress,SuppressionReason\noli1@example.test,HardBounce\n', 'mailbox_unknown'],
    ['recipient;reason\noli2@example.test;SpamComplaint\n', 'complaint'],
    ['\ufeffaddress\treason\noli3@example.test\tunsubscribed\n', 'unsubscribe'],
    ["email,reason\n'oli4@example.test,ManualSuppression\n", 'manual'],
  ])('takes what other services export: %j', async (file, reason) => {
    expect((await upload(file)).json()).toMatchObject({ added: 1, rejected: 0 })
    const email = /'?oli\d@example\.test/.exec(file)![0]
    expect(await entriesOf(encodeURIComponent(email))).toMatchObject([{ reason }])
  })

  test('entries that are marked as removed or quarantined are passed over', async () => {
    const file =
      'email,status\npia@example.test,removed\nquin@example.test,quarantined\nrob@example.test,active\n'
    expect((await upload(file)).json()).toMatchObject({ rows: 3, added: 1, skipped: 2, rejected: 0 })
  })

  test('octets that are not UTF-8 are a fault of their line', async () => {
    const file = Buffer.from('email\ns\xe4m@example.test\nsue@example.test\n', 'latin1')
    expect((await upload(file)).json()).toMatchObject({ added: 1, errors: [{ line: 2, column: 'email' }] })
  })

  test('is about this tenant alone', async () => {
    await upload('email\ntom@example.test\n', '', { key: api.stranger.key })
    expect(await entriesOf('tom@example.test')).toEqual([])
  })
})

describe('400', () => {
  test.each([
    ['an empty file', '', 'column names'],
    ['no column of addresses', 'name,stream\nx,bulk\n', '"email"'],
    ['two such columns', 'email,address\nx,y\n', 'two columns'],
  ])('for %s', async (_, file, words) => {
    const answer = await upload(file)
    expect(answer.json()).toMatchObject({ status: 400, code: 'invalid_request' })
    expect(answer.json().errors[0].message).toContain(words)
  })

  test('for a query that it does not know', async () => {
    const answer = await upload('email\n', '?stream=news')
    expect(answer.json()).toMatchObject({ status: 400, errors: [{ path: 'stream' }] })
  })
})

test('401 and 403 without a key that has the scope manage', async () => {
  expect((await upload('email\n', '', { key: null })).statusCode).toBe(401)
  const key = await api.keyWith('read', 'send', 'read:content')
  expect((await upload('email\numa@example.test\n', '', { key })).statusCode).toBe(403)
  expect(await entriesOf('uma@example.test')).toEqual([])
})

test('413 for a file that is too long, before it is read', async () => {
  const answer = await upload('email\n', '', { headers: { ...headers, 'content-length': '99999999' } })
  expect(answer.json()).toMatchObject({ status: 413, code: 'message_too_large' })
})

test.each([
  ['packed', { 'content-encoding': 'gzip' }],
  ['in another encoding', { 'content-type': 'text/csv; charset=iso-8859-1' }],
])('415 for a table that is %s', async (_, more) => {
  const answer = await upload('email\nvic@example.test\n', '', { headers: { ...headers, ...more } })
  expect(answer.json()).toMatchObject({ status: 415, code: 'unsupported_media_type' })
  expect(await entriesOf('vic@example.test')).toEqual([])
})

test('415 for anything but a table', async () => {
  const answer = await api.ask('POST', '/suppressions/import', { body: { email: 'x@example.test' } })
  expect(answer.json()).toMatchObject({ status: 415, detail: expect.stringContaining('text/csv') })
})
