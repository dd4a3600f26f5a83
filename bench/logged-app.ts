/** Programs as a supervisor runs them: their log in a file, nothing of the shell's environment, and ready when they say so. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { open, readFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

const repository = path.resolve(import.meta.dirname, '..')
const readyWithinMs = 30_000
/** For `npm start` as well: nothing of ours comes from the shell that runs the benchmark. */
export const cleanEnvironment = {
  PATH: process.env.PATH ?? '',
  HOME: process.env.HOME ?? '/tmp',
  TZ: 'UTC',
  VALIJA_ENV_FILE: '/dev/null',
}

export interface App {
  pid: number
  output(): Promise<string>
  /** SIGTERM, then waits for its end; one that does not drain within half a minute is killed. */
  stop(): Promise<void>
}

/** Waits until it is ready, or has ended well. */
export async function startLogged(program: {
  name: string
  command: string
  args: string[]
  env: Record<string, string>
  folder: string
  ready: RegExp
}): Promise<App> {
  const { name, command, args, env, folder, ready } = program
  const file = path.join(folder, `${name}.log`)
  const log = await open(file, 'w')
  const child = spawn(command, args, {
    cwd: repository,
    env: { ...cleanEnvironment, ...env },
    stdio: ['ignore', log.fd, log.fd],
    // Ctrl-C is ours to handle: the programs end in order.
    detached: true,
  })
  const ended = once(child, 'exit')
  await log.close()
  const output = () => readFile(file, 'utf8')
  const app = { pid: child.pid ?? 0, output, stop: () => stop(child, ended) }
  const deadline = performance.now() + readyWithinMs
  while (!ready.test(await output()) && child.exitCode === null && performance.now() < deadline)
    await delay(20)
  if (ready.test(await output()) || child.exitCode === 0) return app
  await app.stop()
  throw new Error(`${name} is not ready:\n${await output()}`)
}

async function stop(child: ChildProcess, ended: Promise<unknown>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGTERM')
  const insist = setTimeout(() => child.kill('SIGKILL'), readyWithinMs)
  await ended
  clearTimeout(insist)
}
