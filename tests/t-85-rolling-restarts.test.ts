/**
 * Rolling restarts under load: behind a balancer that repeats what nobody has begun to answer, a sender sees none of them; no mail is
 * lost and none comes twice. N15, in its long form 20 rounds.
 */
import http from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Balancer, startBalancer } from './support/balancer.ts'
import { countEach } from './support/message-life.ts'
import type { Running } from './support/processes.ts'
import { isLong, scaled, timeFor } from './support/scale.ts'
import { after, type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { until } from './support/until.ts'
import { type Api, startValija, type Valija } from './support/valija.ts'

const ROUNDS = scaled(20, 2)
const LANES = 6
/** Between two mails of a lane: the load is there to be interrupted, not to fill the machine. */
const PAUSE_MS = 40
/** The promise for a process whose exchangers are idle. */
const EXIT_MS = 30_000

let peer: SmtpPeer
let valija: Valija
let balancer: Balancer
let workers: Running[]
let apis: Pick<Api, 'url' | 'process'>[]

beforeAll(async () => {
  peer = await startSmtpPeer({ script: { body: () => after(50, '250 2.0.0 taken') } })
  valija = await startValija({
    apis: 2,
    workers: 2,
    queue: 'postgres',
    delivery: 'smarthost',
    smarthost: peer,
  })
  workers = [...valija.workers]
  apis = valija.apis.map((process, index) => ({ process, url: valija.urls[index]! }))
  balancer = startBalancer([...valija.urls], valija.tenantKey)
})
afterAll(async () => {
  balancer?.stop()
  await valija?.stop()
  await peer?.stop()
})

/** Mail through the balancer until it is told to end; gives what was answered, by recipient. */
function keepPosting() {
  const answers = new Map<string, number>()
  let isStopped = false
  const lane = async (number: number) => {
    for (let count = 0; !isStopped; count += 1) {
      const to = `l${number}n${count}@example.org`
      const { status } = await balancer.post('/send', JSON.stringify(valija.mail({ to })), to)
      answers.set(to, status)
      await delay(PAUSE_MS)
    }
  }
  const lanes = Array.from({ length: LANES }, (_, number) => lane(number))
  for (const each of lanes) each.catch(() => undefined) // told by stop
  return {
    answers,
    stop: async () => {
      isStopped = true
      await Promise.all(lanes)
    },
  }
}

/** How long a process took to end, which it must do by itself and with 0. */
async function end(process: Running): Promise<number> {
  const startedMs = performance.now()
  expect(await process.stop(EXIT_MS)).toEqual({ code: 0, signal: null })
  return performance.now() - startedMs
}

/** One API and one worker, one after the other in their own pace; the others carry on meanwhile. */
async function restart(place: number): Promise<number[]> {
  const restartApi = async () => {
    const tookMs = await end(apis[place]!.process)
    apis[place] = await valija.addApi()
    balancer.urls[place] = apis[place].url
    return tookMs
  }
  const restartWorker = async () => {
    const tookMs = await end(workers[place]!)
    workers[place] = await valija.addWorker()
    return tookMs
  }
  return Promise.all([restartApi(), restartWorker()])
}

test(
  `${ROUNDS} rolling restarts of two APIs and two workers under load: every request ends in a 202, every mail arrives once`,
  async () => {
    const load = keepPosting()
    const exitsMs: number[] = []
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const place of [0, 1]) {
        const before = load.answers.size
        await until('load', () => load.answers.size > before + LANES)
        exitsMs.push(...(await restart(place)))
      }
    }
    await load.stop()

    const count = load.answers.size
    expect(countEach([...load.answers.values()].map(String))).toEqual(new Map([['202', count]]))
    const figures = { count, ...balancer.repeated, slowestExitMs: Math.round(Math.max(...exitsMs)) }
    if (isLong) process.stdout.write(`${JSON.stringify(figures)}\n`)
    // What a process has begun it ends: only connections on which nothing was under way are closed.
    expect(balancer.repeated).toMatchObject({ cutInWork: 0, unavailableKeptOpen: 0 })

    const counted = () =>
      valija.sql<{ status: string; attempts: number; count: number }>(
        'SELECT status, attempts, count(*)::int AS count FROM valija.recipients GROUP BY 1, 2',
      )
    await until('every mail is delivered', async () =>
      (await counted()).every(({ status }) => status === 'delivered'),
    )
    expect(await counted()).toEqual([{ status: 'delivered', attempts: 1, count }])
    const arrivals = countEach(peer.mails.flatMap(({ to }) => to))
    expect(arrivals.size).toBe(count)
    expect(Math.max(...arrivals.values())).toBe(1)
  },
  timeFor(180_000),
)

test('an API that is told to stop answers what it has begun to read, and says that it closes the connection', async () => {
  const { url, process } = await valija.addApi()
  const body = JSON.stringify(valija.mail({ to: 'late@example.org' }))
  const agent = new http.Agent({ keepAlive: true })
  const request = http.request(`${url}/send`, {
    agent,
    method: 'POST',
    headers: {
      authorization: `Bearer ${valija.tenantKey}`,
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      expect: '100-continue', // tells when the head has been read
    },
  })
  const answered = new Promise<http.IncomingMessage>((resolve, reject) => {
    request.once('response', resolve).once('error', reject)
  })
  request.flushHeaders()
  await new Promise((resolve) => request.once('continue', resolve))
  request.write(body.slice(0, 10))
  process.signal('SIGTERM')
  await process.line('stopping')
  request.end(body.slice(10))
  const answer = await answered
  answer.resume()
  expect([answer.statusCode, answer.headers.connection]).toEqual([202, 'close'])
  expect(await process.ended).toEqual({ code: 0, signal: null })
  agent.destroy()
  await until('its mail', () => peer.mails.some(({ to }) => to[0] === 'late@example.org'))
})
