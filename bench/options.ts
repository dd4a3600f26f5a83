/** What `npm run bench` is told by its arguments. */
import path from 'node:path'
import { parseArgs } from 'node:util'
import { redisVersion } from './redis-server.ts'
import type { SinkOptions } from './sink.ts'
import type { QueueBackend, Signing } from './valija.ts'

const parts = ['throughput', 'mails', 'exchangers', 'realistic', 'tarpit', 'singles', 'idle'] as const
export type Part = (typeof parts)[number]
const signings = ['unsigned', 'rsa', 'ed25519', 'both'] as const

export interface Settings {
  mails: number
  rounds: number
  connections: number
  warmUp: number
  singles: number
  idleS: number
  queues: QueueBackend[]
  signings: Signing[]
  workers: number[]
  parts: Set<Part>
  isGrowth: boolean
  /** Of the growth table: how many wait, and among how many domains and tenants they are spread. */
  waiting: number[]
  domains: number[]
  tenants: number[]
  /** Null: the report is printed only. */
  out: string | null
  profileFolder: string | null
  settings: Record<string, string>
  sink: Partial<SinkOptions>
}

/** So many that all rounds take some 50 minutes on two cores: in each of them 28 installations are made and measured. */
const defaults = { mails: 4_000, rounds: 5, connections: 128, warmUp: 1_000, singles: 100, idleS: 30 }
const quick = { mails: 2_000, rounds: 1, connections: 128, warmUp: 1_000, singles: 20, idleS: 5 }
/** Of the growth table: accepted for each figure, and some times as many delivered. */
const growthMails = 4_000
/** All that the quick run measures: every further installation takes seconds. */
const quickParts = 'throughput'

export function readSettings(args: string[]): Settings {
  const { values } = parseArgs({ args, options: known })
  const isGrowth = values.growth
  const base = values.quick ? quick : { ...defaults, ...(isGrowth && { mails: growthMails }) }
  const one = (text: string | undefined, otherwise: number) => (text === undefined ? otherwise : whole(text))
  const file = isGrowth ? 'GROWTH.md' : 'RESULTS.md'
  return {
    ...base,
    mails: one(values.mails, base.mails),
    rounds: one(values.rounds, base.rounds),
    connections: one(values.connections, base.connections),
    queues: readQueues(values.queue),
    signings: choose(values.signing ?? (values.quick ? 'unsigned,rsa' : signings.join()), signings),
    workers: (values.workers ?? (values.quick ? '1' : '1,2')).split(',').map(whole),
    parts: new Set(choose(values.parts ?? (values.quick ? quickParts : parts.join()), parts)),
    isGrowth,
    waiting: values.waiting.split(',').map(whole),
    domains: values.domains.split(',').map(whole),
    tenants: values.tenants.split(',').map(whole),
    out: values.out ?? (values.quick ? null : path.join(import.meta.dirname, file)),
    profileFolder: values.profile ?? null,
    settings: Object.fromEntries(values.set.map(splitSetting)),
    sink: {
      roundTripMs: one(values['round-trip'], 0),
      pauseMs: one(values.pause, 0),
      tls: values.tls,
    },
  }
}

const text = { type: 'string' } as const
const known = {
  mails: text,
  rounds: text,
  connections: text,
  queue: text,
  signing: text,
  workers: text,
  parts: text,
  quick: { type: 'boolean', default: false },
  growth: { type: 'boolean', default: false },
  waiting: { type: 'string', default: '10000,100000,1000000' },
  domains: { type: 'string', default: '1,100,10000' },
  tenants: { type: 'string', default: '1,100,1000' },
  'round-trip': text,
  pause: text,
  tls: { type: 'boolean', default: false },
  out: text,
  profile: text,
  set: { type: 'string', multiple: true, default: [] as string[] },
} as const

function whole(text: string): number {
  if (!/^[1-9]\d{0,6}$/.test(text)) throw new Error(`not a number of things: ${text}`)
  return Number(text)
}

function choose<T extends string>(text: string, allowed: readonly T[]): T[] {
  return text.split(',').map((word) => {
    const found = allowed.find((each) => each === word)
    if (found === undefined) throw new Error(`${word} is none of ${allowed.join(', ')}`)
    return found
  })
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

export function say(text: string): void {
  process.stderr.write(`${text}\n`)
}
