/** What is tried again, and how often. */
import { expect, test } from 'vitest'
import { retryConflicts } from './retry-conflicts.ts'

const failed = (code: string) => Object.assign(new Error(code), { code })

async function triesOf(code: string, ...options: [] | [{ mayMissReference: boolean }]): Promise<number> {
  let tries = 0
  const transact = () => {
    tries++
    return Promise.reject(failed(code))
  }
  await expect(retryConflicts(transact, ...options)).rejects.toMatchObject({ code })
  return tries
}

test.each(['40001', '40P01', 'P2034', '23503', 'P2003'])('%s is tried again, three times', async (code) => {
  expect(await triesOf(code)).toBe(4)
})

test.each(['23505', 'P2002', '57014', '53100'])('%s is not', async (code) => {
  expect(await triesOf(code)).toBe(1)
})

test('a row that is gone is not waited for where that is the answer, and a deadlock is tried again all the same', async () => {
  for (const code of ['23503', 'P2003']) expect(await triesOf(code, { mayMissReference: true })).toBe(1)
  expect(await triesOf('40P01', { mayMissReference: true })).toBe(4)
})

test('what succeeds at the second try is a success', async () => {
  const outcomes = [Promise.reject(failed('23503')), Promise.resolve('written')]
  expect(await retryConflicts(() => outcomes.shift()!)).toBe('written')
})
