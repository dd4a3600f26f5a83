/**
 * Clocks that are set while mail is under way: PostgreSQL's by an hour and by a day in both directions, and those of our own
 * processes. A jump may bring a retry forward; it loses no mail, sends none twice and lets none stand.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createFakeClock, startClockedPostgres } from './support/clock.ts'
import { post, readMessage, untilEnded } from './support/message-life.ts'
import { startApp } from './support/processes.ts'
import { startRedis } from './support/redis.ts'
import { after, type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { keepPosting } from './support/steady-mail.ts'
import { needsProgram, until } from './support/until.ts'
import { type Call, startValija, type Valija } from './support/valija.ts'

const HOUR_MS = 3_600_000
/** A conversation that sees several sweeps. */
const HELD_MS = 12_000

describe.skipIf(needsProgram('faketime'))('a clock that is set', () => {
  const databaseClock = createFakeClock()
  const machineClock = createFakeClock()
  const closers: (() => Promise<unknown>)[] = [databaseClock.remove, machineClock.remove]
  let peer: SmtpPeer
  let valija: Valija

  beforeAll(async () => {
    peer = await startSmtpPeer()
    closers.push(() => peer.stop())
    const postgres = await startClockedPostgres(databaseClock)
    closers.push(postgres.remove)
    valija = await startValija({
      workers: 2,
      queue: 'postgres',
      version: { startApp, createDatabase: async () => ({ url: postgres.url, drop: async () => undefined }) },
      delivery: 'smarthost',
      smarthost: peer,
      env: {
        ...machineClock.env,
        VALIJA_RETRY_SCHEDULE: '30m',
        // Longer than any jump: what waits beyond its time is given up, whatever made the time pass.
        VALIJA_MESSAGE_TTL: '72h',
      },
    })
    closers.push(() => valija.stop())
  }, 120_000)
  afterAll(async () => {
    for (const close of closers.reverse()) await close()
  })

  /** Sets PostgreSQL's clock; resolves when every worker has noticed. */
  const setDatabaseClock = async (offset: string) => {
    const noticed = () =>
      valija.workers.map(
        ({ lines }) => lines.filter((line) => line.includes('clock of PostgreSQL was set')).length,
      )
    const before = noticed()
    databaseClock.set(offset)
    await until(`every worker has seen ${offset}`, () =>
      noticed().every((count, index) => count > before[index]!),
    )
  }
  /** How far the time at which it was accepted is from PostgreSQL's, in either direction. */
  const ageSeconds = async (id: string) => {
    const [row] = await valija.sql<{ seconds: number }>(
      `SELECT abs(extract(epoch FROM now() - created_at))::float8 AS seconds FROM valija.messages WHERE id = $1`,
      [id.replace('msg_', '')],
    )
    return row!.seconds
  }
  const waiting = async () => {
    const [row] = await valija.sql<{ count: number }>(`SELECT count(*)::int AS count FROM valija.deliveries`)
    return row!.count
  }
  const arrivals = (name: string) => peer.mails.filter(({ to }) => to[0] === `${name}@example.org`).length

  test('an hour forward: a mail in conversation is not sent again by somebody else, and a retry comes forward', async () => {
    let isHeld = false
    peer.script = {
      rcpt: ({ argument }) => (argument.includes('later@') ? '451 4.3.0 try again later' : undefined),
      data: ({ to }) => {
        if (!to[0]?.startsWith('held@')) return undefined
        isHeld = true
        return after(HELD_MS, '354 go on')
      },
    }
    const later = await post(valija.api, valija.mail({ to: 'later@example.org' }))
    await until(
      'the deferral',
      async () => (await readMessage(valija.api, later)).status === 'deferred',
      20_000,
    )
    const held = await post(valija.api, valija.mail({ to: 'held@example.org' }))
    await until('a mail in conversation', () => isHeld)
    delete peer.script.rcpt
    await setDatabaseClock('+1h')
    // Others work on: whoever would take the held one would have done so.
    expect(await untilEnded(valija.api, later)).toMatchObject({ status: 'delivered' })
    expect(await untilEnded(valija.api, held)).toMatchObject({
      status: 'delivered',
      recipients: [{ attempts: 1 }],
    })
    expect(arrivals('held')).toBe(1)
    peer.script = {}
  }, 90_000)

  test('an hour back: what a dead worker held, and what waited, is not held an hour longer', async () => {
    let isHeld = false
    peer.script = {
      data: ({ to }) => {
        if (!to[0]?.startsWith('orphan@')) return undefined
        isHeld = true
        return after(HOUR_MS, '354 go on')
      },
    }
    const orphan = await post(valija.api, valija.mail({ to: 'orphan@example.org' }))
    await until('a mail in conversation', () => isHeld)
    await Promise.all(valija.workers.splice(0).map((worker) => worker.kill()))
    peer.script = {}
    const waiting = await post(valija.api, valija.mail({ to: 'waiting@example.org' }))
    databaseClock.set('+0')
    // Accepted by an API that does not know yet.
    const unaware = await post(valija.api, valija.mail({ to: 'unaware@example.org' }))
    await Promise.all([valija.addWorker(), valija.addWorker()])
    for (const id of [waiting, unaware, orphan])
      expect(await untilEnded(valija.api, id, 75_000)).toMatchObject({ status: 'delivered' })
    for (const name of ['orphan', 'waiting', 'unaware']) expect(arrivals(name)).toBe(1)
  }, 150_000)

  test('mail that flows while the clock goes an hour and a day forward and back arrives once each, and keys keep their answers', async () => {
    const mail = keepPosting(valija, peer, 'jump', 40)
    const keyed = () =>
      post(valija.api, valija.mail({ to: 'keyed@example.org' }), { 'idempotency-key': 'one' })
    const first = await keyed()
    for (const offset of ['+1h', '+0', '-1h', '+0', '+1d', '-1d', '+0']) {
      await setDatabaseClock(offset)
      const seen = peer.mails.length
      await until(`mail that flows at ${offset}`, () => peer.mails.length > seen + 5, 40_000)
      // A day forward is the day after which a key may be forgotten.
      if (offset === '-1h') expect(await keyed()).toBe(first)
    }
    await mail.untilAllArrivedOnce()
    expect(await waiting()).toBe(0)
  }, 150_000)

  /** @param env of the processes that are there */
  const setMachines = async (api: Call, name: string, env: Record<string, string> = {}) => {
    // Under the library that sets its clock every connection of PostgreSQL reads the time for itself, up to two seconds late, so
    // what an API measured just after a jump can be the time before it. It measures again within 30 s.
    await until(
      'an API that knows the time',
      async () => (await ageSeconds(await post(api, valija.mail()))) < 120,
      60_000,
    )
    await until('all mail gone', async () => (await waiting()) === 0)
    machineClock.set('+1d')
    peer.script = { connect: '421 4.3.2 shutting down' }
    peer.cut() // connections that are kept meet no greeting
    const met = await post(api, valija.mail({ to: `met-${name}@example.org` }))
    await until('a refusal', async () => (await readMessage(api, met)).status === 'deferred')
    const paused = await post(api, valija.mail({ to: `${name}@example.org` }))
    machineClock.set('-1d')
    peer.script = {}
    // Its site is left alone for seconds, and not for two days.
    const message = await until(
      'the mail',
      async () => arrivals(name) === 1 && (await readMessage(api, paused)),
      60_000,
    )
    expect(message.id).toBe(paused)
    // By its schedule it waits for half an hour, unless a jump brought that forward.
    await api('POST', `/messages/${met}/cancel`)
    expect(await ageSeconds(paused)).toBeLessThan(120)
    const ahead = await valija.addApi(env)
    machineClock.set('+1d')
    const expires_at = new Date(Date.now() + HOUR_MS).toISOString()
    const key = await api<{ key: string }>('POST', '/keys', {
      name: 'short',
      scopes: ['send'],
      expires_at,
    })
    expect(key.status).toBe(201)
    const answer = await fetch(`${ahead.url}/send`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key.json.key}`, 'content-type': 'application/json' },
      body: JSON.stringify(valija.mail()),
    })
    expect(answer.status).toBe(202)
  }

  const machines =
    "our machines' clocks by a day and back: a pause ends when it should, and times are PostgreSQL's"
  test(machines, () => setMachines(valija.api, 'paused'), 120_000)

  test.skipIf(needsProgram('redis-server'))(
    `${machines}; with the queue in Redis as well`,
    async () => {
      const redis = await startRedis()
      closers.push(redis.remove)
      const env = { REDIS_URL: redis.url }
      await Promise.all(
        [...valija.apis.splice(0), ...valija.workers.splice(0)].map((process) => process.stop()),
      )
      machineClock.set('+0')
      const [{ call }] = await Promise.all([valija.addApi(env), valija.addWorker(env), valija.addWorker(env)])
      await setMachines(call, 'paused-in-redis', env)
    },
    120_000,
  )
})
