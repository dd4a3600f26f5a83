import { expect, test } from 'vitest'
import { faultNames, readOptions } from './options.ts'

test('all faults unless told which, and none when told so', () => {
  expect([...readOptions([]).faults]).toEqual([...faultNames])
  expect([...readOptions(['--faults', 'api,sink']).faults]).toEqual(['api', 'sink'])
  expect(readOptions(['--faults', 'none']).faults.size).toBe(0)
})

test.each([
  [['--faults', 'fire'], /there is no fire/],
  [['--walk', '--faults', 'api'], /--walk needs the fault points/],
  [['--concurrency', '0'], /--concurrency is a number of at least 1/],
  [['--without', 'sense'], /no guard sense/],
])('%j is refused', (args, why) => {
  expect(() => readOptions(args)).toThrow(why)
})
