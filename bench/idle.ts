/** `npm start` with nothing to do: what it costs a machine on which it only waits. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort } from '../tests/support/ports.ts'
import { cleanEnvironment } from './logged-app.ts'
import { readCpu, readMemory } from './measure.ts'

export interface Idle {
  /** Of all its processes, PostgreSQL's included: CPU ms for each second, and MB that they really hold. */
  cpuMsPerS: number
  memoryMb: number
  /** From the command to the line `valija ready`, with a new data folder. */
  readyMs: number
}

/** After the start: just-in-time compilers and caches come to rest. */
const settleMs = 5_000

export async function runIdle(seconds: number): Promise<Idle> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'valija-bench-idle-'))
  const repository = path.resolve(import.meta.dirname, '..')
  const env = { ...cleanEnvironment, PORT: `${await freePort()}`, VALIJA_DATA_DIR: folder }
  const beganAt = performance.now()
  const child = spawn(process.execPath, [path.join(repository, 'apps/cli/src/main.ts'), 'start'], {
    cwd: repository,
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  })
  const ended = once(child, 'exit')
  try {
    const ready = Promise.withResolvers<void>()
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (line.startsWith('valija ready')) ready.resolve()
    })
    await Promise.race([ready.promise, ended.then(() => Promise.reject(new Error('npm start ended')))])
    const readyMs = performance.now() - beganAt
    await delay(settleMs)
    const watched = { all: [child.pid ?? 0] }
    const before = readCpu(watched)
    await delay(seconds * 1000)
    const usedMs = (readCpu(watched).all ?? 0) - (before.all ?? 0)
    return { cpuMsPerS: usedMs / seconds, memoryMb: readMemory(watched).all ?? 0, readyMs }
  } finally {
    child.kill('SIGTERM')
    await ended
    await rm(folder, { recursive: true, force: true })
  }
}
