/**
 * One mail at a time on an idle installation: how long a one-time code takes when nothing else is going on. Between two mails
 * there is a pause, so each meets a system at rest.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { type Quantiles, quantiles } from './quantiles.ts'
import { allRecorded, assertRecorded } from './run-valija.ts'
import { onStage, post, type Stage, type StageOptions, wholeTally } from './stage.ts'
import { type Installation, install, type QueueBackend } from './valija.ts'

export interface Singles {
  /** From the 202's arrival to the sink's reply to the final dot, in milliseconds. */
  handOff: Quantiles
  /** From the request to the 202, in milliseconds. */
  answer: Quantiles
}

const pauseMs = 100
/** Connections, statements and compiled code must be there already, as in a system that has run for a while. */
const warmUp = 200

export function runSingles(base: StageOptions, queue: QueueBackend, count: number): Promise<Singles> {
  const shape = { kind: 'code', domains: 1, tenants: 1 } as const
  return onStage({ ...base, shape, connections: 1 }, async (stage) => {
    const installation = await install({ queue, sinkPort: stage.sinkPort, profileFolder: null })
    try {
      return await runEach(stage, installation, count)
    } finally {
      await installation.remove()
    }
  })
}

async function runEach(stage: Stage, installation: Installation, count: number): Promise<Singles> {
  const handOffs: number[] = []
  const answers: number[] = []
  await installation.startWorkers(1)
  await stage.sink.ask('expect', { first: 0, count: warmUp + count })
  for (let number = 0; number < warmUp + count; number++) {
    const { startedAtMs, endedAtMs } = await post(stage, { ...installation, first: number, count: 1 })
    const arrivedAtMs = await stage.sink.ask<number>('arrival', { number })
    if (number < warmUp) continue
    handOffs.push(arrivedAtMs - endedAtMs)
    answers.push(endedAtMs - startedAtMs)
    await delay(pauseMs)
  }
  await wholeTally(stage, warmUp + count)
  await allRecorded(installation)
  await assertRecorded(installation, warmUp + count)
  await stage.inspect?.(installation)
  return { handOff: quantiles(handOffs), answer: quantiles(answers) }
}
