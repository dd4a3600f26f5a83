/** POST /queue/sites/:id/resume. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { adminKey, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectScope } from '../keys/refusals.test-support.ts'
import { suspended, writeHold, writeSite } from './queue.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const resume = (id: string) => api.ask('POST', `/queue/sites/${id}/resume`, { key: adminKey })

describe('200', () => {
  test('the suspension is over, workers are told, and one connection tries it', async () => {
    const key = 'bigmail * default'
    const id = await writeSite(api, key, suspended(Date.now() + 7_200_000))
    const told = new Promise<string>((resolve) => api.foundation.wake.on('shaping', resolve))
    const answer = await resume(id)
    expect(answer.statusCode).toBe(200)
    expect(answer.json()).toMatchObject({ id, state: 'slowed', until: null, limits: { connections: 1 } })
    expect(await told).toContain(key)
    const { sites } = (await api.ask('GET', '/queue', { key: adminKey })).json()
    expect(sites).toMatchObject([{ state: 'slowed' }])
  })

  test('what is held back there is let go', async () => {
    const key = 'bigmail held default'
    const id = await writeSite(api, key)
    await writeHold(api, key, 'acme.test', Date.now() + 600_000)
    expect((await resume(id)).json()).toMatchObject({ state: 'ok' })
    expect((await api.ask('GET', '/queue', { key: adminKey })).json().holds).toEqual([])
  })

  test('mail that was handed back until its end is due at once', async () => {
    const key = 'bigmail waiting default'
    const id = await writeSite(api, key, suspended(Date.now() + 7_200_000))
    await writeHold(api, key, 'acme.test', Date.now() + 600_000)
    await api.send({ to: ['a@b.test', 'b@b.test', 'c@b.test'] })
    const { engine } = api.foundation.database
    const holds = [`site:${key}`, 'held_at:bigmail acme.test', 'site:another']
    await engine.query(
      `UPDATE valija.deliveries AS d SET state = 'waiting', due_at = now() + interval '2 hours', hold = ($1::text[])[r.ordinal + 1]
       FROM valija.recipients AS r WHERE r.id = d.recipient_id`,
      [holds],
    )
    await resume(id)
    const { rows } = await engine.query(
      `SELECT hold FROM valija.deliveries WHERE due_at <= now() + interval '1 second' OR hold IS NOT NULL ORDER BY hold`,
    )
    expect(rows.map(({ hold }) => hold)).toEqual(['site:another', null, null])
  })

  test('a site that does well stays as it is', async () => {
    const id = await writeSite(api, 'bigmail well default')
    expect((await resume(id)).json()).toMatchObject({ id, state: 'ok' })
  })
})

test('401 and 403 for everybody but the operator', () =>
  expectScope(api, 'POST', '/queue/sites/x/resume', 'operator'))

test('404 for an unknown one', async () => {
  expect((await resume('0'.repeat(32))).json()).toMatchObject({ status: 404, code: 'not_found' })
})
