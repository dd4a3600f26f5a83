/**
 * What this process holds of memory, without what is garbage: test files share a process, so when garbage goes depends on
 * what ran there before, and no bound on it would mean anything.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

let collectGarbage: (() => void) | undefined

/** Octets in use in V8's heap and in buffers outside of it. Collects the garbage first: some 50 ms of the processor each time. */
export function liveMemory(): number {
  if (!collectGarbage) {
    setFlagsFromString('--expose-gc')
    collectGarbage = runInNewContext('gc') as () => void
  }
  // What is outside of the heap is let go beside the first collection, and counted at the second.
  collectGarbage()
  collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}
