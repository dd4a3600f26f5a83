/** POST /messages/:id/cancel, by status. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../../../../../tests/support/until.ts'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { attempt, lease } from '../../settle.test-support.ts'

let api: TestApi

beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api?.close())

const two = { to: ['ann@example.test', 'bob@example.test'] }
const cancel = (id: string, ask: object = {}) => api.ask('POST', `/messages/${id}/cancel`, ask)
const statuses = (shown: { recipients: { status: string }[] }) => shown.recipients.map(({ status }) => status)

/** The message's events of a type, as soon as there are so many. */
const eventsOf = (id: string, type: string, count: number) =>
  until(`${count} times ${type}`, async () => {
    const { data } = (await api.ask('GET', `/messages/${id}/events`)).json()
    const found = data.filter((event: { type: string }) => event.type === type)
    return found.length === count && found
  })

describe('200', () => {
  test('every recipient that waits is cancelled, each with an event, and the message with them', async () => {
    const { id } = await api.send({ ...two, send_at: new Date(Date.now() + 3_600_000).toISOString() })
    const answer = await cancel(id)
    expect(answer.statusCode).toBe(200)
    expect(answer.json()).toEqual((await api.ask('GET', `/messages/${id}`)).json())
    expect(answer.json()).toMatchObject({
      status: 'cancelled',
      recipients: two.to.map((email) => ({
        email,
        status: 'cancelled',
        reason: null,
        next_attempt_at: null,
      })),
    })
    const events = await eventsOf(id, 'message.cancelled', 2)
    expect(
      events.map(({ data }: { data: { email: string; seq: number } }) => [data.email, data.seq]),
    ).toEqual(expect.arrayContaining(two.to.map((email) => [email, 3])))
    expect(JSON.stringify(events)).not.toContain('uncertain')
    const { rowCount } = await api.foundation.database.engine.query('SELECT FROM valija.deliveries')
    expect(rowCount).toBe(0)
  })

  test('one that was deferred is cancelled, one that was delivered keeps its end', async () => {
    const { id, recipients } = await api.send(two)
    await attempt(api, recipients[0]!.id, 451, '4.7.1', 'Try again later')
    await attempt(api, recipients[1]!.id, 250, '2.0.0', 'Ok')
    const shown = (await cancel(id)).json()
    expect(statuses(shown)).toEqual(['cancelled', 'delivered'])
    expect(shown.status).toBe('partially_delivered')
  })

  test('a client that repeats the request after a lost answer gets the same, and nothing is told twice', async () => {
    const { id } = await api.send()
    const [first, second] = await Promise.all([cancel(id), cancel(id)])
    const third = await cancel(id, { body: {} })
    expect([first, second, third].map(({ statusCode }) => statusCode)).toEqual([200, 200, 200])
    expect(third.json()).toEqual(first.json())
    await eventsOf(id, 'message.cancelled', 1)
  })

  test('what is being sent goes on while the others are cancelled', async () => {
    const { id, recipients } = await api.send(two)
    await lease(api, recipients[1]!.id)
    const shown = (await cancel(id)).json()
    expect([shown.status, ...statuses(shown)]).toEqual(['sending', 'cancelled', 'sending'])
  })

  test('a mail whose worker ended before it told what came of it is cancelled, and may have been delivered', async () => {
    const { id, recipients } = await api.send()
    await lease(api, recipients[0]!.id)
    await api.foundation.database.engine.query(
      `UPDATE valija.deliveries SET state = 'waiting', leased_until = NULL, crashes = 1 WHERE state = 'leased'`,
    )
    expect((await cancel(id)).json().status).toBe('cancelled')
    const [event] = await eventsOf(id, 'message.cancelled', 1)
    expect(event.data).toMatchObject({
      uncertain: true,
      explanation: expect.stringMatching(/may have been delivered/),
    })
  })

  test('the complaint that a simulated recipient is going to make is still made', async () => {
    const { id, recipients } = await api.send({
      to: ['complained@simulator.valija.test', 'ann@example.test'],
    })
    const { engine } = api.foundation.database
    await engine.query(`UPDATE valija.recipients SET status = 'delivered' WHERE email LIKE 'complained@%'`)
    expect(statuses((await cancel(id)).json())).toEqual(['delivered', 'cancelled'])
    const left = await engine.query(
      'SELECT simulation FROM valija.deliveries WHERE message_id IN (SELECT message_id FROM valija.recipients WHERE email LIKE $1)',
      ['complained@%'],
    )
    expect([recipients.length, left.rows]).toEqual([2, [{ simulation: 'complained' }]])
  })

  test('a key that may only send is told what became of it, and not what it says; one that may read as well is shown all', async () => {
    const sendAt = new Date(Date.now() + 3_600_000).toISOString()
    const { id, recipients } = await api.send({ send_at: sendAt, metadata: { order: '4711' } })
    const bounds = { domains: ['acme.test'], recipients: ['@example.test'] }
    const keyWith = async (...scopes: string[]) =>
      (await api.ask('POST', '/keys', { body: { name: 'bound', scopes, ...bounds } })).json().key
    const answer = await cancel(id, { key: await keyWith('send') })
    expect(answer.json()).toEqual({
      ...{ id, status: 'cancelled', stream: 'transactional' },
      ...{ send_at: sendAt, created_at: expect.any(String), expires_at: expect.any(String) },
      recipients: [{ id: recipients[0]!.id, email: 'ann@example.test', type: 'to', status: 'cancelled' }],
    })
    const shown = await cancel(id, { key: await keyWith('send', 'read') })
    expect(shown.json()).toEqual((await api.ask('GET', `/messages/${id}`)).json())
  })
})

describe('400', () => {
  test('a body with anything in it is refused', async () => {
    const { id } = await api.send()
    const answer = await cancel(id, { body: { reason: 'no more' } })
    expect(answer.json()).toMatchObject({ status: 400, errors: [{ path: '/reason' }] })
    expect((await api.ask('GET', `/messages/${id}`)).json().status).toBe('queued')
  })
})

describe('403', () => {
  test('a key without the scope send is refused', async () => {
    const { id } = await api.send()
    expect((await cancel(id, { key: await api.keyWith('read', 'manage') })).statusCode).toBe(403)
  })

  test.each([
    ['from the domain', { domains: ['other.test'] }],
    ['to its recipients', { recipients: ['@only.example'] }],
    ['to one of its recipients', { recipients: ['ann@example.test'] }],
  ])(
    'a key that may not send %s is refused, learns nothing of it, and nothing happens',
    async (_, bounds) => {
      const { id } = await api.send(two)
      const body = { name: 'bound', scopes: ['send'], ...bounds }
      const { key } = (await api.ask('POST', '/keys', { body })).json()
      const answer = await cancel(id, { key })
      expect(answer.json()).toMatchObject({ status: 403, code: 'key_restricted' })
      expect(answer.body).not.toMatch(/ann@|bob@|acme|receipt/)
      expect((await api.ask('GET', `/messages/${id}`)).json().status).toBe('queued')
    },
  )
})

describe('404', () => {
  test('404 hides other tenants’ messages, and nothing happens to them', async () => {
    const { id } = await api.send()
    expect((await cancel(id, { key: api.stranger.key })).statusCode).toBe(404)
    expect((await cancel(`msg_${'0'.repeat(32)}`)).statusCode).toBe(404)
    expect((await api.ask('GET', `/messages/${id}`)).json().status).toBe('queued')
  })
})

describe('409', () => {
  test('no recipient can be stopped: told of each why', async () => {
    const { id, recipients } = await api.send(two)
    await attempt(api, recipients[0]!.id, 250, '2.0.0', 'Ok')
    await lease(api, recipients[1]!.id)
    const answer = await cancel(id)
    expect(answer.json()).toMatchObject({
      status: 409,
      code: 'already_sending',
      errors: [
        { path: '/recipients/0', message: 'ann@example.test has its end already: delivered.' },
        { path: '/recipients/1', message: 'bob@example.test is being sent this moment.' },
      ],
    })
  })
})
