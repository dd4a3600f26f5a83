import { appendFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type CrashOrder, orderVariable } from './crash-hook.ts'
import { readOptions } from './options.ts'
import { createTargets } from './targets.ts'

const root = join(import.meta.dirname, '..')
const points = Array.from({ length: 12 }, (_, id) => ({ id, name: `a.ts:${id}:1 before` }))
let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'valija-targets-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

function open(...args: string[]) {
  const targets = createTargets(
    readOptions(['--seed', '1', ...args]),
    { points, copies: { '/a.ts': '/copy.ts' } },
    { root, folder },
  )
  const log = (text: string) => appendFileSync(join(folder, 'points.log'), text)
  const targetOf = (command: 'api' | 'worker', slot: number) => {
    const order: CrashOrder = JSON.parse(targets.environmentFor(command, slot)[orderVariable] ?? '')
    return order.target
  }
  targets.arm(true)
  return { targets, log, targetOf }
}

test('a life dies at one point that its kind was seen to pass, first at those that nobody has died at', () => {
  const { targetOf, log } = open()
  expect(targetOf('worker', 0)).toBeNull()
  log('passed worker 4\npassed worker 9\npassed api 2\nkilled worker 9 77\n')
  expect(targetOf('worker', 0)?.points).toEqual([4])
  expect(targetOf('api', 1)?.points).toEqual([2])
})

test('the first life of each kind gets a point that is passed often, and dies when it first comes there', () => {
  const { targetOf, log } = open()
  log('passed worker 4\npassed worker 9\npassed worker 11\noften worker 9\npassed api 2\noften api 2\n')
  expect(targetOf('worker', 0)).toEqual({ points: [9], passage: 1, afterMs: 0 })
  expect(targetOf('api', 1)).toEqual({ points: [2], passage: 1, afterMs: 0 })
  expect(targetOf('worker', 1)?.points).not.toEqual([9])
})

test('in a walk a life dies at whichever point is left that it passes, and the last process of each kind at none', () => {
  const { targetOf, log } = open('--walk')
  expect(targetOf('worker', 0)?.points).toHaveLength(12)
  log('passed worker 4\nkilled worker 4 77\nkilled api 2 78\n')
  const left = targetOf('worker', 1)
  expect(left?.points).toHaveLength(10)
  expect(left?.points).not.toContain(4)
  // Every second one is eager, so that a point that is passed once only is not missed for ever.
  expect(left).toMatchObject({ passage: 1, afterMs: 0 })
  expect(targetOf('worker', 2)).toBeNull()
})

test('who dies, where, and what was passed by cells alone is read as it is written', () => {
  const { targets, log } = open()
  log('passed worker 1\npassed worker-cell 1\npassed worker-cell 2\nkilled wor')
  expect(targets.tally()).toMatchObject({ passed: 1, killedAt: 0, deaths: 0 })
  expect(targets.tally().inCells).toHaveLength(1)
  log('ker 1 4711\n')
  expect(targets.tally()).toMatchObject({ passed: 1, killedAt: 1, deaths: 1, spared: [] })
  expect([targets.diedAtPoint(4711), targets.diedAtPoint(4712)]).toEqual([true, false])
})
