/** The run's Redis: the tests' own, watched, so that an end that nobody meant is told. */
import { startRedis, type TestRedis } from '../tests/support/redis.ts'

export type RedisHost = Pick<
  TestRedis,
  'url' | 'kill' | 'restart' | 'pause' | 'resume' | 'flushall' | 'remove'
>

/** @param onEnd told when it ends by itself, with its last lines */
export async function startRedisHost(onEnd: (what: string) => void): Promise<RedisHost> {
  const redis = await startRedis()
  let isMeant = false
  const watch = () => {
    isMeant = false
    void redis.ended().then(({ code, signal, lines }) => {
      if (!isMeant) onEnd(`Redis ended by itself (${signal ?? code}): ${lines.slice(-5).join(' | ')}`)
    })
  }
  const meaning =
    (end: () => Promise<void>): (() => Promise<void>) =>
    () => {
      isMeant = true
      return end()
    }
  watch()
  return {
    ...redis,
    kill: meaning(redis.kill),
    restart: async () => {
      await meaning(redis.restart)()
      watch()
    },
    remove: meaning(redis.remove),
  }
}
