/**
 * PostgreSQL killed, out of connections, at odds with itself, or cut off in the middle of a COMMIT: what it cannot do is refused in
 * bounded time, each 2xx is committed, and all goes on by itself when the trouble is over.
 */
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { Answer } from './support/http.ts'
import {
  BOUND_MS,
  expectUnavailable,
  RECOVERY_MS,
  type Sent,
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

test.each([
  ['with an Idempotency-Key', 'lost-1'],
  ['without one', undefined],
])(
  'a connection lost during the COMMIT of a send %s is 503, and the message is there once',
  async (_, key) => {
    await world.untilSent() // the key and the domain are known: what follows is the acceptance alone
    const before = await world.countMessages()
    const to = `commit-${key ?? 'keyless'}@example.org`
    const cut = world.proxy.cutAfter('accept-messages', 'COMMIT')
    const answer = await world.send(key, to)
    await cut
    expectUnavailable(answer)
    expect(await world.countMessages()).toBe(before + 1)
    if (key === undefined) return
    const repeated = await world.send(key, to)
    expect(repeated.status).toBe(202)
    expect(repeated.headers.get('idempotency-replayed')).toBe('true')
    expect(await world.countMessages()).toBe(before + 1)
  },
)

/** Waits until PostgreSQL has ended all that the product had asked of it. */
const untilQuiet = () =>
  until('no transaction of the product', async () => {
    const busy = await world.ask(
      `SELECT FROM pg_stat_activity WHERE application_name = 'valija engine' AND xact_start IS NOT NULL`,
    )
    return busy.length === 0
  })

test('a connection lost before that, with the message written already, is 503, and the message is not there', async () => {
  await world.untilSent()
  const before = await world.countMessages()
  const cut = world.proxy.cutAfter('accept-messages')
  expectUnavailable(await world.send())
  await cut
  await untilQuiet()
  expect(await world.countMessages()).toBe(before)
})

test('a strict batch whose connection is lost between two of its statements is 503, and none of it is there; lost during its COMMIT all of it is, once', async () => {
  await world.untilSent()
  // One statement takes 200 of them.
  const messages = Array.from({ length: 201 }, (_, i) =>
    world.valija.mail({ to: `batch-${i}@example.org`, idempotency_key: `batch-${i}` }),
  )
  const post = () => world.valija.api<Sent & { data: Sent[] }>('POST', '/send/batch', { messages })
  const before = await world.countMessages()
  const cut = world.proxy.cutAfter('accept-messages')
  expectUnavailable(await post())
  await cut
  await untilQuiet()
  expect(await world.countMessages()).toBe(before)

  const cutInCommit = world.proxy.cutAfter('accept-messages', 'COMMIT')
  expectUnavailable(await post())
  await cutInCommit
  expect(await world.countMessages()).toBe(before + 201)
  const { status, json } = await post()
  expect([status, json.data.length]).toEqual([202, 201])
  expect(await world.countMessages()).toBe(before + 201)
})

test('a send without an Idempotency-Key that PostgreSQL is too slow for is 503 within 10 s, and is never committed after it', async () => {
  await world.untilSent()
  const before = await world.countMessages()
  const holder = new pg.Client(world.cluster.url)
  await holder.connect()
  // Accepting reads the webhooks, and nothing before it does.
  await holder.query('BEGIN; LOCK TABLE valija.webhooks')
  const answer = await world.send()
  expectUnavailable(answer)
  expect(answer.tookMs).toBeLessThan(BOUND_MS)
  await holder.query('COMMIT')
  await holder.end()
  await untilQuiet()
  expect(await world.countMessages()).toBe(before)
  await world.untilSent()
})

test('a deadlock or a serialization failure is tried again, up to three times, and then 503', async () => {
  await world.ask('CREATE SEQUENCE public.conflicts')
  const fail = (code: string, times: number) => `
    SELECT setval('public.conflicts', 1, false);
    CREATE OR REPLACE FUNCTION public.conflict() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
      IF nextval('public.conflicts') <= ${times} THEN RAISE EXCEPTION 'met another one' USING ERRCODE = '${code}'; END IF;
      RETURN NULL;
    END $$;
    CREATE OR REPLACE TRIGGER conflict AFTER INSERT ON valija.messages FOR EACH STATEMENT EXECUTE FUNCTION public.conflict();`
  for (const [code, key] of [
    ['40P01', undefined],
    ['40001', 'conflict-1'],
  ] as const) {
    const before = await world.countMessages()
    await world.ask(fail(code, 3))
    expect((await world.send(key)).status).toBe(202)
    expect(await world.countMessages()).toBe(before + 1)
    await world.ask(fail(code, 1_000))
    expectUnavailable(await world.send(key && `${key}-again`))
    expect(
      (await world.ask<{ tries: number }>('SELECT last_value::int AS tries FROM public.conflicts'))[0],
    ).toEqual({
      tries: 4,
    })
    expect(await world.countMessages()).toBe(before + 1)
  }
  await world.ask('DROP TRIGGER conflict ON valija.messages')
})

test('with no connection left at PostgreSQL a send is 503, and succeeds as soon as there is one', async () => {
  const hogs: pg.Client[] = []
  world.proxy.refuse()
  const isFull = async () => {
    const hog = new pg.Client(world.cluster.url)
    hog.on('error', () => undefined)
    const failure = await hog.connect().then(
      () => null,
      (error: { code?: string }) => error,
    )
    if (failure === null) hogs.push(hog)
    return failure?.code === '53300'
  }
  await until('PostgreSQL takes no more connections', isFull)
  world.proxy.mend()
  const answer = await world.send()
  await Promise.all(hogs.map((hog) => hog.end()))
  expectUnavailable(answer)
  expect(answer.tookMs).toBeLessThan(BOUND_MS)
  await world.untilSent()
})

test('a PostgreSQL that only reads, as just before a failover, refuses a send as one that is away, and takes it when it writes again', async () => {
  await world.untilSent()
  const before = await world.countMessages()
  const setReadOnly = async (isReadOnly: boolean) => {
    await world.ask(`ALTER SYSTEM SET default_transaction_read_only = ${isReadOnly}`)
    await world.ask('SELECT pg_reload_conf()')
  }
  await setReadOnly(true)
  await until('a refusal', async () => (await world.send()).status === 503)
  const taken = await world.countMessages()
  const answer = await world.send('read-only')
  expectUnavailable(answer)
  expect(answer.tookMs).toBeLessThan(BOUND_MS)
  expect(await world.countMessages()).toBe(taken)
  // Who only reads is served.
  expect((await world.valija.api('GET', `/messages/${world.accepted[0]}`)).status).toBe(200)
  await setReadOnly(false)
  await world.untilSent()
  expect((await world.send('read-only')).status).toBe(202)
  expect(await world.countMessages()).toBeGreaterThan(before)
})

test('PostgreSQL killed under load: no 2xx is lost, and all goes on when it is back', async () => {
  let isLoaded = true
  const others: Answer<Sent>[] = []
  const lane = async () => {
    while (isLoaded) {
      const answer = await world.send()
      if (answer.status !== 202) others.push(answer)
      await delay(20) // a pace: refusals come at once
    }
  }
  const before = world.accepted.length
  const lanes = Array.from({ length: 8 }, lane)
  await until('load', () => world.accepted.length > before + 40)
  await world.cluster.kill()
  await until('a refusal', () => others.length > 0)
  await world.cluster.start()
  world.proxy.retarget(world.cluster.url)
  const during = world.accepted.length
  await until('sends succeed again', () => world.accepted.length > during + 20, RECOVERY_MS)
  isLoaded = false
  await Promise.all(lanes)
  for (const answer of others) expectUnavailable(answer)
  await world.expectAllCommitted()
}, 120_000)

test(
  'after all of that every mail that was answered 202 has been delivered, and none of them twice',
  () => world.expectAllDeliveredOnce(),
  120_000,
)
