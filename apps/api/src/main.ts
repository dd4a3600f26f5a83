/** `valija api`: one API process. Any number of them share one database and one queue. */
import { openFoundation } from '@valija/flows'
import {
  createLogger,
  createMetrics,
  environment,
  loadConfig,
  runUntilSignal,
  startWatchdog,
} from '@valija/runtime'
import { startServer } from './server.ts'

export async function main(): Promise<never> {
  const config = loadConfig(environment(), 'api')
  const log = createLogger({ level: config.logLevel, name: 'api' })
  startWatchdog({ name: 'api' })
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
      await startServer({ config, foundation, metrics: await createMetrics('api'), log, life })
    },
    onReady: () =>
      process.stdout.write(`valija ready  api  ${config.publicUrl}  delivery ${config.delivery}\n`),
  })
}
