/** The end of sessions without work. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { IdleLanes } from './idle-lanes.ts'
import type { Lane } from './site-state.ts'

const idleMs = 1_000
let ended: string[]
let idle: IdleLanes<never>

beforeEach(() => {
  vi.useFakeTimers()
  ended = []
  idle = new IdleLanes({ idleMs, onStale: ({ shareKey }) => void ended.push(shareKey ?? '') })
})
afterEach(() => vi.useRealTimers())

const laneOf = (shareKey: string) => ({ shareKey }) as unknown as Lane<never>

describe('a session without work', () => {
  test('ends when nobody has wanted it for its time, each at its own', () => {
    idle.add(laneOf('a'))
    vi.advanceTimersByTime(600)
    idle.add(laneOf('b'))
    vi.advanceTimersByTime(399)
    expect(ended).toEqual([])
    vi.advanceTimersByTime(1)
    expect(ended).toEqual(['a'])
    vi.advanceTimersByTime(600)
    expect(ended).toEqual(['a', 'b'])
  })

  test('that had a mail meanwhile begins anew', () => {
    const lane = laneOf('a')
    idle.add(lane)
    vi.advanceTimersByTime(900)
    idle.delete(lane)
    vi.advanceTimersByTime(500)
    idle.add(lane)
    vi.advanceTimersByTime(999)
    expect(ended).toEqual([])
    vi.advanceTimersByTime(1)
    expect(ended).toEqual(['a'])
  })

  test('costs no timer of its own for each mail', () => {
    const lanes = Array.from({ length: 20 }, (_, index) => laneOf(`${index}`))
    for (let mail = 0; mail < 1_000; mail += 1) {
      const lane = lanes[mail % lanes.length]!
      idle.add(lane)
      idle.delete(lane)
      expect(vi.getTimerCount()).toBe(1)
    }
    vi.advanceTimersByTime(idleMs)
    expect([ended, vi.getTimerCount()]).toEqual([[], 0])
  })

  test('any of them can be picked, and stays until it is taken away', () => {
    expect(idle.pickAny()).toBeNull()
    const lanes = ['a', 'b', 'c'].map(laneOf)
    for (const lane of lanes) idle.add(lane)
    const picked = new Set(Array.from({ length: 200 }, () => idle.pickAny()))
    expect(picked).toEqual(new Set(lanes))
    for (const lane of lanes) idle.delete(lane)
    expect(idle.pickAny()).toBeNull()
  })
})
