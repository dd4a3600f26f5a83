/**
 * What both backends share: a HintQueue made of a BullMQ queue and BullMQ workers on some store.
 *
 * BullMQ's job life is used as little as can be: one attempt, gone when done, no failed jobs (a handler's error is
 * reported and the hint counts as done), no delays, no priorities. What remains is a wake-up with a payload.
 */
import { WaitingError } from 'bullmq'
import {
  ADD_DEADLINE_MS,
  type Hint,
  type HintHandler,
  type HintQueue,
  type HintWorker,
  type HintWorkerOptions,
  QueueAwayError,
} from './hint-queue.ts'
import { type StoreStatus, withDeadline } from './store-status.ts'

/** The queue's name in its store; BullMQ forbids ':' in it. */
export const QUEUE_NAME = 'hints'

/** Every job's name; nothing reads it, and it is stored with each job. */
const JOB_NAME = 'hint'

/** How long closing waits for the store once the last handler has ended, in ms; then the connections are cut. */
const CLOSE_GRACE_MS = 2_000

export const JOB_OPTIONS = { attempts: 1, removeOnComplete: true, removeOnFail: true, stackTraceLimit: 0 }

/**
 * A job's lock, in ms. It does not guard the work (the rows' leases do); it only tells jobs of dead workers from others.
 * BullMQ renews it at half time while a handler runs, which a handler of a few ms never sees.
 */
const LOCK_DURATION_MS = 60_000

/**
 * How often some worker looks for jobs of dead workers, in ms. Their rows are found long before (admitted for over 30 s),
 * so this only tidies up, and is rare enough not to be seen on an idle machine.
 */
const STALLED_INTERVAL_MS = 60_000

/** After a refused connection BullMQ would sleep 15 s; the store's own reconnect is quicker than that, in ms. */
const RUN_RETRY_DELAY_MS = 500

/** BullMQ's options for every worker, without those that depend on the store. */
export const WORKER_OPTIONS = {
  lockDuration: LOCK_DURATION_MS,
  stalledInterval: STALLED_INTERVAL_MS,
  runRetryDelay: RUN_RETRY_DELAY_MS,
}

/** The part of BullMQ's Queue that is used; its own type differs with each backend. */
export interface BullQueue {
  add(name: string, data: Hint): Promise<unknown>
  addBulk(jobs: { name: string; data: Hint }[]): Promise<unknown>
  getWaitingCount(): Promise<number>
  close(): Promise<void>
}

/** The part of BullMQ's Job that a processor uses. */
export interface BullJob {
  data: Hint
  moveToWait(token?: string): Promise<unknown>
}

export type BullProcessor = (job: BullJob, token?: string) => Promise<void>

/** The part of BullMQ's Worker that is used. */
export interface BullWorker {
  close(force?: boolean): Promise<void>
  on(event: 'error', listener: (error: Error) => void): unknown
}

export interface StoreWorker {
  worker: BullWorker
  /** Ends what the worker still asks of the store: the store is away, and it can't end in peace. */
  cut(): void
}

/** What a store brings: BullMQ's two halves on its connections, the epoch, and what its errors mean. */
export interface HintStore {
  readonly backend: 'postgres' | 'redis'
  readonly status: StoreStatus
  readonly warning: string | null
  readonly queue: BullQueue
  /** How many hints are cheaper one by one than in bulk. */
  readonly singlesMax: number
  startWorker(processor: BullProcessor, concurrency: number): StoreWorker
  /** Whether the error says that the store is away, rather than that one command was wrong. */
  isAway(error: Error): boolean
  readEpoch(): Promise<string | null>
  writeEpoch(epoch: string): Promise<void>
  onError(error: Error): void
  close(): Promise<void>
}

/** Makes the queue of a store. */
export function bullHintQueue(store: HintStore): HintQueue {
  const { status } = store
  /** Fails fast when the store is known to be away, and marks it so when it turns out to be. */
  const ask = async <T>(command: () => Promise<T>): Promise<T> => {
    if (status.lastError) throw new QueueAwayError(status.lastError)
    try {
      return await withDeadline(
        command(),
        ADD_DEADLINE_MS,
        () => new QueueAwayError(new Error(`no answer within ${ADD_DEADLINE_MS} ms`)),
      )
    } catch (error) {
      if (!(error instanceof QueueAwayError) && !store.isAway(error as Error)) throw error
      status.markDown(error as Error)
      throw error instanceof QueueAwayError ? error : new QueueAwayError(error as Error)
    }
  }
  return {
    backend: store.backend,
    add: (hints) => ask(() => enqueue(store, hints)),
    work: (handler, options) => startHintWorker(store, handler, options),
    depth: () => ask(() => store.queue.getWaitingCount()),
    readEpoch: () => ask(() => store.readEpoch()),
    writeEpoch: (epoch) => ask(() => store.writeEpoch(epoch)),
    get isUp() {
      return status.isUp
    },
    get lastError() {
      return status.lastError
    },
    get warning() {
      return store.warning
    },
    onReconnect: (listener) => status.onReconnect(listener),
    close: async () => {
      status.close()
      await store.close()
    },
  }
}

async function enqueue({ queue, singlesMax }: HintStore, hints: readonly Hint[]): Promise<void> {
  const jobs = hints.map(({ ids }) => ({ name: JOB_NAME, data: { ids } }))
  if (jobs.length > singlesMax) await queue.addBulk(jobs)
  else await Promise.all(jobs.map(({ name, data }) => queue.add(name, data)))
}

function startHintWorker(store: HintStore, handler: HintHandler, options: HintWorkerOptions): HintWorker {
  const running = new Set<Promise<void>>()
  let takesHints = true
  let takenAtMs = performance.now()

  const processor: BullProcessor = async (job, token) => {
    takenAtMs = performance.now()
    if (!takesHints) {
      // a fetch that was under way may still bring one: it goes to other workers
      await job.moveToWait(token)
      throw new WaitingError()
    }
    const run = Promise.try(handler, { ids: job.data.ids }).catch((error) => options.onError(error as Error))
    running.add(run)
    await run
    running.delete(run)
  }

  const start = (): StoreWorker => {
    const begun = store.startWorker(processor, options.concurrency)
    begun.worker.on('error', (error) => {
      if (store.isAway(error)) store.status.markDown(error)
      else store.onError(error)
    })
    return begun
  }
  let started = start()

  return {
    restartIfIdle: (idleMs) => {
      const isIdle = running.size === 0 && performance.now() - takenAtMs > idleMs
      if (!isIdle || !takesHints || !store.status.isUp) return false
      const old = started
      started = start()
      takenAtMs = performance.now()
      old.cut()
      old.worker.close(true).catch(store.onError)
      return true
    },
    close: () => {
      takesHints = false
      return closeWorker(store, started, running)
    },
  }
}

/** Ends a worker whose handlers may still run, on a store that may be away: in a bounded time after the last handler. */
async function closeWorker(
  store: HintStore,
  { worker, cut }: StoreWorker,
  running: Set<Promise<void>>,
): Promise<void> {
  // BullMQ waits for the store for ever, unless it is forced, and then it does not wait for handlers
  if (!store.status.isUp) {
    await Promise.all(running)
    cut()
    await worker.close(true)
    return
  }
  const closed = worker.close()
  closed.catch(() => {}) // reported below, or too late to matter
  await Promise.all(running)
  try {
    await withDeadline(closed, CLOSE_GRACE_MS, () => new Error('the store went away while a worker closed'))
  } catch (error) {
    store.onError(error as Error)
    cut()
  }
}
