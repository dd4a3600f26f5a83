/** PostgreSQL slow, or silent as behind a firewall that forgot the connection: answers in bounded time, and recovery by itself. */
import { readFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { inParallel, untilEnded } from './support/message-life.ts'
import { after } from './support/smtp-peer.ts'
import {
  BOUND_MS,
  expectUnavailable,
  RECOVERY_MS,
  startTroubleWorld,
  type TroubleWorld,
} from './support/trouble-world.ts'
import { until } from './support/until.ts'

let world: TroubleWorld

beforeAll(async () => {
  world = await startTroubleWorld({ max_connections: '40' })
}, 120_000)
afterAll(() => world?.stop())
afterEach(() => world.proxy.mend())

const residentMb = (pid: number) =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024

test('a slow PostgreSQL makes sends slow, then 503 in bounded time, without a pile of memory or connections, and it passes', async () => {
  await world.untilSent()
  world.proxy.delay(100)
  expect((await world.send('slow-but-sure')).status).toBe(202)

  const { pid } = world.valija.apis[0]!
  const residentBefore = residentMb(pid)
  // Results of these come in while it takes seconds to write anything down.
  world.peer.script = { body: () => after(1_000, '250 2.0.0 taken') }
  const underWay = world.peer.sessions()
  for (const { status } of await inParallel(40, 8, () => world.send())) expect(status).toBe(202)
  await until('mails in conversation', () => world.peer.sessions() > underWay)
  world.proxy.delay(5_000)
  const answers = await inParallel(300, 300, () => world.send())
  for (const answer of answers) if (answer.status !== 202) expectUnavailable(answer)
  // All of them end in the same moment, and 300 clients in one process need theirs as well.
  expect(Math.max(...answers.map(({ tookMs }) => tookMs))).toBeLessThan(BOUND_MS + 5_000)
  expect(answers.filter(({ status }) => status === 503).length).toBeGreaterThan(0)
  // Two processes with 12 each (DESIGN 4.25), and those whose end PostgreSQL has not heard of yet.
  expect(world.proxy.connections).toBeLessThanOrEqual(40)
  expect(residentMb(pid) - residentBefore).toBeLessThan(150)

  world.proxy.mend()
  world.peer.script = {}
  await world.untilSent()
  await world.expectAllCommitted()
  await world.expectAllDeliveredOnce()
}, 120_000)

test('a half-open connection is given up: 503 in bounded time, and sends and deliveries go on within 30 s', async () => {
  await world.untilSent()
  const silencedAt = new Date()
  world.proxy.silence()
  const loop = monitorEventLoopDelay({ resolution: 1 })
  loop.enable()
  const answers = await inParallel(20, 20, () => world.send())
  loop.disable()
  // How long an answer that has come may have lain here before it was looked at.
  const laidMs = loop.max / 1e6
  for (const answer of answers) expectUnavailable(answer)
  expect(Math.max(...answers.map(({ tookMs }) => tookMs)) - laidMs).toBeLessThan(BOUND_MS)

  // As after a firewall that lost its table: new connections get through, the old ones hear nothing for ever.
  world.proxy.mend()
  const mendedMs = performance.now()
  await world.untilSent()
  const id = world.accepted.at(-1)!
  expect(await untilEnded(world.valija.api, id, RECOVERY_MS)).toMatchObject({ status: 'delivered' })
  // Those that only listen have noticed as well: both processes are heard again.
  await until(
    'new connections that listen',
    async () => {
      const listening = await world.ask(
        `SELECT FROM pg_stat_activity WHERE application_name LIKE 'valija listen%' AND backend_start > '${silencedAt.toISOString()}'`,
      )
      return listening.length === 2
    },
    RECOVERY_MS,
  )
  expect(performance.now() - mendedMs).toBeLessThan(RECOVERY_MS)
  await world.expectAllCommitted()
}, 120_000)
