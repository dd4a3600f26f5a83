/**
 * Redis loses its master, its memory or some of its keys while mail flows. Whatever happens to it: every mail that was answered
 * 202 arrives once, delivery does not stand still, and no process has to be restarted.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { allEnded, post, untilEnded } from './support/message-life.ts'
import type { TestRedis } from './support/redis.ts'
import type { TestCluster, TestSentinels } from './support/redis-topologies.ts'
import { type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { keepPosting } from './support/steady-mail.ts'
import { needsProgram, until } from './support/until.ts'
import { expectStatus, startValija, type Valija, type ValijaOptions } from './support/valija.ts'

type Readiness = { status: string; checks: { name: string; ok: boolean; detail: string }[] }

/** N18: what may pass between a store's return and everything being as before. */
const RECOVERY_MS = 30_000
/** What a mail may wait whose hint was lost while the epoch was kept: 30 s, the sweep, and a slow machine. */
const LOST_HINT_MS = 50_000
/** The queue's keys in a cluster. */
const QUEUE_KEY = '{bull}:hints:wait'

const isAbsent = needsProgram('redis-server')

/** A Valija of its own for each kind of Redis. */
function useValija(start: () => Promise<Partial<ValijaOptions> & { queue: ValijaOptions['queue'] }>) {
  const world = {} as {
    peer: SmtpPeer
    valija: Valija
    ready: () => Promise<Readiness>
    untilReady: () => Promise<unknown>
  }
  beforeAll(async () => {
    world.peer = await startSmtpPeer()
    world.valija = await startValija({
      workers: 2,
      delivery: 'smarthost',
      smarthost: world.peer,
      ...(await start()),
    })
    world.ready = async () => (await world.valija.api<Readiness>('GET', '/readyz')).json
    world.untilReady = () =>
      until('ready again', async () => (await world.ready()).status === 'ready', RECOVERY_MS)
  })
  afterAll(async () => {
    await world.valija?.stop()
    await world.peer?.stop()
  })
  return world
}

/** No process ended, and each said in few lines what was wrong. */
function expectCalm(valija: Valija): void {
  for (const { lines, pid } of [...valija.apis, ...valija.workers]) {
    expect(process.kill(pid, 0)).toBe(true)
    expect(lines.filter((line) => line.includes('"level":"error"')).length).toBeLessThan(20)
  }
}

describe.skipIf(isAbsent)('any Redis', () => {
  // Its mails wait for 30 s, so it is begun first and looked at last.
  const evicted = useValija(async () => ({ queue: 'redis', workers: 1 }))
  const ids: string[] = []

  /** A sweep that finds no epoch, or another one, hints all again at once: the first worker has written its own before there is a second. */
  async function untilEpochIsKnown({ valija }: { valija: Valija }): Promise<void> {
    await until('the epoch', async () => {
      const known = await valija.sql("SELECT value FROM valija.instance WHERE name = 'queue_epoch'")
      return known[0]?.value === (await valija.redis!.command('GET bull:hints-epoch'))
    })
  }

  /** Stops the workers, posts five mails, and waits until the hint of each is in Redis. */
  async function postFive({ valija }: { valija: Valija }): Promise<void> {
    for (;;) {
      for (const worker of valija.workers) worker.pause()
      for (let count = 0; count < 5; count++) ids.push(await post(valija.api, valija.mail()))
      const states = () =>
        valija.sql<{ state: string }>('SELECT state, count(*)::int FROM valija.deliveries GROUP BY state')
      const areRefused = async () => (await states()).some(({ state }) => state === 'waiting')
      const areHinted = async () => Number(await valija.redis!.command('LLEN bull:hints:wait')) === 5
      await until('the hints', async () => (await areRefused()) || (await areHinted()))
      // A hint may be in Redis whose answer comes too late for the API.
      await delay(1_500)
      if (!(await areRefused())) {
        expect(await states()).toEqual([{ state: 'admitted', count: 5 }])
        return
      }
      // One that the API could not hand over in a second waits for a worker to hint it again.
      for (const worker of valija.workers) worker.resume()
      await allEnded(valija.api, ids)
    }
  }

  test('a policy that lets keys be evicted, set while it is in use, is warned of and stops nothing', async () => {
    const { valija } = evicted
    const redis = valija.redis!
    await untilEpochIsKnown(evicted)
    await valija.addWorker()
    await postFive(evicted)
    await redis.command('CONFIG SET maxmemory-policy allkeys-lru')
    // Not the epoch: were that gone, all would be hinted again at once.
    const keys = (await redis.command('KEYS bull:hints:*')).split('\n')
    await redis.command(`DEL ${keys.join(' ')}`)
    for (const worker of valija.workers) worker.resume()
    await until('the warning', async () => (await evicted.ready()).status === 'degraded', 30_000)
    const warning = (await evicted.ready()).checks.find(({ name }) => name === 'queue')?.detail
    expect(warning).toMatch(/allkeys-lru.*noeviction/)
  })

  describe('under sentinels', () => {
    const world = useValija(async () => ({ queue: 'sentinel' }))
    const sentinels = () => world.valija.redis as TestSentinels

    test('a master that dies is followed by its replica: mail goes on, each arrives once, and old workers work with the new master', async () => {
      const { valija, peer } = world
      const mail = keepPosting(valija, peer, 'killed')
      await until('mail that flows', () => peer.mails.length > 10, 20_000)
      const old = await sentinels().master()
      await old.kill()
      const promoted = await sentinels().untilPromoted(old)
      await world.untilReady()
      await expectHintsAt(promoted, world)
      expect((await mail.untilAllArrivedOnce()).longestMs).toBeLessThan(LOST_HINT_MS)
      await old.restart() // comes back as a replica
      expectCalm(valija)
    }, 120_000)

    test('a master that falls silent, its connections half-open, is followed too', async () => {
      const { valija, peer } = world
      const replicas = async () =>
        (await (await sentinels().master()).command('INFO replication')).includes('connected_slaves:1')
      await until('the old master as a replica', replicas, 30_000)
      const mail = keepPosting(valija, peer, 'silent')
      const seen = peer.mails.length
      await until('mail that flows', () => peer.mails.length > seen + 10, 20_000)
      const old = await sentinels().master()
      old.pause()
      try {
        const promoted = await sentinels().untilPromoted(old)
        await world.untilReady()
        await expectHintsAt(promoted, world)
        expect((await mail.untilAllArrivedOnce()).longestMs).toBeLessThan(LOST_HINT_MS)
      } finally {
        old.resume()
      }
      expectCalm(valija)
    }, 120_000)
  })

  /** Both workers have their hints from this server again. */
  async function expectHintsAt(server: TestRedis, { valija }: { valija: Valija }): Promise<void> {
    const blocked = async () =>
      Number(/blocked_clients:(\d+)/.exec(await server.command('INFO clients'))?.[1])
    await until(
      'the workers wait at the new master',
      async () => (await blocked()) >= valija.workers.length,
      RECOVERY_MS,
    )
  }

  describe('in a cluster', () => {
    const world = useValija(async () => ({ queue: 'cluster' }))
    const cluster = () => world.valija.redis as TestCluster

    test('the master that has the queue dies and comes back: mail goes on meanwhile, and each arrives once', async () => {
      const { valija, peer } = world
      const holder = await cluster().holderOf(QUEUE_KEY)
      const mail = keepPosting(valija, peer, 'node')
      await until('mail that flows', () => peer.mails.length > 10, 20_000)
      await holder.kill()
      await until('degraded', async () => (await world.ready()).status === 'degraded', 20_000)
      const [before, accepted] = [peer.mails.length, mail.accepted.length]
      await until('mail that flows without the queue', () => peer.mails.length > before + 20, 20_000)
      expect(mail.accepted.length).toBeGreaterThan(accepted)
      await holder.restart()
      await world.untilReady()
      await expectHintsAt(holder, world)
      await mail.untilAllArrivedOnce()
      expectCalm(valija)
    }, 120_000)

    test("the queue's slot moves to another master while mail flows", async () => {
      const { valija, peer } = world
      const mail = keepPosting(valija, peer, 'moved')
      const seen = peer.mails.length
      await until('mail that flows', () => peer.mails.length > seen + 10, 20_000)
      const holder = await cluster().holderOf(QUEUE_KEY)
      const next = cluster().masters.find((master) => master !== holder)!
      await cluster().moveSlotOf(QUEUE_KEY, next)
      await expectHintsAt(next, world)
      await world.untilReady()
      await mail.untilAllArrivedOnce()
      expectCalm(valija)
    }, 120_000)
  })

  describe('one Redis', () => {
    const world = useValija(async () => ({ queue: 'redis' }))

    test('a full memory: mail is accepted and delivered, /readyz says why it is degraded, and all is well once there is room', async () => {
      const { valija, peer } = world
      const redis = valija.redis!
      await redis.command('CONFIG SET maxmemory 1')
      const mail = keepPosting(valija, peer, 'full')
      await until(
        'mail that flows without the queue',
        () => mail.accepted.length > 30 && peer.mails.length > 20,
        20_000,
      )
      const told = await world.ready()
      expect(told.status).toBe('degraded')
      expect(told.checks.find(({ name }) => name === 'queue')).toMatchObject({
        ok: false,
        detail: expect.stringMatching(/one worker delivers alone.*OOM command not allowed/),
      })
      await redis.command('CONFIG SET maxmemory 0')
      await world.untilReady()
      await mail.untilAllArrivedOnce()
      expectCalm(valija)
    }, 90_000)

    test('a restart that leaves nothing: what was admitted is hinted again, and each mail arrives once', async () => {
      const { valija, peer } = world
      const redis = valija.redis!
      await redis.command('FLUSHALL')
      const mail = keepPosting(valija, peer, 'empty', 10)
      const seen = peer.mails.length
      await until('mail that flows', () => peer.mails.length > seen + 20, 20_000)
      await redis.restart({ empty: true })
      await world.untilReady()
      await mail.untilAllArrivedOnce()
      expectCalm(valija)
    }, 90_000)

    test('processes that start while Redis is away accept and deliver, and use it once it is there', async () => {
      const { valija, peer } = world
      const redis = valija.redis!
      await redis.kill()
      await Promise.all(valija.workers.splice(0).map((worker) => worker.stop()))
      const api = await valija.addApi()
      await valija.addWorker()
      const id = await post(api.call, valija.mail({ to: 'early@example.org' }))
      await until('the mail', () => peer.mails.some(({ to }) => to[0] === 'early@example.org'), 30_000)
      const answer = expectStatus(await api.call<Readiness>('GET', '/readyz'), 200)
      expect(answer.json.status).toBe('degraded')
      await redis.restart()
      await until(
        'ready',
        async () => (await api.call<Readiness>('GET', '/readyz')).json.status === 'ready',
        RECOVERY_MS,
      )
      await expectHintsAt(redis, world)
      await untilEnded(valija.api, id)
      const after = await post(api.call, valija.mail())
      expect(await untilEnded(valija.api, after)).toMatchObject({ status: 'delivered' })
    }, 120_000)
  })

  test('hints that were evicted cost their mails 30 s and nothing else, and a worker that took none that long starts anew', async () => {
    const { valija, peer } = evicted
    await allEnded(valija.api, ids, LOST_HINT_MS)
    expect(peer.mails).toHaveLength(ids.length)
    const said = valija.workers.flatMap(({ lines }) => lines)
    expect(said.some((line) => line.includes('hints were lost or late'))).toBe(true)
    // Whoever noticed had taken none for as long: it cannot know that there was none to take.
    expect(said.some((line) => line.includes('worker was started anew'))).toBe(true)
    await valija.redis!.command('CONFIG SET maxmemory-policy noeviction')
    await evicted.untilReady()
  })
})
