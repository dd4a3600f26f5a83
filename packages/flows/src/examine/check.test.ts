import { expect, test } from 'vitest'
import { checkOf, durationText, examined, sizeText } from './check.ts'

test('a part that gives no result in time is told as failed, and nobody waits for it', async () => {
  const checks = await examined('resolver', () => new Promise(() => undefined), 10)
  expect(checks).toMatchObject([{ name: 'resolver', status: 'failed', detail: 'no result within 0.01 s' }])
})

test('a part that throws is told as failed', async () => {
  const checks = await examined('disk', async () => {
    throw new AggregateError([new Error('what really happened')])
  })
  expect(checks).toMatchObject([{ name: 'disk', status: 'failed' }])
  expect(checks[0]?.detail).toContain('what really happened')
})

test('a part that ends keeps its results', async () => {
  const check = checkOf('disk', '/var').ok('12 GiB are free')
  expect(await examined('disk', async () => [check])).toEqual([check])
})

test('sizes and durations are short and in their unit', () => {
  expect([0, 1023, 1024, 5.5 * 2 ** 30, 200 * 2 ** 40].map(sizeText)).toEqual([
    '0 B',
    '1023 B',
    '1.0 KiB',
    '5.5 GiB',
    '200 TiB',
  ])
  expect([250, 59_600, 600_000, 7_200_000, 200_000_000].map(durationText)).toEqual([
    '250 ms',
    '60 s',
    '10 min',
    '2 h',
    '2 d',
  ])
})
