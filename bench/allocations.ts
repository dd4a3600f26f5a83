/**
 * Runs first in a process that is profiled: samples what it allocates, and leaves that as a `.heapprofile` when it ends. Node's own
 * `--heap-prof` would show only what is still held at the end, and what a collection costs is what was thrown away until then.
 *
 *   BENCH_ALLOCATIONS=<file> node --import ./bench/allocations.ts …      (started by valija.ts)
 */
import { writeFileSync } from 'node:fs'
import { Session } from 'node:inspector'
import { isMainThread } from 'node:worker_threads'

const file = process.env.BENCH_ALLOCATIONS
if (file !== undefined && isMainThread) {
  const session = new Session()
  session.connect()
  session.post('HeapProfiler.startSampling', {
    includeObjectsCollectedByMajorGC: true,
    includeObjectsCollectedByMinorGC: true,
  })
  process.once('exit', () => {
    session.post('HeapProfiler.stopSampling', (error, result) => {
      if (error === null) writeFileSync(file, JSON.stringify(result.profile))
    })
  })
}
