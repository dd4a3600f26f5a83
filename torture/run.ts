/** One run: builds the world, loads it, breaks it round by round, lets it come to rest, and compares the ledgers. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { monotonicMs } from '../bench/program.ts'
import { followEvents, readMessages } from './api-ledger.ts'
import { createLoad, type Load } from './clients.ts'
import { commit } from './faults.ts'
import {
  type ClientEntry,
  type EventEntry,
  type FaultEntry,
  ledgerFiles,
  type MessageEntry,
  openLedger,
  readLedger,
  type SinkEntry,
  type WebhookEntry,
} from './ledgers.ts'
import { type Mode, makeMail, modeOf, modes } from './mails.ts'
import { createMishaps, type Mishaps } from './mishaps.ts'
import type { Options } from './options.ts'
import { isSteady, type PlannedFault, planFaults } from './plan.ts'
import type { PointTally } from './point-tally.ts'
import { createRandom } from './random.ts'
import { type BacklogSample, measureRecovery, type Recovery } from './recovery.ts'
import { type AtRest, untilAllIsShown, untilAtRest, watchBacklog } from './rest.ts'
import { createTargets, prepare, type Targets } from './targets.ts'
import { judge, type Verdict } from './verdict.ts'
import { buildWorld, repository, type World } from './world.ts'

export interface Result {
  options: Options
  verdict: Verdict
  points: PointTally
  recovery: Recovery
  /** What was done, by kind: `kill api` → 57. */
  faults: Record<string, number>
  drains: AtRest[]
  /** Fewer than asked for when it was ended before. */
  rounds: number
  durationS: number
  folder: string
}

/** A round goes on until as much was accepted as in so many seconds without a fault, unless nothing is for so long. */
const acceptedSeconds = 2
const longestStandMs = 60_000

type Say = (line: string) => void

/** Load without faults at the beginning: shows which crash points are passed at all. */
const warmUpMs = 4_000

/**
 * @param isOver true ends it after the round, with a verdict on what there is
 * @throws {Mishap} when something ended that nobody broke; everything is stopped by then
 */
export async function run(options: Options, say: Say, isOver: () => boolean): Promise<Result> {
  const startedMs = monotonicMs()
  const folder = options.folder ?? mkdtempSync(path.join(os.tmpdir(), 'valija-torture-'))
  mkdirSync(folder, { recursive: true, mode: 0o711 })
  say(`seed ${options.seed}, ledgers and logs in ${folder}`)
  const mishaps = createMishaps()
  const places = { root: repository, folder }
  const targets = createTargets(options, prepare(options, places), places)
  const world = await buildWorld({ options, folder, targets, mishaps })
  const ledger = openLedger<ClientEntry>(path.join(folder, ledgerFiles.clients))
  const mails = { seed: options.seed, isSinkMoody: options.faults.has('sink'), drips: pickDrips(options) }
  const load = createLoad({ ...options, ...world, makeMail: (number) => makeMail(mails, number), ledger })
  const backlog = watchBacklog(world.postgres.url)
  const playing = play({ options, world, targets, load, say, isOver, mishaps }, folder, backlog.samples)
  // After a mishap nobody asks any more what became of it.
  playing.catch(() => undefined)
  try {
    const played = await Promise.race([playing, mishaps.struck])
    return { ...played, durationS: (monotonicMs() - startedMs) / 1000 }
  } finally {
    load.stop()
    await backlog.stop()
    await world.stop()
  }
}

/** Breaks, drains, stops and judges. */
async function play(
  stage: Stage,
  folder: string,
  backlog: BacklogSample[],
): Promise<Omit<Result, 'durationS'>> {
  const { options, world, targets, load } = stage
  const api = openLedger<EventEntry | MessageEntry>(path.join(folder, ledgerFiles.api))
  const followers = modes.map((mode) => followEvents(world.urls, world.apiKeys[mode], api))
  const { drains, rounds } = await breakAndDrain(stage)
  await untilAllIsShown(world)
  await Promise.all(followers.map((events) => events.finish()))
  await readAll(world, folder, api)
  const left = await world.stopApps()
  await Promise.all([world.sink.ask('sync'), world.webhooks.ask('sync')])
  load.sync()
  api.sync()
  const judged = await judgeFolder(folder, options, backlog, load.startedAtMs)
  for (const what of left) judged.verdict.findings.push({ rule: 'exits', what })
  for (const { findings } of drains) judged.verdict.findings.push(...findings)
  return { options, ...judged, points: targets.tally(), drains, rounds, folder }
}

/** Removes what a run left. */
export function forget({ folder }: Result): void {
  rmSync(folder, { recursive: true, force: true })
}

/** A few mails whose receiver answers for ever, early enough for their time-outs to pass. */
function pickDrips({ faults, seed, rate, rounds, roundMs }: Options): Set<number> {
  if (!faults.has('drip')) return new Set()
  const random = createRandom(seed, 'drips')
  const mails = (rate * rounds * roundMs) / 1000
  return new Set([1, 2, ...Array.from({ length: Math.floor(rounds / 10) }, () => random.whole(1, mails))])
}

interface Stage {
  options: Options
  world: World
  targets: Targets
  load: Load
  say: Say
  isOver: () => boolean
  mishaps: Mishaps
}

async function breakAndDrain(stage: Stage): Promise<Pick<Result, 'drains' | 'rounds'>> {
  const { options, world, targets, load, say, mishaps } = stage
  const { rounds, roundMs, drainEvery } = options
  const isWalkOver = watchWalk(stage)
  const drains: AtRest[] = []
  const open = new Set<Promise<void>>()
  say('all are up')
  load.start()
  await delay(Math.min(warmUpMs, roundMs))
  await renew(stage)
  for (const [index, faults] of planFaults(options).entries()) {
    await breakFor(stage, faults, open)
    const number = index + 1
    await untilMoving(stage, number)
    if (mishaps.hasStruck) return { drains, rounds: number }
    const isLast = number === rounds || stage.isOver() || isWalkOver()
    say(
      `round ${number} of ${rounds}: ${load.accepted.recipients} accepted; ${faults.map(describe).join(', ') || 'no faults'}`,
    )
    if (number % drainEvery !== 0 && !isLast) continue
    load.stop()
    targets.arm(false)
    await Promise.all(open)
    await load.drain()
    const atRest = await untilAtRest(world, options.drainLimitMs)
    drains.push(atRest)
    say(`at rest after ${(atRest.tookMs / 1000).toFixed(1)} s`)
    if (atRest.findings.length > 0 || isLast) return { drains, rounds: number }
    targets.arm(true)
    load.start()
  }
  return { drains, rounds }
}

/** The new ones know where to die, and find the code compiled, which those that are killed leave to nobody. */
async function renew({ options, world, targets }: Stage): Promise<void> {
  if (options.faults.size === 0) return
  const { apis, workers } = world
  targets.arm(!options.walk)
  await Promise.all([apis[0]?.restart(), workers[0]?.restart()])
  targets.arm(true)
  if (!options.walk) return
  // Not waited for: until nobody has died any more at the points on the way of a start, none of them is up.
  for (const app of [...apis, ...workers]) if (!isSteady(options, app.slot)) void app.kill(0)
}

/** So many rounds in a row have to bring nothing new. */
const quietRounds = 5

/** Says after each round of a walk how far it is. @returns whether it is at its end: nothing passed is left, and nothing new comes */
function watchWalk({ options, targets, say }: Stage): () => boolean {
  let [quiet, passedBefore] = [0, 0]
  return () => {
    if (!options.walk) return false
    const { passed, killedAt, deaths } = targets.tally()
    say(`  died at ${killedAt} of ${passed} crash points passed, in ${deaths} deaths`)
    quiet = killedAt === passed && passed === passedBefore ? quiet + 1 : 0
    passedBefore = passed
    return quiet >= quietRounds
  }
}

const describe = ({ kind, victim, forMs }: PlannedFault) => `${kind} ${victim} ${(forMs / 1000).toFixed(1)} s`

/** One round. What takes longer than it goes on in `open`. */
async function breakFor(
  { world, options: { roundMs }, mishaps }: Stage,
  faults: readonly PlannedFault[],
  open: Set<Promise<void>>,
): Promise<void> {
  const startedMs = monotonicMs()
  const busy = world.broken
  for (const fault of faults) {
    await delay(Math.max(0, startedMs + fault.atMs - monotonicMs()))
    // One thing can be broken in one way at a time.
    const name =
      fault.victim === 'api' || fault.victim === 'worker' ? `${fault.victim} ${fault.slot}` : fault.victim
    const before = busy.get(name)
    const isRushed = fault.kind === 'kill' && (fault.victim === 'api' || fault.victim === 'worker')
    const work = (isRushed || !before ? Promise.resolve() : before).then(() => commit(world, fault))
    const told = work.catch((error: Error) => mishaps.strike(`after ${describe(fault)}: ${error.message}`))
    const done = told.finally(() => {
      open.delete(done)
      if (busy.get(name) === done) busy.delete(name)
    })
    busy.set(name, done)
    open.add(done)
  }
  await delay(Math.max(0, startedMs + roundMs - monotonicMs()))
}

/**
 * A machine that is slow to start the programs gets more time, so that every round breaks something that works, and in the end as much
 * was accepted as was asked for.
 */
async function untilMoving({ load, options, isOver }: Stage, round: number): Promise<void> {
  let [seen, seenAtMs] = [0, monotonicMs()]
  const messages = load.accepted.messages + acceptedSeconds * options.rate
  const recipients = (options.accepted * round) / options.rounds
  while (load.accepted.messages < messages || load.accepted.recipients < recipients) {
    if (load.accepted.messages > seen) [seen, seenAtMs] = [load.accepted.messages, monotonicMs()]
    if (monotonicMs() - seenAtMs > longestStandMs || isOver()) return
    await delay(100)
  }
}

/** Reads every message that was accepted, or that the stream tells of. */
async function readAll(
  world: World,
  folder: string,
  api: ReturnType<typeof openLedger<MessageEntry>>,
): Promise<void> {
  const [clients, sink, entries] = await Promise.all([
    readLedger<ClientEntry>(folder, 'clients'),
    readLedger<SinkEntry>(folder, 'sink'),
    readLedger<EventEntry>(folder, 'api'),
  ])
  const owners = new Map<string, Mode>()
  for (const { messageId, number } of entries) if (messageId) owners.set(messageId, modeOf(number))
  for (const { number, outcome } of clients)
    if (outcome.kind === 'accepted') owners.set(outcome.id, modeOf(number))
  const cut = new Set(sink.filter(({ answer }) => answer !== '250').map(({ to }) => to))
  const came = new Set(sink.map(({ to }) => to))
  const isDoubtful = ({ email, status }: MessageEntry['recipients'][number]) =>
    cut.has(email) || status === 'failed' || (status !== 'delivered' && came.has(email))
  const messages = [...owners].map(([id, mode]) => ({ id, apiKey: world.apiKeys[mode] }))
  await readMessages(world.urls, messages, isDoubtful, api)
}

/** Judges the ledgers in a folder. */
async function judgeFolder(
  folder: string,
  { webhooks: withWebhooks, concurrency }: Options,
  backlog: BacklogSample[],
  loadAtMs: readonly number[],
): Promise<Pick<Result, 'verdict' | 'recovery' | 'faults'>> {
  const [clients, sink, webhooks, entries, faults] = await Promise.all([
    readLedger<ClientEntry>(folder, 'clients'),
    readLedger<SinkEntry>(folder, 'sink'),
    readLedger<WebhookEntry>(folder, 'webhooks'),
    readLedger<EventEntry | MessageEntry>(folder, 'api'),
    readLedger<FaultEntry>(folder, 'faults'),
  ])
  const verdict = judge({
    clients,
    sink,
    webhooks: withWebhooks ? webhooks : null,
    events: entries.filter((entry) => entry.kind === 'event'),
    messages: entries.filter((entry) => entry.kind === 'message'),
    faults,
    concurrency,
  })
  const acceptedAtMs = clients.filter(({ outcome }) => outcome.kind === 'accepted').map(({ atMs }) => atMs)
  const deliveredAtMs = sink.filter(({ answer }) => answer === '250').map(({ atMs }) => atMs)
  const counts: Record<string, number> = {}
  for (const { kind, victim } of faults) counts[`${kind} ${victim}`] = (counts[`${kind} ${victim}`] ?? 0) + 1
  return {
    verdict,
    recovery: measureRecovery({ faults, acceptedAtMs, loadAtMs, deliveredAtMs, backlog }),
    faults: counts,
  }
}
