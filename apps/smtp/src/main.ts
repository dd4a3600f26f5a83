/** `valija smtp`: one process that takes mail to send, and bounces and complaints. Any number of them share one database. */
import { openFoundation } from '@valija/flows'
import { createLogger, environment, loadConfig, runUntilSignal, startWatchdog } from '@valija/runtime'
import { startSmtp } from './smtp.ts'

export async function main(): Promise<never> {
  const config = loadConfig(environment(), 'smtp')
  const log = createLogger({ level: config.logLevel, name: 'smtp' })
  startWatchdog({ name: 'smtp' })
  let addresses = ''
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
      const { bounce, submission, submissions } = await startSmtp({
        config,
        foundation,
        metrics: null,
        log,
        life,
      })
      const places = { submission, submissions, bounces: bounce }
      addresses = Object.entries(places)
        .flatMap(([what, place]) => (place === null ? [] : [`${what} ${place.host}:${place.port}`]))
        .join('  ')
    },
    onReady: () => process.stdout.write(`valija ready  smtp  ${addresses}\n`),
  })
}
