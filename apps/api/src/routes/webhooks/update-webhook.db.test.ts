/** PATCH /webhooks/:id. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectFault, expectHidden, expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const add = async (key = api.tenant.key) => {
  const body = { url: 'https://a.test', events: ['*'], tags: ['otp'] }
  const { secret: _, ...made } = (await api.ask('POST', '/webhooks', { key, body })).json()
  return made
}

describe('200', () => {
  test('changes what is given and nothing else', async () => {
    const made = await add()
    const answer = await api.ask('PATCH', `/webhooks/${made.id}`, {
      body: { url: 'http://b.test', tags: [] },
    })
    expect(answer.statusCode).toBe(200)
    expect(answer.json()).toEqual({ ...made, url: 'http://b.test', tags: [] })
    expect((await api.ask('PATCH', `/webhooks/${made.id}`, { body: {} })).json()).toEqual(answer.json())
  })

  test('turns batches on and off', async () => {
    const { id } = await add()
    const change = async (batch: object | null) =>
      (await api.ask('PATCH', `/webhooks/${id}`, { body: { batch } })).json().batch
    expect(await change({})).toEqual({ max_events: 100, max_wait_ms: 1_000 })
    expect(await change({ max_events: 250, max_wait_ms: 0 })).toEqual({ max_events: 250, max_wait_ms: 0 })
    expect(await change(null)).toBeNull()
  })

  test('disabling says since when, and enabling leaves what is to be told to the workers', async () => {
    const { id } = await add()
    const change = async (status: string) =>
      (await api.ask('PATCH', `/webhooks/${id}`, { body: { status } })).json()
    expect((await change('disabled')).disabled_at).toMatch(/Z$/)
    expect((await change('enabled')).disabled_at).toBeNull()
    const { rows } = await api.foundation.database.engine.query(
      'SELECT kind, skips_told FROM valija.webhook_replays WHERE webhook_id = $1 ORDER BY kind',
      [id.slice(4)],
    )
    expect(rows).toEqual([
      { kind: 'range', skips_told: true },
      { kind: 'waiting', skips_told: false },
    ])
  })

  test('enabling forgets why it was disabled and tells the workers', async () => {
    const { id } = await add()
    const { database, wake } = api.foundation
    const told = Promise.withResolvers<void>()
    const stop = wake.on('webhooks', () => told.resolve())
    await api.ask('PATCH', `/webhooks/${id}`, { body: { status: 'disabled' } })
    await database.engine.query(
      `UPDATE valija.webhooks SET disabled_reason = '410', failing_since = now() WHERE id = $1`,
      [id.slice(4)],
    )
    expect((await api.ask('GET', `/webhooks/${id}`)).json()).toMatchObject({
      status: 'disabled',
      disabled_reason: '410',
    })
    const answer = await api.ask('PATCH', `/webhooks/${id}`, { body: { status: 'enabled' } })
    expect(answer.json()).toMatchObject({ status: 'enabled', disabled_reason: null })
    const row = await database.engine.query('SELECT failing_since FROM valija.webhooks WHERE id = $1', [
      id.slice(4),
    ])
    expect(row.rows[0].failing_since).toBeNull()
    await told.promise
    stop()
  })
})

test('400 names what is wrong', async () => {
  const { id } = await add()
  await expectFault(api, 'PATCH', `/webhooks/${id}`, { url: 'x' }, '/url')
  await expectFault(api, 'PATCH', `/webhooks/${id}`, { events: ['x'] }, '/events/0')
  await expectFault(api, 'PATCH', `/webhooks/${id}`, { status: 'paused' }, '/status')
  await expectFault(api, 'PATCH', `/webhooks/${id}`, { batch: { max_events: 1 } }, '/batch/max_events')
  await expectFault(api, 'PATCH', `/webhooks/${id}`, { batch: { max_wait_ms: 60_001 } }, '/batch/max_wait_ms')
  await expectFault(api, 'PATCH', `/webhooks/${id}`, { secret: 'x' }, '/secret')
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'PATCH', '/webhooks/whk_x', 'manage', {}))

test('404 hides other tenants’ webhooks', async () =>
  expectHidden(api, 'PATCH', (id) => `/webhooks/${id}`, (await add(api.stranger.key)).id, { tags: ['x'] }))
