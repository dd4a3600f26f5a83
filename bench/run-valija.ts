/** Valija's run: the whole way in a closed loop, an open load at half of what that gave, then accepting and delivering alone. */
import { noFigures, type Phase, VoidRun } from './phase.ts'
import { quantiles } from './quantiles.ts'
import { acceptedPerS, measure, post, type Stage, untilRecorded, wholeTally } from './stage.ts'
import { readStorage, storageBetween } from './storage.ts'
import { type Installation, install, type QueueBackend, type Signing } from './valija.ts'

export interface ValijaVariant {
  queue: QueueBackend
  signing: Signing
  workers: number
  /** The name server for delivery to the recipients' exchangers; absent: the sink is a smarthost. */
  dnsServer?: string
  /** Conversations that a worker has at most; as delivered when absent. */
  conversations?: number
}

export interface ValijaRun {
  /** From the first request to the last recorded event. */
  whole: Phase
  /** As many requests per second as half of what `whole` delivered: what a mail takes when there is room. */
  open?: Phase
  /** API alone, the workers stopped: what accepting costs by itself. */
  accept?: Phase
  /** The workers alone, with what was accepted before they started: a backlog. */
  backlog?: Phase
}

export type OptionalPhase = 'open' | 'alone'

export async function runValija(
  stage: Stage,
  variant: ValijaVariant,
  phases: ReadonlySet<OptionalPhase>,
  profileFolder: string | null = null,
): Promise<ValijaRun> {
  const installation = await install({
    ...variant,
    sinkPort: stage.sinkPort,
    tenants: stage.shape.tenants,
    profileFolder,
    settings: stage.settings,
  })
  try {
    await installation.startWorkers(variant.workers)
    await runWhole(stage, installation, 0, stage.warmUp)
    let sent = stage.warmUp
    const next = (count: number) => {
      sent += count
      return sent - count
    }
    const whole = await runWhole(stage, installation, next(stage.mails), stage.mails)
    const run: ValijaRun = { whole }
    if (phases.has('open')) {
      const count = Math.ceil(stage.mails / 2)
      run.open = await runOpen(stage, installation, next(count), count, (whole.deliveredPerS ?? 0) / 2)
    }
    if (phases.has('alone')) {
      await installation.stopWorkers()
      const first = next(stage.mails)
      run.accept = await runAccept(stage, installation, first)
      run.backlog = await runBacklog(stage, installation, first, variant.workers)
    }
    await assertRecorded(installation, sent)
    await stage.inspect?.(installation)
    return run
  } finally {
    await installation.remove()
  }
}

async function runWhole(
  stage: Stage,
  installation: Installation,
  first: number,
  count: number,
): Promise<Phase> {
  await stage.sink.ask('expect', { first, count })
  const before = await readStorage(installation)
  const connectionsBefore = await stage.sink.ask<number>('connections')
  const { result, ...used } = await measure(stage, count, installation.processes(), async () => {
    const load = await post(stage, { ...installation, first, count })
    await wholeTally(stage, count)
    return { load, recordedAtMs: await allRecorded(installation) }
  })
  const { load, recordedAtMs } = result
  return {
    ...noFigures,
    ...used,
    mails: count,
    acceptedPerS: acceptedPerS(load),
    deliveredPerS: (count * 1000) / (recordedAtMs - load.startedAtMs),
    answer: load.answer,
    bytesPerMail: storageBetween(before, await readStorage(installation), count),
    connectionsPerMail: ((await stage.sink.ask<number>('connections')) - connectionsBefore) / count,
  }
}

async function runOpen(
  stage: Stage,
  installation: Installation,
  first: number,
  count: number,
  perS: number,
): Promise<Phase> {
  await stage.sink.ask('expect', { first, count })
  const { result, ...used } = await measure(stage, count, installation.processes(), async () => {
    const load = await post(stage, { ...installation, first, count, perS })
    await wholeTally(stage, count)
    return load
  })
  const arrivals = await stage.sink.ask<Float64Array>('arrivals')
  await allRecorded(installation)
  return {
    ...noFigures,
    ...used,
    mails: count,
    acceptedPerS: acceptedPerS(result),
    answer: result.answer,
    handOff: quantiles(arrivals.map((atMs, index) => atMs - (result.answeredAtMs[index] ?? 0))),
  }
}

async function runAccept(stage: Stage, installation: Installation, first: number): Promise<Phase> {
  const count = stage.mails
  await stage.sink.ask('expect', { first, count })
  const redisBefore = await installation.redisBytes()
  const { result, ...used } = await measure(stage, count, installation.processes(), () =>
    post(stage, { ...installation, first, count }),
  )
  const redisAfter = await installation.redisBytes()
  const inRedis: Record<string, number> = {}
  if (redisBefore !== null && redisAfter !== null) {
    inRedis['Redis, while it waits'] = (redisAfter - redisBefore) / count
  }
  return {
    ...noFigures,
    ...used,
    mails: count,
    acceptedPerS: acceptedPerS(result),
    answer: result.answer,
    bytesPerMail: inRedis,
  }
}

async function runBacklog(
  stage: Stage,
  installation: Installation,
  first: number,
  workers: number,
): Promise<Phase> {
  const count = stage.mails
  await stage.sink.ask('expect', { first, count })
  await installation.startWorkers(workers)
  // From the first mail on: how long a worker takes to start is not the question here.
  const beganAtMs = await stage.sink.ask<number>('some', { count: 1 })
  const { result, ...used } = await measure(stage, count, installation.processes(), async () => {
    await wholeTally(stage, count)
    return allRecorded(installation)
  })
  return { ...noFigures, ...used, mails: count, deliveredPerS: (count * 1000) / (result - beganAtMs) }
}

/**
 * @param isApart in SQL, of a delivery: it is not waited for
 * @returns when the last result was committed, by the monotonic clock
 */
export const allRecorded = (installation: Installation, isApart = 'false') =>
  untilRecorded(async () => {
    const [row] = await installation.query<{ isDone: boolean }>(
      `SELECT NOT EXISTS (SELECT FROM valija.deliveries WHERE NOT ${isApart}) AS "isDone"`,
    )
    return row?.isDone ?? false
  })

/** What the installation says of itself must be what the sink saw. */
export async function assertRecorded(installation: Installation, count: number): Promise<void> {
  const [row] = await installation.query<{ delivered: number; events: number; attempts: number }>(
    `SELECT (SELECT count(*) FROM valija.recipients WHERE status = 'delivered' AND attempts = 1)::int AS delivered,
       (SELECT count(*) FROM valija.events WHERE type = 'message.delivered')::int AS events,
       (SELECT count(*) FROM valija.attempts)::int AS attempts`,
  )
  const isRight = row?.delivered === count && row.events === count && row.attempts === count
  if (!isRight) throw new VoidRun(`${count} mails were sent, and recorded are ${JSON.stringify(row)}`)
}
