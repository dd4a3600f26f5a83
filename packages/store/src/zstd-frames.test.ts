import { PassThrough } from 'node:stream'
import {
  constants,
  createZstdCompress,
  createZstdDecompress,
  zstdCompressSync,
  zstdDecompressSync,
} from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { compress, decompress, decompressText, keepContext } from './zstd-frames.ts'

/** At the bounds of a frame's ways to say its length, of what is small, and of what is read by the context that is kept. */
const lengths = [0, 1, 255, 256, 257, 9_000, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 300_000]

/** Octets that compress to different degrees, the same in every run. */
function contents(length: number): Buffer[] {
  const random = Buffer.alloc(length)
  for (let at = 0, state = 4711; at < length; at += 1) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    random[at] = state >>> 24
  }
  const text = Buffer.from(random.toString('hex').slice(0, length))
  return [Buffer.alloc(length, 'a few words, '), text, random]
}

describe('zstd frames', () => {
  test('give back what was put in, one after the other', () => {
    for (const content of lengths.flatMap(contents)) {
      const frame = compress(content)
      expect(decompress(frame).equals(content)).toBe(true)
      expect(decompressText(frame)).toBe(content.toString())
    }
  })

  test('are for others what those of Node are', () => {
    const { ZSTD_c_compressionLevel, ZSTD_c_hashLog } = constants
    for (const content of lengths.flatMap(contents)) {
      const params = {
        [ZSTD_c_compressionLevel]: 1,
        ...(content.length <= 16_384 && { [ZSTD_c_hashLog]: 12 }),
      }
      const frame = zstdCompressSync(content, { params, pledgedSrcSize: content.length })
      expect(compress(content).equals(frame)).toBe(true)
      expect(zstdDecompressSync(compress(content)).equals(content)).toBe(true)
      // Without its length, as a stream writes it.
      expect(decompress(zstdCompressSync(content)).equals(content)).toBe(true)
    }
  })

  test('stay their owner’s: the next ones do not change them', () => {
    const [first, second] = [compress(Buffer.from('first')), compress(Buffer.from('other'))]
    const content = decompress(first)
    expect(decompress(second).toString()).toBe('other')
    expect(content.toString()).toBe('first')
  })

  test('that are damaged are refused, and those after them are read', () => {
    const [good, bad] = [Buffer.from('good '.repeat(100)), Buffer.from('It was a mail once. '.repeat(400))]
    const goodFrame = compress(good)
    const frame = compress(bad)
    for (let length = 0; length < frame.length; length += 1) {
      expect(() => decompress(frame.subarray(0, length))).toThrow()
      expect(decompress(goodFrame).equals(good)).toBe(true)
    }
    const torn = Buffer.from(frame)
    torn[0] = 0
    expect(() => decompressText(torn)).toThrow()
    expect(decompressText(goodFrame)).toBe(good.toString())
  })
})

describe('a context that is kept', () => {
  test('works with this version of Node', () => {
    const [pack, unpack] = [
      keepContext(() => createZstdCompress()),
      keepContext(() => createZstdDecompress()),
    ]
    for (const text of ['one', 'two', 'three'])
      expect(unpack(Buffer.from(pack(Buffer.from(text))!))?.toString()).toBe(text)
  })

  test('is given up with an output of another length, and another is made', () => {
    let made = 0
    const unpack = keepContext(() => {
      made += 1
      return createZstdDecompress()
    })
    const frame = compress(Buffer.from('four'))
    expect(unpack(frame, 4)?.toString()).toBe('four')
    expect(unpack(frame, 5)).toBeNull()
    expect(unpack(frame, 4)?.toString()).toBe('four')
    expect(made).toBe(2)
  })

  test('is not looked for again where Node has none', () => {
    let made = 0
    const pack = keepContext(() => {
      made += 1
      return new PassThrough()
    })
    expect([pack(Buffer.from('a')), pack(Buffer.from('a'))]).toEqual([null, null])
    expect(made).toBe(1)
  })
})
