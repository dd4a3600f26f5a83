/** Chooses the queue's store: Redis where an operator gave one, else the PostgreSQL that is there anyway. */
import type { HintQueue } from './hint-queue.ts'
import { openPostgresQueue } from './postgres-queue.ts'

export interface HintQueueOptions {
  /** REDIS_URL in one of the forms of redis-connection.ts; null for PostgreSQL. */
  redisUrl: string | null
  databaseUrl: string
  /** Gets one error for each outage of the store, and every error that BullMQ reports beside. */
  onError(error: Error): void
  /** Keeps queues of several installations in one store apart. */
  prefix?: string
}

export async function openHintQueue({ redisUrl, ...options }: HintQueueOptions): Promise<HintQueue> {
  if (redisUrl === null) return await openPostgresQueue(options)
  // Loaded where it is used: the client of Redis takes 0.07 s.
  const { openRedisQueue } = await import('./redis-queue.ts')
  return await openRedisQueue({ ...options, redisUrl })
}
