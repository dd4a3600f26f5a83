/** GET /queue. */
import { exchangePermits } from '@valija/store'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { adminKey, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectScope } from '../keys/refusals.test-support.ts'
import { suspended, writeHold, writeSite } from './queue.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const read = async () => (await api.ask('GET', '/queue', { key: adminKey })).json()

describe('200', () => {
  test('with nothing is all zeros', async () => {
    expect(await read()).toEqual({
      waiting: 0,
      due: 0,
      admitted: 0,
      leased: 0,
      oldest_due_at: null,
      tenants: [],
      sites: [],
      holds: [],
    })
  })

  test('counts what is not at its end, in all and by tenant', async () => {
    await api.send({ to: ['a@b.test', 'b@b.test'] })
    await api.send({ send_at: new Date(Date.now() + 3_600_000).toISOString() })
    await api.foundation.database.engine.query(
      `UPDATE valija.deliveries SET state = 'leased', leased_until = now() + interval '1 hour' WHERE ctid IN
         (SELECT ctid FROM valija.deliveries WHERE state = 'admitted' LIMIT 1)`,
    )
    const { tenants, ...queue } = await read()
    expect(queue).toMatchObject({ waiting: 1, due: 0, admitted: 1, leased: 1 })
    expect(queue.oldest_due_at).toMatch(/Z$/)
    expect(tenants).toEqual([
      expect.objectContaining({
        id: `ten_${api.tenant.id.replaceAll('-', '')}`,
        name: 'default',
        waiting: 1,
        admitted: 1,
        leased: 1,
      }),
    ])
  })

  test('shows sites that are suspended, slowed or in use, with what caused it', async () => {
    const untilMs = Date.now() + 7_200_000
    const id = await writeSite(api, 'bigmail * default', suspended(untilMs))
    await writeSite(api, 'bigmail quiet default')
    await writeSite(api, 'bigmail busy default')
    await writeSite(api, 'bigmail slow default', { ...suspended(0), stepMs: 1_000 })
    await exchangePermits(api.foundation.database.engine, api.foundation.nextId(), [
      { scopeKey: 'bigmail busy default', held: 2, wanted: 0, limit: 5 },
    ])
    const { sites } = await read()
    expect(
      sites.map(({ state, connections }: { state: string; connections: number }) => [state, connections]),
    ).toEqual([
      ['suspended', 0],
      ['slowed', 0],
      ['ok', 2],
    ])
    expect(sites[0]).toEqual({
      id,
      provider: 'bigmail',
      site: 'mx1.bigmail.test',
      source: 'default',
      state: 'suspended',
      since: expect.stringMatching(/Z$/),
      until: new Date(untilMs).toISOString(),
      reason: 'throttled',
      reply: '421 4.7.0 [TSS04] deferred',
      limits: { connections: 1, mails_per_connection: 50, mails_per_second: 1 },
      configured: { connections: 5, mails_per_connection: 50, mails_per_second: 20 },
      connections: 0,
    })
    expect(sites[2]).toMatchObject({ since: null, until: null, reason: null, reply: null })
  })

  test('shows what is held back of single tenants and domains', async () => {
    const untilMs = Date.now() + 600_000
    await writeHold(api, 'bigmail * default', 'acme.test', untilMs)
    await writeHold(api, 'bigmail * default', '*', Date.now() - 1)
    expect((await read()).holds).toEqual([
      {
        provider: 'bigmail',
        site: 'mx1.bigmail.test',
        tenant_id: `ten_${api.tenant.id.replaceAll('-', '')}`,
        domain: 'acme.test',
        until: new Date(untilMs).toISOString(),
        reason: 'policy',
        reply: '450 your domain sends too much',
      },
    ])
  })
})

test('400 for an unknown query key', async () => {
  expect((await api.ask('GET', '/queue?tenant=x', { key: adminKey })).statusCode).toBe(400)
})

test('401 and 403 for everybody but the operator', () => expectScope(api, 'GET', '/queue', 'operator'))
