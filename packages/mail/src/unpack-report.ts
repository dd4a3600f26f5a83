/**
 * Unpacks what a report came in: gzip, zip, or nothing at all. What it is, its first octets say; names and media types are wrong
 * too often (RFC 7489 section 7.2.1.1 wants gzip, and most of the world sends zip).
 *
 * Whoever knows a report address can send anything to it, so nothing is trusted to be small: octets are counted as they come out, at
 * every level, before anybody sees them, and no sooner than they are asked for. Nothing is held but one piece of at most 64 KB.
 */
import { type Duplex, pipeline, Readable } from 'node:stream'
import { setImmediate as othersTurn } from 'node:timers/promises'
import { createGunzip } from 'node:zlib'
import yauzl from 'yauzl'

export interface UnpackLimits {
  /** What may come out of all attachments of a mail, counted at every level. */
  bytes: number
  /** How many times as long as it came in something may be… */
  ratio: number
  /** … once more than this has come out: the report of a busy day is rather monotonous. */
  ratioFreeBytes: number
  /** Files in all archives of a mail. */
  files: number
}

/**
 * A record is some 400 octets of XML: 16 MiB hold 40,000 of them, and take 2 s to read (Node 26 on a Xeon core, 2026-11-26). A long
 * report whose records are much alike shrinks to a 100th; deflate cannot do better than 1 : 1032.
 */
export const defaultUnpackLimits: UnpackLimits = {
  bytes: 16 * 2 ** 20,
  ratio: 400,
  ratioFreeBytes: 4 * 2 ** 20,
  files: 10,
}

/** What may still be unpacked of a mail. */
export interface UnpackBudget {
  limits: UnpackLimits
  bytesLeft: number
  filesLeft: number
}

export function createUnpackBudget(limits = defaultUnpackLimits): UnpackBudget {
  return { limits, bytesLeft: limits.bytes, filesLeft: limits.files }
}

/** Why something was not unpacked; the message is for people. */
export class UnpackFault extends Error {}

/**
 * The files in an attachment, each in pieces. A file has to be read, or left, before the next one is asked for.
 *
 * @throws {UnpackFault} also while a file is read
 */
export async function* unpackReport(
  content: Buffer,
  budget: UnpackBudget,
): AsyncGenerator<AsyncIterable<Buffer>> {
  if (isZip(content)) {
    for await (const file of readZip(content, budget)) yield unpackFile(file, content.length, budget)
  } else {
    const file = isGzip(content) ? withoutLineEnd(content) : content
    yield unpackFile(count(inPieces(file), content.length, budget), content.length, budget)
  }
}

/**
 * Some mailers end every part with a line end. gzip ends with the length of what it holds (RFC 1952 section 2.3.1): these would be the
 * highest octets of 160 MB and more.
 */
function withoutLineEnd(content: Buffer): Buffer {
  let end = content.length
  while (content[end - 1] === 0x0a || content[end - 1] === 0x0d) end -= 1
  return content.subarray(0, end)
}

/** A long one is not read at one go: whatever else the process does has its turn between two pieces. */
async function* inPieces(content: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < content.length; at += pieceBytes) {
    yield content.subarray(at, at + pieceBytes)
    await othersTurn()
  }
}

const pieceBytes = 2 ** 16

/**
 * Looks into one file: gzip is unpacked, once more if gzip is in it (a server that was told to compress what was compressed). Deeper,
 * and archives in archives, is nothing that a reporter does.
 */
async function* unpackFile(
  file: AsyncIterable<Buffer>,
  packedBytes: number,
  budget: UnpackBudget,
): AsyncGenerator<Buffer> {
  const opened: AsyncIterator<Buffer>[] = []
  try {
    let pieces = file
    for (let depth = 0; ; depth += 1) {
      const iterator = pieces[Symbol.asyncIterator]()
      opened.push(iterator)
      const start = await readStart(iterator)
      if (isZip(start)) throw new UnpackFault('It is an archive in an archive.')
      const all = startAnew(start, iterator)
      if (!isGzip(start)) {
        yield* all
        return
      }
      if (depth === 2) throw new UnpackFault('It is packed more than twice.')
      pieces = count(through(all, createGunzip()), packedBytes, budget)
    }
  } finally {
    for (const iterator of opened.reverse()) await iterator.return?.()
  }
}

/** The first piece that is long enough to tell what it is, or all that there is. */
async function readStart(iterator: AsyncIterator<Buffer>): Promise<Buffer> {
  let start = Buffer.alloc(0)
  for (let isDone = false; start.length < 4 && !isDone; ) {
    const next = await iterator.next()
    if (next.done) isDone = true
    else start = Buffer.concat([start, next.value])
  }
  return start
}

async function* startAnew(start: Buffer, rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  yield start
  yield* { [Symbol.asyncIterator]: () => rest }
}

/** Counts what comes out, before it goes on. */
async function* count(
  pieces: AsyncIterable<Buffer>,
  packedBytes: number,
  budget: UnpackBudget,
): AsyncGenerator<Buffer> {
  const { limits } = budget
  let bytes = 0
  for await (const piece of pieces) {
    bytes += piece.length
    budget.bytesLeft -= piece.length
    if (budget.bytesLeft < 0) throw new UnpackFault(`It is longer than ${limits.bytes} octets when unpacked.`)
    if (bytes > limits.ratioFreeBytes && bytes > limits.ratio * packedBytes)
      throw new UnpackFault(`It unpacks to more than ${limits.ratio} times its size.`)
    yield piece
  }
}

/** The files of a zip archive, by its directory, whose names nobody needs. */
async function* readZip(content: Buffer, budget: UnpackBudget): AsyncGenerator<AsyncIterable<Buffer>> {
  const archive = await yauzl
    .fromBufferPromise(content, { lazyEntries: true, decodeStrings: false })
    .catch(asFault)
  try {
    for await (const entry of archive.eachEntry()) {
      if (entry.fileNameRaw.at(-1) === slash) continue
      budget.filesLeft -= 1
      if (budget.filesLeft < 0)
        throw new UnpackFault(`There are more than ${budget.limits.files} files in it.`)
      yield count(inflate(archive, entry), content.length, budget)
    }
  } catch (error) {
    asFault(error)
  } finally {
    archive.close()
  }
}

const slash = 0x2f

async function* inflate(archive: yauzl.ZipFile, entry: yauzl.Entry): AsyncGenerator<Buffer> {
  const stream = await archive.openReadStreamPromise(entry).catch(asFault)
  try {
    for await (const piece of stream) yield Buffer.from(piece)
  } catch (error) {
    asFault(error)
  }
}

async function* through(pieces: AsyncIterable<Buffer>, stream: Duplex): AsyncGenerator<Buffer> {
  // The pipeline's own error comes out of the stream that is read here, too.
  pipeline(Readable.from(pieces), stream, () => undefined)
  try {
    for await (const piece of stream) yield Buffer.from(piece)
  } catch (error) {
    asFault(error)
  }
}

/** RFC 1952 section 2.3.1. */
function isGzip(start: Buffer): boolean {
  return start[0] === 0x1f && start[1] === 0x8b
}

/** A local file header, or the end of a directory without files (APPNOTE.TXT, 4.3.7 and 4.3.16). */
function isZip(start: Buffer): boolean {
  return ['PK\x03\x04', 'PK\x05\x06'].includes(start.toString('latin1', 0, 4))
}

function asFault(error: unknown): never {
  if (error instanceof UnpackFault) throw error
  throw new UnpackFault(`It cannot be unpacked: ${error instanceof Error ? error.message : String(error)}.`)
}
