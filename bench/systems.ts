/**
 * The systems that are measured, each by one run: started anew, warmed up, measured, checked and ended. A run whose mails did not
 * all arrive exactly once throws `VoidRun`.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { freePort } from '../tests/support/ports.ts'
import type { LoadInput, LoadResult } from './load.ts'
import { type Cpu, cpuBetween, readCpu, type Watched } from './measure.ts'
import { monotonicMs, type Program, startProgram } from './program.ts'
import type { Tally } from './sink.ts'
import { type Installation, install, type QueueBackend } from './valija.ts'

/** What is used in every run. */
export interface Stage {
  sink: Program
  sinkPort: number
  load: Program
  mails: number
  /** Mails before the measurement, so that code is compiled, statements are prepared and connections open. */
  warmUp: number
  /** Connections of the load. */
  connections: number
  /** PostgreSQL settings of Valija's installations over the defaults; none: as delivered. */
  settings: Record<string, string>
}

/** What came of one phase of a run. Rates per second, CPU in ms for each mail. */
export interface Phase {
  acceptedPerS: number | null
  deliveredPerS: number | null
  answerP50Ms: number | null
  answerP99Ms: number | null
  cpuMsPerMail: Cpu
}

/** The figures of this run mean nothing. */
export class VoidRun extends Error {
  override name = 'VoidRun'
}

/** A mail takes at most this long in the whole, or the run is void. */
const patienceMs = 300_000

export async function openStage(options: {
  mails: number
  warmUp: number
  connections: number
  settings: Record<string, string>
}): Promise<Stage & { close(): Promise<void> }> {
  const sinkPort = await freePort()
  const sink = startProgram('sink.ts', [`${sinkPort}`])
  const load = startProgram('load.ts')
  await sink.ask('ready')
  const close = async () => void (await Promise.all([sink.end(), load.end()]))
  return { ...options, sink, sinkPort, load, close }
}

/** A bare route: what accepting is compared with. */
export async function runBareFastify(stage: Stage): Promise<Phase> {
  const port = await freePort()
  const server = startProgram('bare-fastify.ts', [`${port}`])
  try {
    await server.ask('ready')
    const target = { port, apiKey: null, connections: stage.connections }
    await post(stage, { ...target, first: 0, count: stage.warmUp })
    const measured = await measure(stage, { fastify: server.pid }, () =>
      post(stage, { ...target, first: 0, count: stage.mails }),
    )
    return { ...answers(stage, measured.result), deliveredPerS: null, cpuMsPerMail: measured.cpuMsPerMail }
  } finally {
    await server.end()
  }
}

/** nodemailer's pool in a script: what the whole way is compared with. */
export async function runNodemailerPool(stage: Stage): Promise<Phase> {
  const script = startProgram('nodemailer-pool.ts', [`${stage.sinkPort}`])
  try {
    const send = async (first: number, count: number) => {
      await stage.sink.ask('expect', { first, count })
      const { startedAtMs } = await script.ask<{ startedAtMs: number }>('send', { first, count })
      return { startedAtMs, tally: await wholeTally(stage, count) }
    }
    await send(0, stage.warmUp)
    const measured = await measure(stage, { nodemailer: script.pid }, () => send(stage.warmUp, stage.mails))
    const { startedAtMs, tally } = measured.result
    return {
      acceptedPerS: null,
      deliveredPerS: (stage.mails * 1000) / (tally.lastAtMs - startedAtMs),
      answerP50Ms: null,
      answerP99Ms: null,
      cpuMsPerMail: measured.cpuMsPerMail,
    }
  } finally {
    await script.end()
  }
}

export interface ValijaRun {
  /** API alone, the worker stopped: what accepting costs by itself. */
  accept: Phase
  /** The worker alone, with what was accepted before it started: a backlog. */
  backlog: Phase
  /** Both at once, from the first request to the last recorded event. */
  whole: Phase
}

export async function runValija(
  stage: Stage,
  queue: QueueBackend,
  profileFolder: string | null = null,
  inspect: (installation: Installation) => Promise<void> = async () => {},
): Promise<ValijaRun> {
  const installation = await install({
    queue,
    sinkPort: stage.sinkPort,
    profileFolder,
    settings: stage.settings,
  })
  try {
    await installation.startWorker()
    await runWhole(stage, installation, 0, stage.warmUp)
    const whole = await runWhole(stage, installation, stage.warmUp, stage.mails)
    await installation.stopWorker()
    const accept = await runAccept(stage, installation, stage.warmUp + stage.mails)
    const backlog = await runBacklog(stage, installation, stage.warmUp + stage.mails)
    await assertRecorded(installation, stage.warmUp + 2 * stage.mails)
    await inspect(installation)
    return { accept, backlog, whole }
  } finally {
    await installation.remove()
  }
}

async function runWhole(stage: Stage, installation: Installation, first: number, count: number) {
  await stage.sink.ask('expect', { first, count })
  const { port, apiKey } = installation
  const measured = await measure(stage, installation.processes(), async () => {
    const result = await post(stage, { port, apiKey, first, count, connections: stage.connections })
    await wholeTally(stage, count)
    return { result, recordedAtMs: await allRecorded(installation) }
  })
  const { result, recordedAtMs } = measured.result
  return {
    ...answers(stage, result),
    deliveredPerS: (count * 1000) / (recordedAtMs - result.startedAtMs),
    cpuMsPerMail: measured.cpuMsPerMail,
  }
}

async function runAccept(stage: Stage, installation: Installation, first: number): Promise<Phase> {
  await stage.sink.ask('expect', { first, count: stage.mails })
  const { port, apiKey } = installation
  const input = { port, apiKey, first, count: stage.mails, connections: stage.connections }
  const measured = await measure(stage, installation.processes(), () => post(stage, input))
  return { ...answers(stage, measured.result), deliveredPerS: null, cpuMsPerMail: measured.cpuMsPerMail }
}

async function runBacklog(stage: Stage, installation: Installation, first: number): Promise<Phase> {
  await stage.sink.ask('expect', { first, count: stage.mails })
  const startedAtMs = monotonicMs()
  await installation.startWorker()
  // From the first mail on: how long a worker takes to start is not the question here.
  await stage.sink.ask('any')
  const beganAtMs = monotonicMs()
  const measured = await measure(stage, installation.processes(), async () => {
    await wholeTally(stage, stage.mails)
    return allRecorded(installation)
  })
  return {
    acceptedPerS: null,
    deliveredPerS: (stage.mails * 1000) / (measured.result - Math.max(startedAtMs, beganAtMs)),
    answerP50Ms: null,
    answerP99Ms: null,
    cpuMsPerMail: measured.cpuMsPerMail,
  }
}

/** Runs and tells what the processes, the load and the sink used meanwhile. */
async function measure<T>(
  stage: Stage,
  processes: Watched,
  run: () => Promise<T>,
): Promise<{ result: T; cpuMsPerMail: Cpu }> {
  const watched = { ...processes, load: stage.load.pid, sink: stage.sink.pid }
  const before = readCpu(watched)
  const result = await run()
  const used = cpuBetween(before, readCpu(watched))
  const perMail = Object.entries(used).map(([name, ms]) => [name, ms / stage.mails])
  return { result, cpuMsPerMail: Object.fromEntries(perMail) }
}

async function post(stage: Stage, input: LoadInput): Promise<LoadResult> {
  const result = await stage.load.ask<LoadResult>('post', input)
  if (result.statuses['202'] !== input.count) {
    throw new VoidRun(`not every request was answered 202: ${JSON.stringify(result.statuses)}`)
  }
  return result
}

function answers(stage: Stage, { startedAtMs, endedAtMs, p50Ms, p99Ms }: LoadResult) {
  return {
    acceptedPerS: (stage.mails * 1000) / (endedAtMs - startedAtMs),
    answerP50Ms: p50Ms,
    answerP99Ms: p99Ms,
  }
}

/** Waits until the sink has every mail; each must have come once, and nothing else. */
async function wholeTally({ sink }: Stage, count: number): Promise<Tally> {
  const limit = new AbortController()
  const late = delay(patienceMs, null, { signal: limit.signal }).catch(() => null)
  const complete = await Promise.race([sink.ask<Tally>('complete'), late])
  limit.abort()
  const tally = await sink.ask<Tally>('tally')
  if (complete === null || tally.distinct !== count || tally.doubled > 0 || tally.foreign > 0) {
    throw new VoidRun(`the sink has not each of ${count} mails once: ${JSON.stringify(tally)}`)
  }
  return tally
}

/** @returns when the last result was committed, by the monotonic clock */
async function allRecorded(installation: Installation): Promise<number> {
  const deadline = performance.now() + patienceMs
  for (;;) {
    const [row] = await installation.query<{ isDone: boolean }>(
      'SELECT NOT EXISTS (SELECT FROM valija.deliveries) AS "isDone"',
    )
    if (row?.isDone) return monotonicMs()
    if (performance.now() > deadline) throw new VoidRun('not every mail is recorded as delivered')
    await delay(5)
  }
}

/** What the installation says of itself must be what the sink saw. */
async function assertRecorded(installation: Installation, count: number): Promise<void> {
  const [row] = await installation.query<{ delivered: number; events: number; attempts: number }>(
    `SELECT (SELECT count(*) FROM valija.recipients WHERE status = 'delivered' AND attempts = 1)::int AS delivered,
       (SELECT count(*) FROM valija.events WHERE type = 'message.delivered')::int AS events,
       (SELECT count(*) FROM valija.attempts)::int AS attempts`,
  )
  const isRight = row?.delivered === count && row.events === count && row.attempts === count
  if (!isRight) throw new VoidRun(`${count} mails were sent, and recorded are ${JSON.stringify(row)}`)
}
