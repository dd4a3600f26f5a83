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

/** Commands that Redis itself refused are the command's fault; everything else is the connection's. */
const isAway = (error: Error): boolean => error.name !== 'ReplyError'

/** For a connection that ends before it was made. */
const ignored = (): void => {}

/** A cluster keeps keys together by the part in braces, and BullMQ's scripts need all of a queue's in one place. */
const keyPrefix = (target: RedisTarget, prefix: string): string =>
  target.kind === 'cluster' ? `{${prefix}}` : prefix

/**
 * Opens the queue. Rejects when the URL is none (`RedisUrlError`) and when Redis evicts keys (`RedisEvictsError`).
 * A Redis that is away is no reason to reject: the queue is down, and comes up by itself.
 */
export async function openRedisQueue(options: RedisQueueOptions): Promise<HintQueue> {
  const target = parseRedisUrl(options.redisUrl)
  // set below; an error of the connection can't come before this function has returned to the event loop
  let status: StoreStatus | null = null
  const producer = connectRedis(target, 'producer', (error) => status?.markDown(error))
  const first = Promise.withResolvers<void>()
  const probe = async () => {
    try {
      await assertNoEviction(producer)
      first.resolve()
    } catch (error) {
      if (error instanceof RedisEvictsError) first.reject(error)
      throw error
    }
  }
  status = watchStore(probe, options.onError, new Error('not connected yet'))
  producer.on('ready', () => status.probeNow())
  producer.on('close', () => status.markDown(new Error('the connection to Redis was closed')))
  try {
    await withDeadline(first.promise, OPEN_DEADLINE_MS, () => new Error('no answer'))
  } catch (error) {
    if (error instanceof RedisEvictsError) {
      status.close()
      producer.disconnect()
      throw error
    }
    options.onError(status.lastError ?? (error as Error))
  }
  return bullHintQueue(openStore(producer, target, status, options))
}

function openStore(
  producer: RedisConnection,
  target: RedisTarget,
  status: StoreStatus,
  { onError, prefix: givenPrefix = 'bull' }: RedisQueueOptions,
): HintStore {
  const prefix = keyPrefix(target, givenPrefix)
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
    isAway,
    readEpoch: () => producer.get(epochKey),
    writeEpoch: async (epoch) => void (await producer.set(epochKey, epoch)),
    onError,
    close: async () => {
      await queue.close()
      producer.disconnect()
    },
  }
}
