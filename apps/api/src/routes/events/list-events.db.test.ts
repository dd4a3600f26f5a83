/** GET /events, by status. That nothing is skipped is proved in packages/store/src/read-events.db.test.ts. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type EventsPage, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { attempt } from '../../settle.test-support.ts'

let api: TestApi

beforeAll(async () => {
  api = await openTestApi()
  const { recipients } = await api.send({ tags: ['receipt'], metadata: { order: '4711' } })
  await attempt(api, recipients[0]?.id ?? '', 250, '2.0.0', 'Ok')
  await api.send({ to: ['ann@example.test', 'bob@example.test'] })
})
afterAll(() => api?.close())

const list = (query = '') => api.events(query)
const types = (page: EventsPage) => page.data.map((event) => event.type)

describe('200', () => {
  test('events come oldest first, one per recipient, with what programs decide by', async () => {
    const page = await list()
    expect(types(page)).toEqual([
      'message.accepted',
      'message.delivered',
      'message.accepted',
      'message.accepted',
    ])
    expect(page.data[1]).toEqual({
      id: expect.stringMatching(/^evt_[0-9a-f]{32}$/),
      type: 'message.delivered',
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      data: expect.objectContaining({
        message_id: expect.stringMatching(/^msg_/),
        recipient_id: expect.stringMatching(/^rcp_/),
        email: 'ann@example.test',
        domain: 'acme.test',
        tags: ['receipt'],
        metadata: { order: '4711' },
        seq: 3,
        reply: '250 2.0.0 Ok',
      }),
    })
  })

  test('next_cursor is never null, and asking with it goes on where the page ended', async () => {
    const first = await list('?limit=3')
    const second = await list(`?limit=3&cursor=${first.next_cursor}`)
    const third = await list(`?limit=3&cursor=${second.next_cursor}`)
    expect([first.data.length, second.data.length, third.data.length]).toEqual([3, 1, 0])
    expect(typeof third.next_cursor).toBe('string')
    const { id } = await api.send({ to: 'eve@example.test' })
    const fourth = await list(`?cursor=${third.next_cursor}`)
    expect(fourth.data.map((event) => event.data.message_id)).toEqual([id])
  })

  test('a tenant without events gets a cursor that works later', async () => {
    const nothing = await api.events('', api.stranger.key)
    expect(nothing).toEqual({ data: [], next_cursor: expect.any(String) })
    const after = await api.events(`?cursor=${nothing.next_cursor}`, api.stranger.key)
    expect(after).toMatchObject({ data: [] })
  })

  test('types are named by commas or repetition; message.attempted only by name', async () => {
    expect(types(await list())).not.toContain('message.attempted')
    expect(types(await list('?type=message.attempted'))).toEqual(['message.attempted'])
    const both = await list('?type=message.attempted,message.delivered')
    const repeated = await list('?type=message.attempted&type=message.delivered')
    expect(types(both)).toEqual(['message.attempted', 'message.delivered'])
    expect(repeated.data).toEqual(both.data)
  })

  test('after a time to come there is nothing', async () => {
    const later = new Date(Date.now() + 60_000).toISOString()
    expect((await list(`?after=${later}`)).data).toEqual([])
  })
})

describe('400', () => {
  test.each([
    ['?type=message.lost', 'type'],
    ['?after=now', 'after'],
    ['?cursor=x', 'cursor'],
    ['?cursor=OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5', 'cursor'],
    ['?limit=101', 'limit'],
    ['?before=2026-01-01T00:00:00Z', 'before'],
  ])('%s is refused at its key', async (query, path) => {
    const answer = await api.ask('GET', `/events${query}`)
    expect(answer.json()).toMatchObject({ status: 400, errors: [{ path }] })
  })
})

describe('403', () => {
  test('a key without the scope read is refused', async () => {
    expect((await api.ask('GET', '/events', { key: await api.keyWith('send') })).statusCode).toBe(403)
  })
})
