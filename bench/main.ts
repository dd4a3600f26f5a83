/**
 * `npm run bench`: what Valija accepts and delivers, and what that costs, beside nodemailer's pool in a script and a bare
 * Fastify route, in interleaved rounds on the same machine. Linux only, because CPU time is read from /proc.
 *
 *   npm run bench                            3 rounds of 10,000 mails, single mails, idle; writes bench/RESULTS.md
 *   npm run bench -- --quick                 1 round of 1,000 mails, printed only: does it still work, and about as fast?
 *     --mails <n>  --rounds <n>              of each phase; default 10000 and 3
 *     --queue postgres|redis|both            default both where redis-server is installed
 *     --connections <n>                      of the load; default 128
 *     --parts throughput,singles,idle        what to measure; default all
 *     --out <file>                           where the report goes; default bench/RESULTS.md, with --quick nowhere
 *     --set <name>=<value>                   a PostgreSQL setting for Valija's database, to try what it is worth
 *     --profile <folder>                     instead: one run with CPU profiles and PostgreSQL's statements, to profile.txt there
 *
 * Exit code 1 and no figures when a mail was lost, doubled or not recorded.
 */
import { spawnSync } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { parseArgs } from 'node:util'
import fastify from 'fastify/package.json' with { type: 'json' }
import nodemailer from 'nodemailer/package.json' with { type: 'json' }
import { headerComment } from '../tools/header-comment.ts'
import { runIdle } from './idle.ts'
import { describeProfiles, describeStatements } from './profile.ts'
import { createBodyWriter } from './receipt.ts'
import { formatResults, type Results, type Round } from './results.ts'
import { runSingles } from './singles.ts'
import type { Tally } from './sink.ts'
import { openStage, runBareFastify, runNodemailerPool, runValija, type Stage } from './systems.ts'
import type { QueueBackend } from './valija.ts'

const defaults = { mails: 10_000, rounds: 3, connections: 128, warmUp: 1_000, singles: 100, idleS: 30 }
const quick = { mails: 1_000, rounds: 1, connections: 128, warmUp: 300, singles: 20, idleS: 5 }

type Settings = typeof defaults & {
  queues: QueueBackend[]
  parts: Set<string>
  /** Null: the report is printed only. */
  out: string | null
  profileFolder: string | null
  settings: Record<string, string>
}

function readSettings(args: string[]): Settings {
  const { values } = parseArgs({
    args,
    options: {
      mails: { type: 'string' },
      rounds: { type: 'string' },
      connections: { type: 'string' },
      queue: { type: 'string' },
      parts: { type: 'string', default: 'throughput,singles,idle' },
      quick: { type: 'boolean', default: false },
      out: { type: 'string' },
      profile: { type: 'string' },
      set: { type: 'string', multiple: true, default: [] },
    },
  })
  const base = values.quick ? quick : defaults
  const whole = (text: string | undefined, otherwise: number) => {
    if (text === undefined) return otherwise
    if (!/^[1-9]\d{0,6}$/.test(text)) throw new Error(`not a number of things: ${text}`)
    return Number(text)
  }
  return {
    ...base,
    mails: whole(values.mails, base.mails),
    rounds: whole(values.rounds, base.rounds),
    connections: whole(values.connections, base.connections),
    queues: readQueues(values.queue),
    parts: new Set(values.parts.split(',')),
    out: values.out ?? (values.quick ? null : path.join(import.meta.dirname, 'RESULTS.md')),
    profileFolder: values.profile ?? null,
    settings: Object.fromEntries(values.set.map(splitSetting)),
  }
}

function splitSetting(text: string): [string, string] {
  const [, name, value] = /^([a-z_.]+)=(.*)$/.exec(text) ?? []
  if (name === undefined || value === undefined) throw new Error(`not a setting: ${text}`)
  return [name, value]
}

function readQueues(queue: string | undefined): QueueBackend[] {
  if (queue === 'postgres' || queue === 'redis') return [queue]
  if (queue === 'both') return ['postgres', 'redis']
  if (queue !== undefined) throw new Error('--queue is postgres, redis or both')
  if (redisVersion() !== null) return ['postgres', 'redis']
  say('without Redis: redis-server is not installed (Debian: apt-get install redis-server)')
  return ['postgres']
}

function redisVersion(): string | null {
  return (
    /v=(\S+)/.exec(spawnSync('redis-server', ['--version'], { encoding: 'utf8' }).stdout ?? '')?.[1] ?? null
  )
}

function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

async function measureAll(stage: Stage, settings: Settings): Promise<Results> {
  const rounds: Round[] = []
  const versions: Record<string, string> = {}
  const singles: Results['singles'] = {}
  if (settings.parts.has('throughput')) {
    for (let index = 0; index < settings.rounds; index++) {
      const name = `round ${index + 1} of ${settings.rounds}`
      rounds.push(await measureRound(stage, settings.queues, versions, name))
    }
  }
  if (settings.parts.has('singles')) {
    for (const queue of settings.queues) {
      say(`single mails, queue in ${queue}`)
      singles[queue] = await runSingles(stage, queue, settings.singles)
    }
  }
  if (settings.parts.has('idle')) say('npm start, idle')
  const tally = await stage.sink.ask<Tally>('tally')
  const idle = settings.parts.has('idle') ? await runIdle(settings.idleS) : null
  return {
    command: ['npm run bench', ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : [])].join(
      ' ',
    ),
    date: new Date(),
    mails: settings.mails,
    connections: settings.connections,
    requestBytes: createBodyWriter()(1).length,
    mailBytes: Math.round(tally.bytes / Math.max(1, tally.distinct)),
    versions: { ...readVersions(settings.queues), ...versions },
    rounds,
    singles,
    idle,
  }
}

async function measureRound(
  stage: Stage,
  queues: QueueBackend[],
  versions: Record<string, string>,
  name: string,
): Promise<Round> {
  say(`${name}: bare Fastify`)
  const round: Round = {
    fastify: await runBareFastify(stage),
    nodemailer: await runNodemailerPool(stage),
    valija: {},
  }
  for (const queue of queues) {
    say(`${name}: Valija, queue in ${queue}`)
    round.valija[queue] = await runValija(stage, queue, null, async (installation) => {
      const [row] = await installation.query<{ version: string }>(
        `SELECT current_setting('server_version') AS version`,
      )
      versions.PostgreSQL = row?.version ?? ''
    })
  }
  return round
}

function readVersions(queues: QueueBackend[]): Record<string, string> {
  const redis = queues.includes('redis') ? redisVersion() : null
  return {
    Node: process.versions.node,
    nodemailer: nodemailer.version,
    Fastify: fastify.version,
    ...(redis && { Redis: redis }),
  }
}

async function profile(stage: Stage, queue: QueueBackend, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  let statements = ''
  await runValija(stage, queue, folder, async (installation) => {
    statements = await describeStatements(installation, stage.warmUp + 2 * stage.mails)
  })
  const file = path.join(folder, 'profile.txt')
  await writeFile(file, `${statements}\n${await describeProfiles(folder)}`)
  say(`written: ${file}`)
}

async function main(): Promise<void> {
  if (process.argv.slice(2).some((argument) => argument === '--help' || argument === '-h')) {
    process.stdout.write(`${headerComment(await readFile(import.meta.filename, 'utf8'))}\n`)
    return
  }
  const settings = readSettings(process.argv.slice(2))
  const stage = await openStage(settings)
  // Its programs end, so what waits for them fails, and on the way out everything else is stopped and removed.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void stage.close())
  try {
    if (settings.profileFolder !== null) {
      return await profile(stage, settings.queues[0] ?? 'postgres', settings.profileFolder)
    }
    const text = formatResults(await measureAll(stage, settings))
    process.stdout.write(text)
    if (settings.out !== null) await writeFile(settings.out, text)
  } finally {
    await stage.close()
  }
}

await main().catch((error: Error) => {
  say(`void: ${error.message}`)
  process.exitCode = 1
})
