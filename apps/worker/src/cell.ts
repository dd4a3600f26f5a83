/**
 * The worker's side of a cell: starts the process that delivers suspects one by one (cell-main.ts), and notices its end.
 *
 * A cell that hangs is ended by its own watchdog; one that waits for ever without hanging, by a limit here.
 * How a cell ended says whether the mail was to blame.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { getCompileCacheDir } from 'node:module'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defaultDeadlines, longestConversationMs } from '@valija/courier'
import type { Cell, CellOutcome } from '@valija/flows'
import { type Config, environment, watchdogSignal } from '@valija/runtime'
import type { LeasedDelivery } from '@valija/store'

export type ToCell =
  | { kind: 'start'; config: Config }
  | { kind: 'deliver'; delivery: LeasedDelivery }
  | { kind: 'hurry' }
  | { kind: 'close' }

export type FromCell = { kind: 'ready' } | { kind: 'done' }

const entry = fileURLToPath(new URL('./cell-main.ts', import.meta.url))
const startLimitMs = 60_000
/** What a delivery may take besides its conversation: its composition, the look-up of its way, its place at the site. */
const besidesMs = 15 * 60_000
const closeLimitMs = 15_000

/** @throws {Error} when it does not come up */
export async function openCell(config: Config): Promise<Cell> {
  const child = fork(entry, [], {
    serialization: 'advanced',
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: { ...compiledCode(), ...environment() },
  })
  child.on('error', () => undefined) // its end is told by `exit`, or there is none and `whenTold` runs out
  tell(child, { kind: 'start', config })
  if (!(await whenTold(child, 'ready', startLimitMs)))
    throw new Error('the process that delivers suspects did not come up')
  const limitMs = deliveryLimitMs(config)
  return {
    deliver: async (delivery) => {
      tell(child, { kind: 'deliver', delivery })
      return (await whenTold(child, 'done', limitMs)) ? 'done' : outcomeOf(child)
    },
    hurry: () => tell(child, { kind: 'hurry' }),
    close: async () => {
      if (hasEnded(child)) return
      const ended = once(child, 'exit')
      tell(child, { kind: 'close' })
      const timer = setTimeout(() => child.kill('SIGKILL'), closeLimitMs)
      await ended
      clearTimeout(timer)
    },
  }
}

/** What this process has from Node's cache of compiled code, a process of the same program can have from it as well. */
function compiledCode(): { NODE_COMPILE_CACHE?: string } {
  // Node's own folder for its version and our user, in the one that was named to it.
  const versionFolder = getCompileCacheDir()
  return versionFolder === undefined ? {} : { NODE_COMPILE_CACHE: dirname(versionFolder) }
}

/** As encoded, a mail is below twice the size that is asked for at accept. */
export function deliveryLimitMs({ maxMessageSizeBytes }: Pick<Config, 'maxMessageSizeBytes'>): number {
  return besidesMs + longestConversationMs(defaultDeadlines, 2 * maxMessageSizeBytes)
}

/** By these a process ends for what it did itself; by others, SIGKILL above all, for what somebody did, or for want of memory. */
const signalsOfCrash = new Set(['SIGABRT', 'SIGBUS', 'SIGFPE', 'SIGILL', 'SIGSEGV', 'SIGSYS', 'SIGTRAP'])

/** @param end of a process that had not said `done`; neither a code nor a signal: we have just told it to end */
export function outcomeOf({
  exitCode,
  signalCode,
}: Pick<ChildProcess, 'exitCode' | 'signalCode'>): Exclude<CellOutcome, 'done'> {
  if (signalCode === watchdogSignal) return 'hung'
  const isCrash = signalCode === null ? (exitCode ?? 0) !== 0 : signalsOfCrash.has(signalCode)
  return isCrash ? 'crashed' : 'stopped'
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}

/** A channel that is closed tells so by the end of the process. */
function tell(child: ChildProcess, message: ToCell): void {
  child.send(message, () => undefined)
}

/** @returns false when the process ends before it says so, or is ended because it took too long */
function whenTold(child: ChildProcess, kind: FromCell['kind'], limitMs: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const onMessage = (message: unknown) => {
    if ((message as FromCell).kind === kind) resolve(true)
  }
  const onExit = () => resolve(false)
  const timer = setTimeout(() => {
    child.kill('SIGKILL')
    resolve(false)
  }, limitMs)
  child.on('message', onMessage).once('exit', onExit)
  if (hasEnded(child)) resolve(false)
  return promise.finally(() => {
    clearTimeout(timer)
    child.off('message', onMessage).off('exit', onExit)
  })
}
