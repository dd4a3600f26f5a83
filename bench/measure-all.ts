/** What `npm run bench` measures: the rounds, then what is measured once; after each round all that there is so far is handed on. */
import bullmq from 'bullmq/package.json' with { type: 'json' }
import fastify from 'fastify/package.json' with { type: 'json' }
import nodemailer from 'nodemailer/package.json' with { type: 'json' }
import { checkedOutVersion } from '../tests/support/checked-out-version.ts'
import { runIdle } from './idle.ts'
import { mailServers } from './mail-servers.ts'
import { createBodyWriter, plainReceipt } from './mails.ts'
import { type Settings, say } from './options.ts'
import { type Failure, runSteps, type Step } from './progress.ts'
import { redisVersion } from './redis-server.ts'
import type { Results } from './report.ts'
import { openRound, type Turn, throughputTurns } from './rounds.ts'
import { runSingles } from './singles.ts'
import type { StageOptions } from './stage.ts'
import { tarpitTurns } from './tarpit.ts'
import type { Installation } from './valija.ts'
import { exchangerTurns, mailTurns, realisticTurns } from './variations.ts'

export interface Run {
  command: string
  shortfalls: string | null
  isStopped(): boolean
  save(results: Results): Promise<void>
}

export async function measureAll(given: Settings, run: Run): Promise<Results> {
  const results = emptyResults(given, run)
  const settings = {
    ...given,
    inspect: (installation: Installation) => readPostgresVersion(installation, results.versions),
  }
  const { rounds } = settings
  const turns = turnsOf(settings)
  const steps = Array.from({ length: rounds }, (_, index): Step[] => {
    const round = openRound(index + 1, results.measurements)
    return turns.map(({ name, guessS, run: take }) => ({
      key: name,
      name: `round ${round.number} of ${rounds}: ${name}`,
      guessS,
      run: () => take(round),
    }))
  })
  const lastOfRounds = steps.map((round) => round.at(-1))
  const all = [...steps.flat(), ...onceSteps(settings, results)]
  let done = 0
  const after = async (step: Step, failures: Failure[]) => {
    done += 1
    if (!lastOfRounds.includes(step)) return
    const unfinished = `${lastOfRounds.indexOf(step) + 1} of ${rounds} rounds`
    await run.save({ ...results, failures, unfinished: done === all.length ? null : unfinished })
  }
  const failures = await runSteps(all, { say, isStopped: run.isStopped, after })
  const unfinished = done < all.length ? `stopped after ${done} of ${all.length} steps` : null
  return { ...results, failures, unfinished }
}

function emptyResults(settings: Settings, { command, shortfalls }: Run): Results {
  return {
    command,
    date: new Date(),
    queues: settings.queues,
    mails: settings.mails,
    rounds: settings.rounds,
    connections: settings.connections,
    requestBytes: createBodyWriter(plainReceipt)(1).length,
    sink: settings.sink,
    versions: readVersions(settings),
    absent: readAbsent(),
    measurements: [],
    singles: {},
    idle: null,
    failures: [],
    unfinished: null,
    shortfalls,
  }
}

function turnsOf(settings: Settings & StageOptions): Turn[] {
  const { parts, queues } = settings
  const [queue = 'postgres'] = queues
  return [
    ...(parts.has('throughput') ? throughputTurns(settings) : []),
    ...(parts.has('mails') ? mailTurns(settings, queue) : []),
    ...(parts.has('exchangers') ? exchangerTurns(settings, queue) : []),
    ...(parts.has('realistic') ? realisticTurns(settings, queue) : []),
    ...(parts.has('tarpit') ? tarpitTurns(settings, queue) : []),
  ]
}

function onceSteps(settings: Settings & StageOptions, results: Results): Step[] {
  const { parts, queues, singles, idleS } = settings
  const once = (name: string, guessS: number, run: () => Promise<void>): Step => {
    return { key: name, name, guessS, run }
  }
  const singleSteps = queues.map((queue) =>
    once(`single mails, queue in ${queue}`, 27, async () => {
      results.singles[queue] = await runSingles(settings, queue, singles)
    }),
  )
  const idle = once('npm start, idle', idleS + 15, async () => {
    results.idle = await runIdle(idleS)
  })
  return [...(parts.has('singles') ? singleSteps : []), ...(parts.has('idle') ? [idle] : [])]
}

/** Of what is beside the installation; PostgreSQL tells its own. */
export function readVersions({ queues, parts, isGrowth }: Settings): Record<string, string> {
  const servers = mailServers.filter(({ absence }) => absence() === null)
  const hasRivals = !isGrowth && parts.has('throughput')
  // The usual stack has its queue in Redis, wherever Valija has its own.
  const redis = hasRivals || queues.includes('redis') ? redisVersion() : null
  return {
    Valija: checkedOutVersion(),
    Node: process.versions.node,
    ...(!isGrowth && { nodemailer: nodemailer.version, Fastify: fastify.version }),
    ...(hasRivals && { BullMQ: bullmq.version }),
    ...(hasRivals && Object.fromEntries(servers.map(({ name, version }) => [name, version()]))),
    ...(redis && { Redis: redis }),
  }
}

/** Systems that a run could not measure, and why. */
function readAbsent(): string[] {
  const servers = mailServers.map(({ name, absence }) => ({ name, why: absence() }))
  const isWithoutRedis = redisVersion() === null
  const usual = { name: 'the usual stack', why: isWithoutRedis ? 'redis-server is not installed' : null }
  return [usual, ...servers].flatMap(({ name, why }) => (why === null ? [] : [`${name}: ${why}`]))
}

export async function readPostgresVersion(
  { query }: Installation,
  versions: Record<string, string>,
): Promise<void> {
  const [row] = await query<{ version: string }>(`SELECT current_setting('server_version') AS version`)
  versions.PostgreSQL = row?.version ?? ''
}
