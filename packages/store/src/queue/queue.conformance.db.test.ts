/**
 * The suite that every backend of the queue passes: what hint-queue.ts promises, and what happens when the store is cut
 * off, mute, away, or has lost its data. Real PostgreSQL, real Redis.
 */
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createEmptyDatabase } from '../../../../tests/support/database.ts'
import { startHalfOpenProxy } from '../../../../tests/support/half-open.ts'
import { startRedis } from '../../../../tests/support/redis.ts'
import {
  type RedisKind,
  redisKinds,
  startRedisOf,
  type TestCluster,
} from '../../../../tests/support/redis-topologies.ts'
import { needsProgram, until } from '../../../../tests/support/until.ts'
import {
  ADD_DEADLINE_MS,
  type Hint,
  type HintQueue,
  type HintWorker,
  type HintWorkerOptions,
} from './hint-queue.ts'
import { migrateQueue, openHintQueue } from './index.ts'
import { openRedisQueue } from './redis-queue.ts'

/** A store and what can be done to it. */
interface Store {
  redisUrl: string | null
  databaseUrl: string
  /** Ends every connection; the store itself stays, or is back by itself. */
  cut(): Promise<void>
  /** Refuses connections until `comeBack`. */
  goAway(): Promise<void>
  comeBack(): Promise<void>
  /** Takes what is sent, and answers nothing until `unmute`. */
  mute(): Promise<void>
  unmute(): Promise<void>
  /** Loses its data as this store does: FLUSHALL; unlogged tables after a crash. */
  forget(): Promise<void>
  /** How many hints are in the hands of the workers of the queue with that prefix. */
  activeIn(prefix: string): Promise<number>
  remove(): Promise<void>
}

async function postgresStore(): Promise<Store> {
  const database = await createEmptyDatabase()
  await migrateQueue(database.url)
  const name = new URL(database.url).pathname.slice(1)
  const otherUrl = new URL(database.url)
  otherUrl.pathname = '/postgres'
  const elsewhere = new pg.Client(otherUrl.href)
  await elsewhere.connect()
  const terminate = () =>
    elsewhere.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [name])
  const inside = async (sql: string) => {
    const client = new pg.Client(database.url)
    await client.connect()
    await client.query(sql)
    return client
  }
  let locker: pg.Client | null = null
  return {
    redisUrl: null,
    databaseUrl: database.url,
    cut: async () => void (await terminate()),
    goAway: async () => {
      await elsewhere.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS false`)
      await terminate()
    },
    comeBack: async () => void (await elsewhere.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS true`)),
    mute: async () => {
      locker = await inside('BEGIN; LOCK TABLE bullmq.job, bullmq.epoch')
    },
    unmute: async () => void (await locker?.end()),
    forget: async () => (await inside('TRUNCATE bullmq.job, bullmq.epoch CASCADE')).end(),
    activeIn: async (prefix) => {
      const client = await inside('SET search_path = bullmq')
      const sql = `SELECT count(*)::int AS active FROM job WHERE queue = $1 AND state = 'active'`
      const { rows } = await client.query<{ active: number }>(sql, [`${prefix}-hints`])
      await client.end()
      return rows[0]!.active
    },
    remove: async () => {
      await elsewhere.end()
      await database.drop()
    },
  }
}

async function redisStore(kind: RedisKind): Promise<Store> {
  const redis = await startRedisOf[kind]()
  return {
    redisUrl: redis.url,
    databaseUrl: '',
    cut: () => redis.restart(),
    goAway: () => redis.kill(),
    comeBack: () => redis.restart(),
    mute: async () => redis.pause(),
    unmute: async () => redis.resume(),
    forget: () => redis.flushall(),
    activeIn: async (prefix) => {
      const key = kind === 'cluster' ? `{${prefix}}:hints:active` : `${prefix}:hints:active`
      const server = 'holderOf' in redis ? await (redis as TestCluster).holderOf(key) : redis
      return Number(await server.command(`LLEN ${key}`))
    },
    remove: () => redis.remove(),
  }
}

const idsOf = (count: number): string[] => Array.from({ length: count }, (_, index) => `id-${index}`)

/**
 * What the work ends with, or 'late'. By a timer that is set in the same turn of the event loop as those of the work, so on a machine that
 * crawls both come later and their order stays: only what really takes longer loses.
 */
async function within<T>(limitMs: number, work: () => Promise<T>): Promise<T | 'late'> {
  const { promise: late, resolve } = Promise.withResolvers<'late'>()
  const timer = setTimeout(resolve, limitMs, 'late')
  return Promise.race([work(), late]).finally(() => clearTimeout(timer))
}

/** Adding is given up as soon as was promised, and what is thrown says why. */
async function expectGivenUp(queue: HintQueue): Promise<void> {
  const add = () =>
    queue.add([{ ids: ['lost'] }]).then(
      () => 'added',
      (error: { code?: string }) => error.code,
    )
  expect(await within(ADD_DEADLINE_MS + 100, add)).toBe('queue_away')
}

/** Whose adding was given up: they may arrive all the same. */
const givenUp = new Set<string>()
afterEach(() => givenUp.clear())

/**
 * Adds these hints at once and gives their ids. A store that is slow may be taken for one that is away: then hints with other ids are
 * tried.
 */
async function add(queue: HintQueue, ...hints: string[][]): Promise<string[]> {
  for (let tries = 1; ; tries += 1) {
    const named = hints.map((ids) => (tries === 1 ? ids : ids.map((id) => `${id} again ${tries}`)))
    try {
      await queue.add(named.map((ids) => ({ ids })))
      return named.flat()
    } catch (error) {
      if ((error as { code?: string }).code !== 'queue_away' || tries === 10) throw error
      for (const id of named.flat()) givenUp.add(id)
      await until('up', () => queue.isUp)
    }
  }
}
const addAtOnce = (queue: HintQueue, count: number) => add(queue, ...idsOf(count).map((id) => [id]))

const untilSeen = (what: string, seen: readonly string[], ids: readonly string[]) =>
  until(what, () => ids.every((id) => seen.includes(id)))

/** Each id came, and none twice, and no other but those whose adding was given up. */
function expectOnceEach(seen: string[], ids: string[]): void {
  expect(seen.filter((id) => !givenUp.has(id)).toSorted()).toEqual(ids.toSorted())
  expect(new Set(seen).size).toBe(seen.length)
}

/** So many wait, and perhaps some whose adding was given up. */
async function expectDepth(queue: HintQueue, count: number): Promise<void> {
  const depth = await queue.depth()
  expect(depth).toBeGreaterThanOrEqual(count)
  expect(depth).toBeLessThanOrEqual(count + givenUp.size)
}

function describeQueue(name: string, start: () => Promise<Store>): void {
  describe(name, () => {
    let store: Store
    const opened: { queue: HintQueue; workers: HintWorker[] }[] = []
    const storeErrors: Error[] = []

    beforeAll(async () => {
      store = await start()
    })
    afterEach(async () => {
      for (const { queue, workers } of opened.splice(0)) {
        await Promise.all(workers.map((worker) => worker.close()))
        await queue.close()
      }
      storeErrors.length = 0
    })
    afterAll(() => store.remove())

    /** A queue of the test's own; the same prefix opens it a second time, as another process would. */
    async function open(prefix = `t${randomBytes(6).toString('hex')}`) {
      const queue = await openHintQueue({ ...store, prefix, onError: (error) => storeErrors.push(error) })
      const workers: HintWorker[] = []
      opened.push({ queue, workers })
      const work = (handler: (hint: Hint) => Promise<void>, options: Partial<HintWorkerOptions> = {}) => {
        const worker = queue.work(handler, { concurrency: 4, onError: () => {}, ...options })
        workers.push(worker)
        return worker
      }
      return { queue, work, prefix }
    }

    /** Works into a list. */
    async function openAndCollect(options: Partial<HintWorkerOptions> = {}) {
      const seen: string[] = []
      const one = await open()
      const worker = one.work(async ({ ids }) => void seen.push(...ids), options)
      return { ...one, worker, seen }
    }

    /** The worker has taken a hint, so it is connected and blocked on the next. */
    async function warmUp({ queue, seen }: { queue: HintQueue; seen: string[] }) {
      await untilSeen('the first hint', seen, await add(queue, ['warm']))
      seen.length = 0
    }

    test('hints added one by one arrive once each, with all their ids', async () => {
      const { queue, seen } = await openAndCollect()
      const ids = [...(await add(queue, ['a', 'b'])), ...(await add(queue, ['c']))]
      await untilSeen('three ids', seen, ids)
      await until('an empty queue', async () => (await queue.depth()) === 0)
      expectOnceEach(seen, ids)
    })

    test('1,000 hints added at once arrive once each', async () => {
      const { queue, seen } = await openAndCollect({ concurrency: 16 })
      const ids = await addAtOnce(queue, 1_000)
      await untilSeen('1,000 ids', seen, ids)
      await until('an empty queue', async () => (await queue.depth()) === 0)
      expectOnceEach(seen, ids)
    })

    test('adding nothing is no error', async () => {
      const { queue } = await open()
      await queue.add([])
      expect(await queue.depth()).toBe(0)
    })

    test('workers of several processes share the hints, each hint going to one', async () => {
      const seen: string[][] = [[], [], []]
      const first = await open()
      const others = [await open(first.prefix), await open(first.prefix)]
      for (const [index, { work }] of [first, ...others].entries())
        work(async (hint) => void seen[index]?.push(...hint.ids))
      const ids = await addAtOnce(first.queue, 300)
      await until('300 ids', () => ids.every((id) => seen.some((own) => own.includes(id))))
      expectOnceEach(seen.flat(), ids)
      expect(seen.filter((own) => own.length > 0).length).toBeGreaterThan(1)
    })

    test('no more handlers run at once than the concurrency says', async () => {
      let running = 0
      let most = 0
      let done = 0
      const { queue, work } = await open()
      work(
        async () => {
          most = Math.max(most, ++running)
          await new Promise((resolve) => setImmediate(resolve))
          running -= 1
          done += 1
        },
        { concurrency: 3 },
      )
      await addAtOnce(queue, 50)
      await until('50 hints', () => done >= 50)
      expect(most).toBeLessThanOrEqual(3)
    })

    test('a throwing handler stops no other hint, is reported, and its hint does not come back', async () => {
      const seen: string[] = []
      const errors: string[] = []
      const { queue, work, prefix } = await open()
      const worker = work(
        async ({ ids }) => {
          seen.push(...ids)
          if (ids[0]?.startsWith('id-3')) throw new Error(ids[0])
        },
        { concurrency: 1, onError: (error) => errors.push(error.message) },
      )
      const ids = await addAtOnce(queue, 10)
      await untilSeen('10 hints', seen, ids)
      await worker.close()
      expectOnceEach(errors, [ids[3]!])
      const again = await open(prefix)
      const later: string[] = []
      again.work(async ({ ids }) => void later.push(...ids))
      const next = await add(again.queue, ['next'])
      await untilSeen('the next hint', later, next)
      expectOnceEach(later, next)
    })

    test('closing a worker waits for its running handlers', async () => {
      const gate = Promise.withResolvers<void>()
      const begun = Promise.withResolvers<void>()
      let ended = false
      const { queue, work } = await open()
      const worker = work(async () => {
        begun.resolve()
        await gate.promise
        ended = true
      })
      await add(queue, ['slow'])
      await begun.promise
      const closed = worker.close().then(() => ended)
      gate.resolve()
      expect(await closed).toBe(true)
    })

    test('depth counts what nobody has taken', async () => {
      const { queue, work } = await open()
      await addAtOnce(queue, 7)
      await expectDepth(queue, 7)
      work(async () => {})
      await until('an empty queue', async () => (await queue.depth()) === 0)
    })

    test('a hint reaches an idle worker in less than 100 ms: it is woken, and does not ask now and then', async () => {
      const one = await openAndCollect()
      await warmUp(one)
      const latencies: number[] = []
      for (let round = 0; round < 20; round += 1) {
        const before = performance.now()
        await untilSeen('the hint', one.seen, await add(one.queue, [`r${round}`]))
        latencies.push(performance.now() - before)
      }
      // Not the median: what else runs here makes some of them late, and of one that asks it would make all.
      const quick = latencies.toSorted((a, b) => a - b)[5]
      expect(quick).toBeLessThan(100)
    })

    test('the epoch is missing at first, then what was written last, for every process', async () => {
      const { queue, prefix } = await open()
      expect(await queue.readEpoch()).toBeNull()
      await queue.writeEpoch('one')
      await queue.writeEpoch('two')
      expect(await queue.readEpoch()).toBe('two')
      expect(await (await open(prefix)).queue.readEpoch()).toBe('two')
    })

    test('a store that lost its data has no epoch and no hints, and who waited for some goes on', async () => {
      const one = await openAndCollect()
      await warmUp(one)
      const { queue } = await open()
      await queue.writeEpoch('one')
      await addAtOnce(queue, 5)
      await store.forget()
      expect(await queue.readEpoch()).toBeNull()
      await expectDepth(queue, 0)
      const after = await add(one.queue, ['after'])
      await untilSeen('a hint after the loss', one.seen, after)
      expectOnceEach(one.seen, after)
    })

    test('cut connections come back by themselves, for adding and for working, and it is told', async () => {
      const one = await openAndCollect()
      await warmUp(one)
      let reconnects = 0
      one.queue.onReconnect(() => {
        reconnects += 1
      })
      await store.cut()
      await until('the reconnect', () => reconnects > 0)
      await until('up', () => one.queue.isUp)
      await until('an add', () => one.queue.add([{ ids: ['after'] }]).then(() => true))
      await until('a hint after the cut', () => one.seen.includes('after'))
      expect(storeErrors.length).toBeGreaterThan(0)
    })

    test('while the store is away add rejects within 1 s, and all goes on when it is back', async () => {
      const one = await openAndCollect()
      await warmUp(one)
      await store.goAway()
      try {
        for (let round = 0; round < 3; round += 1) await expectGivenUp(one.queue)
        expect(one.queue.isUp).toBe(false)
        expect(one.queue.lastError).toBeInstanceOf(Error)
        expect(storeErrors.length).toBeLessThan(4) // one outage, not one error for each attempt
      } finally {
        await store.comeBack()
      }
      await until('up', () => one.queue.isUp)
      await untilSeen('a hint after the outage', one.seen, await add(one.queue, ['after']))
    })

    test('when the store is mute add rejects within 1 s, and all goes on when it speaks again', async () => {
      const one = await openAndCollect()
      await warmUp(one)
      await store.mute()
      try {
        await expectGivenUp(one.queue)
      } finally {
        await store.unmute()
      }
      await until('up', () => one.queue.isUp)
      await until('an add', () => one.queue.add([{ ids: ['after'] }]).then(() => true))
      await until('a hint after the silence', () => one.seen.includes('after'))
    })

    test('a worker that takes nothing can be started anew; one that works is left alone', async () => {
      const one = await openAndCollect()
      await warmUp(one)
      expect(one.worker.restartIfIdle(60_000)).toBe(false) // it took one a moment ago
      // Until then the old one, which is not waited for, may still fetch a hint, and take it with it.
      await until('the end of the first hint', async () => (await store.activeIn(one.prefix)) === 0)
      expect(one.worker.restartIfIdle(0)).toBe(true)
      const ids = await addAtOnce(one.queue, 20)
      await untilSeen('all hints by the new one', one.seen, ids)
      expectOnceEach(one.seen, ids)

      const gate = Promise.withResolvers<void>()
      const busy = await open()
      let isBusy = false
      const worker = busy.work(async () => {
        isBusy = true
        await gate.promise
      })
      await add(busy.queue, ['slow'])
      await until('a handler that runs', () => isBusy)
      expect(await store.activeIn(busy.prefix)).toBeGreaterThan(0)
      expect(worker.restartIfIdle(0)).toBe(false)
      gate.resolve()
    })

    test('a worker closes while the store is away', async () => {
      const one = await openAndCollect()
      await warmUp(one)
      await store.goAway()
      try {
        await until('down', () => !one.queue.isUp)
        // Forced: it does not take the 2 s that a store gets which was up.
        expect(await within(1_900, () => one.worker.close())).not.toBe('late')
      } finally {
        await store.comeBack()
      }
    })
  })
}

describeQueue('hints in PostgreSQL', postgresStore)

describe.skipIf(needsProgram('redis-server'))('with redis-server', () => {
  for (const kind of redisKinds) describeQueue(`hints in ${kind}`, () => redisStore(kind))

  test('a Redis that is away at the start is waited for, by adding and by working', async () => {
    const redis = await startRedis()
    await redis.kill()
    const seen: string[] = []
    const told: string[] = []
    const queue = await openHintQueue({
      redisUrl: redis.url,
      databaseUrl: '',
      onError: ({ message }) => told.push(message),
    })
    const worker = queue.work(async ({ ids }) => void seen.push(...ids), {
      concurrency: 1,
      onError: () => {},
    })
    expect(queue.isUp).toBe(false)
    await expect(queue.add([{ ids: ['early'] }])).rejects.toMatchObject({ code: 'queue_away' })
    expect(queue.lastError?.message).toBe(`connect ECONNREFUSED 127.0.0.1:${redis.port}`)
    // Once, however often it was tried.
    expect(told).toEqual([queue.lastError?.message])
    await redis.restart()
    await until('up', () => queue.isUp)
    const ids = await add(queue, ['a'])
    await untilSeen('the hint', seen, ids)
    expectOnceEach(seen, ids)
    await worker.close()
    await queue.close()
    await redis.remove()
  })

  test('a start that takes longer than Redis is waited for is no trouble: nothing is told, and the queue is up', async () => {
    const redis = await startRedis()
    const told: Error[] = []
    const opening = openRedisQueue({ redisUrl: redis.url, onError: (error) => told.push(error) })
    for (const endMs = performance.now() + 1_500; performance.now() < endMs; );
    const queue = await opening
    await until('up', () => queue.isUp)
    await add(queue, ['a'])
    // What was given up was told, once each.
    expect(told.slice(givenUp.size)).toEqual([])
    await queue.close()
    await redis.remove()
  })

  test('a worker that never saw its Redis closes', async () => {
    const redis = await startRedis()
    await redis.kill()
    const queue = await openHintQueue({ redisUrl: redis.url, databaseUrl: '', onError: () => {} })
    const worker = queue.work(async () => {}, { concurrency: 1, onError: () => {} })
    await worker.close()
    await queue.close()
    await redis.remove()
  })

  test('a Redis that evicts keys is refused, with what to do', async () => {
    const redis = await startRedis()
    await redis.command('CONFIG SET maxmemory-policy allkeys-lru')
    const opening = openHintQueue({ redisUrl: redis.url, databaseUrl: '', onError: () => {} })
    await expect(opening).rejects.toThrow(/allkeys-lru.*redis-cli CONFIG SET maxmemory-policy noeviction/)
    await redis.remove()
  })

  test('a Redis that is told to evict keys while it is in use goes on, with a warning until it is told otherwise', async () => {
    const redis = await startRedis()
    const told: string[] = []
    const queue = await openHintQueue({
      redisUrl: redis.url,
      databaseUrl: '',
      onError: ({ message }) => told.push(message),
    })
    expect(queue.warning).toBeNull()
    await redis.command('CONFIG SET maxmemory-policy allkeys-lru')
    await redis.command('CLIENT KILL TYPE normal') // a reconnect looks at once, else it would take some seconds
    await until('the warning', () => queue.warning)
    expect(queue.warning).toMatch(/allkeys-lru.*CONFIG SET maxmemory-policy noeviction/)
    await until('up', () => queue.isUp)
    await add(queue, ['a'])
    expect(told.filter((message) => message.includes('allkeys-lru'))).toHaveLength(1)
    await redis.command('CONFIG SET maxmemory-policy noeviction')
    await redis.command('CLIENT KILL TYPE normal')
    await until('no warning', () => queue.isUp && queue.warning === null)
    await queue.close()
    await redis.remove()
  })

  test('a Redis whose memory is full is away until it has some: one error, and no hint is taken for given', async () => {
    const redis = await startRedis()
    const told: string[] = []
    const queue = await openHintQueue({
      redisUrl: redis.url,
      databaseUrl: '',
      onError: ({ message }) => told.push(message),
    })
    const seen: string[] = []
    const worker = queue.work(async ({ ids }) => void seen.push(...ids), {
      concurrency: 1,
      onError: () => {},
    })
    const before = await add(queue, ['before'])
    await untilSeen('the first hint', seen, before)
    told.length = 0
    await redis.command('CONFIG SET maxmemory 1')
    for (let round = 0; round < 20; round++)
      await expect(queue.add([{ ids: ['lost'] }])).rejects.toMatchObject({ code: 'queue_away' })
    expect(queue.lastError?.message).toMatch(/OOM command not allowed/)
    // Several probes have asked by now, and were refused as well.
    await expect(until('up', () => queue.isUp, 1_000)).rejects.toThrow()
    expect(told).toHaveLength(1)
    await redis.command('CONFIG SET maxmemory 0')
    await until('up', () => queue.isUp)
    const after = await add(queue, ['after'])
    await untilSeen('a hint after it', seen, after)
    expectOnceEach(seen, [...before, ...after])
    await worker.close()
    await queue.close()
    await redis.remove()
  })

  test('connections that died without a word are given up and made anew, for adding and for working', async () => {
    const redis = await startRedis()
    const proxy = await startHalfOpenProxy(redis.port)
    const redisUrl = `redis://127.0.0.1:${proxy.port}`
    const queue = await openHintQueue({ redisUrl, databaseUrl: '', onError: () => {} })
    const seen: string[] = []
    const worker = queue.work(async ({ ids }) => void seen.push(...ids), {
      concurrency: 1,
      onError: () => {},
    })
    await untilSeen('the first hint', seen, await add(queue, ['before']))
    proxy.forget()
    expect(proxy.alive).toBe(0)
    await until('an add', () => queue.add([{ ids: ['after'] }]).then(() => true))
    await until('a hint after it', () => seen.includes('after'))
    await worker.close()
    await queue.close()
    await proxy.stop()
    await redis.remove()
  })

  test('the policy is found by INFO where CONFIG is forbidden', async () => {
    const redis = await startRedis()
    await redis.command('CONFIG SET maxmemory-policy volatile-ttl')
    await redis.command('ACL SETUSER default -config')
    const opening = openHintQueue({ redisUrl: redis.url, databaseUrl: '', onError: () => {} })
    await expect(opening).rejects.toMatchObject({ code: 'redis_evicts' })
    await redis.remove()
  })
})
