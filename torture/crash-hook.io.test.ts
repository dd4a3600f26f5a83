import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { type CrashOrder, orderVariable } from './crash-hook.ts'

test('a process dies at the first of its points that nobody else has died at meanwhile, and writes down what it passed', () => {
  const folder = mkdtempSync(join(tmpdir(), 'valija-hook-'))
  const logFile = join(folder, 'points.log')
  writeFileSync(logFile, 'killed worker 12 900\nkilled api 1 901\n')
  writeFileSync(
    join(folder, 'program.mjs'),
    'for (const point of [1, 7, 12, 2]) globalThis.__torture.before(point)\n',
  )
  const target = { points: [1, 2, 12], passage: 1, afterMs: 0 }
  const order: CrashOrder = { kind: 'worker', copies: {}, logFile, target }
  const hook = join(import.meta.dirname, 'crash-hook.ts')
  const { signal, pid } = spawnSync(
    process.execPath,
    [`--import=${hook}`, join(folder, 'program.mjs'), 'worker'],
    { env: { [orderVariable]: JSON.stringify(order) } },
  )
  const log = readFileSync(logFile, 'utf8').split('\n').slice(2, -1)
  rmSync(folder, { recursive: true })
  expect(signal).toBe('SIGKILL')
  expect(log).toEqual([
    'passed worker 1',
    'passed worker 7',
    'passed worker 12',
    'passed worker 2',
    `killed worker 2 ${pid}`,
  ])
})
