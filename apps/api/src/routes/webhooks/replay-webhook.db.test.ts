/** POST /webhooks/:id/replay. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectFault, expectHidden, expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const add = async (key = api.tenant.key) =>
  (await api.ask('POST', '/webhooks', { key, body: { url: 'https://a.test', events: ['*'] } })).json()

const replay = (id: string, body: object) => api.ask('POST', `/webhooks/${id}/replay`, { body })
const engine = () => api.foundation.database.engine
const forget = () => engine().query('DELETE FROM valija.webhook_outbox')
const waiting = async (id: string) =>
  (
    await engine().query<{ event: string; isDue: boolean; tries: number }>(
      `SELECT 'evt_' || replace(event_id::text, '-', '') AS event, due_at <= now() AS "isDue", tries
       FROM valija.webhook_outbox WHERE webhook_id = $1 ORDER BY event_id`,
      [id.slice(4)],
    )
  ).rows
const replays = async (id: string) =>
  (
    await engine().query('SELECT kind, types FROM valija.webhook_replays WHERE webhook_id = $1', [
      id.slice(4),
    ])
  ).rows

/** Accepts a mail and gives back the events of it. */
async function happen(fields: object = {}): Promise<string[]> {
  const { id } = await api.send(fields)
  const { data } = (await api.ask('GET', `/messages/${id}/events`)).json()
  return data.map((event: { id: string }) => event.id)
}

describe('202', () => {
  test('an event that was told is told again, and whoever waits already waits once', async () => {
    const { id } = await add()
    const [event] = await happen()
    await forget()
    const answer = await replay(id, { event_id: event })
    expect(answer.statusCode).toBe(202)
    expect(answer.json()).toEqual({ events: 1, is_exact: true })
    expect(await waiting(id)).toEqual([{ event, isDue: true, tries: 0 }])
    await replay(id, { event_id: event })
    expect(await waiting(id)).toHaveLength(1)
  })

  test('an event that waits for a later try is due now and keeps its tries; one that is being told is left alone', async () => {
    const { id } = await add()
    const [event] = await happen()
    const set = (sql: string) => engine().query(`UPDATE valija.webhook_outbox SET ${sql}`)
    await set(`tries = 3, due_at = now() + interval '1 h'`)
    await replay(id, { event_id: event })
    expect(await waiting(id)).toEqual([{ event, isDue: true, tries: 3 }])
    await set(`leased_until = now() + interval '1 min', due_at = now() + interval '1 min'`)
    expect((await replay(id, { event_id: event })).statusCode).toBe(202)
    expect(await waiting(id)).toEqual([{ event, isDue: false, tries: 3 }])
    await forget()
  })

  test('a time, or some types of it: the number of events that the webhook asks for', async () => {
    const after = new Date(Date.now() - 1_000).toISOString()
    await happen({ tags: ['a'] })
    const body = { url: 'https://a.test', events: ['message.accepted'], tags: ['a'] }
    const { id } = (await api.ask('POST', '/webhooks', { body })).json()
    await happen({ tags: ['a'] })
    await happen({ tags: ['b'] })
    expect((await replay(id, { after })).json()).toEqual({ events: 2, is_exact: true })
    const before = new Date().toISOString()
    expect((await replay(id, { after, before, types: ['message.bounced'] })).json().events).toBe(0)
    expect(await replays(id)).toEqual([
      { kind: 'range', types: null },
      { kind: 'range', types: ['message.bounced'] },
    ])
    await forget()
  })

  test('failed: all that waits for a later try, and not what is due already or being told', async () => {
    const { id } = await add()
    const [failed, told] = [await happen(), await happen()].map(([event]) => event!.slice(4))
    await happen()
    const set = (sql: string, event: string | undefined) =>
      engine().query(`UPDATE valija.webhook_outbox SET ${sql} WHERE event_id = $1`, [event])
    await set("tries = 1, due_at = now() + interval '1 h'", failed)
    await set("due_at = now() + interval '1 h', leased_until = now() + interval '1 min'", told)
    expect((await replay(id, { failed: true })).json()).toEqual({ events: 1, is_exact: true })
    expect(await replays(id)).toEqual([{ kind: 'waiting', types: null }])
    await forget()
  })
})

test('400 names what is wrong', async () => {
  const path = `/webhooks/${(await add()).id}/replay`
  expect((await api.events('', api.stranger.key)).data).toEqual([])
  const foreign = 'evt_0192f0c1a2b37c4d8e5f60718293a4b5'
  for (const [body, fault] of [
    [{}, ''],
    [{ event_id: foreign, failed: true }, ''],
    [{ after: '2026-01-01T00:00:00Z', failed: true }, ''],
    [{ failed: false }, '/failed'],
    [{ event_id: 'evt_1' }, '/event_id'],
    [{ event_id: foreign }, '/event_id'],
    [{ before: '2026-01-01T00:00:00Z' }, '/after'],
    [{ types: ['message.delivered'] }, '/after'],
    [{ after: 'yesterday' }, '/after'],
    [{ after: '2999-01-01T00:00:00Z' }, '/after'],
    [{ after: '2026-01-02T00:00:00Z', before: '2026-01-01T00:00:00Z' }, '/after'],
    [{ after: '2026-01-01T00:00:00Z', types: ['message.sent'] }, '/types/0'],
    [{ failed: true, types: ['message.delivered'] }, '/types'],
    [{ event_id: foreign, before: '2026-01-01T00:00:00Z' }, '/before'],
    [{ all: true }, '/all'],
  ] as const)
    await expectFault(api, 'POST', path, body, fault)
})

test('409 when ten replays are under way already', async () => {
  const { id } = await add()
  for (let i = 0; i < 10; i++) expect((await replay(id, { failed: true })).statusCode).toBe(202)
  expect((await replay(id, { failed: true })).json()).toMatchObject({ status: 409, code: 'conflict' })
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'POST', '/webhooks/whk_x/replay', 'manage', { failed: true }))

test('404 hides other tenants’ webhooks', async () =>
  expectHidden(api, 'POST', (id) => `/webhooks/${id}/replay`, (await add(api.stranger.key)).id, {
    failed: true,
  }))
