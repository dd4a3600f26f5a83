/** Alarms of tenants' rates, from what was counted to the event that tells it. */
import { type AlarmLimits, createIdSource, type Uuid } from '@valija/core'
import { type Database, openDatabase, resumeBulk } from '@valija/store'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase } from '../../../tests/support/database.ts'
import { judgeTenantRates } from './judge-rates.ts'

let database: Database
let drop: () => Promise<void>
const nextId = createIdSource(() => Date.now())
const woken: string[] = []
const wake = { send: (topic: string) => woken.push(topic) }

beforeAll(async () => {
  const made = await createDatabase()
  drop = made.drop
  database = openDatabase({ url: made.url, onError: () => undefined })
})
afterAll(async () => {
  await database.close()
  await drop()
})

async function newTenant(alarms: Partial<AlarmLimits> = {}): Promise<Uuid> {
  const id = nextId()
  await database.engine.query('INSERT INTO valija.tenants (id, name, limits) VALUES ($1, $2, $3)', [
    id,
    id,
    { alarms },
  ])
  return id
}

/** As count-events.ts writes them; all in the hour of the tenant's first, lest another one begins meanwhile and both are summed. */
async function setCounts(tenantId: Uuid, counts: Record<string, number>, stream = 'bulk'): Promise<void> {
  await database.engine.query(
    `INSERT INTO valija.stats (tenant_id, span, starts_at, domain, stream, provider, outcome, reason, count)
     SELECT $1, 'hour', coalesce((SELECT max(starts_at) FROM valija.stats WHERE tenant_id = $1), date_trunc('hour', now(), 'UTC')), 'acme.test', $2, '', outcome, '', count
     FROM unnest($3::text[], $4::bigint[]) AS given (outcome, count)
     ON CONFLICT (tenant_id, span, starts_at, domain, stream, provider, outcome, reason) DO UPDATE SET count = excluded.count`,
    [tenantId, stream, Object.keys(counts), Object.values(counts)],
  )
  await database.engine.query(
    `INSERT INTO valija.stats_cursors (tenant_id, transaction, id, moved_at) VALUES ($1, '1', $1, now())
     ON CONFLICT (tenant_id) DO UPDATE SET moved_at = now()`,
    [tenantId],
  )
}

/** Bad enough for an alarm, and not for more. */
const bad = { delivered: 900, bounced: 100, hard_bounced: 100 }
const worse = { delivered: 800, bounced: 200, hard_bounced: 200 }
const good = { delivered: 900, bounced: 10, hard_bounced: 10 }

async function eventsOf(tenantId: Uuid): Promise<Record<string, unknown>[]> {
  const { rows } = await database.engine.query(
    'SELECT type, data FROM valija.events WHERE tenant_id = $1 ORDER BY transaction, id',
    [tenantId],
  )
  return rows.map(({ type, data }) => ({ type, ...data }))
}

const paused: string[] = []
const judge = () => judgeTenantRates({ database, wake, onPaused: (tenantId) => paused.push(tenantId) }, 0)

describe('an alarm', () => {
  test('is told once when a rate passes its limit, with its figures and what to do, and once when it is over', async () => {
    const tenantId = await newTenant()
    await setCounts(tenantId, bad)
    await judge()
    await judge()
    const told = await eventsOf(tenantId)
    expect(told).toEqual([
      {
        type: 'tenant.alarm',
        alarm: 'bounce_rate',
        state: 'raised',
        stream: 'bulk',
        rate: 0.1,
        limit: 0.05,
        count: 100,
        volume: 1_000,
        hours: 24,
        explanation: expect.stringContaining('bulk mail'),
        remedy: expect.any(String),
      },
    ])
    await setCounts(tenantId, good)
    await judge()
    await judge()
    expect((await eventsOf(tenantId)).slice(1)).toMatchObject([
      { state: 'cleared', alarm: 'bounce_rate', count: 10 },
    ])
  })

  test('is told once however many judge at the same time', async () => {
    const tenantId = await newTenant()
    await setCounts(tenantId, bad)
    await Promise.all([judge(), judge(), judge(), judge()])
    await judge()
    expect(await eventsOf(tenantId)).toHaveLength(1)
  })

  test('is told to webhooks that ask for everything', async () => {
    const tenantId = await newTenant()
    await database.engine.query(
      `INSERT INTO valija.webhooks (id, tenant_id, url, events, secret) VALUES ($1, $2, 'http://a.test', '{*}', '')`,
      [nextId(), tenantId],
    )
    await setCounts(tenantId, bad)
    woken.length = 0
    await judge()
    const { rowCount } = await database.engine.query(
      'SELECT FROM valija.webhook_outbox WHERE tenant_id = $1',
      [tenantId],
    )
    expect(rowCount).toBe(1)
    expect(woken).toContain('webhooks')
  })

  test('is each stream’s own, by the limits that the tenant has', async () => {
    const tenantId = await newTenant({ bounce_rate: 0.2, deferral_rate: 0.01, minimum_volume: 10 })
    await setCounts(tenantId, bad)
    await setCounts(tenantId, { delivered: 20, deferred: 5 }, 'transactional')
    await judge()
    expect(await eventsOf(tenantId)).toMatchObject([
      { alarm: 'deferral_rate', stream: 'transactional', volume: 25 },
    ])
  })

  test('is over when nothing is sent any more, and what is older than a day counts no more', async () => {
    const tenantId = await newTenant()
    await setCounts(tenantId, bad)
    await judge()
    await database.engine.query(
      `UPDATE valija.stats SET starts_at = starts_at - interval '24 hours' WHERE tenant_id = $1`,
      [tenantId],
    )
    await database.engine.query(
      `UPDATE valija.stats_cursors SET moved_at = '-infinity' WHERE tenant_id = $1`,
      [tenantId],
    )
    await judge()
    expect(await eventsOf(tenantId)).toMatchObject([{ state: 'raised' }, { state: 'cleared', volume: 0 }])
  })
})

describe('bulk mail', () => {
  const pauseOf = async (tenantId: Uuid) => {
    const { rows } = await database.engine.query<{ at: Date | null; why: object | null }>(
      'SELECT bulk_paused_at AS at, bulk_pause AS why FROM valija.tenants WHERE id = $1',
      [tenantId],
    )
    return rows[0]!
  }
  const ofType = async (tenantId: Uuid, type: string) =>
    (await eventsOf(tenantId)).filter((event) => event.type === type)

  test('is held when its rates are much too high, told once with the figures that led to it', async () => {
    const tenantId = await newTenant()
    await setCounts(tenantId, worse)
    await Promise.all([judge(), judge()])
    await judge()
    const figures = { reason: 'bounce_rate', rate: 0.2, limit: 0.1, count: 200, volume: 1_000, hours: 24 }
    expect(await pauseOf(tenantId)).toEqual({ at: expect.any(Date), why: figures })
    expect(await ofType(tenantId, 'tenant.paused')).toEqual([
      {
        type: 'tenant.paused',
        stream: 'bulk',
        ...figures,
        explanation: expect.any(String),
        remedy: expect.any(String),
      },
    ])
    expect(paused.filter((id) => id === tenantId)).toHaveLength(1)
  })

  test('is held by its own rates only, and not where the tenant’s limits say otherwise', async () => {
    const [bad, off] = [await newTenant(), await newTenant({ pause_bulk: false })]
    await setCounts(bad, worse, 'transactional')
    await setCounts(off, worse)
    await judge()
    for (const tenantId of [bad, off]) {
      expect(await ofType(tenantId, 'tenant.alarm')).toHaveLength(1)
      expect((await pauseOf(tenantId)).at).toBeNull()
    }
  })

  test('that was let go is held again only for what happened since', async () => {
    const tenantId = await newTenant()
    await setCounts(tenantId, worse)
    await judge()
    await resumeBulk(database.engine, tenantId)
    const { rows } = await database.engine.query<{ heldS: number }>(
      `SELECT floor(extract(epoch FROM ended_at - began_at))::int AS "heldS" FROM valija.tenant_suspensions WHERE tenant_id = $1`,
      [tenantId],
    )
    const [{ heldS } = { heldS: null }] = rows
    await judge()
    expect((await pauseOf(tenantId)).at).toBeNull()
    // As if it had been let go in the hour before.
    await database.engine.query(
      `UPDATE valija.tenants SET bulk_resumed_at = (SELECT max(starts_at) - interval '1 minute' FROM valija.stats WHERE tenant_id = $1) WHERE id = $1`,
      [tenantId],
    )
    await setCounts(tenantId, good)
    await judge()
    expect((await pauseOf(tenantId)).at).toBeNull()
    await setCounts(tenantId, worse)
    await judge()
    expect((await pauseOf(tenantId)).at).toBeInstanceOf(Date)
    expect(await ofType(tenantId, 'tenant.paused')).toHaveLength(2)
    expect(await ofType(tenantId, 'tenant.resumed')).toMatchObject([
      { stream: 'bulk', paused_seconds: heldS },
    ])
  })
})
