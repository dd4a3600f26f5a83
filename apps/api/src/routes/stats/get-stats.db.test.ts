/** GET /stats. */
import { randomUUID } from 'node:crypto'
import { formatId } from '@valija/core'
import { countEvents } from '@valija/store'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../../../../../tests/support/until.ts'
import { adminKey, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
/** One that is over, so that no test runs into the next. */
const hour = new Date(Math.floor(Date.now() / 3_600_000 - 2) * 3_600_000)
const within = `after=${hour.toISOString()}&before=${new Date(hour.getTime() + 3_600_000).toISOString()}`

/** Writes events of one kind as a worker would have. */
async function tell(count: number, type: string, data: object = {}, tenantId = api.tenant.id): Promise<void> {
  const usual = { email: 'ann@example.test', domain: 'acme.test', stream: 'transactional', tags: [] }
  await api.foundation.database.engine.query(
    `INSERT INTO valija.events (id, tenant_id, type, created_at, data)
     SELECT valija.new_id(), $1, $2, $3, $4 FROM generate_series(1, $5::int)`,
    [tenantId, `message.${type}`, hour, { ...usual, ...data }, count],
  )
}

async function count(): Promise<void> {
  const { engine } = api.foundation.database
  await until('all is counted', async () => {
    const outcome = await countEvents(engine, { notWithinMs: 0, most: 1_000 })
    const { rows } = await engine.query<{ isCounted: boolean }>(
      'SELECT max(e.transaction) <= max(c.transaction) AS "isCounted" FROM valija.events AS e, valija.stats_cursors AS c',
    )
    return outcome !== 'busy' && rows[0]?.isCounted
  })
}

beforeAll(async () => {
  api = await openTestApi()
  await tell(100, 'accepted')
  await tell(80, 'delivered', { provider: 'google', latency_ms: 1_000, tags: ['receipt'] })
  await tell(10, 'delivered', {
    provider: 'yahoo',
    latency_ms: 60_000,
    stream: 'bulk',
    domain: 'news.acme.test',
  })
  await tell(8, 'bounced', { provider: 'google', reason: 'mailbox_unknown', bounce_type: 'hard' })
  await tell(2, 'bounced', { provider: 'google', reason: 'policy', bounce_type: 'block' })
  await tell(20, 'deferred', { provider: 'yahoo', reason: 'greylisted' })
  await tell(1, 'complained')
  await tell(7, 'accepted', {}, api.stranger.id)
  await count()
})
afterAll(() => api.close())

const ask = (query: string, key?: string) =>
  api.ask('GET', `/stats?${query}`, key === undefined ? {} : { key })

describe('200', () => {
  test('counts, rates and latencies of an hour', async () => {
    const answer = await ask(`${within}&interval=hour`)
    expect(answer.json().data).toEqual([
      {
        start: hour.toISOString(),
        accepted: 100,
        delivered: 90,
        deferred: 20,
        bounced: 10,
        hard_bounced: 8,
        complained: 1,
        unsubscribed: 0,
        failed: 0,
        suppressed: 0,
        cancelled: 0,
        bounced_by_reason: { mailbox_unknown: 8, policy: 2 },
        deferred_by_reason: { greylisted: 20 },
        failed_by_reason: {},
        bounce_rate: 0.1,
        hard_bounce_rate: 0.08,
        complaint_rate: 0.011111,
        deferral_rate: 0.166667,
        latency_ms: { p50: expect.any(Number), p95: expect.any(Number), p99: expect.any(Number) },
      },
    ])
    expect(answer.json()).toMatchObject({ interval: 'hour', after: hour.toISOString() })
    expect(Date.parse(answer.json().as_of)).toBeGreaterThan(hour.getTime())
  })

  test('by the day without more words, and by nothing at all', async () => {
    const days = (await api.ask('GET', '/stats')).json()
    expect(days).toMatchObject({ interval: 'day', data: [{ accepted: 100 }] })
    expect(days.data[0].start).toBe(`${hour.toISOString().slice(0, 10)}T00:00:00.000Z`)
    expect((await ask('interval=total')).json().data).toMatchObject([{ accepted: 100, delivered: 90 }])
  })

  test('by provider, with how long each takes', async () => {
    const { data } = (await ask(`${within}&interval=total&group_by=provider`)).json()
    expect(data).toMatchObject([
      { provider: 'google', delivered: 80, bounced: 10, deferred: 0 },
      { provider: 'yahoo', delivered: 10, deferred: 20 },
      { provider: null, accepted: 100, complained: 1, latency_ms: null },
    ])
    for (const [at, ms] of [1_000, 60_000].entries()) {
      expect(data[at].latency_ms.p50).toBeGreaterThan(ms / 1.19)
      expect(data[at].latency_ms.p99).toBeLessThan(ms * 1.19)
    }
  })

  test('by domain, stream and tag; the largest groups, and the rest as one', async () => {
    const by = async (query: string) => (await ask(`${within}&interval=total&${query}`)).json().data
    expect(await by('group_by=domain')).toMatchObject([
      { domain: 'acme.test', delivered: 80, latency_ms: null },
      { domain: 'news.acme.test', delivered: 10 },
    ])
    expect(await by('group_by=stream')).toMatchObject([
      { stream: 'transactional' },
      { stream: 'bulk', delivered: 10 },
    ])
    expect(await by('group_by=tag')).toMatchObject([{ tag: 'receipt', delivered: 80, accepted: 0 }])
    expect(await by('group_by=domain&groups=1')).toMatchObject([
      { domain: 'acme.test' },
      { domain: null, delivered: 10 },
    ])
  })

  test('of one domain, stream, provider or tag', async () => {
    for (const [only, delivered] of [
      ['domain=ACME.test', 80],
      ['stream=bulk', 10],
      ['provider=yahoo', 10],
      ['provider=google&stream=transactional', 80],
      ['tag=receipt', 80],
    ])
      expect((await ask(`${within}&interval=total&${only}`)).json().data, `${only}`).toMatchObject([
        { delivered },
      ])
    expect((await ask(`${within}&tag=unknown`)).json().data).toEqual([])
  })

  test('of the tenant that asks, or for which the operator does', async () => {
    expect((await ask(within, api.stranger.key)).json().data).toMatchObject([{ accepted: 7, delivered: 0 }])
    const headers = { 'valija-tenant': formatId('tenant', api.stranger.id) }
    const answer = await api.ask('GET', `/stats?${within}`, { key: adminKey, headers })
    expect(answer.json().data).toMatchObject([{ accepted: 7 }])
  })
})

describe('400', () => {
  test.each([
    ['interval=week', 'interval'],
    ['group_by=colour', 'group_by'],
    ['group_by=reason', 'group_by'],
    ['groups=0', 'groups'],
    ['stream=slow', 'stream'],
    ['after=yesterday', 'after'],
    ['after=2026-11-02T00:00:00Z&before=2026-11-01T00:00:00Z', 'after'],
    ['interval=hour&after=2020-01-01T00:00:00Z', 'after'],
    ['after=2020-01-01T00:00:00Z', 'after'],
    ['interval=hour&before=2100-01-01T00:00:00Z&after=2099-01-01T00:00:00Z', 'before'],
    [
      'interval=hour&group_by=tag&groups=100&before=2100-01-31T00:00:00Z&after=2100-01-03T00:00:00Z',
      'groups',
    ],
    ['tag=receipt&domain=acme.test', 'tag'],
    ['group_by=tag&stream=bulk', 'group_by'],
    ['tag=receipt&group_by=provider', 'tag'],
    ['colour=red', 'colour'],
  ])('for %s', async (query, path) => {
    expect((await ask(query)).json()).toMatchObject({ status: 400, errors: [{ path }] })
  })
})

test('401 and 403 without the scope read', () => expectScope(api, 'GET', '/stats', 'read'))

describe('404', () => {
  test('for the operator who names a tenant that is not there', async () => {
    const headers = { 'valija-tenant': formatId('tenant', randomUUID()) }
    expect((await api.ask('GET', '/stats', { key: adminKey, headers })).statusCode).toBe(404)
  })
})
