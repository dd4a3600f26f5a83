/**
 * zstd frames (RFC 8878) of what most mails are: small, and one after the other by a context that is kept.
 *
 * node:zlib makes a context for each call of its synchronous functions, in a stream that nobody uses. Measured with a receipt of 10 KB: of 37 µs
 * to compress it 26 were for that, of 28 µs to read it again 24, and what both left to the garbage collector came on top.
 *
 * Node has no public way to keep one and to call it so. `_processChunk` is what those functions call themselves, and what npm's own tar calls on
 * streams that it keeps (minizlib). Nothing rests on it: where it is not there, or whatever is not as it should be, the synchronous functions do
 * the work, with the same octets; zstd-frames.test.ts tells when a new Node has another.
 */
import type { Transform } from 'node:stream'
import {
  constants,
  createZstdCompress,
  createZstdDecompress,
  zstdCompressSync,
  zstdDecompressSync,
} from 'node:zlib'

/** Level 1: the usual level takes a third more time, half as much again on a busy machine, for a blob that is a twentieth smaller. */
const level = { [constants.ZSTD_c_compressionLevel]: 1 }
/** Of what most mails are the table of repetitions, which is cleared for each, fits into the cache. */
const smallParams = { ...level, [constants.ZSTD_c_hashLog]: 12 }
const smallBytes = 16 * 1024
const compressKept = keepContext(() =>
  createZstdCompress({ params: smallParams, chunkSize: smallBytes + 256 }),
)
/** What is longer is read by a context of its own: the one that is kept would stay as large. */
const readableBytes = 64 * 1024
const decompressKept = keepContext(() => createZstdDecompress({ chunkSize: readableBytes }))

/** One frame, which says how long its content is. */
export function compress(content: Buffer): Buffer {
  const pledgedSrcSize = content.length
  if (content.length > smallBytes)
    return zstdCompressSync(content, { params: level, chunkSize: 64 * 1024, pledgedSrcSize })
  const frame = compressKept(content)
  return frame === null
    ? zstdCompressSync(content, { params: smallParams, chunkSize: 8 * 1024, pledgedSrcSize })
    : Buffer.from(frame)
}

/**
 * The content of one frame.
 *
 * @throws {Error} for what is damaged
 */
export function decompress(frame: Buffer): Buffer {
  const content = read(frame)
  return content === null ? zstdDecompressSync(frame) : Buffer.from(content)
}

/**
 * The same, of text in UTF-8.
 *
 * @throws {Error} for what is damaged
 */
export function decompressText(frame: Buffer): string {
  return (read(frame) ?? zstdDecompressSync(frame)).toString()
}

/** @returns octets that are valid until the next call; null for what is long, or damaged: it is told by those whose errors say how */
function read(frame: Buffer): Buffer | null {
  const length = contentLength(frame)
  if (length === null || length > readableBytes) return null
  return decompressKept(frame, length)
}

/** How long a frame says that its content is (RFC 8878 section 3.1.1.1); null when it does not. */
function contentLength(frame: Buffer): number | null {
  const longestHeader = 14
  const descriptor = frame[4] ?? 0
  // No dictionary has ever been used.
  if (frame.length < longestHeader || (descriptor & 0x03) !== 0) return null
  const isSingleSegment = (descriptor & 0x20) !== 0
  const at = isSingleSegment ? 5 : 6
  const size = descriptor >> 6
  if (size === 0) return isSingleSegment ? (frame[at] ?? null) : null
  if (size === 1) return frame.readUInt16LE(at) + 256
  return size === 2 ? frame.readUInt32LE(at) : null
}

/** A stream of node:zlib as its own synchronous functions see it: they give it a whole input, and close it. */
interface Context extends Transform {
  _handle: { close(): void } | null
  /** @throws {Error} for an input that is damaged */
  _processChunk(input: Buffer, flush: number): Buffer
}

/**
 * @param open makes a stream; none is made before it is needed
 * @returns a function that gives one input's output, valid until its next call, or null when it could not or the output is not as long as is said
 */
export function keepContext(open: () => Transform): (input: Buffer, outputLength?: number) => Buffer | null {
  let context: Context | null = null
  let isMissing = false
  const run = (input: Buffer, kept: Context): Buffer | null => {
    const { _handle } = kept
    try {
      return kept._processChunk(input, constants.ZSTD_e_end)
    } catch {
      return null
    } finally {
      // It was closed, but its handle's `close` does nothing.
      kept._handle = _handle
      if (!kept.destroyed) kept.removeAllListeners('error')
    }
  }
  return (input, outputLength) => {
    if (isMissing) return null
    context ??= asContext(open())
    isMissing = context === null
    const output = context && run(input, context)
    if (output !== null && (outputLength ?? output.length) === output.length) return output
    // It may be in the midst of a frame, and the next one is for another.
    context = null
    return null
  }
}

function asContext(stream: Transform): Context | null {
  const context = stream as Context
  if (typeof context._processChunk !== 'function' || typeof context._handle?.close !== 'function') return null
  context._handle.close = () => undefined
  return context
}
