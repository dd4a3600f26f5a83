import { describe, expect, test } from 'vitest'
import { createSleeper } from './sleeper.ts'

describe('a sleeper', () => {
  test('woken during a round goes round again, and never twice at once', async () => {
    let rounds = 0
    let isInside = false
    const { promise, resolve } = Promise.withResolvers<void>()
    const sleeper = createSleeper({
      round: async () => {
        expect(isInside).toBe(false)
        isInside = true
        rounds += 1
        if (rounds === 1) for (let call = 0; call < 5; call++) sleeper.wake()
        await new Promise<void>((done) => setImmediate(done))
        isInside = false
        if (rounds === 2) resolve()
        return 60_000
      },
      onError: () => {},
      afterErrorMs: 60_000,
    })
    sleeper.wake()
    await promise
    await sleeper.stop()
    expect(rounds).toBe(2)
  })

  test('wakes by itself when its time has come, also after an error', async () => {
    const errors: string[] = []
    const { promise, resolve } = Promise.withResolvers<void>()
    let rounds = 0
    const sleeper = createSleeper({
      round: async () => {
        rounds += 1
        if (rounds === 2) throw new Error('away')
        if (rounds === 3) resolve()
        return 1
      },
      onError: (error) => errors.push(error.message),
      afterErrorMs: 1,
    })
    sleeper.wake()
    await promise
    await sleeper.stop()
    expect(errors).toEqual(['away'])
  })

  test('that is stopped ends its round and begins no other', async () => {
    let rounds = 0
    const sleeper = createSleeper({
      round: async () => {
        rounds += 1
        return 0
      },
      onError: () => {},
      afterErrorMs: 0,
    })
    sleeper.wake()
    await sleeper.stop()
    const before = rounds
    sleeper.wake()
    await new Promise<void>((done) => setImmediate(done))
    expect(rounds).toBe(before)
  })

  test('that is nudged rests first, and one that is woken does not', async () => {
    const begins: number[] = []
    const isBegun = Array.from({ length: 4 }, () => Promise.withResolvers<void>())
    const sleeper = createSleeper({
      round: async () => {
        begins.push(performance.now())
        // During a round as after it.
        if (begins.length === 1) sleeper.nudge()
        isBegun[begins.length - 1]?.resolve()
        return 60_000
      },
      onError: () => {},
      afterErrorMs: 60_000,
      restMs: () => (begins.length === 3 ? 60_000 : 50),
    })
    sleeper.nudge()
    await isBegun[1]?.promise
    for (let call = 0; call < 5; call++) sleeper.nudge()
    await isBegun[2]?.promise
    sleeper.nudge()
    sleeper.wake()
    await isBegun[3]?.promise
    await sleeper.stop()
    expect(begins).toHaveLength(4)
    const rests = begins.slice(1).map((begin, index) => begin - (begins[index] ?? 0))
    // A timer may be early by a part of a millisecond.
    expect(Math.min(...rests.slice(0, 2))).toBeGreaterThan(48)
  })
})
