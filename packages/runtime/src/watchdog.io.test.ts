/** Processes whose event loop stands still: what their watchdog does, and what it needs of them. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, expect, test } from 'vitest'
import { watchdogSignal } from './watchdog.ts'

const watchdog = new URL('./watchdog.ts', import.meta.url).href
const stand = 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)'
let child: ChildProcess

afterEach(() => {
  child.kill('SIGKILL')
})

function start(text: string): ChildProcess {
  const program = `import { startWatchdog } from '${watchdog}'\nimport { writeSync } from 'node:fs'\n
startWatchdog({ name: 'tested', limit: 2 })\nawait new Promise((resolve) => setTimeout(resolve, 1_200))\n${text}`
  child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  return child
}

test('a loop that stands still is ended by SIGALRM, and the log says so', async () => {
  const { stdout } = start(stand)
  const ended = once(child, 'exit')
  const lines = (await stdout!.toArray()).join('')
  expect(await ended).toEqual([null, watchdogSignal])
  expect(JSON.parse(lines)).toMatchObject({
    level: 'fatal',
    name: 'tested',
    msg: expect.stringMatching(/^the event loop has stood still/),
  })
}, 60_000)

test('so is one that stands still at its log, which nobody reads', async () => {
  start(`writeSync(1, 'x'.repeat(8_000_000))\n${stand}`)
  expect(await once(child, 'exit')).toEqual([null, watchdogSignal])
}, 60_000)
