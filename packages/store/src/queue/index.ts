/** The queue of hints: see hint-queue.ts for what it promises, and what it does not. */
export { type RedisFacts, readRedisFacts } from './examine-redis.ts'
export {
  ADD_DEADLINE_MS,
  type Hint,
  type HintHandler,
  type HintQueue,
  type HintWorker,
  type HintWorkerOptions,
  QueueAwayError,
} from './hint-queue.ts'
export { type HintQueueOptions, openHintQueue } from './open-hint-queue.ts'
export { migrateQueue, QUEUE_SCHEMA } from './postgres-queue.ts'
