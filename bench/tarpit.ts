/**
 * A tenth of the destinations hold us up: they take a mail and never answer its final dot. What that costs the others is told by
 * the same run with all of them well. Mails to that tenth are not counted in either run; each of the others' must come once.
 */
import { startExchangers } from './exchangers.ts'
import type { LoadResult } from './load.ts'
import { recipientDomain } from './mails.ts'
import { noFigures, type Phase, VoidRun } from './phase.ts'
import { quantiles } from './quantiles.ts'
import type { Round, Turn } from './rounds.ts'
import { allRecorded } from './run-valija.ts'
import { measure, onStage, post, type Stage, type StageOptions, wholeTally } from './stage.ts'
import { type Installation, install, type QueueBackend } from './valija.ts'

const exchangers = 100
/** Of ten mails in a row the last is to one of the tenth: a mail's number is its domain's, by `exchangers`. */
const isOfTheTenth = (number: number) => number % 10 === 9
const tenth = Array.from({ length: exchangers }, (_, index) => index).filter(isOfTheTenth)
const isToTheTenth = `(domain = ANY ('{${tenth.map(recipientDomain).join()}}'))`

export const tarpitNames = {
  well: (queue: QueueBackend) => `Valija, queue in ${queue}: the 90, all 100 well`,
  silent: (queue: QueueBackend) => `Valija, queue in ${queue}: the 90, the other 10 silent`,
}

/** Both runs in one turn: that with silent ones has an open load by the rate of the other. */
export function tarpitTurns(base: StageOptions, queue: QueueBackend): Turn[] {
  const run = async (round: Round) => {
    const [well, silent] = [tarpitNames.well(queue), tarpitNames.silent(queue)]
    const first = await runOthers(base, queue, null)
    round.enter('tarpit', well, first)
    const second = await runOthers(base, queue, openRateOf(first))
    round.enter('tarpit', silent, second, { '× all well': well })
  }
  return [{ name: 'tarpit: 100 exchangers, all well, then 10 of them silent', guessS: 50, run }]
}

/** Requests per second: half of what was delivered in all. */
const openRateOf = ({ deliveredPerS }: Phase) => ((deliveredPerS ?? 0) * 10) / 9 / 2

/** @param silentPerS null: all are well; else how many requests the open load makes for each second */
async function runOthers(base: StageOptions, queue: QueueBackend, silentPerS: number | null): Promise<Phase> {
  const { hosts, dnsServer, stop } = await startExchangers(exchangers)
  const uncounted = hosts.filter((_, index) => isOfTheTenth(index))
  const sink = { ...base.sink, hosts, uncounted, areUncountedSilent: silentPerS !== null }
  const shape = { kind: 'receipt', domains: exchangers, tenants: 1 } as const
  try {
    return await onStage({ ...base, shape, sink }, async (stage) => {
      const { sinkPort, settings } = stage
      const installation = await install({ queue, sinkPort, dnsServer, settings, profileFolder: null })
      try {
        return await runPhases(stage, installation, silentPerS)
      } finally {
        // Else the worker would wait for what is held up.
        await stage.sink.ask('release')
        await installation.remove()
      }
    })
  } finally {
    await stop()
  }
}

async function runPhases(
  stage: Stage,
  installation: Installation,
  silentPerS: number | null,
): Promise<Phase> {
  const { warmUp, mails } = stage
  await installation.startWorkers(1)
  await send(stage, installation, { first: 0, count: warmUp, perS: null })
  const connectionsBefore = await stage.sink.ask<number>('connections')
  const { result, ...used } = await measure(stage, mails, installation.processes(), () =>
    send(stage, installation, { first: warmUp, count: mails, perS: null }),
  )
  const deliveredPerS = (result.others * 1000) / (result.recordedAtMs - result.load.startedAtMs)
  const connectionsPerMail = ((await stage.sink.ask<number>('connections')) - connectionsBefore) / mails
  const phase: Phase = { ...noFigures, ...used, mails, deliveredPerS, connectionsPerMail }
  const perS = silentPerS ?? openRateOf(phase)
  const open = await send(stage, installation, { first: warmUp + mails, count: mails, perS })
  await assertRecorded(installation, othersIn({ first: 0, count: warmUp + 2 * mails }))
  await stage.inspect?.(installation)
  return { ...phase, handOff: quantiles(open.handOffs) }
}

interface Range {
  first: number
  count: number
}

/** Posts, and waits until each mail to the others has come once and is recorded. */
async function send(stage: Stage, installation: Installation, range: Range & { perS: number | null }) {
  const { first, count } = range
  const others = othersIn(range)
  await stage.sink.ask('expect', { first, count, coming: others })
  const load = await post(stage, { ...installation, ...range })
  await wholeTally(stage, others)
  const recordedAtMs = await allRecorded(installation, isToTheTenth)
  const arrivals = await stage.sink.ask<Float64Array>('arrivals')
  return { load, others, recordedAtMs, handOffs: handOffsOf(load, arrivals, first) }
}

/** From the 202 to the sink's reply, of the others' mails. */
function handOffsOf({ answeredAtMs }: LoadResult, arrivals: Float64Array, first: number): number[] {
  return [...arrivals].flatMap((atMs, index) => {
    if (isOfTheTenth(first + index)) return []
    if (atMs === 0) throw new VoidRun(`mail ${first + index} did not come`)
    return [atMs - (answeredAtMs[index] ?? 0)]
  })
}

function othersIn({ first, count }: Range): number {
  return Array.from({ length: count }, (_, index) => first + index).filter((n) => !isOfTheTenth(n)).length
}

/** What the installation says of the others' mails must be what the sink saw. */
async function assertRecorded({ query }: Installation, count: number): Promise<void> {
  const [row] = await query<{ delivered: number; events: number }>(
    `SELECT count(*) FILTER (WHERE r.status = 'delivered' AND r.attempts = 1)::int AS delivered,
       (SELECT count(*) FROM valija.events AS e JOIN valija.recipients AS o ON o.message_id = e.message_id
        WHERE e.type = 'message.delivered' AND NOT o.domain = ANY ('{${tenth.map(recipientDomain).join()}}'))::int AS events
     FROM valija.recipients AS r WHERE NOT ${isToTheTenth}`,
  )
  if (row?.delivered !== count || row.events !== count) {
    throw new VoidRun(`${count} mails were sent to the others, and recorded are ${JSON.stringify(row)}`)
  }
}
