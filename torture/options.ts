/** What `npm run torture` can be told. */
import { parseArgs } from 'node:util'
import { type Guard, guards } from './guards.ts'

/**
 * `api` to `postgres` are killed with SIGKILL; `pause` stops any of the four with SIGSTOP and lets it go on; `points` kills API and
 * worker at enumerated awaits; `sink` is a receiver that defers, cuts, is slow and says 421; `drip` one that answers for ever.
 */
export const faultNames = [
  'api',
  'worker',
  'redis',
  'postgres',
  'flush',
  'pause',
  'points',
  'sink',
  'drip',
] as const
export type FaultName = (typeof faultNames)[number]

export interface Options {
  rounds: number
  /** How long the load goes on in each. */
  roundMs: number
  /** In each round, besides one fault of another kind. */
  kills: number
  /** Recipients to be accepted in all: rounds last longer if need be. */
  accepted: number
  seed: number
  /** Messages a second; one in three has several recipients. */
  rate: number
  /** Requests under way at most. */
  clients: number
  faults: ReadonlySet<FaultName>
  queue: 'redis' | 'postgres'
  /** From crash point to crash point, until a process has died at every one that is passed. */
  walk: boolean
  /** VALIJA_WORKER_CONCURRENCY: conversations under way, and mails that one kill may double. */
  concurrency: number
  /** Rounds after which the load waits until everything has its end; there is one more at the end. */
  drainEvery: number
  /** A drain that takes longer has found something that hangs. */
  drainLimitMs: number
  webhooks: boolean
  /** Runs with this guard of the product taken out, to see that the verdict turns red. */
  without: Guard | null
  /** Files to write. */
  json: string | null
  report: string | null
  /** Where the ledgers and the logs go; absent: a folder of its own, which goes when all was well. */
  folder: string | null
}

export const usage = `npm run torture -- [options]
  --rounds 12            rounds of faults under load
  --round-seconds 7      how long each lasts
  --kills 2              kills in each, besides one other fault
  --accepted 0           recipients to be accepted in all: rounds last longer if need be
  --seed <number>        the plan of faults and the mails; absent: another one each time
  --rate 25              messages a second
  --clients 64           requests under way at most
  --faults ${faultNames.join(',')}
                         which faults; absent: all; none: none
  --walk                 processes die at one crash point after the other; ends when there is none left
  --concurrency 100      conversations of a worker at the same time, and mails that a kill may double
  --queue redis          or postgres
  --drain-every 50       rounds after which the load waits until every mail has its end
  --drain-seconds 180    how long that may take
  --no-webhooks          no endpoint that is told of every end
  --without <guard>      takes a guard out of the product: ${Object.keys(guards).join(', ')}
  --json <file>          all figures
  --report <file>        the same as a page of Markdown
  --folder <folder>      keeps the ledgers and logs there
`

const settings = {
  rounds: { type: 'string', default: '12' },
  'round-seconds': { type: 'string', default: '7' },
  kills: { type: 'string', default: '2' },
  accepted: { type: 'string', default: '0' },
  seed: { type: 'string' },
  rate: { type: 'string', default: '25' },
  clients: { type: 'string', default: '64' },
  faults: { type: 'string', default: faultNames.join(',') },
  queue: { type: 'string', default: 'redis' },
  walk: { type: 'boolean', default: false },
  concurrency: { type: 'string', default: '100' },
  'drain-every': { type: 'string', default: '50' },
  'drain-seconds': { type: 'string', default: '180' },
  'no-webhooks': { type: 'boolean', default: false },
  without: { type: 'string' },
  json: { type: 'string' },
  report: { type: 'string' },
  folder: { type: 'string' },
} as const

/** @throws {Error} whose message says what is wrong */
export function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({ args: [...args], options: settings, strict: true })
  const { without = null, queue } = values
  if (queue !== 'redis' && queue !== 'postgres') throw new Error(`--queue is redis or postgres, not ${queue}`)
  if (values.walk && !values.faults.split(',').includes('points'))
    throw new Error('--walk needs the fault points')
  if (without !== null && !(without in guards)) throw new Error(`there is no guard ${without}`)
  return {
    rounds: number('rounds', values.rounds, 1),
    roundMs: number('round-seconds', values['round-seconds'], 1) * 1000,
    kills: number('kills', values.kills, 0),
    accepted: number('accepted', values.accepted, 0),
    seed: values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : number('seed', values.seed, 0),
    rate: number('rate', values.rate, 1),
    clients: number('clients', values.clients, 1),
    faults: readFaults(values.faults),
    queue,
    walk: values.walk,
    concurrency: number('concurrency', values.concurrency, 1),
    drainEvery: number('drain-every', values['drain-every'], 1),
    drainLimitMs: number('drain-seconds', values['drain-seconds'], 1) * 1000,
    webhooks: !values['no-webhooks'],
    without: without as Guard | null,
    json: values.json ?? null,
    report: values.report ?? null,
    folder: values.folder ?? null,
  }
}

function number(name: string, text: string, atLeast: number): number {
  const value = Number(text)
  if (Number.isFinite(value) && value >= atLeast) return value
  throw new Error(`--${name} is a number of at least ${atLeast}, not ${text}`)
}

function readFaults(text: string): Set<FaultName> {
  if (text === 'none') return new Set()
  const names = text.split(',').filter((name) => name !== '')
  const unknown = names.filter((name) => !(faultNames as readonly string[]).includes(name))
  if (unknown.length > 0) throw new Error(`--faults: there is no ${unknown.join(', ')}`)
  return new Set(names as FaultName[])
}
