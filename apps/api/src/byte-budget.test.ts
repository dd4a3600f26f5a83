import { describe, expect, test } from 'vitest'
import { createByteBudget } from './byte-budget.ts'

const kib = 1024

describe('createByteBudget', () => {
  test('takes until the limit, and again what was given back', () => {
    const budget = createByteBudget(100 * kib)
    const holders = Array.from({ length: 3 }, () => ({ bytes: 0 }))
    expect(holders.map((holder) => budget.take(holder, 40 * kib))).toEqual([true, true, false])
    expect(budget.takenBytes).toBe(80 * kib)
    budget.giveBack(holders[0] ?? { bytes: 0 })
    expect(budget.take({ bytes: 0 }, 60 * kib)).toBe(true)
  })

  test('what is refused takes nothing, and giving back twice frees nothing twice', () => {
    const budget = createByteBudget(100)
    const holder = { bytes: 0 }
    expect(budget.take(holder, 101)).toBe(false)
    expect([holder.bytes, budget.takenBytes]).toEqual([0, 0])
    budget.take(holder, 10)
    budget.giveBack(holder)
    budget.giveBack(holder)
    expect(budget.takenBytes).toBe(0)
  })

  test('large bodies leave a quarter to small ones, also when they grow large in steps', () => {
    const budget = createByteBudget(1000 * kib)
    const large = { bytes: 0 }
    expect(budget.take(large, 700 * kib)).toBe(true)
    expect(budget.take(large, 100 * kib)).toBe(false)
    expect(budget.take({ bytes: 0 }, 100 * kib)).toBe(true)
  })
})
