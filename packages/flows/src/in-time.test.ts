/** Work that has so long and no longer. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { inTime } from './in-time.ts'

beforeEach(() => vi.useFakeTimers())
afterEach(async () => {
  // The timer is everybody's: none of this clock's may be left.
  await vi.advanceTimersByTimeAsync(20_000)
  vi.useRealTimers()
})

const late = () => new Error('late')
const never = <T>() => new Promise<T>(() => undefined)

test('what is in time settles as it would have', async () => {
  await expect(inTime(1_000, Promise.resolve(7), late)).resolves.toBe(7)
  await expect(inTime(1_000, Promise.reject(new Error('broken')), late)).rejects.toThrow('broken')
})

test('what takes longer is given up, not before its time and hardly after it', async () => {
  let end: string | null = null
  const begunMs = performance.now()
  const work = inTime(2_050, never(), late).catch((error: Error) => {
    end = error.message
  })
  await vi.advanceTimersByTimeAsync(2_049)
  expect(end).toBe(null)
  await vi.advanceTimersByTimeAsync(101)
  expect(end).toBe('late')
  await work
  expect(performance.now() - begunMs).toBeLessThanOrEqual(2_150)
})

test('each has its own time, and what came of one is not told of another', async () => {
  const ends: string[] = []
  const note = (name: string, work: Promise<unknown>) =>
    void work.then(
      () => ends.push(name),
      ({ message }: Error) => ends.push(`${name} ${message}`),
    )
  const { promise, resolve } = Promise.withResolvers<void>()
  note('long', inTime(5_000, promise, late))
  note('short', inTime(1_000, never(), late))
  await vi.advanceTimersByTimeAsync(1_200)
  expect(ends).toEqual(['short late'])
  resolve()
  await vi.advanceTimersByTimeAsync(10_000)
  expect(ends).toEqual(['short late', 'long'])
})

test('a thousand at once have one timer, and none when all have ended', async () => {
  const works = Array.from({ length: 1_000 }, () => Promise.withResolvers<void>())
  const ended = Promise.all(works.map(({ promise }) => inTime(9_000, promise, late)))
  expect(vi.getTimerCount()).toBe(1)
  for (const { resolve } of works) resolve()
  await ended
  await vi.advanceTimersByTimeAsync(200)
  expect(vi.getTimerCount()).toBe(0)
})
