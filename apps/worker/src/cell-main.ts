/**
 * A cell: a process that delivers suspects, one at a time, for the worker that started it (flows/isolate-suspects.ts). The entry
 * file of a process, so importing it has an effect.
 *
 * It works as a worker does, without hints, sweep and webhooks. Signals are for the worker, which ends its cells in peace; when
 * the worker is gone, the cell ends at once, and the lease that it had runs out.
 */
import { createMailLog } from '@valija/core'
import { createDomainPace, type Deliverer, openFoundation } from '@valija/flows'
import {
  type Config,
  createLogger,
  type Life,
  lineWriter,
  type StopStep,
  startWatchdog,
} from '@valija/runtime'
import type { FromCell, ToCell } from './cell.ts'
import { openDelivery } from './delivery.ts'

const steps: StopStep[] = []
let deliverer: Deliverer | null = null

async function start(config: Config): Promise<Deliverer> {
  const log = createLogger({ level: config.logLevel, name: 'worker cell' })
  startWatchdog({ name: 'worker cell' })
  const life: Life = {
    onStop: (step) => void steps.push(step),
    stopping: new AbortController().signal,
    fail: (error) => {
      throw error
    },
  }
  const foundation = await openFoundation({
    databaseUrl: config.databaseUrl ?? '',
    redisUrl: config.redisUrl,
    secretKeys: config.secretKeys,
    onError: (err) => log.error({ err }, 'connection trouble'),
  })
  life.onStop({ name: 'foundation', stop: () => foundation.close() })
  const mailLog = createMailLog(lineWriter(log))
  const parts = { config, foundation, metrics: null, mailLog, log, life }
  return openDelivery({ ...parts, pace: createDomainPace(), openCell: null })
}

async function close(): Promise<never> {
  for (const { stop } of steps.splice(0).reverse()) await stop()
  process.exit(0)
}

function tell(message: FromCell): void {
  process.send?.(message)
}

async function heed(message: ToCell): Promise<void> {
  if (message.kind === 'start') {
    deliverer = await start(message.config)
    tell({ kind: 'ready' })
  } else if (message.kind === 'deliver') {
    await deliverer?.deliverFor(message.delivery)
    tell({ kind: 'done' })
  } else if (message.kind === 'hurry') {
    deliverer?.hurry()
  } else {
    await close()
  }
}

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => undefined)
process.on('disconnect', () => process.exit(0))
// What it throws ends the process, as anywhere else.
process.on('message', (message) => void heed(message as ToCell))
