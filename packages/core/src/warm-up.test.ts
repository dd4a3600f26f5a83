/** Warm-up: stages won and lost, caps of hour and day. */
import { describe, expect, test } from 'vitest'
import {
  continueWarmUp,
  defaultWarmUp,
  drawWarmUp,
  firstWarmUpState,
  type WarmUpState,
  warmUpCaps,
  warmUpOutcome,
} from './warm-up.ts'

const hour = 3_600_000
const day = 24 * hour
const at = 1_800_000_000_000
const plan = { ...defaultWarmUp, caps: [100, 200, 400] }
const state = (fields: Partial<WarmUpState> = {}): WarmUpState => ({ ...firstWarmUpState(at), ...fields })

describe('a day that is over', () => {
  test('is followed by the next stage when 90 % of it was handed off', () => {
    expect(continueWarmUp(plan, state({ handedOff: 90 }), at + day)).toEqual({
      ...firstWarmUpState(at + day),
      stage: 1,
    })
  })

  test('is followed by the same stage when less was', () => {
    expect(continueWarmUp(plan, state({ handedOff: 89 }), at + day).stage).toBe(0)
  })

  test('ends the warm-up behind the last stage', () => {
    const over = continueWarmUp(plan, state({ stage: 2, handedOff: 400 }), at + day)
    expect(warmUpCaps(plan, over.stage)).toBeNull()
    expect(drawWarmUp(plan, over, at + day, 7)).toMatchObject({ granted: Infinity })
    expect(continueWarmUp(plan, over, at + 9 * day).stage).toBe(3)
  })

  test('wins no stage before its end, however much was handed off', () => {
    expect(continueWarmUp(plan, state({ handedOff: 100 }), at + day - 1).stage).toBe(0)
  })
})

describe('a stage is lost at once, and the evidence counts once,', () => {
  test.each<[string, Partial<WarmUpState>]>([
    ['10 % of deferrals', { handedOff: 90, deferred: 10 }],
    ['two complaints of a thousand', { handedOff: 1_000, complained: 2 }],
  ])('at %s', (_, counts) => {
    const fallen = continueWarmUp(plan, state({ stage: 2, drawnInDay: 120, ...counts }), at + 1)
    expect(fallen).toMatchObject({ stage: 1, handedOff: 0, deferred: 0, complained: 0, drawnInDay: 120 })
    expect(continueWarmUp(plan, fallen, at + 2).stage).toBe(1)
  })

  test.each<[string, Partial<WarmUpState>]>([
    ['fewer deferrals', { handedOff: 91, deferred: 9 }],
    ['too few outcomes to judge', { handedOff: 9, deferred: 10 }],
    ['one complaint', { handedOff: 10, complained: 1 }],
  ])('but not at %s', (_, counts) => {
    expect(continueWarmUp(plan, state({ stage: 2, ...counts }), at + 1).stage).toBe(2)
  })

  test('and below the first there is none', () => {
    expect(continueWarmUp(plan, state({ deferred: 50 }), at + 1).stage).toBe(0)
  })
})

describe('rights to send', () => {
  test('are a tenth of the day’s in an hour, and come back with the next', () => {
    const first = drawWarmUp(plan, state(), at, 100)
    expect(first).toMatchObject({ granted: 10, state: { drawnInDay: 10, drawnInHour: 10 } })
    expect(drawWarmUp(plan, first.state, at + 60_000, 1)).toMatchObject({
      granted: 0,
      retryInMs: hour - 60_000,
    })
    expect(drawWarmUp(plan, first.state, at + hour, 3)).toMatchObject({ granted: 3 })
  })

  test('end with the day’s', () => {
    const full = state({ drawnInDay: 100, hourBeganMs: at + 11 * hour })
    expect(drawWarmUp(plan, full, at + 11 * hour, 1)).toMatchObject({ granted: 0, retryInMs: 13 * hour })
  })

  test('are at least one an hour', () => {
    expect(warmUpCaps({ ...plan, caps: [3] }, 0)).toEqual({ day: 3, hour: 1 })
  })
})

test('what says nothing of the address is not counted', () => {
  expect(warmUpOutcome({ event: 'deliver', reason: null })).toBe('handed_off')
  expect(warmUpOutcome({ event: 'defer', reason: 'reputation' })).toBe('deferred')
  expect(warmUpOutcome({ event: 'defer', reason: 'greylisted' })).toBeNull()
  expect(warmUpOutcome({ event: 'bounce', reason: 'mailbox_unknown' })).toBeNull()
})
