/**
 * The thread of watchdog.ts: the entry file of a thread, so importing it has an effect. Plain JavaScript, because a thread that has to
 * strip types takes 20 MB of memory, and this one 9.
 */
import { write } from 'node:fs'
import { workerData } from 'node:worker_threads'

/** @type {import('./watchdog.ts').WatchedLoop} */
const { name, limit, signal, beats } = workerData
const lookEveryMs = 1_000
/** A standard output that takes nothing, which may be what the loop stands at, keeps the end from nobody. */
const writtenWithinMs = 500

let last = -1
let standing = 0

setInterval(() => {
  const seen = Atomics.load(beats, 0)
  standing = seen === last ? standing + 1 : 0
  last = seen
  if (standing < limit) return
  const msg = `the event loop has stood still for ${standing} s: ending the process`
  const time = new Date().toISOString()
  // The logger is in the loop that stands still. The first signal tells whoever waits for the process why it ended.
  const by = standing === limit ? signal : 'SIGKILL'
  const end = () => process.kill(process.pid, by)
  write(1, `${JSON.stringify({ level: 'fatal', time, name, pid: process.pid, msg })}\n`, end)
  setTimeout(end, writtenWithinMs)
}, lookEveryMs)
