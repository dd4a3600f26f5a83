/**
 * One mail at a time on an idle installation: how long a one-time code takes when nothing else is going on. Between two mails
 * there is a pause, so each meets a system at rest.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { LoadResult } from './load.ts'
import type { Stage } from './systems.ts'
import { install, type QueueBackend } from './valija.ts'

export interface Singles {
  /** From the 202's arrival to the sink's reply to the final dot, in milliseconds. */
  handOff: { p50Ms: number; p99Ms: number; maxMs: number }
  /** From the request to the 202, in milliseconds. */
  answer: { p50Ms: number; p99Ms: number; maxMs: number }
}

const pauseMs = 100
/** Connections, statements and compiled code must be there already, as in a system that has run for a while. */
const warmUp = 200

export async function runSingles(stage: Stage, queue: QueueBackend, count: number): Promise<Singles> {
  const installation = await install({ queue, sinkPort: stage.sinkPort, profileFolder: null })
  const { port, apiKey } = installation
  const handOffs: number[] = []
  const answers: number[] = []
  try {
    await installation.startWorker()
    await stage.sink.ask('expect', { first: 0, count: warmUp + count })
    for (let number = 0; number < warmUp + count; number++) {
      const input = { port, apiKey, first: number, count: 1, connections: 1 }
      const { startedAtMs, endedAtMs } = await stage.load.ask<LoadResult>('post', input)
      const arrivedAtMs = await stage.sink.ask<number>('arrival', { number })
      if (number < warmUp) continue
      handOffs.push(arrivedAtMs - endedAtMs)
      answers.push(endedAtMs - startedAtMs)
      await delay(pauseMs)
    }
  } finally {
    await installation.remove()
  }
  return { handOff: quantiles(handOffs), answer: quantiles(answers) }
}

function quantiles(values: number[]): { p50Ms: number; p99Ms: number; maxMs: number } {
  const sorted = values.sort((a, b) => a - b)
  // Nearest rank: of 100 values p99 is the second largest.
  const at = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0
  return { p50Ms: at(0.5), p99Ms: at(0.99), maxMs: sorted.at(-1) ?? 0 }
}
