/**
 * Programs of ours as real processes: started with a clean environment, watched by their output, ended for certain.
 *
 * What a test starts and forgets is killed when its vitest worker ends. Each one leads a process group, so that a
 * kill also reaches what it has started itself (PostgreSQL is in a group of its own, on purpose, and is not reached).
 */
import { type ChildProcess, spawn } from 'node:child_process'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { PATIENCE_MS } from './until.ts'

/** The repository's folder; commands are run there. */
export const REPOSITORY = path.resolve(import.meta.dirname, '../..')

export type ProcessOptions = {
  /** The whole environment besides PATH, HOME and TZ: nothing is inherited from the test runner. */
  env?: Record<string, string>
  cwd?: string
  /** As root: run as this user and group. */
  uid?: number
  gid?: number
}

export type Running = {
  pid: number
  /** Both outputs, line by line, in the order in which they came. */
  lines: string[]
  /** The first line, past or future, that matches; fails when the process ends without it or after timeoutMs. */
  line: (pattern: RegExp | string, timeoutMs?: number) => Promise<string>
  /** Resolves when the process has ended and its output was read. */
  ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>
  signal: (name: NodeJS.Signals) => void
  /** SIGSTOP: the process is there, its sockets too, and nothing moves. */
  pause: () => void
  resume: () => void
  /** SIGTERM, then waits; SIGKILL when it takes longer than limitMs. */
  stop: (limitMs?: number) => Promise<{ code: number | null; signal: NodeJS.Signals | null }>
  /** SIGKILL for the process and its group, then waits. */
  kill: () => Promise<void>
}

const alive = new Set<ChildProcess>()

function killGroup(child: ChildProcess): void {
  try {
    process.kill(-child.pid!, 'SIGKILL')
  } catch {
    child.kill('SIGKILL') // the group is gone, or was never made
  }
}

function killAll(): void {
  for (const child of alive) killGroup(child)
}

process.once('exit', killAll)
// Vitest ends its workers by this signal, and a process that has no listener for it ends without "exit".
process.once('SIGTERM', () => process.exit(143))

const tail = (lines: string[]): string => lines.slice(-30).join('\n')

/** Waits for a line in a growing list. */
function watch(lines: string[], child: ChildProcess, listeners: Set<(line: string) => void>) {
  return (pattern: RegExp | string, timeoutMs = PATIENCE_MS): Promise<string> => {
    const matches = (line: string) =>
      typeof pattern === 'string' ? line.includes(pattern) : pattern.test(line)
    const past = lines.find(matches)
    if (past !== undefined) return Promise.resolve(past)
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    const fail = (how: string) =>
      reject(new Error(`${how} without a line like ${pattern}; the last ones:\n${tail(lines)}`))
    const timer = setTimeout(() => fail(`${timeoutMs} ms passed`), timeoutMs)
    const onEnd = (code: number | null) => fail(`the process ended (${code})`)
    const onLine = (line: string) => {
      if (matches(line)) resolve(line)
    }
    listeners.add(onLine)
    child.once('close', onEnd)
    return promise.finally(() => {
      clearTimeout(timer)
      listeners.delete(onLine)
      child.off('close', onEnd)
    })
  }
}

/** Where Node keeps what it compiled: a start takes less than half of the processor's time by it, and the tests start a thousand. */
export const NODE_COMPILE_CACHE = path.join(REPOSITORY, 'node_modules/.cache/compile')

/** What every process gets of the runner's environment: where programs are, and the mark by which .ci/run finds what was left running. */
function surroundings(): Record<string, string> {
  const { PATH = '', HOME = '/tmp', CI_RUN_MARK } = process.env
  const same = { PATH, HOME, TZ: 'UTC', NODE_COMPILE_CACHE }
  return { ...same, ...(CI_RUN_MARK === undefined ? {} : { CI_RUN_MARK }) }
}

/** Starts a program; arguments are passed as they are, without a shell. */
export function startProcess(command: string, args: string[], options: ProcessOptions = {}): Running {
  const { env = {}, cwd = REPOSITORY, uid, gid } = options
  const child = spawn(command, args, {
    cwd,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...surroundings(), ...env },
    ...(uid === undefined ? {} : { uid, gid: gid ?? uid }),
  })
  const lines: string[] = []
  const listeners = new Set<(line: string) => void>()
  for (const stream of [child.stdout!, child.stderr!]) {
    createInterface({ input: stream }).on('line', (line) => {
      lines.push(line)
      for (const listener of listeners) listener(line)
    })
  }
  const {
    promise: ended,
    resolve,
    reject,
  } = Promise.withResolvers<{ code: number | null; signal: NodeJS.Signals | null }>()
  child.once('error', reject)
  alive.add(child)
  child.once('exit', (code, signal) => {
    alive.delete(child)
    // "close" follows when the output was read, unless a program that it left behind still holds the pipe.
    setTimeout(() => resolve({ code, signal }), 500).unref()
  })
  child.once('close', (code, signal) => resolve({ code, signal }))
  const send = (name: NodeJS.Signals) => void child.kill(name)
  return {
    pid: child.pid ?? 0,
    lines,
    line: watch(lines, child, listeners),
    ended,
    signal: send,
    pause: () => send('SIGSTOP'),
    resume: () => send('SIGCONT'),
    stop: async (limitMs = 20_000) => {
      send('SIGTERM')
      const timer = setTimeout(() => killGroup(child), limitMs)
      return ended.finally(() => clearTimeout(timer))
    },
    kill: async () => {
      killGroup(child)
      await ended
    },
  }
}

/** Starts a TypeScript program of the repository under the Node that runs the tests. */
export const startNode = (script: string, args: string[] = [], options: ProcessOptions = {}): Running =>
  startProcess(process.execPath, [path.resolve(REPOSITORY, script), ...args], options)

/** For our command line: a developer's own .env in the checkout is not for tests. */
export const NO_ENV_FILE = { VALIJA_ENV_FILE: '/dev/null' }

/** Starts one of our processes: `startApp('api', { DATABASE_URL: … })` runs `node apps/cli/src/main.ts api`. */
export const startApp = (command: string, env: Record<string, string>, args: string[] = []): Running =>
  startNode('apps/cli/src/main.ts', [command, ...args], { env: { ...NO_ENV_FILE, ...env } })
