/** Redis as it fails, as one server, under sentinels and as a cluster: emptied, restarted, away while mail is accepted, and set up to forget. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase } from './support/database.ts'
import { allEnded, countEach, inParallel, post, untilEnded } from './support/message-life.ts'
import { type Running, startApp } from './support/processes.ts'
import { startRedis, type TestRedis } from './support/redis.ts'
import { redisKinds } from './support/redis-topologies.ts'
import { type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { needsProgram, until } from './support/until.ts'
import { startValija, type Valija } from './support/valija.ts'

type Readiness = { status: string; checks: { name: string; ok: boolean; detail: string }[] }

const MESSAGES = 50
const RECIPIENTS = 20

const isAbsent = needsProgram('redis-server')

describe.skipIf(isAbsent).each(redisKinds)('%s in trouble', (kind) => {
  let peer: SmtpPeer
  let valija: Valija
  let redis: TestRedis

  beforeAll(async () => {
    peer = await startSmtpPeer()
    valija = await startValija({ queue: kind, delivery: 'smarthost', smarthost: peer })
    redis = valija.redis!
  })
  afterAll(async () => {
    await valija?.stop()
    await peer?.stop()
  })

  const readiness = async () => (await valija.api<Readiness>('GET', '/readyz')).json.status
  const untilReady = () => until('ready again', async () => (await readiness()) === 'ready', 20_000)

  test('FLUSHALL under 1,000 mails on their way loses none and doubles none', async () => {
    const [worker] = valija.workers
    worker!.pause() // so that no hint is taken before it is lost
    const ids = await inParallel(MESSAGES, 4, (message) => {
      const to = Array.from({ length: RECIPIENTS }, (_, index) => `m${message}r${index}@flushed.test`)
      return post(valija.api, valija.mail({ to }))
    })
    const [left] = await valija.sql<{ count: number }>(
      `SELECT count(*)::int AS count FROM valija.deliveries WHERE state = 'admitted'`,
    )
    await redis.flushall()
    // These had nothing but their hint.
    expect(left!.count).toBeGreaterThan(50)
    worker!.resume()
    await valija.addWorker()
    await allEnded(valija.api, ids)
    // The missing epoch brings all of them back at once, and not the 30 s after which single hints count as lost.
    const said = valija.workers.map(({ lines }) => lines.filter((line) => /hints.* wait again/.test(line)))
    const first = said.flatMap(([line]) => line ?? [])
    const atOnce = first.filter((line) => line.includes('the queue had lost its hints'))
    expect(atOnce.length, said.flat().join('\n')).toBeGreaterThan(0)
    // Nearly all: the worker that goes on may take some in hand before it looks.
    expect(Math.max(...atOnce.map((line) => JSON.parse(line).count))).toBeGreaterThan(left!.count / 2)

    const counts = countEach(peer.mails.flatMap(({ to }) => to))
    expect(counts.size).toBe(MESSAGES * RECIPIENTS)
    expect(Math.max(...counts.values())).toBe(1)
  }, 90_000)

  test('mail is accepted while Redis is away, /readyz says degraded and 200, and it is delivered', async () => {
    await redis.kill()
    const before = peer.mails.length
    const ids = await inParallel(5, 5, () => post(valija.api, valija.mail()))
    const degraded = await until('degraded', async () => {
      const answer = await valija.api<Readiness>('GET', '/readyz')
      return answer.json.status === 'degraded' ? answer : null
    })
    expect(degraded.status).toBe(200)
    expect(degraded.json.checks.filter(({ ok }) => !ok).map(({ name }) => name)).toEqual(['queue'])

    // More posts than one, each of which finds no queue: what an outage of a while looks like.
    for (let count = 0; count < 40; count++) ids.push(await post(valija.api, valija.mail()))

    await redis.restart()
    await allEnded(valija.api, ids)
    await untilReady()
    // An outage is told some times by each process, and not again for every hint that cannot be given.
    const processes = [...valija.apis, ...valija.workers]
    const errors = processes.flatMap(({ lines }) => lines.filter((line) => line.includes('"level":"error"')))
    expect(errors.length).toBeLessThan(10 * processes.length)
    expect(peer.mails.length).toBe(before + ids.length)
  }, 90_000)

  test('after a restart of Redis the next mail is delivered, with no process restarted', async () => {
    await redis.restart()
    const id = await post(valija.api, valija.mail())
    expect(await untilEnded(valija.api, id)).toMatchObject({ status: 'delivered' })
    await untilReady()
    expect([...valija.apis, ...valija.workers].every(isRunning)).toBe(true)
  }, 90_000)
})

describe.skipIf(isAbsent)('a Redis that is set up to forget', () => {
  test('a Redis that may evict keys stops the start, with the setting that it needs', async () => {
    const evicting = await startRedis()
    const database = await createDatabase()
    try {
      await evicting.command('CONFIG SET maxmemory-policy allkeys-lru')
      const env = {
        DATABASE_URL: database.url,
        REDIS_URL: evicting.url,
        VALIJA_SECRET_KEY: 'a-secret-key-of-the-tests-0123456789',
        VALIJA_ADMIN_KEY: 'the-operators-key-of-the-tests',
        VALIJA_DELIVERY: 'capture',
      }
      const started = startApp('worker', env)
      const line = await started.line('maxmemory-policy')
      expect(line).toMatch(/allkeys-lru.*noeviction/)
      expect(await started.ended).toEqual({ code: 1, signal: null })
    } finally {
      await evicting.remove()
      await database.drop()
    }
  })
})

function isRunning({ pid }: Running): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
