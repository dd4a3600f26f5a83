/** POST /suppressions. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectFault, expectScope } from '../keys/refusals.test-support.ts'
import { quarantine, suppressionEvents } from './suppressions.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const add = (body: object, key = api.tenant.key) => api.ask('POST', '/suppressions', { key, body })
const sendTo = async (to: string, more: object = {}) => (await api.send({ to, ...more })).recipients[0]

describe('201', () => {
  test('in canonical form, for both streams, on somebody’s word; told by an event', async () => {
    const answer = await add({ email: 'Ann.B@Example.TEST.' })
    expect(answer.statusCode).toBe(201)
    expect(answer.json()).toEqual({
      id: expect.stringMatching(/^sup_[0-9a-f]{32}$/),
      email: 'Ann.B@example.test',
      stream: null,
      reason: 'manual',
      status: 'active',
      message_id: null,
      reply: null,
      created_at: expect.stringMatching(/Z$/),
      provider: null,
      removed: null,
    })
    expect(await suppressionEvents(api, 'Ann.B@example.test')).toEqual([
      {
        type: 'suppression.added',
        suppression_id: answer.json().id,
        email: 'Ann.B@example.test',
        stream: null,
        reason: 'manual',
      },
    ])
  })

  test('what is sent then is suppressed at once, whatever the case of the local part; others are sent to', async () => {
    const { id } = (await add({ email: 'carl@example.test' })).json()
    const answer = await api.send({ to: ['CARL@example.test', 'dora@example.test'] })
    expect(answer).toMatchObject({
      status: 'queued',
      recipients: [{ email: 'CARL@example.test', status: 'suppressed' }, { status: 'queued' }],
    })
    const message = (await api.ask('GET', `/messages/${answer.id}`)).json()
    expect(message.recipients[0]).toMatchObject({ status: 'suppressed', reason: 'manual', attempts: 0 })
    const { data } = (await api.ask('GET', `/messages/${answer.id}/events`)).json()
    const told = data.filter(({ data }: { data: { email: string } }) => data.email === 'CARL@example.test')
    expect(told).toMatchObject([
      { type: 'message.accepted', data: { seq: 1 } },
      { type: 'message.suppressed', data: { seq: 2, reason: 'manual', suppression_id: id } },
    ])
  })

  test('for one stream only: the other one is sent to', async () => {
    expect((await add({ email: 'eve@example.test', stream: 'bulk' })).json()).toMatchObject({
      stream: 'bulk',
    })
    expect(await sendTo('eve@example.test', { stream: 'bulk' })).toMatchObject({ status: 'suppressed' })
    expect(await sendTo('eve@example.test')).toMatchObject({ status: 'queued' })
  })

  test('asked again, also at the same time, there is one entry, and one event', async () => {
    const asked = await Promise.all(
      ['fay', 'Fay', 'FAY', 'fay'].map((name) => add({ email: `${name}@example.test` })),
    )
    expect(new Set(asked.map((answer) => answer.statusCode))).toEqual(new Set([201]))
    expect(new Set(asked.map((answer) => answer.json().id)).size).toBe(1)
    const { id, email } = asked[0]!.json()
    expect(await suppressionEvents(api, email)).toHaveLength(1)
    expect((await add({ email: 'fay@example.test', stream: 'bulk' })).json().id).not.toBe(id)
  })

  test('a quarantined entry comes into force', async () => {
    const { id } = (await add({ email: 'gus@example.test' })).json()
    await quarantine(api, 'gus@example.test')
    expect(await sendTo('gus@example.test')).toMatchObject({ status: 'queued' })
    expect((await add({ email: 'gus@example.test' })).json()).toMatchObject({
      id,
      reason: 'manual',
      status: 'active',
    })
    expect(await sendTo('gus@example.test')).toMatchObject({ status: 'suppressed' })
    expect(await suppressionEvents(api, 'gus@example.test')).toHaveLength(2)
  })

  test('says nothing of other tenants’ mail, nor of what is simulated', async () => {
    await add({ email: 'hal@example.test' }, api.stranger.key)
    expect(await sendTo('hal@example.test')).toMatchObject({ status: 'queued' })
    await add({ email: 'ida@example.test' })
    expect(await sendTo('ida@example.test', { sandbox: true })).toMatchObject({ status: 'queued' })
  })
})

describe('400', () => {
  test.each([
    ['no address', {}, '/email'],
    ['a name with it', { email: 'Ann <ann@example.test>' }, '/email'],
    ['a list', { email: ['ann@example.test'] }, '/email'],
    ['a stream that does not exist', { email: 'ann@example.test', stream: 'news' }, '/stream'],
    ['a reason', { email: 'ann@example.test', reason: 'complaint' }, '/reason'],
  ])('for %s', (_, body, path) => expectFault(api, 'POST', '/suppressions', body, path))
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'POST', '/suppressions', 'manage', { email: 'x@example.test' }))
