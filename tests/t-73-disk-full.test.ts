/**
 * PostgreSQL's disk is full (fault P3). What cannot be stored is refused as trouble that passes, what workers know stays with them, and
 * when there is room all goes on by itself: nothing lost, nothing doubled.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Answer } from './support/http.ts'
import { allEnded, countEach, inParallel, post, readMessage } from './support/message-life.ts'
import { mountSmallDisk, type SmallDisk } from './support/small-disk.ts'
import { when } from './support/smtp-peer.ts'
import {
  BOUND_MS,
  expectUnavailable,
  RECOVERY_MS,
  type Sent,
  startTroubleWorld,
  type TroubleWorld,
} from './support/trouble-world.ts'
import { needsMounts, until } from './support/until.ts'

const DISK_MB = 320
/** Mails that are at their final dot when the disk fills up: as many as a relay that is not known yet gets at once. */
const HELD = 4

describe.skipIf(needsMounts('a disk of its own'))('with PostgreSQL’s disk full', () => {
  let disk: SmallDisk
  let world: TroubleWorld

  beforeAll(async () => {
    disk = mountSmallDisk(DISK_MB)
    world = await startTroubleWorld({ min_wal_size: '80MB', checkpoint_timeout: '1h' }, disk.folder)
  }, 120_000)
  afterAll(async () => {
    await world?.stop()
    disk?.remove()
  })

  /** Its log has room in files that it has already, so that the tables are what cannot grow. */
  const reserveLog = async () => {
    for (let segment = 0; segment < 4; segment++)
      await world.ask(`SELECT pg_logical_emit_message(true, 'valija', 'segment'), pg_switch_wal()`)
    await world.ask('CHECKPOINT')
  }

  /** Posts until so many were refused, and what was taken on the way still had a place in a page. */
  const sendUntilRefused = async (count: number) => {
    const refused: (Answer<Sent> & { tookMs: number })[] = []
    const isEnough = async () => {
      const answer = await world.send()
      if (answer.status !== 202) refused.push(answer)
      return refused.length >= count
    }
    await until(`${count} refusals`, isEnough)
    return refused
  }

  const expectEachOnce = async () => {
    const ended = await allEnded(world.valija.api, world.accepted, RECOVERY_MS)
    expect(countEach(ended.map(({ status }) => status))).toEqual(
      new Map([['delivered', world.accepted.length]]),
    )
    const arrived = countEach(world.peer.mails.map(({ text }) => /^Message-ID: (.*)\r$/im.exec(text)![1]!))
    expect([arrived.size, Math.max(...arrived.values())]).toEqual([world.accepted.length, 1])
    // What was refused was not kept either.
    expect(await world.countMessages()).toBe(world.accepted.length)
    await world.expectAllCommitted()
  }

  const expectNobodyEnded = () => {
    for (const { pid } of [...world.valija.apis, ...world.valija.workers]) process.kill(pid, 0)
  }

  /** Mails that the peer has, and of which it has not said so yet. */
  const holdAtDot = async (name: string) => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const isOurs = (to: string[]) => to[0]?.startsWith(name) === true
    world.peer.script = { body: ({ to }) => (isOurs(to) ? when(promise, '250 2.0.0 taken') : undefined) }
    const ids = await inParallel(HELD, HELD, (index) =>
      post(world.valija.api, world.valija.mail({ to: `${name}${index}@example.org` })),
    )
    world.accepted.push(...ids)
    await until(
      'all at their final dot',
      () => world.peer.mails.filter(({ to }) => isOurs(to)).length === HELD,
    )
    return { ids, answer: resolve }
  }

  test('a send is 503 and not kept, results wait in their worker, and with room all goes on by itself, each mail once', async () => {
    const { valija } = world
    await world.untilSent()
    await reserveLog()
    const held = await holdAtDot('held')
    disk.fill()
    for (const answer of await sendUntilRefused(20)) {
      expectUnavailable(answer)
      expect(answer.tookMs).toBeLessThan(BOUND_MS)
    }
    held.answer()
    await valija.workers[0]!.line(/No space left on device.*settle-attempts/)
    const states = await Promise.all(held.ids.map(async (id) => (await readMessage(valija.api, id)).status))
    expect(states).toEqual(held.ids.map(() => 'sending'))
    // Who only reads is served, and nobody is restarted for what a restart does not mend.
    expect((await valija.api('GET', '/healthz')).status).toBe(200)
    disk.makeRoom()
    await world.untilSent()
    await expectEachOnce()
    expectNobodyEnded()
  }, 180_000)

  test('a PostgreSQL that ends because not even its log has room is as one that is away: started again with room, all goes on', async () => {
    await world.untilSent()
    const held = await holdAtDot('kept')
    disk.fill()
    const hasEnded = () =>
      world.ask(`SELECT pg_logical_emit_message(true, 'valija', 'end'), pg_switch_wal()`).then(
        () => false,
        () => true,
      )
    await until('the end of PostgreSQL', hasEnded)
    const answer = await world.send()
    expectUnavailable(answer)
    expect(answer.tookMs).toBeLessThan(BOUND_MS)
    held.answer()
    await world.cluster.kill()
    disk.makeRoom()
    await world.cluster.start()
    world.proxy.retarget(world.cluster.url)
    await world.untilSent()
    await expectEachOnce()
    expectNobodyEnded()
  }, 180_000)
})
