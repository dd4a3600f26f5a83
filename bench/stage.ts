/**
 * What every run has around it: the sink, the load, and how many mails of what kind. A run whose mails did not all arrive exactly
 * once throws `VoidRun`.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { freePort } from '../tests/support/ports.ts'
import type { Tally } from './ledger.ts'
import type { LoadInput, LoadResult } from './load.ts'
import { type MailShape, plainReceipt } from './mails.ts'
import { type Cpu, cpuBetween, readCpu, readMemory, type Watched } from './measure.ts'
import { VoidRun } from './phase.ts'
import { monotonicMs, type Program, startProgram } from './program.ts'
import type { SinkOptions } from './sink.ts'
import type { Installation } from './valija.ts'

export interface StageOptions {
  mails: number
  /** Mails before the measurement, so that code is compiled, statements are prepared and connections open. */
  warmUp: number
  /** Connections of the load. */
  connections: number
  /** PostgreSQL settings of Valija's installations over the defaults; none: as delivered. */
  settings: Record<string, string>
  shape?: MailShape
  sink?: Partial<SinkOptions>
  /** Looks at an installation when a run with it is over. */
  inspect?: (installation: Installation) => Promise<void>
}

export interface Stage extends Required<Omit<StageOptions, 'sink' | 'inspect'>> {
  inspect?: (installation: Installation) => Promise<void>
  sink: Program
  sinkPort: number
  load: Program
  close(): Promise<void>
}

/** A phase takes at most this long, or the run is void. */
const patienceMs = 600_000

const stopSignals = ['SIGINT', 'SIGTERM'] as const

export async function openStage(options: StageOptions): Promise<Stage> {
  const sinkPort = await freePort()
  const sinkOptions: SinkOptions = {
    hosts: ['127.0.0.1'],
    roundTripMs: 0,
    tls: false,
    pauseMs: 0,
    uncounted: [],
    areUncountedSilent: false,
    ...options.sink,
  }
  const sink = startProgram('sink.ts', [`${sinkPort}`, JSON.stringify(sinkOptions)])
  const load = startProgram('load.ts')
  const close = async () => {
    for (const signal of stopSignals) process.off(signal, end)
    await Promise.all([sink.end(), load.end()])
  }
  // Its programs end, so what waits for them fails, and on the way out everything else is stopped and removed.
  const end = () => void close()
  for (const signal of stopSignals) process.once(signal, end)
  try {
    await sink.ask('ready')
  } catch (error) {
    await close()
    throw error
  }
  return { shape: plainReceipt, ...options, sink, sinkPort, load, close }
}

/** Opens a stage for one run. */
export async function onStage<T>(options: StageOptions, run: (stage: Stage) => Promise<T>): Promise<T> {
  const stage = await openStage(options)
  try {
    return await run(stage)
  } finally {
    await stage.close()
  }
}

export interface Used<T> {
  result: T
  cpuMsPerMail: Cpu
  memoryMb: Record<string, number>
}

/** Runs and tells what the processes, the load and the sink used meanwhile, for each of so many mails. */
export async function measure<T>(
  stage: Stage,
  mails: number,
  processes: Watched,
  run: () => Promise<T>,
): Promise<Used<T>> {
  const watched = { ...processes, load: [stage.load.pid], sink: [stage.sink.pid] }
  const before = readCpu(watched)
  const result = await run()
  const used = cpuBetween(before, readCpu(watched))
  const perMail = Object.entries(used).map(([name, ms]) => [name, ms / mails])
  return { result, cpuMsPerMail: Object.fromEntries(perMail), memoryMb: readMemory(processes) }
}

export type Posting = Pick<LoadInput, 'port' | 'apiKeys' | 'first' | 'count'> & { perS?: number | null }

/** Posts mails, in a closed loop unless a rate is given; each must be answered 202. */
export async function post(
  { load, shape, connections }: Stage,
  { port, apiKeys, first, count, perS = null }: Posting,
): Promise<LoadResult> {
  const input: LoadInput = { port, apiKeys, first, count, perS, shape, connections }
  const result = await load.ask<LoadResult>('post', input)
  if (result.statuses['202'] !== input.count) {
    throw new VoidRun(`not every request was answered 202: ${JSON.stringify(result.statuses)}`)
  }
  return result
}

export const acceptedPerS = ({ startedAtMs, endedAtMs, answeredAtMs }: LoadResult): number =>
  (answeredAtMs.length * 1000) / (endedAtMs - startedAtMs)

/** Waits until the sink has every mail; each must have come once, and nothing else. */
export async function wholeTally({ sink }: Stage, count: number): Promise<Tally> {
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

/** How long what the sink has may take to be recorded. */
const recordedWithinMs = 60_000

/**
 * @param ask whether the last result is committed
 * @returns when it was, by the monotonic clock
 */
export async function untilRecorded(ask: () => Promise<boolean>): Promise<number> {
  const deadline = performance.now() + recordedWithinMs
  while (!(await ask())) {
    if (performance.now() > deadline) throw new VoidRun('not every mail is recorded as delivered')
    await delay(5)
  }
  return monotonicMs()
}
