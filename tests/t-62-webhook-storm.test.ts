/**
 * N17: 100,000 events (the long form) to endpoints that die, stall, drip and answer 500 at random, while the workers are killed in
 * the middle: every endpoint is told every event that it asked for, each signature is right, a batch comes again as it was, and a
 * healthy endpoint beside the others is told within a second.
 *
 * The receivers are rough at the first and second try of an id and kind afterwards, so that nobody waits for the retries of hours:
 * what failed is told again by POST /webhooks/:id/replay.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { forEachOf } from './support/messages.ts'
import { chanceOf, type Manners, type RoughReceiver, startRoughReceiver } from './support/rough-receiver.ts'
import { isLong, scaled, timeFor } from './support/scale.ts'
import { until } from './support/until.ts'
import { expectStatus, startValija, type Valija } from './support/valija.ts'

const EVENTS = scaled(100_000, 1_000)
/** Each recipient of the simulator makes two events: accepted and delivered. */
const RECIPIENTS = 10
const MAILS = EVENTS / (2 * RECIPIENTS)
const PER_SECOND = isLong ? 150 : 200
const SEED = process.env.SEED ?? `${Date.now() % 100_000}`
/** The promise, for a machine that has nothing else to do. */
const PROMPT_MS = 1_000
const WORKERS = isLong ? 2 : 1
/** Each holds one of an endpoint's eight places for 15 s. */
const STALLS = isLong ? 20 : 4
const DEATH_MS = 2_000
/** Far more than an endpoint's eight places. */
const TOLD_BESIDE = 50
/** What `"*"` means here: attempts are told to those who name them. */
const WANTED = `type <> 'message.attempted'`

type Endpoint = { id: string; receiver: RoughReceiver; tag: string | null }

let valija: Valija
const endpoints: Endpoint[] = []
/** When the workers were gone, by the clock of this machine. */
const gone = { fromMs: Infinity, untilMs: Infinity }

beforeAll(async () => {
  const env = { VALIJA_ALLOW_NETWORKS: '127.0.0.1/32' }
  valija = await startValija({ queue: 'postgres', delivery: 'capture', workers: WORKERS, env })
})
afterAll(async () => {
  await valija?.stop()
  await Promise.all(endpoints.map(({ receiver }) => receiver.stop()))
})

async function addEndpoint(
  tag: string | null,
  manners: RoughReceiver['manners'],
  fields: object = {},
): Promise<Endpoint> {
  const receiver = await startRoughReceiver()
  const body = { url: receiver.url, events: ['*'], tags: tag === null ? [] : [tag], ...fields }
  const made = expectStatus(
    await valija.api<{ id: string; secret: string }>('POST', '/webhooks', body),
    201,
  ).json
  Object.assign(receiver, { secret: made.secret, manners })
  const endpoint = { id: made.id, receiver, tag }
  endpoints.push(endpoint)
  return endpoint
}

/** One in four is met badly at first, and one in four of these again. */
function roughManners(name: string): RoughReceiver['manners'] {
  const kinds: Manners[] = [500, 503, 'close', 'cut', 'stall', 'drip']
  let stalls = 0
  return (id, tries) => {
    if (tries > 2 || chanceOf(`${SEED} ${name} ${id} ${tries}`) >= 0.25) return 'take'
    const kind = kinds[Math.floor(chanceOf(`${SEED} ${name} ${id} ${tries} kind`) * kinds.length)] ?? 500
    if (kind !== 'stall' && kind !== 'drip') return kind
    // Before the workers are killed only: afterwards their 15 s would be this test's.
    stalls += 1
    return stalls <= STALLS && gone.fromMs === Infinity ? kind : 500
  }
}

/** Sends mails at the pace; `onMail` is called after each. */
async function produce(onMail: (count: number) => void): Promise<void> {
  const startedAt = performance.now()
  const numbers = Array.from({ length: MAILS }, (_, index) => index)
  let sent = 0
  await forEachOf(numbers, 4, async (number) => {
    const dueMs = (number * 2 * RECIPIENTS * 1000) / PER_SECOND
    await delay(Math.max(0, dueMs - (performance.now() - startedAt)))
    const to = Array.from(
      { length: RECIPIENTS },
      (_, index) => `delivered+${number}-${index}@simulator.valija.test`,
    )
    expectStatus(await valija.api('POST', '/send', valija.mail({ to, tags: [`t${number % 3}`] })), 202)
    sent += 1
    onMail(sent)
  })
}

async function killWorkers(): Promise<void> {
  gone.fromMs = Date.now()
  await Promise.all(valija.workers.splice(0).map((worker) => worker.kill()))
  if (!isLong) {
    // What they had leased is due when the leases end, after 30 s and 60 s: the long form waits for that.
    await valija.sql(
      'UPDATE valija.webhook_outbox SET due_at = now(), leased_until = now() WHERE leased_until IS NOT NULL',
    )
    await valija.sql(`UPDATE valija.deliveries SET leased_until = now() WHERE state = 'leased'`)
  }
  await Promise.all(Array.from({ length: WORKERS }, () => valija.addWorker()))
  gone.untilMs = Date.now()
}

const countOf = async (sql: string) => (await valija.sql<{ count: number }>(sql))[0]!.count

/** Until nothing is left to tell; what failed is asked for again, as its owner would. */
async function untilAllTold(): Promise<void> {
  await until(
    'all events',
    async () => (await countOf(`SELECT count(*)::int AS count FROM valija.events WHERE ${WANTED}`)) >= EVENTS,
    timeFor(60_000),
  )
  await until(
    'an empty outbox',
    async () => {
      for (const { id } of endpoints) {
        const { status } = await valija.api('POST', `/webhooks/${id}/replay`, { failed: true })
        expect([202, 409]).toContain(status)
      }
      await delay(500)
      return (await countOf('SELECT count(*)::int AS count FROM valija.webhook_outbox')) === 0
    },
    timeFor(90_000),
  )
}

/** How long events waited before they were told, but for those of the time in which there was no worker. */
function lagsOf({ receiver }: Endpoint): number[] {
  const settledMs = gone.untilMs + (isLong ? 20_000 : 1_000)
  return [...receiver.taken.values()]
    .filter(({ atMs, lagMs }) => atMs < gone.fromMs || atMs - lagMs > settledMs)
    .map(({ lagMs }) => lagMs)
    .toSorted((a, b) => a - b)
}

/** The longest that an event had waited when it was told, in each ten seconds of the run; `|` where the workers were killed. */
function courseOf({ receiver }: Endpoint): string {
  const told = [...receiver.taken.values()]
  const startMs = Math.min(...told.map(({ atMs }) => atMs))
  const course: string[] = []
  for (const { atMs, lagMs } of told) {
    const index = Math.floor((atMs - startMs) / 10_000)
    course[index] = `${Math.max(Number(course[index] ?? 0), lagMs)}`
  }
  const killed = Math.floor((gone.fromMs - startMs) / 10_000)
  return Array.from(course, (ms, index) => `${index === killed ? '| ' : ''}${ms ?? '-'}`).join(' ')
}

/** How many events an endpoint was told while tries to others were held up: no more than were under way, if these stood in its way. */
function countToldBeside({ receiver }: Endpoint, others: Endpoint[]): number {
  const held = others.flatMap((other) => other.receiver.heldUp)
  return [...receiver.taken.values()].filter(({ atMs }) =>
    held.some(({ fromMs, untilMs }) => atMs > fromMs && atMs < untilMs),
  ).length
}

test(
  `${EVENTS} events to endpoints that die, stall, drip and refuse: none lost, all verify, the healthy one is told in time`,
  async () => {
    const healthy = await addEndpoint(null, () => 'take')
    const batch = { max_events: 100, max_wait_ms: 2_000 }
    const batching = await addEndpoint(
      null,
      (id, tries) => (tries === 1 && chanceOf(`${SEED} ${id}`) < 0.2 ? 500 : 'take'),
      { batch },
    )
    const rough = await Promise.all(['t0', 't1', 't2'].map((tag) => addEndpoint(tag, roughManners(tag))))

    // However slow this machine is, it comes: tries are held up for 15 s, and a dozen of them.
    const untilToldBeside = () =>
      until('the healthy one is told while others stall', () => countToldBeside(healthy, rough) > TOLD_BESIDE)
    const disasters: Promise<unknown>[] = []
    const dieAndRise = async ({ receiver }: Endpoint) => {
      await receiver.die()
      await delay(DEATH_MS)
      await receiver.rise()
    }
    await produce((count) => {
      const victim = rough[[0.2, 0.4, 0.7].findIndex((share) => count === Math.round(MAILS * share))]
      if (victim) disasters.push(dieAndRise(victim))
      if (count === Math.round(MAILS * 0.55)) disasters.push(untilToldBeside().then(killWorkers))
    })
    await Promise.all(disasters)
    await untilAllTold()

    const events = await valija.sql<{ id: string; tag: string }>(
      `SELECT 'evt_' || replace(id::text, '-', '') AS id, data -> 'tags' ->> 0 AS tag FROM valija.events WHERE ${WANTED}`,
    )
    expect(events).toHaveLength(EVENTS)
    for (const { id, receiver, tag } of endpoints) {
      const wanted = events.filter((event) => tag === null || event.tag === tag)
      expect(
        wanted.filter((event) => !receiver.taken.has(event.id)),
        `lost at ${tag ?? id}, seed ${SEED}`,
      ).toEqual([])
      expect(receiver.unverified).toEqual([])
      expect(receiver.changed).toEqual([])
      const { json } = await valija.api<{ status: string }>('GET', `/webhooks/${id}`)
      expect(json.status).toBe('enabled')
    }
    if (isLong) process.stderr.write(`healthy endpoint, the latest of each 10 s: ${courseOf(healthy)}\n`)
    const lags = lagsOf(healthy)
    const at = (share: number) => lags[Math.min(lags.length - 1, Math.floor(lags.length * share))]
    if (isLong)
      process.stderr.write(
        `${EVENTS} events, seed ${SEED}; healthy endpoint: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, p100 ${at(1)} ms of ${lags.length}; ` +
          `batches: ${batching.receiver.requests} requests; rough: ${rough.map(({ receiver }) => receiver.requests).join(', ')} requests\n`,
      )
    expect(lags.length).toBeGreaterThan(EVENTS / 20)
    if (isLong) expect(at(1)).toBeLessThan(PROMPT_MS)
    expect(batching.receiver.requests * 10).toBeLessThanOrEqual(EVENTS)
    const { json } = await valija.api<{ status: string; tries: unknown[] }>(
      'GET',
      `/webhooks/${rough[0]!.id}/deliveries/${events.find(({ tag }) => tag === 't0')!.id}`,
    )
    expect(json).toMatchObject({ status: 'delivered' })
    expect(json.tries.length).toBeGreaterThan(0)
  },
  timeFor(300_000),
)
