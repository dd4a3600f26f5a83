import { expect, test } from 'vitest'
import { createMishaps, Mishap, watchDisk } from './mishaps.ts'

test('the first mishap ends the run, and says what it was', async () => {
  const mishaps = createMishaps()
  mishaps.strike('PostgreSQL ended by itself')
  mishaps.strike('so did the rest')
  await expect(mishaps.struck).rejects.toEqual(new Mishap('PostgreSQL ended by itself'))
  expect(mishaps.hasStruck).toBe(true)
})

test('what ends when all is over is no mishap', () => {
  const mishaps = createMishaps()
  mishaps.ignore()
  mishaps.strike('Redis ended')
  expect(mishaps.hasStruck).toBe(false)
})

test('a disk that runs full is a mishap, one with room is none', () => {
  const told: string[] = []
  const watch = (megabytes: number) =>
    watchDisk('/data', { strike: (what) => void told.push(what) }, () => megabytes * 2 ** 20)()
  watch(100_000)
  expect(told).toEqual([])
  watch(511)
  expect(told).toEqual(['the disk of /data has 511 MB left, and a run needs 512 MB'])
})
