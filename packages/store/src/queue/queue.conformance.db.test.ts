/**
 * The suite that every backend of the queue passes: what hint-queue.ts promises, and what happens when the store is cut
 * off, mute, away, or has lost its data. Real PostgreSQL, real Redis.
 */
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createEmptyDatabase } from '../../../../tests/support/database.ts'
import { startRedis } from '../../../../tests/support/redis.ts'
import { needsProgram, until } from '../../../../tests/support/until.ts'
import type { Hint, HintQueue, HintWorker, HintWorkerOptions } from './hint-queue.ts'
import { migrateQueue, openHintQueue } from './index.ts'

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
    remove: async () => {
      await elsewhere.end()
      await database.drop()
    },
  }
}

async function redisStore(): Promise<Store> {
  const redis = await startRedis()
  return {
    redisUrl: redis.url,
    databaseUrl: '',
    cut: () => redis.restart(),
    goAway: () => redis.kill(),
    comeBack: () => redis.restart(),
    mute: async () => redis.pause(),
    unmute: async () => redis.resume(),
    forget: () => redis.flushall(),
    remove: () => redis.remove(),
  }
}

const idsOf = (count: number): string[] => Array.from({ length: count }, (_, index) => `id-${index}`)
const hintsOf = (ids: string[]): Hint[] => ids.map((id) => ({ ids: [id] }))

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
      await queue.add([{ ids: ['warm'] }])
      await until('the first hint', () => seen.includes('warm'))
      seen.length = 0
    }

    test('hints added one by one arrive once each, with all their ids', async () => {
      const { queue, seen } = await openAndCollect()
      await queue.add([{ ids: ['a', 'b'] }])
      await queue.add([{ ids: ['c'] }])
      await until('three ids', () => seen.length >= 3)
      expect(seen.toSorted()).toEqual(['a', 'b', 'c'])
      await until('an empty queue', async () => (await queue.depth()) === 0)
      expect(seen).toHaveLength(3)
    })

    test('1,000 hints added at once arrive once each', async () => {
      const { queue, seen } = await openAndCollect({ concurrency: 16 })
      const ids = idsOf(1_000)
      await queue.add(hintsOf(ids))
      await until('1,000 ids', () => seen.length >= 1_000, 20_000)
      expect(seen.toSorted()).toEqual(ids.toSorted())
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
      const ids = idsOf(300)
      for (const [index, { work }] of [first, ...others].entries())
        work(async (hint) => void seen[index]?.push(...hint.ids))
      await first.queue.add(hintsOf(ids))
      await until('300 ids', () => seen.flat().length >= 300, 10_000)
      expect(seen.flat().toSorted()).toEqual(ids.toSorted())
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
      await queue.add(hintsOf(idsOf(50)))
      await until('50 hints', () => done === 50)
      expect(most).toBeLessThanOrEqual(3)
    })

    test('a throwing handler stops no other hint, is reported, and its hint does not come back', async () => {
      const seen: string[] = []
      const errors: string[] = []
      const { queue, work, prefix } = await open()
      const worker = work(
        async ({ ids }) => {
          seen.push(...ids)
          if (ids.includes('id-3')) throw new Error('handler broke on id-3')
        },
        { concurrency: 1, onError: (error) => errors.push(error.message) },
      )
      await queue.add(hintsOf(idsOf(10)))
      await until('10 hints', () => seen.length === 10)
      await worker.close()
      expect(errors).toEqual(['handler broke on id-3'])
      const again = await open(prefix)
      const later: string[] = []
      again.work(async ({ ids }) => void later.push(...ids))
      await again.queue.add([{ ids: ['next'] }])
      await until('the next hint', () => later.length > 0)
      expect(later).toEqual(['next'])
    })

    test('a paused worker starts nothing, another one does, and resuming goes on', async () => {
      const one = await openAndCollect()
      await warmUp(one)
      await one.worker.pause()
      await one.queue.add(hintsOf(idsOf(5)))
      const other = await open(one.prefix)
      const taken: string[] = []
      const second = other.work(async ({ ids }) => void taken.push(...ids))
      await until('five ids', () => taken.length === 5)
      expect(one.seen).toEqual([])
      await second.close()
      one.worker.resume()
      await one.queue.add([{ ids: ['after'] }])
      await until('the hint after resuming', () => one.seen.includes('after'))
    })

    test('a handler that runs at pause ends, and what waits is taken after resume', async () => {
      const gate = Promise.withResolvers<void>()
      const seen: string[] = []
      const { queue, work } = await open()
      const worker = work(
        async ({ ids }) => {
          if (ids.includes('slow')) await gate.promise
          seen.push(...ids)
        },
        { concurrency: 1 },
      )
      await queue.add([{ ids: ['slow'] }])
      await until('the slow one to be taken', async () => (await queue.depth()) === 0)
      await queue.add([{ ids: ['waiting'] }])
      await worker.pause()
      gate.resolve()
      await until('the slow one', () => seen.length === 1)
      worker.resume()
      await until('the waiting one', () => seen.length === 2)
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
      await queue.add([{ ids: ['slow'] }])
      await begun.promise
      const closed = worker.close().then(() => ended)
      gate.resolve()
      expect(await closed).toBe(true)
    })

    test('depth counts what nobody has taken', async () => {
      const { queue, work } = await open()
      await queue.add(hintsOf(idsOf(7)))
      expect(await queue.depth()).toBe(7)
      work(async () => {})
      await until('an empty queue', async () => (await queue.depth()) === 0)
    })

    test('a hint reaches an idle worker in less than 100 ms', async () => {
      const one = await openAndCollect()
      await warmUp(one)
      const latencies: number[] = []
      for (let round = 0; round < 20; round += 1) {
        const before = performance.now()
        await one.queue.add([{ ids: [`r${round}`] }])
        await until('the hint', () => one.seen.length > round)
        latencies.push(performance.now() - before)
      }
      const median = latencies.toSorted((a, b) => a - b)[10]
      expect(median).toBeLessThan(100)
    })

    test('the epoch is missing at first, then what was written last, for every process', async () => {
      const { queue, prefix } = await open()
      expect(await queue.readEpoch()).toBeNull()
      await queue.writeEpoch('one')
      await queue.writeEpoch('two')
      expect(await queue.readEpoch()).toBe('two')
      expect(await (await open(prefix)).queue.readEpoch()).toBe('two')
    })

    test('a store that lost its data has no epoch and no hints, and goes on', async () => {
      const one = await openAndCollect()
      await warmUp(one)
      await one.worker.pause()
      await one.queue.writeEpoch('one')
      await one.queue.add(hintsOf(idsOf(5)))
      await store.forget()
      expect(await one.queue.readEpoch()).toBeNull()
      expect(await one.queue.depth()).toBe(0)
      one.worker.resume()
      await one.queue.add([{ ids: ['after'] }])
      await until('a hint after the loss', () => one.seen.includes('after'), 10_000)
      expect(one.seen).toEqual(['after'])
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
        for (let round = 0; round < 3; round += 1) {
          const before = performance.now()
          await expect(one.queue.add([{ ids: ['lost'] }])).rejects.toMatchObject({ code: 'queue_away' })
          expect(performance.now() - before).toBeLessThan(1_100)
        }
        expect(one.queue.isUp).toBe(false)
        expect(one.queue.lastError).toBeInstanceOf(Error)
        expect(storeErrors.length).toBeLessThan(4) // one outage, not one error for each attempt
      } finally {
        await store.comeBack()
      }
      await until('up', () => one.queue.isUp)
      await one.queue.add([{ ids: ['after'] }])
      await until('a hint after the outage', () => one.seen.includes('after'), 10_000)
    })

    test('when the store is mute add rejects within 1 s, and all goes on when it speaks again', async () => {
      const one = await openAndCollect()
      await warmUp(one)
      await store.mute()
      try {
        const before = performance.now()
        await expect(one.queue.add([{ ids: ['late'] }])).rejects.toMatchObject({ code: 'queue_away' })
        expect(performance.now() - before).toBeLessThan(1_100)
      } finally {
        await store.unmute()
      }
      await until('up', () => one.queue.isUp)
      await until('an add', () => one.queue.add([{ ids: ['after'] }]).then(() => true))
      await until('a hint after the silence', () => one.seen.includes('after'), 15_000)
    })

    test('a worker closes while the store is away', async () => {
      const one = await openAndCollect()
      await warmUp(one)
      await store.goAway()
      try {
        await until('down', () => !one.queue.isUp)
        const before = performance.now()
        await one.worker.close()
        expect(performance.now() - before).toBeLessThan(1_500) // forced: not the 2 s that a store gets which was up
      } finally {
        await store.comeBack()
      }
    })
  })
}

describeQueue('hints in PostgreSQL', postgresStore)

describe.skipIf(needsProgram('redis-server'))('with redis-server', () => {
  describeQueue('hints in Redis', redisStore)

  test('a Redis that is away at the start is waited for, by adding and by working', async () => {
    const redis = await startRedis()
    await redis.kill()
    const seen: string[] = []
    const queue = await openHintQueue({ redisUrl: redis.url, databaseUrl: '', onError: () => {} })
    const worker = queue.work(async ({ ids }) => void seen.push(...ids), {
      concurrency: 1,
      onError: () => {},
    })
    expect(queue.isUp).toBe(false)
    await expect(queue.add([{ ids: ['early'] }])).rejects.toMatchObject({ code: 'queue_away' })
    await redis.restart()
    await until('up', () => queue.isUp)
    await queue.add([{ ids: ['a'] }])
    await until('the hint', () => seen.length > 0, 10_000)
    expect(seen).toEqual(['a'])
    await worker.close()
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

  test('the policy is found by INFO where CONFIG is forbidden', async () => {
    const redis = await startRedis()
    await redis.command('CONFIG SET maxmemory-policy volatile-ttl')
    await redis.command('ACL SETUSER default -config')
    const opening = openHintQueue({ redisUrl: redis.url, databaseUrl: '', onError: () => {} })
    await expect(opening).rejects.toMatchObject({ code: 'redis_evicts' })
    await redis.remove()
  })
})
