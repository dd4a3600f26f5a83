/**
 * What a process loads only when it is used, loaded all the same when its start is some seconds past: an upgrade in place may replace or remove
 * the files while the process runs, and that a module could not be loaded Node remembers for as long as it lives.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Life } from './lifecycle.ts'

export interface LateLoad {
  /** For the log. */
  name: string
  /** May be asked for again. */
  load: () => Promise<unknown>
}

/** Behind the busy first seconds, in which every process of a machine may be starting. */
const usualMs = 5_000

/** One after the other; what fails is told, and keeps no other from its turn: it is tried again when it is used. */
export function loadLate(
  { life, log }: { life: Pick<Life, 'onStop'>; log: Pick<Logger, 'warn'> },
  loads: readonly LateLoad[],
  afterMs = usualMs,
): void {
  let isStopped = false
  let running: Promise<void> | null = null
  const run = async () => {
    for (const { name, load } of loads) {
      if (isStopped) return
      await load().catch((err: unknown) =>
        log.warn(
          { err, what: name },
          'something could not be loaded: the installation’s files may be missing',
        ),
      )
      await nextTurn()
    }
  }
  const timer = setTimeout(() => {
    running = run()
  }, afterMs).unref()
  life.onStop({
    name: 'late loads',
    stop: async () => {
      isStopped = true
      clearTimeout(timer)
      await running
    },
  })
}
