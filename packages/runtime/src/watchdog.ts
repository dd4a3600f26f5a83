/**
 * A watchdog for the event loop. A loop that does not turn cannot notice it itself: it renews no lease, answers nobody, and heeds
 * no signal, and the supervisor sees a process that runs. So a thread looks whether it turns, and ends the process when it does
 * not: the supervisor starts a new one, and the crash table says what becomes of what it had in hand.
 *
 * The thread counts its own looks and not time: after a SIGSTOP or a suspended machine both went without, and nothing is wrong.
 * The process ends by SIGALRM, which nothing else sends, so that its parent can tell a hang from a kill. (Postfix has every process watched by an alarm, systemd offers WatchdogSec for whoever tells it in time.)
 */
import inspector from 'node:inspector'
import { Worker } from 'node:worker_threads'

/** By which a watchdog ends its process. */
export const watchdogSignal = 'SIGALRM'

export interface Watchdog {
  stop(): Promise<void>
}

export interface WatchdogOptions {
  /** For the line that is written before the end. */
  name: string
  /** Looks in a row, one a second, at a loop that stands still, before it is ended. */
  limit?: number
}

/** What the thread is told. */
export interface WatchedLoop {
  name: string
  limit: number
  signal: typeof watchdogSignal
  /** Its first number grows while the loop turns. */
  beats: Int32Array
}

/**
 * The longest that the loop was seen to stand by our own doing is below 2 s (a mail of 40 MB, composed and signed on a busy machine),
 * and leases end after 25 s without it.
 */
const standingLimit = 15
const beatEveryMs = 500

export function startWatchdog({ name, limit = standingLimit }: WatchdogOptions): Watchdog {
  // Somebody has it in a debugger, where it stands at every break point.
  if (inspector.url() !== undefined) return { stop: async () => undefined }
  const beats = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
  const thread = new Worker(new URL('./watchdog-thread.mjs', import.meta.url), {
    workerData: { name, limit, signal: watchdogSignal, beats } satisfies WatchedLoop,
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 },
  })
  thread.unref()
  const timer = setInterval(() => Atomics.add(beats, 0, 1), beatEveryMs)
  timer.unref()
  return {
    stop: async () => {
      clearInterval(timer)
      await thread.terminate()
    },
  }
}
