/** `valija worker`: one worker process. Any number of them share one database and one queue. */
import { openFoundation } from '@valija/flows'
import { createLogger, environment, loadConfig, runUntilSignal, startWatchdog } from '@valija/runtime'
import { startWorker } from './worker.ts'

export async function main(): Promise<never> {
  const config = loadConfig(environment(), 'worker')
  const log = createLogger({ level: config.logLevel, name: 'worker' })
  startWatchdog({ name: 'worker' })
  return runUntilSignal({
    log,
    drainLimitMs: config.drainLimitMs,
    start: async (life) => {
      const foundation = await openFoundation({
        databaseUrl: config.databaseUrl ?? '',
        redisUrl: config.redisUrl,
        secretKeys: config.secretKeys,
        onError: (err) => log.error({ err }, 'connection trouble'),
      })
      life.onStop({ name: 'foundation', stop: () => foundation.close() })
      await startWorker({ config, foundation, metrics: null, log, life })
    },
    onReady: () => process.stdout.write(`valija ready  worker  delivery ${config.delivery}\n`),
  })
}
