/**
 * More than one redis-server: a master with a replica under three sentinels, and a cluster of three masters. All of it on
 * loopback, and each as one TestRedis, so that what is tested with one server is tested with these.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { freePort } from './ports.ts'
import { type Running, startProcess } from './processes.ts'
import { commandAt, mustReply, startRedis, type TestRedis } from './redis.ts'
import { until } from './until.ts'

/** What each kind of Redis is called in `REDIS_URL` and in tests. */
export const redisKinds = ['redis', 'sentinel', 'cluster'] as const
export type RedisKind = (typeof redisKinds)[number]

export const startRedisOf: Record<RedisKind, () => Promise<TestRedis>> = {
  redis: () => startRedis(),
  sentinel: startSentinels,
  cluster: startCluster,
}

/** What is done to all servers of a topology at once. */
function together(servers: readonly TestRedis[]) {
  const each = (work: (server: TestRedis) => Promise<void>) => async () => {
    await Promise.all(servers.map(work))
  }
  return {
    stop: each((server) => server.stop()),
    kill: each((server) => server.kill()),
    restart: (how?: { empty: boolean }) => each((server) => server.restart(how))(),
    pause: () => {
      for (const server of servers) server.pause()
    },
    resume: () => {
      for (const server of servers) server.resume()
    },
    flushall: each((server) => server.flushall()),
    remove: each((server) => server.remove()),
  }
}

const MASTER_NAME = 'main'
/** A master that says nothing for this long is down for a sentinel, or for its cluster. */
const DOWN_AFTER_MS = 2_000

export type TestSentinels = TestRedis & {
  /** The two servers; which of them is the master is `master()`'s to say. */
  servers: TestRedis[]
  master: () => Promise<TestRedis>
  /** The other one is the master, and ready for writes. */
  untilPromoted: (old: TestRedis) => Promise<TestRedis>
}

/** A master, its replica, and three sentinels of which two must agree. */
export async function startSentinels(): Promise<TestSentinels> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'valija-sentinel-'))
  const first = await startRedis()
  const second = await startRedis([`replicaof 127.0.0.1 ${first.port}`])
  const servers = [first, second]
  const all = together(servers)
  const linked = async () => /master_link_status:up/.test(await second.command('INFO replication'))
  await until('the replica has its master', linked, 20_000)
  const sentinels = await Promise.all([0, 1, 2].map(() => startSentinel(folder, first.port)))
  const ask = async () => (await sentinels[0]!.command(`SENTINEL master ${MASTER_NAME}`)).split('\n')
  const knows = (lines: string[], name: string) => lines[lines.indexOf(name) + 1]
  await until(
    'the sentinels know each other and the replica',
    async () => {
      const lines = await ask()
      return knows(lines, 'num-other-sentinels') === '2' && knows(lines, 'num-slaves') === '1'
    },
    20_000,
  )
  const master = async (): Promise<TestRedis> => {
    const port = knows(await ask(), 'port')
    return servers.find((server) => `${server.port}` === port) ?? first
  }
  return {
    url: `redis+sentinel://${sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')}/${MASTER_NAME}`,
    port: first.port,
    servers,
    master,
    untilPromoted: (old) =>
      until(
        'the replica is the master',
        async () => {
          const now = await master()
          return now !== old && /^role:master/m.test(await now.command('INFO replication')) ? now : null
        },
        30_000,
      ),
    ...all,
    flushall: async () => (await master()).flushall(),
    command: async (line) => (await master()).command(line),
    remove: async () => {
      await Promise.all(sentinels.map(({ running }) => running.kill()))
      await all.remove()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function startSentinel(folder: string, masterPort: number) {
  const port = await freePort()
  const file = path.join(folder, `${port}.conf`)
  // A sentinel keeps what it learns in its configuration file.
  const lines = [
    `port ${port}`,
    'bind 127.0.0.1',
    `dir ${folder}`,
    `sentinel monitor ${MASTER_NAME} 127.0.0.1 ${masterPort} 2`,
    `sentinel down-after-milliseconds ${MASTER_NAME} ${DOWN_AFTER_MS}`,
    `sentinel failover-timeout ${MASTER_NAME} 3000`,
  ]
  await writeFile(file, `${lines.join('\n')}\n`)
  const running: Running = startProcess('redis-server', [file, '--sentinel'])
  await running.line('+monitor')
  return { port, running, command: commandAt(port) }
}

const isCluster = (redis: TestRedis): redis is TestCluster => 'holderOf' in redis

/**
 * The rows of which hints wait in the queue, on whichever server has it. A cluster's keys have their prefix in braces, which keeps
 * all of a queue together.
 */
export async function hintedRows(redis: TestRedis): Promise<string[]> {
  const queue = isCluster(redis) ? '{bull}:hints' : 'bull:hints'
  const server = isCluster(redis) ? await redis.holderOf(queue) : redis
  const jobs = await server.command(`LRANGE ${queue}:wait 0 -1`)
  const rows: string[] = []
  for (const job of jobs.split('\n').filter((id) => id !== '')) {
    const hint = JSON.parse(await server.command(`HGET ${queue}:${job} data`)) as { ids: string[] }
    rows.push(...hint.ids)
  }
  return rows
}

export type TestCluster = TestRedis & {
  masters: TestRedis[]
  /** The master that holds a key. */
  holderOf: (key: string) => Promise<TestRedis>
  /** Moves the slot of a key, with all keys that are in it, as a cluster is resized. */
  moveSlotOf: (key: string, to: TestRedis) => Promise<void>
}

const SLOTS = 16_384

/** Three masters that share the slots. */
export async function startCluster(): Promise<TestCluster> {
  const startMaster = async () => {
    const busPort = await freePort()
    const settings = [
      'cluster-enabled yes',
      `cluster-port ${busPort}`,
      `cluster-node-timeout ${DOWN_AFTER_MS}`,
    ]
    return { busPort, server: await startRedis(settings) }
  }
  const nodes = await Promise.all([0, 1, 2].map(startMaster))
  const masters = nodes.map(({ server }) => server)
  const share = Math.ceil(SLOTS / nodes.length)
  for (const [index, { server, busPort }] of nodes.entries()) {
    const last = Math.min(SLOTS, share * (index + 1)) - 1
    await mustReply(server, `CLUSTER ADDSLOTSRANGE ${share * index} ${last}`)
    await mustReply(server, `CLUSTER SET-CONFIG-EPOCH ${index + 1}`)
    if (index > 0) await mustReply(masters[0]!, `CLUSTER MEET 127.0.0.1 ${server.port} ${busPort}`)
  }
  const isWhole = async (server: TestRedis) => {
    const info = await server.command('CLUSTER INFO')
    return /cluster_state:ok/.test(info) && /cluster_known_nodes:3/.test(info)
  }
  await until(
    'all three say that the cluster is whole',
    async () => (await Promise.all(masters.map(isWhole))).every(Boolean),
    30_000,
  )
  const moved = new Map<number, TestRedis>()
  const slotOf = async (key: string) => Number(await masters[0]!.command(`CLUSTER KEYSLOT ${key}`))
  const holder = (slot: number) => moved.get(slot) ?? masters[Math.floor(slot / share)]!
  const holderOf = async (key: string) => holder(await slotOf(key))
  const moveSlotOf = async (key: string, to: TestRedis) => {
    const slot = await slotOf(key)
    await moveSlot(slot, holder(slot), to, masters)
    moved.set(slot, to)
  }
  return {
    url: `redis+cluster://${masters.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
    port: masters[0]!.port,
    masters,
    holderOf,
    moveSlotOf,
    ...together(masters),
    command: (line) => masters[0]!.command(line),
  }
}

/** The steps that Redis' documentation gives for a slot that moves while it is in use. */
async function moveSlot(slot: number, from: TestRedis, to: TestRedis, masters: readonly TestRedis[]) {
  const [fromId, toId] = [await from.command('CLUSTER MYID'), await to.command('CLUSTER MYID')]
  await mustReply(to, `CLUSTER SETSLOT ${slot} IMPORTING ${fromId}`)
  await mustReply(from, `CLUSTER SETSLOT ${slot} MIGRATING ${toId}`)
  for (;;) {
    const keys = await from.command(`CLUSTER GETKEYSINSLOT ${slot} 100`)
    if (keys === '') break
    for (const key of keys.split('\n')) await from.command(`MIGRATE 127.0.0.1 ${to.port} ${key} 0 2000`)
  }
  // The new holder first, so that no moment is without one.
  for (const master of new Set([to, from, ...masters]))
    await mustReply(master, `CLUSTER SETSLOT ${slot} NODE ${toId}`)
}
