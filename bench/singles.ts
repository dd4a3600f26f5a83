/**
 * One mail at a time on an idle installation: how long a one-time code takes when nothing else is going on. Between two mails
 * there is a pause, so each meets a system at rest.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { type Quantiles, quantiles } from './quantiles.ts'
import { post, type Stage } from './stage.ts'
import { install, type QueueBackend } from './valija.ts'

export interface Singles {
  /** From the 202's arrival to the sink's reply to the final dot, in milliseconds. */
  handOff: Quantiles
  /** From the request to the 202, in milliseconds. */
  answer: Quantiles
}

const pauseMs = 100
/** Connections, statements and compiled code must be there already, as in a system that has run for a while. */
const warmUp = 200

export async function runSingles(stage: Stage, queue: QueueBackend, count: number): Promise<Singles> {
  const installation = await install({ queue, sinkPort: stage.sinkPort, profileFolder: null })
  const { port, apiKeys } = installation
  const single = { ...stage, connections: 1 }
  const handOffs: number[] = []
  const answers: number[] = []
  try {
    await installation.startWorkers(1)
    await stage.sink.ask('expect', { first: 0, count: warmUp + count })
    for (let number = 0; number < warmUp + count; number++) {
      const { startedAtMs, endedAtMs } = await post(single, { port, apiKeys, first: number, count: 1 })
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
