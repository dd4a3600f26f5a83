/** What explain reads of routes: what holds now, and nothing of what was said to the operator's. */
import { createIdSource } from '@valija/core'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createDatabase } from '../../../tests/support/database.ts'
import { findExplainedRoutes } from './explanation-rows.ts'

const nextId = createIdSource(Date.now)
const tenantId = nextId()
let engine: pg.Pool
let drop: () => Promise<void>

beforeAll(async () => {
  const made = await createDatabase()
  drop = made.drop
  engine = new pg.Pool({ connectionString: made.url, max: 1 })
  await engine.query(`INSERT INTO valija.tenants (id, name) VALUES ($1, 'acme')`, [tenantId])
})
afterAll(async () => {
  await engine.end()
  await drop()
})

async function addPausedRoute(name: string, owner: string | null, pausedUntil: string | null) {
  await engine.query(
    `WITH route AS (
       INSERT INTO valija.routes (id, tenant_id, name, kind, host, port, tls, state, paused_reason, paused_reply, paused_until)
       VALUES ($1, $2, $3, 'smarthost', 'relay.test', 587, 'required', 'paused', 'manual', '535 paused', now() + $4::interval)
       RETURNING id)
     INSERT INTO valija.route_health (route, condition, reply, probe_at, told)
     SELECT id::text, 'down', '421 down', now(), '{}' FROM route`,
    [nextId(), owner, name, pausedUntil],
  )
}

test('replies of a tenant’s own routes are read, of an operator’s none', async () => {
  await addPausedRoute('own', tenantId, null)
  await addPausedRoute('shared', null, null)
  const found = await findExplainedRoutes(engine, tenantId, ['own', 'shared'])
  const paused = { isPaused: true, pausedReason: 'manual', condition: 'down' }
  expect(found).toMatchObject([
    { ...paused, name: 'own', isOperators: false, pausedReply: '535 paused', downReply: '421 down' },
    { ...paused, name: 'shared', isOperators: true, pausedReply: null, downReply: null },
  ])
})

test('a pause whose time is over is none', async () => {
  await addPausedRoute('over', tenantId, '-1 minute')
  await addPausedRoute('still', tenantId, '1 hour')
  const found = await findExplainedRoutes(engine, tenantId, ['over', 'still'])
  expect(found).toMatchObject([
    { name: 'over', isPaused: false, pausedReason: null, pausedReply: null, pausedUntil: null },
    { name: 'still', isPaused: true, pausedReason: 'manual', pausedUntil: expect.any(Date) },
  ])
})
