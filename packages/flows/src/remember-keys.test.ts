import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { rememberKeys } from './remember-keys.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

/** A function that counts what it was asked for. */
function counting() {
  const asked: string[] = []
  const derive = rememberKeys((text) => {
    asked.push(text)
    if (text === '') throw new Error('no key')
    return `of ${text}`
  })
  return { asked, derive }
}

test('what follows from a key is found once in two seconds, and the key is not kept for longer', () => {
  const { asked, derive } = counting()
  expect([derive('a'), derive('b'), derive('a')]).toEqual(['of a', 'of b', 'of a'])
  vi.advanceTimersByTime(1_999)
  derive('a')
  expect(asked).toEqual(['a', 'b'])
  expect(vi.getTimerCount()).toBe(1)
  vi.advanceTimersByTime(1)
  // Nothing is left that would have to be forgotten.
  expect(vi.getTimerCount()).toBe(0)
  derive('a')
  vi.advanceTimersByTime(1_999)
  derive('a')
  expect(asked).toEqual(['a', 'b', 'a'])
})

test('few keys are kept at once, and no text that is longer than one', () => {
  const { asked, derive } = counting()
  derive('key')
  for (let n = 0; n < 255; n += 1) derive(`guess ${n}`)
  derive('key')
  expect(asked).toHaveLength(256)
  derive('one more')
  derive('key')
  expect(asked.slice(256)).toEqual(['one more', 'key'])
  const long = 'x'.repeat(129)
  derive(long)
  derive(long)
  expect(asked.slice(258)).toEqual([long, long])
})

test('what is no key is refused each time', () => {
  const { asked, derive } = counting()
  expect(() => derive('')).toThrow('no key')
  expect(() => derive('')).toThrow('no key')
  expect(asked).toEqual(['', ''])
})
