/**
 * Tenants that meet at one narrow site: whoever has much waiting there must not stand in front of whoever has little.
 *
 * The site takes each mail after a while and allows five connections in all, however many workers there are. Everything is
 * noted at the site itself: whose mail was handed over, when, and how many others were before it.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type Internet, startInternet } from './internet.ts'
import { inParallel, post, readEvents } from './message-life.ts'
import { after } from './smtp-peer.ts'
import { until } from './until.ts'
import {
  type Call,
  expectStatus,
  type QueueKind,
  startValija,
  type TestTenant,
  type Valija,
} from './valija.ts'

export const siteConnections = 5

/** A mail that was handed over: whose, when, and as the how many-th of all. */
export interface Handed {
  to: string
  tenant: string
  atMs: number
}

/** A mail whose way was measured. */
export interface Measured {
  /** From the request to the site's reply to the final dot: what the tenant's customer waits. */
  dwellMs: number
  /** Mails that the site was given since this one was accepted, and due: no slow answer of the API, and no wait for a retry, counts. */
  overtakenBy: number
}

interface MeasureOptions {
  /** It is due when it is to be tried again. */
  isPutOff?: boolean
  /** It is not looked for so soon after its acceptance. */
  dueAfterMs?: number
}

export interface FairnessWorld {
  valija: Valija
  internet: Internet
  handed: Handed[]
  addTenant: (name: string, weight?: number) => Promise<TestTenant>
  /** Posts so many mails of a tenant, in messages of up to 1,000 recipients. */
  fill: (
    call: Call,
    tenant: string,
    count: number,
    options?: { stream?: string; domain?: string },
  ) => Promise<void>
  /** Posts a mail and sees when the site has it. */
  measure: (call: Call, tenant: string, options?: MeasureOptions) => Promise<Measured>
  /** The same again and again, at an even pace, whatever becomes of those before. */
  measureSeries: (
    call: Call,
    tenant: string,
    count: number,
    everyMs: number,
    firstAfterMs?: number,
    options?: MeasureOptions,
  ) => Promise<Measured[]>
  /** Resolves with the next mails that the site is given, so many. */
  nextHanded: (count: number) => Promise<Handed[]>
  /** What the site says to a RCPT; nothing: the usual. May be replaced at any time. */
  onRecipient: (address: string) => string | undefined
  stop: () => Promise<void>
}

const domain = 'narrow.test'
const perMessage = 1_000
const giveUpAfterMs = 120_000

const shapingFile = `
providers:
  narrow:
    mx: [${domain}]
    per: provider
    connections: ${siteConnections}
    mails_per_connection: 1000
`

export async function startFairnessWorld(
  queue: QueueKind,
  { workers = 2, mailMs }: { workers?: number; mailMs: number },
): Promise<FairnessWorld> {
  const internet = await startInternet()
  const dataDir = await mkdtemp(join(tmpdir(), 'valija-fairness-'))
  await writeFile(join(dataDir, 'shaping.yaml'), shapingFile)
  const handed: Handed[] = []
  const places = new Map<string, number>()
  await internet.site(domain, {
    script: {
      rcpt: ({ argument }) => world.onRecipient(/<(.*?)>/.exec(argument)?.[1] ?? ''),
      body: ({ to: [to = ''] }) => {
        places.set(to, handed.length)
        handed.push({ to, tenant: to.split('-')[0] ?? '', atMs: performance.now() + mailMs })
        return after(mailMs, '250 2.0.0 taken')
      },
    },
  })
  const valija = await startValija({
    queue,
    delivery: 'mx',
    internet,
    workers,
    env: { VALIJA_DATA_DIR: dataDir, VALIJA_RETRY_SCHEDULE: '1s' },
  })
  const measure = measurer(handed, places, mailMs)
  const world: FairnessWorld = {
    valija,
    internet,
    handed,
    addTenant: async (name, weight = 1) => {
      const tenant = await valija.addTenant(name, `${name}.test`)
      if (weight !== 1) expectStatus(await valija.admin('PATCH', `/tenants/${tenant.id}`, { weight }), 200)
      return tenant
    },
    fill,
    measure,
    measureSeries: (call, tenant, count, everyMs, firstAfterMs = 0, options = {}) =>
      Promise.all(
        Array.from({ length: count }, async (_, index) => {
          await delay(firstAfterMs + index * everyMs)
          return measure(call, tenant, options)
        }),
      ),
    nextHanded: async (count) => {
      const first = handed.length
      await until(`${count} mails at the site`, () => handed.length >= first + count, giveUpAfterMs)
      return handed.slice(first, first + count)
    },
    onRecipient: () => undefined,
    stop: async () => {
      await valija.stop()
      await internet.stop()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
  return world
}

async function fill(
  call: Call,
  tenant: string,
  count: number,
  { stream = 'bulk', domain: toDomain = domain }: { stream?: string; domain?: string } = {},
): Promise<void> {
  await inParallel(Math.ceil(count / perMessage), 4, (message) => {
    const first = message * perMessage
    const to = Array.from(
      { length: Math.min(perMessage, count - first) },
      (_, index) => `${tenant}-m${first + index}@${toDomain}`,
    )
    return postPatiently(call, { from: `hi@${tenant}.test`, to, subject: 'News', text: 'News.', stream })
  })
}

/** As a client does whom an API of a busy machine asks to come again (503): nothing was kept of what it refused. */
async function postPatiently(call: Call, body: unknown): Promise<void> {
  await until('a backlog to be taken', async () => {
    const answer = await call('POST', '/send', body)
    return answer.status !== 503 && expectStatus(answer, 202)
  })
}

function measurer(
  handed: readonly Handed[],
  places: ReadonlyMap<string, number>,
  mailMs: number,
): FairnessWorld['measure'] {
  let serial = 0
  return async (call, tenant, { isPutOff = false, dueAfterMs = 0 } = {}) => {
    serial += 1
    const to = `${tenant}-code${serial}@${domain}`
    const startedAtMs = performance.now()
    const id = await post(call, { from: `hi@${tenant}.test`, to, subject: 'Code', text: '123456' })
    const acceptedAtMs = performance.now()
    const place = await until(`${to} at the site`, () => places.get(to) ?? null, giveUpAfterMs)
    const dueAtMs = isPutOff ? await retryAtMs(call, id) : acceptedAtMs + dueAfterMs
    const before = handed.filter(({ atMs }) => atMs - mailMs < dueAtMs).length
    return { dwellMs: handed[place]!.atMs - startedAtMs, overtakenBy: Math.max(0, place - before) }
  }
}

/** When a mail that was put off was to be tried again, by the clock of this process. */
async function retryAtMs(call: Call, id: string): Promise<number> {
  const deferred = (await readEvents(call, id)).find(({ type }) => type === 'message.deferred')
  return performance.now() - Date.now() + Date.parse(String(deferred?.data.next_attempt_at))
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN
}

/** Jain's index of fairness: 1 when all have the same, 1/n when one has everything. */
export function jainIndex(shares: readonly number[]): number {
  const sum = shares.reduce((total, share) => total + share, 0)
  return sum ** 2 / (shares.length * shares.reduce((total, share) => total + share ** 2, 0))
}
