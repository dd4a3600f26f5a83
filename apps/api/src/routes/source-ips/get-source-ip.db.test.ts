/** GET /source-ips/:id. */
import { parseId } from '@valija/core'
import { drawFromWarmUp, noteBlockedSource, noteBoundSources } from '@valija/store'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { adminKey, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const make = async (address: string, more: object = {}) =>
  (
    await api.ask('POST', '/source-ips', {
      key: adminKey,
      body: { address, ehlo_name: 'mail.test', ...more },
    })
  ).json()

const get = async (id: string) => (await api.ask('GET', `/source-ips/${id}`, { key: adminKey })).json()

test('200: how far its warm-up has come with each provider', async () => {
  const plan = { caps: [100, 200], maxDeferralRate: 0.1, maxComplaintRate: 0.001 }
  const { id } = await make('192.0.2.1', { warm_up: { caps: plan.caps } })
  const { database } = api.foundation
  const key = { sourceId: parseId('source', id)!, provider: 'google' }
  await drawFromWarmUp(database, key, plan, { handedOff: 0, deferred: 0 }, 4)
  await drawFromWarmUp(database, key, plan, { handedOff: 3, deferred: 1 }, 0)
  expect((await get(id)).warm_up.providers).toEqual([
    {
      provider: 'google',
      stage: 1,
      cap_per_day: 100,
      cap_per_hour: 10,
      used_in_day: 4,
      used_in_hour: 4,
      handed_off: 3,
      deferred: 1,
      complained: 0,
    },
  ])
})

test('200: whether a worker has it, and who refuses it', async () => {
  const { id } = await make('192.0.2.2')
  const { engine } = api.foundation.database
  await noteBoundSources(engine, [parseId('source', id)!])
  expect((await get(id)).health).toMatchObject({ status: 'ok', bound_at: expect.any(String) })
  await noteBlockedSource(engine, parseId('source', id)!, '550 5.7.1 listed')
  expect((await get(id)).health).toMatchObject({ status: 'blocked', blocked_reply: '550 5.7.1 listed' })
})

test('401 and 403 for everybody but the operator', () =>
  expectScope(api, 'GET', '/source-ips/src_x', 'operator'))

test.each(['src_0192f0c1a2b37c4d8e5f60718293a4b5', 'nonsense'])('404 for %s', async (id) => {
  expect((await api.ask('GET', `/source-ips/${id}`, { key: adminKey })).statusCode).toBe(404)
})
