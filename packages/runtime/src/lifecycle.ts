/**
 * The life of a process: start, run until a signal, drain in reverse, exit.
 *
 *   start fails              one sentence on standard error, what had started is stopped, exit 1
 *   SIGTERM, SIGINT, SIGHUP  the stop steps run, last one first; exit 0 when all of them went well
 *   a second signal          the drain is hurried (each step may say how), as it is 10 s before its limit; a third
 *                            ends the process at once, exit 1
 *   an uncaught error        logged, exit 1 at once: a state that nobody foresaw is not worth draining
 *
 * Signals within a second count as one: Ctrl-C under npm comes twice, from the terminal and from npm.
 */
import { flushCompileCache } from 'node:module'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'

/** Ctrl-C under npm arrives twice within some milliseconds. */
const ONE_SIGNAL_MS = 1_000

/** What is given up needs this long to be written down before the limit. */
const HURRY_BEFORE_LIMIT_MS = 10_000

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const

export type StopStep = {
  /** For the log: "http", "worker", "postgres". */
  name: string
  stop: () => Promise<unknown> | unknown
  /** Called when a second signal comes, or the drain's limit comes near, while this step runs or waits: give up what is under way. */
  hurry?: () => void
}

export type Life = {
  /** Registers how to end what has just been started. Steps run one after another, the last registered one first. */
  onStop: (step: StopStep) => void
  /** Aborted by the first signal; also a start that waits for something should heed it. */
  stopping: AbortSignal
  /** Something that the process cannot do without has failed: drain, then exit 1. */
  fail: (error: Error) => void
}

export type RunOptions = {
  log: Logger
  start: (life: Life) => Promise<void>
  /** Called when start has resolved and no signal has come. */
  onReady?: () => void
  /**
   * For the whole drain: hurried 10 s before (or half-way, if that is later), and what is not done by then is cut off, exit 1. A worker waits for
   * the reply to its final dot for up to ten minutes (RFC 5321, section 4.5.3.2.6), but at a stop no longer than this.
   */
  drainLimitMs: number
}

/** Counts signals, and resolves `first` with what ended the run: null for a signal, or the failure. */
function listen(log: Logger, limitMs: number, hurry: () => void) {
  const stopping = new AbortController()
  const { promise: ended, resolve } = Promise.withResolvers<Error | null>()
  let count = 0
  let lastMs = Number.NEGATIVE_INFINITY
  for (const name of SIGNALS) {
    process.on(name, () => {
      const now = performance.now()
      if (now - lastMs < ONE_SIGNAL_MS) return
      lastMs = now
      count += 1
      if (count === 1) log.info({ signal: name, limitMs }, 'stopping')
      else log.info({ signal: name }, count === 2 ? 'hurrying' : 'ending at once')
      if (count === 1) {
        stopping.abort()
        resolve(null)
      } else if (count === 2) hurry()
      else process.exit(1)
    })
  }
  const fail = (error: Error) => {
    log.fatal({ err: error }, 'cannot go on')
    stopping.abort()
    resolve(error)
  }
  return { stopping: stopping.signal, ended, fail }
}

function exitOnUncaught(log: Logger): void {
  const end = (error: unknown) => {
    log.fatal({ err: error }, 'uncaught error')
    process.exit(1)
  }
  process.on('uncaughtException', end).on('unhandledRejection', end)
}

function hurry(steps: readonly StopStep[]): void {
  for (const step of steps) step.hurry?.()
}

/** Runs the steps, last one first. False when one failed or the limit was reached. */
async function drain(steps: StopStep[], log: Logger, limitMs: number): Promise<boolean> {
  let isClean = true
  const run = async () => {
    for (let step = steps.at(-1); step; step = steps.at(-1)) {
      try {
        await step.stop()
        log.debug({ step: step.name }, 'stopped')
      } catch (error) {
        isClean = false
        log.error({ err: error, step: step.name }, 'did not stop cleanly')
      }
      steps.splice(steps.indexOf(step), 1) // only now: until it has ended, a second signal may hurry it
    }
    return true
  }
  const hurryAfterMs = Math.max(limitMs - HURRY_BEFORE_LIMIT_MS, limitMs / 2)
  const timer = setTimeout(() => {
    log.info({ waitedMs: hurryAfterMs, steps: steps.map((step) => step.name) }, 'hurrying')
    hurry(steps)
  }, hurryAfterMs)
  const isInTime = await Promise.race([run(), delay(limitMs, false)])
  clearTimeout(timer)
  if (isInTime) return isClean
  log.error({ limitMs }, 'not everything stopped in time')
  return false
}

/**
 * Runs a process to its end. Never returns: it exits with 0 after a clean drain, 1 otherwise.
 *
 *     await runUntilSignal({ log, drainLimitMs: config.drainLimitMs, start: async (life) => {
 *       const server = await listen(); life.onStop({ name: 'http', stop: () => server.close() })
 *     } })
 */
export async function runUntilSignal(options: RunOptions): Promise<never> {
  const { log, start, onReady, drainLimitMs } = options
  const steps: StopStep[] = []
  exitOnUncaught(log)
  const { stopping, ended, fail } = listen(log, drainLimitMs, () => hurry(steps))
  const onStop = (step: StopStep) => void steps.push(step)
  const keepAlive = setInterval(() => undefined, 2 ** 30) // signal handlers alone do not keep a process
  const started = start({ onStop, stopping, fail }).then(
    () => null,
    (error: unknown) => (stopping.aborted ? null : error), // a start that gives up at a signal has not failed
  )
  let endedAtMs = Number.POSITIVE_INFINITY
  // A start that hangs has half of the time: the other half is for what it has started.
  const givenUp = ended.then(() => {
    endedAtMs = performance.now()
    return delay(drainLimitMs / 2, null)
  })
  const failure = await Promise.race([started, givenUp])
  if (failure) {
    log.debug({ err: failure }, 'the start failed')
    process.stderr.write(`valija: ${failure instanceof Error ? failure.message : String(failure)}\n`)
  } else if (!stopping.aborted) {
    onReady?.()
    // What Node compiled for the start, where it keeps that: kill -9 would leave nothing of it. Takes 3 ms when all was there
    // already, up to 0.7 s when nothing was, and gives 16 MB back.
    flushCompileCache()
  }
  const fatal = failure ?? (await ended)
  const spentMs = Math.max(0, performance.now() - endedAtMs)
  const isClean = await drain(steps, log, Math.max(0, Math.floor(drainLimitMs - spentMs)))
  clearInterval(keepAlive)
  process.exit(fatal || !isClean ? 1 : 0)
}
