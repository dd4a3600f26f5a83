import { describe, expect, test } from 'vitest'
import { examineDisks, judgeDisk } from './disk.ts'

const gibibyte = 2 ** 30
const disk = { freeBytes: 50 * gibibyte, totalBytes: 100 * gibibyte, freeFiles: 1_000_000 }

describe('a disk', () => {
  test.each([
    [{}, 'ok', null],
    [{ freeFiles: null }, 'ok', null],
    [{ freeBytes: gibibyte - 1 }, 'failed', /VALIJA_RETENTION_CONTENT/],
    [{ freeBytes: 4 * gibibyte, totalBytes: 8 * gibibyte }, 'warning', /Make room/],
    [{ freeBytes: 40 * gibibyte, totalBytes: 1_000 * gibibyte }, 'warning', /Make room/],
    [{ freeFiles: 100 }, 'warning', /inodes/],
  ] as const)('%j', (over, status, fix) => {
    expect(judgeDisk('/var/lib', { ...disk, ...over })).toMatchObject({
      name: 'disk',
      subject: '/var/lib',
      status,
      fix: fix === null ? null : expect.stringMatching(fix),
    })
  })
})

test('real folders are measured; one that is not there is told and no fault', async () => {
  const checks = await examineDisks([import.meta.dirname, '/nowhere/at/all'])
  expect(checks[0]).toMatchObject({
    subject: import.meta.dirname,
    detail: expect.stringContaining('are free'),
  })
  expect(checks[1]).toMatchObject({ status: 'skipped', detail: expect.stringContaining('ENOENT') })
  expect(await examineDisks([])).toMatchObject([{ status: 'skipped' }])
})

test('two folders of one disk are one', async () => {
  const checks = await examineDisks([import.meta.dirname, `${import.meta.dirname}/..`])
  expect(checks.map(({ subject }) => subject)).toEqual([import.meta.dirname])
})
