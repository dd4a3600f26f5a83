import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  conditionOf,
  forgetOld,
  isNotable,
  type PaceContext,
  type PaceEvent,
  paceLimits,
  pauseAfter,
  type SitePace,
  startingPace,
  steadyPace,
  stepPace,
} from './site-pace.ts'
import type { Sighting } from './site-sighting.ts'
import type { ThrottleLimits, ThrottleRule } from './throttle-policy.ts'

const limits: ThrottleLimits = {
  connections: 10,
  mailsPerConnection: 100,
  mailsPerSecond: null,
  isTlsRequired: false,
}
const start = 1_800_000_000_000
const minute = 60_000

const at = (ms: number, kind: PaceContext['kind'] = 'mx'): PaceContext => ({
  kind,
  limits,
  nowMs: start + ms,
})
const seen = (sighting: Sighting, ms: number, more: Partial<PaceEvent> = {}): PaceEvent => ({
  sighting,
  begunMs: start + ms,
  takenBefore: 0,
  rule: null,
  reason: sighting === 'working' ? null : 'throttled',
  reply: sighting === 'working' ? null : '421 4.7.0 slow down',
  ...more,
})
const step = (pace: SitePace, sighting: Sighting, ms: number, kind: PaceContext['kind'] = 'mx') =>
  stepPace(pace, seen(sighting, ms), at(ms, kind))
const pauseOf = (pace: SitePace, ms: number) => Math.max(0, pace.pausedUntilMs - start - ms)
const endOf = (pace: SitePace) => pace.pausedUntilMs - start

describe('a single odd failure', () => {
  test.each(['throttled', 'unreachable', 'unwell'] as const)(
    '%s costs seconds, and all connections but one',
    (sighting) => {
      const pace = step(steadyPace, sighting, 0)
      expect(pauseOf(pace, 0)).toBeGreaterThan(0)
      expect(pauseOf(pace, 0)).toBeLessThanOrEqual(5_000)
      expect(paceLimits(pace, limits, start).connections).toBe(1)
      expect(conditionOf(pace, start)).toBe('slowed')
      expect(isNotable(pace, start)).toBe(false)
    },
  )

  test('is seen by many mails and workers at once, and counts once', () => {
    const once = step(steadyPace, 'throttled', 0)
    expect(step(once, 'throttled', 50)).toBe(once)
    // One that had begun before, and ends long after the pause: a time-out.
    const late = stepPace(once, seen('unreachable', -10_000), at(30_000))
    expect(late).toBe(once)
  })

  test('is over within seconds of work that goes well, level by level', () => {
    let pace = step(steadyPace, 'throttled', 0)
    const begins = endOf(pace)
    const levels: number[] = []
    for (let ms = begins; conditionOf(pace, start + ms) !== 'ok'; ms += 250) {
      pace = step(pace, 'working', ms)
      levels.push(paceLimits(pace, limits, start + ms).connections)
      expect(ms - begins).toBeLessThan(10_000)
    }
    expect([...new Set(levels)]).toEqual([2, 4, 8, 10])
    expect(pace).toMatchObject({ cause: null, sinceMs: null, connections: null })
  })

  test('is not taken back by what had begun before it', () => {
    const pace = step(steadyPace, 'throttled', 0)
    expect(stepPace(pace, seen('working', -5_000), at(endOf(pace) + 1))).toBe(pace)
    expect(step(pace, 'working', 10)).toBe(pace)
  })
})

describe('three failures within ten minutes', () => {
  const thrice = (kind: PaceContext['kind'], sighting: Sighting) => {
    let pace = step(steadyPace, sighting, 0, kind)
    let ms = 0
    for (let i = 0; i < 2; i++) {
      ms = endOf(pace) + 100
      pace = step(pace, sighting, ms, kind)
    }
    return { pace, ms }
  }

  test.each([
    ['mx', 'throttled'],
    ['mx', 'unreachable'],
  ] as const)('at a %s cost minutes when %s', (kind, sighting) => {
    const { pace, ms } = thrice(kind, sighting)
    expect(pauseOf(pace, ms)).toBe(minute)
    expect(conditionOf(pace, start + ms)).toBe('suspended')
    expect(isNotable(pace, start + ms)).toBe(true)
  })

  test('at a relay that throttles are told of, and cost minutes once the short pauses are gone through', () => {
    const { pace, ms } = thrice('relay', 'throttled')
    expect(isNotable(pace, start + ms)).toBe(true)
    const pauses: number[] = [pauseOf(pace, ms)]
    let [now, at] = [pace, ms]
    while (pauses.at(-1)! < minute) {
      at += pauses.at(-1)! + 100
      now = step(now, 'throttled', at, 'relay')
      pauses.push(pauseOf(now, at))
    }
    expect(pauses).toEqual([1_000, 2_000, 4_000, 5_000, minute])
    expect(conditionOf(now, start + at)).toBe('suspended')
  })

  test.each([
    ['relay', 'unreachable'],
    ['mx', 'unwell'],
    ['relay', 'unwell'],
  ] as const)('at a %s never cost more than 5 s when %s, however many they are', (kind, sighting) => {
    let pace: SitePace = steadyPace
    let ms = 0
    for (let i = 0; i < 100; i++) {
      pace = step(pace, sighting, ms, kind)
      expect(pauseOf(pace, ms)).toBeLessThanOrEqual(5_000)
      ms = endOf(pace) + 1
    }
    expect(pauseOf(pace, ms - 1 - 5_000)).toBe(5_000)
  })

  test('cost twice as long each time, ten minutes at most, while it goes on', () => {
    let { pace, ms } = thrice('mx', 'throttled')
    const pauses: number[] = []
    for (let i = 0; i < 5; i++) {
      ms = endOf(pace) + 1
      pace = step(pace, 'throttled', ms)
      pauses.push(pauseOf(pace, ms) / minute)
    }
    expect(pauses).toEqual([2, 4, 8, 10, 10])
  })

  test('are none if ten minutes passed, or if hundreds of mails were taken between them', () => {
    let pace: SitePace = steadyPace
    for (const ms of [0, 6 * minute, 12 * minute]) pace = step(pace, 'throttled', ms)
    expect(pauseOf(pace, 12 * minute)).toBeLessThanOrEqual(5_000)
    let busy: SitePace = steadyPace
    for (const ms of [0, minute, 2 * minute]) {
      busy = stepPace(busy, seen('throttled', ms, { takenBefore: 600 }), at(ms))
      expect(pauseOf(busy, ms)).toBeLessThanOrEqual(5_000)
    }
  })

  test('are followed by a mail a second, twice as many every 15 s', () => {
    let { pace, ms } = thrice('mx', 'throttled')
    ms = endOf(pace)
    const rates: (number | null)[] = []
    for (let i = 0; i < 200 && conditionOf(pace, start + ms) !== 'ok'; i++, ms += 1_000) {
      pace = step(pace, 'working', ms)
      rates.push(paceLimits(pace, limits, start + ms).mailsPerSecond)
    }
    expect([...new Set(rates)]).toEqual([2, 4, 8, 16, 32, 64, null])
    expect(ms - endOf(pace)).toBeLessThan(3 * minute)
  })
})

describe('connections lost after MAIL', () => {
  test('count when they hit three mails in a row', () => {
    let pace = step(step(steadyPace, 'lost', 0), 'lost', 1)
    expect(paceLimits(pace, limits, start).connections).toBe(10)
    pace = step(step(pace, 'working', 2), 'lost', 3)
    expect(pace.pausedUntilMs).toBe(0)
    pace = step(step(pace, 'lost', 4), 'lost', 5)
    expect(pauseOf(pace, 5)).toBeGreaterThan(0)
  })
})

describe('explicit rules', () => {
  const rule = (more: Partial<ThrottleRule> = {}): ThrottleRule => ({
    id: 'r',
    texts: [],
    reasons: [],
    threshold: { count: 1, withinMs: minute },
    blame: 'source_ip',
    action: { kind: 'suspend' },
    forMs: 2 * 60 * minute,
    ...more,
  })
  const match = (pace: SitePace, ms: number, one: ThrottleRule, sighting: Sighting = 'deferred') =>
    stepPace(pace, seen(sighting, ms, { rule: one }), at(ms))

  test('suspend for as long as they say, and then a single connection probes', () => {
    const pace = match(steadyPace, 0, rule())
    expect(endOf(pace)).toBe(2 * 60 * minute)
    expect(paceLimits(pace, limits, start + endOf(pace))).toMatchObject({
      connections: 1,
      mailsPerSecond: 1,
      pausedUntilMs: 0,
    })
  })

  test('take effect from so many matches within so long on', () => {
    const one = rule({ threshold: { count: 3, withinMs: minute } })
    let pace = match(match(steadyPace, 0, one), 50_000, one)
    expect(pace.pausedUntilMs).toBe(0)
    pace = match(pace, 70_000, one)
    expect(pace.pausedUntilMs).toBe(0)
    expect(match(pace, 80_000, one).pausedUntilMs).toBeGreaterThan(0)
  })

  test.each([
    [
      { kind: 'connections', connections: 2 },
      { connections: 2, mailsPerSecond: null, mailsPerConnection: 100 },
    ],
    [
      { kind: 'rate', mailsPerSecond: 0.5 },
      { connections: 10, mailsPerSecond: 0.5, mailsPerConnection: 100 },
    ],
    [
      { kind: 'mails_per_connection', mailsPerConnection: 2 },
      { connections: 10, mailsPerSecond: null, mailsPerConnection: 2 },
    ],
  ] as const)('with %j change that alone, until their time is over', (action, expected) => {
    const pace = match(steadyPace, 0, rule({ action, forMs: minute }))
    expect(paceLimits(pace, limits, start)).toMatchObject({ ...expected, pausedUntilMs: 0 })
    expect(conditionOf(pace, start)).toBe('slowed')
    expect(paceLimits(pace, limits, start + minute)).toMatchObject(limits)
    expect(conditionOf(pace, start + minute)).toBe('ok')
  })

  test('count no reply twice while they are in force', () => {
    const one = rule({ action: { kind: 'connections', connections: 2 } })
    const pace = match(steadyPace, 0, one)
    expect(match(pace, 10, one)).toBe(pace)
  })
})

describe('a mail that met it', () => {
  test('waits for the end of the pause', () => {
    const event = seen('throttled', 0)
    const pace = stepPace(steadyPace, event, at(0))
    expect(pauseAfter(pace, event, at(0))).toBe(endOf(pace))
  })

  test.each(['deferred', 'unwell', 'lost', 'working'] as const)(
    'and is %s goes by its own schedule',
    (sighting) => {
      const event = seen(sighting, 0)
      expect(pauseAfter(stepPace(steadyPace, event, at(0)), event, at(0))).toBeNull()
    },
  )
})

test('a site of which nothing is known begins at one mail a second where it has a rate, and doubles', () => {
  const rated = { ...limits, mailsPerSecond: 10 }
  const context = (ms: number): PaceContext => ({ kind: 'mx', limits: rated, nowMs: start + ms })
  let pace = startingPace(rated)
  const rates = [paceLimits(pace, rated, start).mailsPerSecond]
  for (let ms = 0; ms < 6_000; ms += 1_000) {
    pace = stepPace(pace, seen('working', ms), context(ms))
    rates.push(paceLimits(pace, rated, start + ms).mailsPerSecond)
  }
  expect(rates).toEqual([1, 2, 4, 8, 10, 10, 10])
  expect(startingPace(limits)).toBe(steadyPace)
})

describe('whatever is seen', () => {
  const sightings: Sighting[] = [
    'working',
    'refused',
    'deferred',
    'throttled',
    'unreachable',
    'unwell',
    'lost',
  ]
  const story = fc.array(
    fc.record({
      sighting: fc.constantFrom(...sightings),
      afterMs: fc.integer({ min: 0, max: 5 * minute }),
      begunAgoMs: fc.integer({ min: 0, max: minute }),
      takenBefore: fc.constantFrom(0, 10, 1_000),
    }),
    { maxLength: 60 },
  )
  const kinds = fc.constantFrom('mx' as const, 'relay' as const)
  const tell = (events: typeof story extends fc.Arbitrary<infer T> ? T : never, kind: 'mx' | 'relay') => {
    const paces: { pace: SitePace; ms: number; sighting: Sighting }[] = []
    let pace: SitePace = steadyPace
    let ms = 0
    for (const { sighting, afterMs, begunAgoMs, takenBefore } of events) {
      ms += afterMs
      pace = stepPace(pace, seen(sighting, ms - begunAgoMs, { takenBefore }), at(ms, kind))
      paces.push({ pace, ms, sighting })
    }
    return { paces, pace, ms }
  }

  test('limits are never exceeded, and never nothing', () => {
    fc.assert(
      fc.property(story, kinds, (events, kind) => {
        for (const { pace, ms } of tell(events, kind).paces) {
          const now = paceLimits(pace, limits, start + ms)
          expect(now.connections).toBeGreaterThanOrEqual(1)
          expect(now.connections).toBeLessThanOrEqual(limits.connections)
          expect(now.mailsPerSecond ?? 1).toBeGreaterThanOrEqual(1)
          expect(pauseOf(pace, ms)).toBeLessThanOrEqual(10 * minute)
        }
      }),
    )
  })

  test('it recovers by itself: by time alone, and by work that goes well', () => {
    fc.assert(
      fc.property(story, kinds, (events, kind) => {
        const { pace, ms } = tell(events, kind)
        expect(conditionOf(forgetOld(pace, start + ms + 21 * minute), start + ms + 21 * minute)).toBe('ok')
        let worked = pace
        let now = ms + pauseOf(pace, ms)
        for (let i = 0; i < 200; i++, now += 1_000) worked = step(worked, 'working', now, kind)
        expect(paceLimits(worked, limits, start + now)).toMatchObject(limits)
        expect(worked.cause).toBeNull()
      }),
    )
  })

  test('the same thing seen again changes nothing', () => {
    fc.assert(
      fc.property(
        story,
        kinds,
        fc.constantFrom('throttled' as const, 'unreachable' as const),
        (events, kind, last) => {
          const { pace, ms } = tell(events, kind)
          const event = seen(last, ms)
          const once = stepPace(pace, event, at(ms, kind))
          expect(stepPace(once, event, at(ms, kind))).toEqual(once)
        },
      ),
    )
  })

  test('minutes are never cost by fewer than three failures within ten minutes', () => {
    fc.assert(
      fc.property(story, kinds, (events, kind) => {
        const { paces } = tell(events, kind)
        for (const [index, { pace, ms, sighting }] of paces.entries()) {
          const before = paces[index - 1]?.pace ?? steadyPace
          const goesOn = before.pauseMs > 5_000
          if (pace.incidentMs === before.incidentMs || pauseOf(pace, ms) <= 5_000 || goesOn) continue
          const failures = paces
            .slice(0, index + 1)
            .filter(
              (one) =>
                one.ms > ms - 10 * minute && ['throttled', 'unreachable', 'lost'].includes(one.sighting),
            )
          expect(failures.length).toBeGreaterThanOrEqual(3)
          expect(sighting).not.toBe('unwell')
        }
      }),
    )
  })
})
