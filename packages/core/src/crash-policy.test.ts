import { expect, test } from 'vitest'
import {
  crashesOfSuspect,
  createGivingUp,
  givenUpWindowMs,
  mostGivenUp,
  pauseAfterCrashes,
} from './crash-policy.ts'

test('a suspect rests longer with every crash, and never longer than 5 minutes', () => {
  const pauses = [1, 2, 3, 20, 2_000].map((more) => pauseAfterCrashes(crashesOfSuspect + more))
  expect(pauses).toEqual([10_000, 20_000, 40_000, 300_000, 300_000])
})

test('after 20 mails in 10 minutes none is given up any more, until the first is 10 minutes ago', () => {
  let now = 0
  const mayGiveUp = createGivingUp(() => now)
  const given = Array.from({ length: 100 }, () => {
    now += 1_000
    return mayGiveUp()
  })
  expect(given.filter(Boolean)).toHaveLength(mostGivenUp)
  expect(given.indexOf(false)).toBe(mostGivenUp)
  now = givenUpWindowMs + 1_000
  expect([mayGiveUp(), mayGiveUp()]).toEqual([true, false])
})
