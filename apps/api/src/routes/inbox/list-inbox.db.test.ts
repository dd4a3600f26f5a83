/** GET /inbox. */
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectScope } from '../keys/refusals.test-support.ts'
import { catchMail, richMail } from './catch-mail.test-support.ts'

let opened: Promise<TestApi> | undefined
let api: TestApi
beforeEach(async () => {
  opened ??= openTestApi()
  api = await opened
  for (const { key } of [api.tenant, api.stranger]) await api.ask('DELETE', '/inbox', { key })
})
afterAll(() => api.close())

const list = async (query = '') => (await api.ask('GET', `/inbox${query}`)).json()
const idsOf = (page: { data: { id: string }[] }) => page.data.map((mail) => mail.id)

describe('200', () => {
  test('shows the envelope and the decoded header fields', async () => {
    const id = await catchMail(api, { mailFrom: '', rcptTo: ['ann@example.test', 'Bob@example.test'] })
    expect(await list()).toEqual({
      data: [
        {
          id,
          received_at: expect.stringMatching(/^\d{4}-.*\.\d{3}Z$/),
          mail_from: '',
          rcpt_to: ['ann@example.test', 'Bob@example.test'],
          from: 'Bücher <script> <hello@acme.test>',
          to: 'ann@example.test',
          subject: '<img src=x onerror=alert(1)> ü',
          rfc_message_id: '<1@acme.test>',
          size_bytes: Buffer.byteLength(richMail),
        },
      ],
      next_cursor: null,
    })
  })

  test('newest first, page by page, without other tenants’ mails', async () => {
    const [a, b, c] = [await catchMail(api), await catchMail(api), await catchMail(api)]
    await catchMail(api, { tenant: api.stranger })
    const first = await list('?limit=2')
    expect(idsOf(first)).toEqual([c, b])
    expect(idsOf(await list(`?limit=2&cursor=${first.next_cursor}`))).toEqual([a])
    expect(idsOf(await list(`?after=${a}`))).toEqual([c, b])
  })

  test('?to= matches an envelope recipient in any case of its local part, and no header', async () => {
    const bob = await catchMail(api, { rcptTo: ['Bob+x@example.test'] })
    await catchMail(api, { rcptTo: ['carol@example.test'] })
    for (const to of ['Bob%2Bx@example.test', 'bob%2BX@EXAMPLE.test'])
      expect(idsOf(await list(`?to=${to}`))).toEqual([bob])
    expect(idsOf(await list('?to=ann@example.test'))).toEqual([])
  })

  test('takes mails without header fields and with odd ones', async () => {
    await catchMail(api, { raw: '\r\nbody only' })
    await catchMail(api, { raw: 'Subject: =?utf-8?q?a=00b?=\r\n\r\n' })
    expect((await list()).data).toMatchObject([
      { subject: expect.stringContaining('a'), from: '', rfc_message_id: null },
      { subject: '', to: '' },
    ])
  })
})

describe('?wait=', () => {
  test('answers at once when there is a mail', async () => {
    const id = await catchMail(api)
    expect(idsOf(await list('?wait=60s'))).toEqual([id])
  })

  test('answers as soon as there is one that matches, long before the second look', async () => {
    const waiting = list('?wait=60s&to=late@example.test')
    await catchMail(api, { rcptTo: ['other@example.test'] })
    await catchMail(api, { tenant: api.stranger, rcptTo: ['late@example.test'] })
    const started = performance.now()
    const id = await catchMail(api, { rcptTo: ['late@example.test'] })
    expect(idsOf(await waiting)).toEqual([id])
    expect(performance.now() - started).toBeLessThan(900)
  })

  test('waits for what is newer than ?after=', async () => {
    const old = await catchMail(api)
    const waiting = list(`?wait=20s&after=${old}`)
    const id = await catchMail(api)
    expect(idsOf(await waiting)).toEqual([id])
  })

  test('answers an empty page when the time is over', async () => {
    const started = performance.now()
    const answer = await api.ask('GET', '/inbox?wait=1s')
    expect(answer.statusCode).toBe(200)
    expect(answer.json()).toEqual({ data: [], next_cursor: null })
    expect(performance.now() - started).toBeGreaterThanOrEqual(990)
  })

  test('finds a mail whose wake-up was lost', async () => {
    const waiting = list('?wait=20s')
    const { database } = api.foundation
    const id = await catchMail({
      ...api,
      foundation: { ...api.foundation, wake: { ...api.foundation.wake, send: () => undefined } },
    })
    expect(idsOf(await waiting)).toEqual([id])
    expect(database.tenant.waitingCount).toBe(0)
  })

  test('does not hold up the end of the process', async () => {
    const leaving = await openTestApi()
    const waiting = leaving.ask('GET', '/inbox?wait=60s')
    // The request is under way once its query has been made.
    await expect.poll(() => leaving.foundation.database.tenant.totalCount).toBeGreaterThan(0)
    const started = performance.now()
    await leaving.close()
    expect((await waiting).json()).toEqual({ data: [], next_cursor: null })
    expect(performance.now() - started).toBeLessThan(5_000)
  })
})

describe('400', () => {
  test.each([
    ['wait', 'wait=61s'],
    ['wait', 'wait=20'],
    ['wait', 'wait=-1s'],
    ['to', 'to=ann'],
    ['after', 'after=x'],
    ['cursor', 'cursor=x'],
    ['subject', 'subject=x'],
  ])('at %s for ?%s', async (path, query) => {
    expect(await list(`?${query}`)).toMatchObject({ status: 400, errors: [{ path }] })
  })
})

test('401 and 403 without a key that has the scope read:content', () =>
  expectScope(api, 'GET', '/inbox', 'read:content'))
