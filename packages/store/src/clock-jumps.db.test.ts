/** What PostgreSQL's clock, set back by an hour, leaves in the future, and what is left of it after the repair. */
import { randomUUID } from 'node:crypto'
import { steadyPace, usageLimitNames, windowEndMs } from '@valija/core'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createDatabase } from '../../../tests/support/database.ts'
import { repairFutureTimes } from './clock-jumps.ts'

let pool: pg.Pool
let drop: () => Promise<void>
beforeAll(async () => {
  const made = await createDatabase()
  drop = made.drop
  pool = new pg.Pool({ connectionString: made.url, max: 1 })
})
beforeEach(() => repairFutureTimes(pool))
afterAll(async () => {
  await pool.end()
  await drop()
})

const hourMs = 3_600_000
const ask = async <T>(text: string, values: unknown[] = []): Promise<T> =>
  (await pool.query(text, values)).rows[0] as T

async function site(key: string, mailsPerSecond: number | null, pace: object = {}) {
  await pool.query(
    `INSERT INTO valija.shaping_sites (key, site, source, kind, limits, pace, paused_until)
     VALUES ($1, $1, '', 'mx', $2, $3, to_timestamp(nullif(($3::jsonb ->> 'pausedUntilMs')::float8, 0) / 1000))`,
    [key, { mailsPerSecond }, { ...steadyPace, ...pace }],
  )
}

test('the next mail of a site does not wait until the clock is there; one of a slow site keeps its place', async () => {
  await site('fast', 5)
  await site('slow', 1 / 600)
  await pool.query(
    `INSERT INTO valija.shaping_rates (scope_key, next_slot) VALUES ('fast', now() + interval '1 h'),
       ('slow', now() + interval '10 min'), ('unknown', now() + interval '1 h'), ('soon', now() + interval '10 s')`,
  )
  expect(await repairFutureTimes(pool)).toBe(2)
  const { names } = await ask<{ names: string[] }>(
    `SELECT array_agg(scope_key ORDER BY scope_key) AS names FROM valija.shaping_rates WHERE next_slot <= now()`,
  )
  expect(names).toEqual(['fast', 'unknown'])
})

test('a pause lasts as long as it was to, from now on', async () => {
  const then = Date.now() + hourMs
  await site('paused', null, { incidentMs: then, pausedUntilMs: then + 300_000, incidentsMs: [then] })
  await site('at rest', null, { incidentMs: Date.now() - 1_000, pausedUntilMs: Date.now() + 300_000 })
  expect(await repairFutureTimes(pool)).toBe(1)
  const { pace, leftS } = await ask<{ pace: Record<string, unknown>; leftS: number }>(
    `SELECT pace, extract(epoch FROM paused_until - updated_at)::float8 AS "leftS" FROM valija.shaping_sites WHERE key = 'paused'`,
  )
  expect(leftS).toBeCloseTo(300, 0)
  expect(pace).toMatchObject({ incidentsMs: [], stepMs: steadyPace.stepMs })
  expect(Number(pace.pausedUntilMs) - Number(pace.incidentMs)).toBeCloseTo(300_000, -1)
  expect(await repairFutureTimes(pool)).toBe(0)
})

test('a limit that was used by a clock that was ahead begins anew; one that is in its window does not', async () => {
  const add = (nowMs: number) =>
    Promise.all(
      usageLimitNames.map((name) =>
        pool.query(
          `INSERT INTO valija.usage (tenant_id, owner_id, name, email_key, used, ends_at) VALUES ($1, $1, $2, '', 1, $3)`,
          [randomUUID(), name, new Date(windowEndMs(name, nowMs))],
        ),
      ),
    )
  await add(Date.now())
  expect(await repairFutureTimes(pool)).toBe(0)
  // Next month, for those of a month as well.
  await add(Date.now() + 32 * 24 * hourMs)
  const { before } = await ask<{ before: Date }>('SELECT clock_timestamp() AS before')
  expect(await repairFutureTimes(pool)).toBe(usageLimitNames.length)
  const { over } = await ask<{ over: number }>(
    `SELECT count(*)::int AS over FROM valija.usage WHERE ends_at BETWEEN $1 AND now()`,
    [before],
  )
  expect(over).toBeGreaterThanOrEqual(usageLimitNames.length)
})

test('an event whose worker died is told at once, and so is one that nobody has tried; a retry waits', async () => {
  const [tenantId, webhookId] = [randomUUID(), randomUUID()]
  await pool.query(`INSERT INTO valija.tenants (id, name) VALUES ($1, 'acme')`, [tenantId])
  await pool.query(
    `INSERT INTO valija.webhooks (id, tenant_id, url, events, secret) VALUES ($1, $2, 'http://a.test/', '{*}', '')`,
    [webhookId, tenantId],
  )
  await pool.query(
    `INSERT INTO valija.webhook_outbox (webhook_id, event_id, tenant_id, due_at, tries, leased_until)
     SELECT $1, id, $2, now() + interval '1 h', tries, leased_until FROM (VALUES
       (valija.new_id(), 1, now() + interval '1 h'),
       (valija.lowest_uuid(now() + interval '1 h'), 0, NULL),
       (valija.new_id(), 1, NULL)) AS row (id, tries, leased_until)`,
    [webhookId, tenantId],
  )
  expect(await repairFutureTimes(pool)).toBe(2)
  const { due } = await ask<{ due: number }>(
    'SELECT count(*)::int AS due FROM valija.webhook_outbox WHERE due_at <= now() AND coalesce(leased_until, now()) <= now()',
  )
  expect(due).toBe(2)
})
