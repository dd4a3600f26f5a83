/**
 * Taking large mails apart in a thread: the MIME library works line by line, some 10 microseconds each, so that a usual attachment of 25 MB costs
 * four seconds of processor time, and a few megabytes of empty lines half a minute. Whoever serves others meanwhile must not do it himself.
 */
import type { Buffer } from 'node:buffer'
import { Worker } from 'node:worker_threads'
import { type MimeMail, parseMime } from './parse-mime.ts'

/** As many lines as are taken apart in place; more go to a thread, whose start costs about as much. */
const linesInPlace = 2_000
const octetsInPlace = 1024 * 1024
/** By the wall, in milliseconds: twice what the largest usual mail takes. */
const longestMs = 10_000
const resourceLimits = { maxOldGenerationSizeMb: 512 }

/** The last one that was asked for: one is taken apart at a time. */
let before: Promise<unknown> = Promise.resolve()

/** @throws what the library throws for a mail beyond its limits; Error for one that takes too long or too much memory */
export function parseMimeApart(raw: Buffer, withinMs = longestMs): Promise<MimeMail> {
  if (isSmall(raw)) return parseMime(raw)
  const parsed = before.then(() => parseInThread(raw, withinMs))
  before = parsed.catch(() => undefined)
  return parsed
}

function isSmall(raw: Buffer): boolean {
  if (raw.length > octetsInPlace) return false
  let lines = 0
  for (let at = raw.indexOf(10); at >= 0 && lines <= linesInPlace; at = raw.indexOf(10, at + 1)) lines += 1
  return lines <= linesInPlace
}

async function parseInThread(raw: Buffer, withinMs: number): Promise<MimeMail> {
  const { promise, resolve, reject } = Promise.withResolvers<MimeMail>()
  const thread = new Worker(new URL('./parse-mime-thread.ts', import.meta.url), {
    // Nothing of the process is to be seen: its environment holds secrets.
    env: {},
    execArgv: [],
    resourceLimits,
    name: 'mime',
    workerData: raw,
  })
  const timer = setTimeout(() => reject(new Error(`the mail takes over ${withinMs} ms to read`)), withinMs)
  thread.on('message', resolve)
  thread.on('error', reject)
  thread.on('exit', () => reject(new Error('the thread that reads a mail ended by itself')))
  try {
    return await promise
  } finally {
    clearTimeout(timer)
    await thread.terminate()
  }
}
