import { expect, test } from 'vitest'
import { createTurnstile } from './turnstile.ts'

test('places are given on in the order of asking, and none is lost to those who gave up', async () => {
  const turnstile = createTurnstile(1)
  const order: string[] = []
  const leave = await turnstile.enter(60_000)
  const visit = async (name: string, timeoutMs: number) => {
    const out = await turnstile.enter(timeoutMs)
    order.push(out === null ? `${name} gave up` : name)
    return out
  }
  const impatient = visit('a', 1)
  const next = visit('b', 60_000)
  const last = visit('c', 60_000)
  expect(await impatient).toBeNull()
  leave?.()
  const leaveNext = await next
  expect(order).toEqual(['a gave up', 'b'])
  leaveNext?.()
  const leaveLast = await last
  leaveLast?.()
  expect(await turnstile.enter(60_000)).not.toBeNull()
  expect(order).toEqual(['a gave up', 'b', 'c'])
})
