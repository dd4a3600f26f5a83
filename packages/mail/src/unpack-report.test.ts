import { deflateRawSync, gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { zip } from '../../../tests/support/domain-reports.ts'
import { createUnpackBudget, defaultUnpackLimits, UnpackFault, unpackReport } from './unpack-report.ts'

/** Reads all that comes out. Gives how many octets, and why it ended early. */
async function drain(content: Buffer, budget = createUnpackBudget()) {
  let bytes = 0
  try {
    for await (const file of unpackReport(content, budget)) {
      for await (const piece of file) {
        bytes += piece.length
        expect(piece.length).toBeLessThanOrEqual(2 ** 16)
      }
    }
    return { bytes, fault: null }
  } catch (error) {
    if (!(error instanceof UnpackFault)) throw error
    return { bytes, fault: error.message }
  }
}

const zeros = Buffer.alloc(32 * 2 ** 20)
const { ratioFreeBytes } = defaultUnpackLimits

describe('a bomb', () => {
  const deflated = { packed: deflateRawSync(zeros), size: zeros.length, crc: 0 }
  test.each([
    ['in gzip', () => gzipSync(zeros)],
    ['in gzip, twice', () => gzipSync(gzipSync(zeros))],
    ['in zip', () => zip([deflated])],
    ['in gzip in zip', () => zip([gzipSync(zeros)])],
  ])('%s ends when it is 400 times as long as it came, and not before 4 MiB', async (_, make) => {
    const { bytes, fault } = await drain(make())
    expect(fault).toBe('It unpacks to more than 400 times its size.')
    expect(bytes).toBeGreaterThan(ratioFreeBytes - 2 ** 17)
    expect(bytes).toBeLessThan(zeros.length / 2)
  })

  test('that says that it is small is not read beyond that', async () => {
    const { bytes, fault } = await drain(zip([{ ...deflated, size: 1_000 }]))
    expect(fault).toMatch(/cannot be unpacked/)
    expect(bytes).toBeLessThanOrEqual(2 ** 16)
  })

  test('in many files has one measure for all', async () => {
    // Poorly packed, so that only the sum tells.
    const noise = Buffer.alloc(3 * 2 ** 20, 'The quick brown fox jumps over the lazy dog. ')
    const budget = createUnpackBudget()
    const results = []
    for (let i = 0; i < 8; i += 1) results.push(await drain(gzipSync(noise, { level: 0 }), budget))
    expect(results.slice(0, 2)).toEqual([0, 1].map(() => ({ bytes: noise.length, fault: null })))
    expect(results.at(-1)).toEqual({
      bytes: 0,
      fault: `It is longer than ${defaultUnpackLimits.bytes} octets when unpacked.`,
    })
    const total = results.reduce((sum, { bytes }) => sum + bytes, 0)
    expect(total).toBeLessThanOrEqual(defaultUnpackLimits.bytes)
  })
})

test('what is 100 times as long as it came is unpacked whole: reports of busy days are', async () => {
  const record = (i: number) =>
    `<record><row><source_ip>10.0.${i >> 8}.${i & 255}</source_ip><count>1</count></row></record>`
  const xml = Buffer.from(Array.from({ length: 60_000 }, (_, i) => record(i % 20_000)).join(''))
  expect(await drain(gzipSync(xml))).toEqual({ bytes: xml.length, fault: null })
})

test('a file that is left early frees what it held, and the next one is read', async () => {
  const seen: string[] = []
  for await (const file of unpackReport(
    zip([Buffer.from('first'), Buffer.from('second')]),
    createUnpackBudget(),
  )) {
    for await (const piece of file) {
      seen.push(piece.toString())
      break
    }
  }
  expect(seen).toEqual(['first', 'second'])
})
