/**
 * Hints in Redis or Valkey: for installations where the queue's own work would load PostgreSQL.
 *
 * Redis may be away when a process starts, and may go at any time: `add` then fails fast, workers wait, both go on when
 * it is back. What it held may be gone by then; the epoch tells (FLUSHALL, a failover, a restart without a file).
 *
 * Connections: one for adding, made here; two for each worker, one of them blocked in BZPOPMIN.
 */
import { Queue, Worker } from 'bullmq'
import { bullHintQueue, type HintStore, JOB_OPTIONS, QUEUE_NAME, WORKER_OPTIONS } from './bull-queue.ts'
import type { HintQueue } from './hint-queue.ts'
import {
  assertNoEviction,
  connectRedis,
  isRedisAway,
  isUnsent,
  parseRedisUrl,
  type RedisConnection,
  RedisEvictsError,
  type RedisTarget,
} from './redis-connection.ts'
import { type StoreStatus, watchStore, withDeadline } from './store-status.ts'

/** How long opening waits for the first answer, in ms; then it goes on without Redis. */
const OPEN_DEADLINE_MS = 1_000

/**
 * How long a worker blocks before it asks again, in seconds. A connection that died without a word is noticed a second
 * after it; an idle worker costs two commands each time.
 */
const DRAIN_DELAY_S = 5

/** BullMQ keeps a stream of events, for listeners that Valija has none of: as short as it gets. */
const EVENTS_MAX = 1

export interface RedisQueueOptions {
  redisUrl: string
  onError(error: Error): void
  /** Put before all keys, for several installations on one server. */
  prefix?: string
}

/** How often a Redis that is up is asked whether it still keeps all keys, in ms. */
const POLICY_EVERY_MS = 10_000

/** How long the mark that a probe writes stays, in seconds. */
const PROBE_TTL_S = 60

const wasClosed = () => new Error('the connection to Redis was closed')

/** For a connection that ends before it was made. */
const ignored = (): void => {}

/** A cluster keeps keys together by the part in braces, and BullMQ's scripts need all of a queue's in one place. */
const keyPrefix = (target: RedisTarget, prefix: string): string =>
  target.kind === 'cluster' ? `{${prefix}}` : prefix

/**
 * Opens the queue. Rejects when the URL is none (`RedisUrlError`) and when Redis evicts keys (`RedisEvictsError`).
 * A Redis that is away is no reason to reject: the queue is down, and comes up by itself. Nor is one that is told to evict
 * keys later: that is reported, and what it drops is found by the sweep.
 */
export async function openRedisQueue(options: RedisQueueOptions): Promise<HintQueue> {
  const target = parseRedisUrl(options.redisUrl)
  const notYet = new Error('not connected yet')
  /** Of the connection: what a command that could not be sent is told says nothing about Redis. */
  let trouble = notYet
  const producer = connectRedis(target, 'producer', (error) => {
    trouble = error
    status.markDown(error)
  })
  const tell = (error: Error) => options.onError(isUnsent(error) ? trouble : error)
  const first = Promise.withResolvers<void>()
  let isOpen = false
  // Before that it is why the start is refused.
  const policy = watchPolicy(producer, (warning) => isOpen && options.onError(warning))
  const prefix = keyPrefix(target, options.prefix ?? 'bull')
  const probe = async () => {
    if (producer.status !== 'ready') throw trouble
    const warning = await policy.look()
    if (warning) first.reject(warning)
    // A write: a Redis whose memory is full answers everything else.
    await producer.set(`${prefix}:${QUEUE_NAME}-probe`, '1', 'EX', PROBE_TTL_S)
    first.resolve()
  }
  const status = watchStore(probe, tell, notYet)
  producer.on('ready', () => {
    trouble = wasClosed()
    status.probeNow()
  })
  producer.on('close', () => {
    if (trouble === notYet) trouble = wasClosed()
    status.markDown(trouble)
  })
  first.promise.catch(ignored) // after the start it is a warning
  try {
    await withDeadline(first.promise, OPEN_DEADLINE_MS, () => new Error('no answer'))
  } catch (error) {
    if (error instanceof RedisEvictsError) {
      policy.stop()
      status.close()
      producer.disconnect()
      throw error
    }
    // It goes on without, and tells of trouble when there is some.
  }
  isOpen = true
  return bullHintQueue(openStore({ producer, target, status, policy, prefix, onError: options.onError }))
}

interface PolicyWatch {
  readonly warning: RedisEvictsError | null
  /** Asks now; rejects when there is no answer. */
  look(): Promise<RedisEvictsError | null>
  stop(): void
}

/** Whether Redis may drop keys: asked now and then, for somebody may tell it to at any time. A change for the worse is reported once. */
function watchPolicy(producer: RedisConnection, onWarning: (warning: Error) => void): PolicyWatch {
  let warning: RedisEvictsError | null = null
  const look = async () => {
    const before = warning
    warning = await assertNoEviction(producer).then(
      () => null,
      (error: Error) => {
        if (error instanceof RedisEvictsError) return error
        throw error
      },
    )
    if (warning && !before) onWarning(warning)
    return warning
  }
  const timer = setInterval(() => void look().catch(ignored), POLICY_EVERY_MS)
  timer.unref()
  return {
    get warning() {
      return warning
    },
    look,
    stop: () => clearInterval(timer),
  }
}

interface RedisParts {
  producer: RedisConnection
  target: RedisTarget
  status: StoreStatus
  policy: PolicyWatch
  prefix: string
  onError(error: Error): void
}

function openStore({ producer, target, status, policy, prefix, onError }: RedisParts): HintStore {
  const epochKey = `${prefix}:${QUEUE_NAME}-epoch`
  // BullMQ's version check is an INFO at the start, and one that fails leaves the queue broken for good
  const shared = { prefix, skipVersionCheck: true }
  const queue = new Queue(QUEUE_NAME, {
    ...shared,
    connection: producer,
    defaultJobOptions: JOB_OPTIONS,
    streams: { events: { maxLen: EVENTS_MAX } },
  })
  queue.on('error', () => {}) // the connection's own listener has it
  return {
    backend: 'redis',
    status,
    get warning() {
      return policy.warning?.message ?? null
    },
    queue,
    singlesMax: 1,
    startWorker: (processor, concurrency) => {
      const connection = connectRedis(target, 'worker', (error) => status.markDown(error))
      const worker = new Worker(QUEUE_NAME, processor, {
        ...shared,
        ...WORKER_OPTIONS,
        connection,
        concurrency,
        drainDelay: DRAIN_DELAY_S,
      })
      worker.on('closed', () => connection.disconnect())
      const cut = () => {
        connection.disconnect()
        void worker.getBackend().blockingClient?.then((blocked) => blocked.disconnect(), ignored)
      }
      return { worker, cut }
    },
    isAway: isRedisAway,
    readEpoch: () => producer.get(epochKey),
    writeEpoch: async (epoch) => void (await producer.set(epochKey, epoch)),
    onError,
    close: async () => {
      policy.stop()
      await queue.close()
      producer.disconnect()
    },
  }
}
