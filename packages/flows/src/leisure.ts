/** Work that nobody waits for leaves the machine to the mail: after each piece of it comes a rest, some times as long as the piece took. */
import { pauseUnless } from './pause.ts'

/** No rest is longer, in milliseconds: a piece that took so long was most likely stopped itself, with its process or by a lock. */
const longestMs = 30_000

/** The rest after a piece of work, in milliseconds. */
export function restAfter(tookMs: number, factor: number): number {
  return Math.min(longestMs, tookMs * factor)
}

/** Does a piece of work and rests, unless somebody says stop. */
export async function leisurely<T>(work: () => Promise<T>, factor: number, stop: AbortSignal): Promise<T> {
  const startedAtMs = performance.now()
  const result = await work()
  await pauseUnless(stop, restAfter(performance.now() - startedAtMs, factor))
  return result
}
