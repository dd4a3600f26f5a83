/** The systems that Valija is compared with, each by one run: started anew, warmed up, measured, checked and ended. */
import { freePort } from '../tests/support/ports.ts'
import { noFigures, type Phase } from './phase.ts'
import { type Program, startProgram } from './program.ts'
import { acceptedPerS, measure, post, type Stage, wholeTally } from './stage.ts'

/** A bare route: what accepting is compared with. */
export async function runBareFastify(stage: Stage): Promise<Phase> {
  const port = await freePort()
  const server = startProgram('bare-fastify.ts', [`${port}`])
  try {
    await server.ask('ready')
    const target = { port, apiKeys: [], first: 0 }
    await post(stage, { ...target, count: stage.warmUp })
    const { result, ...used } = await measure(stage, stage.mails, { fastify: [server.pid] }, () =>
      post(stage, { ...target, count: stage.mails }),
    )
    const { answer } = result
    return { ...noFigures, ...used, mails: stage.mails, acceptedPerS: acceptedPerS(result), answer }
  } finally {
    await server.end()
  }
}

export interface NodemailerVariant {
  /** By nodemailer, RSA-2048. */
  isSigned: boolean
  processes: number
}

/** nodemailer's pool in a script: what the whole way is compared with. */
export async function runNodemailerPool(stage: Stage, variant: NodemailerVariant): Promise<Phase> {
  const args = [`${stage.sinkPort}`, ...(variant.isSigned ? ['dkim'] : [])]
  const scripts = Array.from({ length: variant.processes }, () => startProgram('nodemailer-pool.ts', args))
  try {
    const send = async (first: number, count: number) => {
      await stage.sink.ask('expect', { first, count })
      const startedAtMs = await sendShares(scripts, stage, first, count)
      return { startedAtMs, tally: await wholeTally(stage, count) }
    }
    await send(0, stage.warmUp)
    const watched = { nodemailer: scripts.map(({ pid }) => pid) }
    const { result, ...used } = await measure(stage, stage.mails, watched, () =>
      send(stage.warmUp, stage.mails),
    )
    const deliveredPerS = (stage.mails * 1000) / (result.tally.lastAtMs - result.startedAtMs)
    return { ...noFigures, ...used, mails: stage.mails, deliveredPerS }
  } finally {
    await Promise.all(scripts.map((script) => script.end()))
  }
}

/** Each script has as many as the others. @returns when the first began */
async function sendShares(
  scripts: Program[],
  { shape }: Stage,
  first: number,
  count: number,
): Promise<number> {
  const bounds = Array.from({ length: scripts.length + 1 }, (_, index) =>
    Math.round((count * index) / scripts.length),
  )
  const begun = await Promise.all(
    scripts.map((script, index) => {
      const [from = 0, to = 0] = bounds.slice(index)
      return script.ask<{ startedAtMs: number }>('send', { shape, first: first + from, count: to - from })
    }),
  )
  return Math.min(...begun.map(({ startedAtMs }) => startedAtMs))
}
