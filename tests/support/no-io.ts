/**
 * Set-up of the unit tests: one that opens a socket, or starts a process or a thread, fails. Such a test is named `*.io.test.ts`.
 * `npm run check` runs the units before every commit, and stays short by this.
 */
import childProcess from 'node:child_process'
import { subscribe } from 'node:diagnostics_channel'
import { syncBuiltinESMExports } from 'node:module'
import { expect } from 'vitest'

/** What Node tells of by itself. */
const channels = [
  'net.client.socket',
  'tracing:net.server.listen:asyncStart',
  'udp.socket',
  'child_process',
  'worker_threads',
]
/** What it does not tell of. */
const functions = ['spawnSync', 'execFileSync', 'execSync'] as const

function refuse(what: string): never {
  const { testPath } = expect.getState()
  throw new Error(`a unit test does no I/O (${what}): ${testPath ?? 'this one'} has to be named *.io.test.ts`)
}

/** Files share a worker, and so this module's only copy. */
const holder = globalThis as typeof globalThis & { valijaUnitsAreWatched?: true }

if (!holder.valijaUnitsAreWatched) {
  holder.valijaUnitsAreWatched = true
  for (const channel of channels) subscribe(channel, () => refuse(channel))
  for (const name of functions) childProcess[name] = () => refuse(name)
  syncBuiltinESMExports()
}
