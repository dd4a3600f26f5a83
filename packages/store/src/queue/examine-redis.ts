/** What an examination wants to know of the Redis or Valkey behind the queue. Looks and changes nothing. */
import { withDeadline } from './store-status.ts'

export interface RedisFacts {
  product: 'Redis' | 'Valkey'
  /** As in `7.2.4`; a Valkey's own, not the Redis version that it stands for. */
  version: string
  /** The version of Redis that it is or stands for. */
  redisVersion: string
  /** Null when the server does not tell. */
  evictionPolicy: string | null
  isReplica: boolean
  /** Its data set is written to an append-only file. */
  hasAppendOnlyFile: boolean
  /** Of the append-only file and of snapshots: whether the last one failed. */
  isDiskFailing: boolean
  usedMemoryBytes: number
  /** Null: no limit. */
  maxMemoryBytes: number | null
}

const answerMs = 5_000

/** @throws {Error} RedisUrlError, or why it cannot be asked */
export async function readRedisFacts(redisUrl: string): Promise<RedisFacts> {
  // Loaded when it is asked for, as in open-hint-queue.ts.
  const { connectRedis, parseRedisUrl } = await import('./redis-connection.ts')
  let lastError: Error | null = null
  // As a worker: its commands wait for the connection.
  const connection = connectRedis(parseRedisUrl(redisUrl), 'worker', (error) => {
    lastError = error
  })
  try {
    const info = await withDeadline(connection.info(), answerMs, () => lastError ?? new Error('no answer'))
    return factsOf(info)
  } finally {
    connection.disconnect()
  }
}

function factsOf(info: string): RedisFacts {
  const value = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1] ?? null
  const valkey = value('valkey_version')
  const maxMemoryBytes = Number(value('maxmemory') ?? 0)
  const isFailing = (name: string) => (value(name) ?? 'ok') !== 'ok'
  return {
    product: valkey === null ? 'Redis' : 'Valkey',
    version: valkey ?? value('redis_version') ?? 'unknown',
    redisVersion: value('redis_version') ?? 'unknown',
    evictionPolicy: value('maxmemory_policy'),
    isReplica: value('role') === 'slave',
    hasAppendOnlyFile: value('aof_enabled') === '1',
    isDiskFailing: isFailing('aof_last_write_status') || isFailing('rdb_last_bgsave_status'),
    usedMemoryBytes: Number(value('used_memory') ?? 0),
    maxMemoryBytes: maxMemoryBytes > 0 ? maxMemoryBytes : null,
  }
}
