import { describe, expect, test } from 'vitest'
import {
  type AlarmCounts,
  alarmKinds,
  alarmWords,
  judgeAlarms,
  judgePause,
  usualAlarmLimits,
} from './alarm-policy.ts'

const limits = usualAlarmLimits(false)
const counts = (more: Partial<AlarmCounts>): AlarmCounts => ({
  delivered: 0,
  deferred: 0,
  bounced: 0,
  hard_bounced: 0,
  complained: 0,
  ...more,
})
/** So many hard bounces among a thousand. */
const bounces = (count: number) => counts({ delivered: 1_000 - count, bounced: count, hard_bounced: count })
const namesOf = (changes: ReturnType<typeof judgeAlarms>) =>
  changes.map(({ alarm, state }) => `${alarm} ${state}`)

describe('an alarm', () => {
  test('begins where a rate is over its limit, with the figures that it rests on', () => {
    expect(judgeAlarms(bounces(51), limits, new Set())).toEqual([
      { alarm: 'bounce_rate', state: 'raised', rate: 0.051, limit: 0.05, count: 51, volume: 1_000 },
    ])
    expect(judgeAlarms(bounces(50), limits, new Set())).toEqual([])
    const others = counts({ delivered: 1_000, complained: 3, deferred: 600 })
    expect(namesOf(judgeAlarms(others, limits, new Set()))).toEqual([
      'complaint_rate raised',
      'deferral_rate raised',
    ])
  })

  test('does not begin twice, and is over only when its rate is well below', () => {
    const raised = new Set(['bounce_rate'] as const)
    for (const count of [200, 51, 49, 41]) expect(judgeAlarms(bounces(count), limits, raised)).toEqual([])
    expect(namesOf(judgeAlarms(bounces(39), limits, raised))).toEqual(['bounce_rate cleared'])
    // A rate that goes up and down around its limit: one alarm.
    const told: string[] = []
    const now = new Set<(typeof alarmKinds)[number]>()
    for (const count of [40, 52, 48, 53, 47, 55, 30, 60]) {
      for (const { alarm, state } of judgeAlarms(bounces(count), limits, now)) {
        told.push(state)
        if (state === 'raised') now.add(alarm)
        else now.delete(alarm)
      }
    }
    expect(told).toEqual(['raised', 'cleared', 'raised'])
  })

  test('is over when hardly any mail is left to judge by', () => {
    const few = counts({ delivered: 49, bounced: 50, hard_bounced: 50 })
    expect(namesOf(judgeAlarms(few, limits, new Set(['bounce_rate'])))).toEqual(['bounce_rate cleared'])
    expect(namesOf(judgeAlarms(counts({}), limits, new Set(alarmKinds)))).toHaveLength(3)
  })

  test('does not begin by a few mails, nor by bounces that are no fault of the addresses', () => {
    expect(judgeAlarms(counts({ bounced: 199, hard_bounced: 199 }), limits, new Set())).toEqual([])
    expect(judgeAlarms(counts({ delivered: 300, complained: 2 }), limits, new Set())).toEqual([])
    expect(judgeAlarms(counts({ delivered: 800, bounced: 200 }), limits, new Set())).toEqual([])
  })

  test('never begins by a limit of 1', () => {
    const off = { ...limits, bounce_rate: 1, complaint_rate: 1, deferral_rate: 1 }
    const worst = counts({ delivered: 1, bounced: 999, hard_bounced: 999, complained: 999, deferred: 9_999 })
    expect(judgeAlarms(worst, off, new Set())).toEqual([])
  })

  test('says what it means and what to do', () => {
    for (const alarm of alarmKinds)
      for (const stream of ['transactional', 'bulk'] as const) {
        const { explanation, remedy } = alarmWords(alarm, stream)
        expect(explanation).toContain(stream)
        expect(remedy).toMatch(/\.$/)
      }
  })
})

describe('bulk mail', () => {
  test('is held by bounces over 10 % and complaints over 0.5 %, and not by deferrals', () => {
    expect(judgePause(bounces(101), limits)).toEqual({
      reason: 'bounce_rate',
      rate: 0.101,
      limit: 0.1,
      count: 101,
      volume: 1_000,
    })
    expect(judgePause(bounces(100), limits)).toBeNull()
    expect(judgePause(counts({ delivered: 1_000, complained: 6 }), limits)).toMatchObject({
      reason: 'complaint_rate',
    })
    expect(judgePause(counts({ delivered: 1_000, complained: 5 }), limits)).toBeNull()
    expect(judgePause(counts({ delivered: 1, deferred: 10_000 }), limits)).toBeNull()
  })

  test('is not held where that is off, as it is for the tenant of npm start', () => {
    expect(judgePause(bounces(900), { ...limits, pause_bulk: false })).toBeNull()
    expect(judgePause(bounces(900), usualAlarmLimits(true))).toBeNull()
  })
})
