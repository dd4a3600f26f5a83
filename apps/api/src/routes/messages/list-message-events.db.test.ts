/** GET /messages/:id/events, by status. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { attempt } from '../../settle.test-support.ts'

let api: TestApi
let id: string

beforeAll(async () => {
  api = await openTestApi()
  const sent = await api.send()
  id = sent.id
  await attempt(api, sent.recipients[0]?.id ?? '', 451, '4.7.1', 'Try again later')
  await attempt(api, sent.recipients[0]?.id ?? '', 250, '2.0.0', 'Ok')
  await api.send()
})
afterAll(() => api?.close())

describe('200', () => {
  test('a message’s timeline holds its own events, oldest first, as /events shows them', async () => {
    const { data, next_cursor } = (await api.ask('GET', `/messages/${id}/events`)).json()
    expect(data.map((event: { type: string }) => event.type)).toEqual([
      'message.accepted',
      'message.deferred',
      'message.delivered',
    ])
    expect(next_cursor).toBeNull()
    const stream = await api.events()
    expect(stream.data.slice(0, 3)).toEqual(data)
  })

  test('pages follow each other', async () => {
    const first = (await api.ask('GET', `/messages/${id}/events?limit=2`)).json()
    const second = (await api.ask('GET', `/messages/${id}/events?limit=2&cursor=${first.next_cursor}`)).json()
    expect([first.data.length, second.data.length, second.next_cursor]).toEqual([2, 1, null])
  })
})

describe('400', () => {
  test('unknown query keys are refused', async () => {
    const answer = await api.ask('GET', `/messages/${id}/events?type=message.delivered`)
    expect(answer.json()).toMatchObject({ status: 400, errors: [{ path: 'type' }] })
  })
})

describe('403', () => {
  test('a key without the scope read is refused', async () => {
    expect(
      (await api.ask('GET', `/messages/${id}/events`, { key: await api.keyWith('send') })).statusCode,
    ).toBe(403)
  })
})

describe('404', () => {
  test('404 hides other tenants’ messages', async () => {
    expect((await api.ask('GET', `/messages/${id}/events`, { key: api.stranger.key })).statusCode).toBe(404)
  })
})
