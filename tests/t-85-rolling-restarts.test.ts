/**
 * Rolling restarts under load: behind a balancer that repeats what nobody has begun to answer, a sender sees none of them; no mail is
 * lost and none comes twice. N15, in its long form 20 rounds on either queue, and with two `smtp` processes that take mail as well.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import http from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Balancer, startBalancer } from './support/balancer.ts'
import { certificate } from './support/certificate.ts'
import { countEach } from './support/message-life.ts'
import type { Running } from './support/processes.ts'
import { isLong, scaled, timeFor } from './support/scale.ts'
import { after, type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { createSubmitter, type Repeats } from './support/submitter.ts'
import { until } from './support/until.ts'
import { type Api, queueBackends, type Smtp, startValija, type Valija } from './support/valija.ts'

const ROUNDS = scaled(20, 2)
const LANES = 6
/** Programs that send by SMTP. */
const SUBMITTERS = isLong ? 3 : 0
/** Between two mails of a lane: the load is there to be interrupted, not to fill the machine. */
const PAUSE_MS = 40
/** The promise for a process whose exchangers are idle. */
const EXIT_MS = 30_000

let peer: SmtpPeer
let valija: Valija
let balancer: Balancer
let workers: Running[]
let apis: Pick<Api, 'url' | 'process'>[]
/** Two in the long form, none in the short one. */
let smtps: Smtp[]
/** Where these listen. */
let submissionPorts: number[]
let tls: Record<string, string>

/** A certificate for the `smtp` processes; gives what removes it. */
async function writeCertificate(): Promise<() => Promise<void>> {
  const folder = await mkdtemp(path.join(tmpdir(), 'valija-rolling-'))
  const { cert, key } = await certificate()
  tls = { VALIJA_TLS_CERT: path.join(folder, 'cert.pem'), VALIJA_TLS_KEY: path.join(folder, 'key.pem') }
  await writeFile(tls.VALIJA_TLS_CERT!, cert)
  await writeFile(tls.VALIJA_TLS_KEY!, key)
  return () => rm(folder, { recursive: true, force: true })
}

/** Mail through the balancer, and by SMTP, until it is told to end; gives what was answered, by recipient. */
function keepPosting(repeats: Repeats) {
  const answers = new Map<string, string>()
  let isStopped = false
  const lane = async (name: string, send: (to: string) => Promise<string>) => {
    for (let count = 0; !isStopped; count += 1) {
      const to = `${name}n${count}@example.org`
      answers.set(to, await send(to))
      await delay(PAUSE_MS)
    }
  }
  const post = async (to: string) =>
    `${(await balancer.post('/send', JSON.stringify(valija.mail({ to })), to)).status}`
  const submitters = Array.from({ length: SUBMITTERS }, () =>
    createSubmitter(submissionPorts, valija.tenantKey, repeats),
  )
  const lanes = [
    ...Array.from({ length: LANES }, (_, number) => lane(`l${number}`, post)),
    ...submitters.map(({ send }, number) =>
      lane(`s${number}`, async (to) => (await send(to)).slice(0, '250'.length)),
    ),
  ]
  for (const each of lanes) each.catch(() => undefined) // told by stop
  return {
    answers,
    stop: async () => {
      isStopped = true
      await Promise.all(lanes)
      for (const submitter of submitters) submitter.end()
    },
  }
}

/** How long a process took to end, which it must do by itself and with 0. */
async function end(process: Running): Promise<number> {
  const startedMs = performance.now()
  expect(await process.stop(EXIT_MS)).toEqual({ code: 0, signal: null })
  return performance.now() - startedMs
}

/** One of each kind of process, one after the other in their own pace; the others carry on meanwhile. */
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
  const restartSmtp = async (old: Smtp) => {
    const tookMs = await end(old.process)
    const next = await valija.addSmtp(tls)
    smtps[place] = next
    submissionPorts[place] = next.submission
    return tookMs
  }
  return Promise.all([restartApi(), restartWorker(), ...smtps.slice(place, place + 1).map(restartSmtp)])
}

const queues = isLong ? queueBackends() : queueBackends().slice(0, 1)

describe.skipIf(queues.some(({ isAbsent }) => isAbsent)).each(queues)(
  'with the queue in $queue',
  ({ queue }) => {
    let removeCertificate: () => Promise<void>
    beforeAll(async () => {
      peer = await startSmtpPeer({ script: { body: () => after(50, '250 2.0.0 taken') } })
      removeCertificate = await writeCertificate()
      valija = await startValija({ apis: 2, workers: 2, queue, delivery: 'smarthost', smarthost: peer })
      workers = [...valija.workers]
      apis = valija.apis.map((process, index) => ({ process, url: valija.urls[index]! }))
      smtps = isLong ? await Promise.all([valija.addSmtp(tls), valija.addSmtp(tls)]) : []
      submissionPorts = smtps.map(({ submission }) => submission)
      balancer = startBalancer([...valija.urls], valija.tenantKey)
    })
    afterAll(async () => {
      balancer?.stop()
      await valija?.stop()
      await peer?.stop()
      await removeCertificate?.()
    })

    test(
      `${ROUNDS} rolling restarts under load: every request ends in a 202 or 250, every mail arrives once`,
      () => restartAll(queue),
      timeFor(180_000),
    )

    test(
      'an API that is told to stop answers what it has begun to read, and says that it closes the connection',
      stopWhileRead,
    )
  },
)

async function restartAll(queue: string): Promise<void> {
  const repeats: Repeats = { unreached: 0, putOff: 0, cut: 0, takenUntold: 0 }
  const load = keepPosting(repeats)
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
  const answered = countEach(load.answers.values())
  const submitted = answered.get('250') ?? 0
  const slowestExitMs = Math.round(Math.max(...exitsMs))
  const figures = { queue, count, ...balancer.repeated, submitted, ...repeats, slowestExitMs }
  if (isLong) process.stdout.write(`${JSON.stringify(figures)}\n`)
  expect((answered.get('202') ?? 0) + submitted, JSON.stringify([...answered])).toBe(count)
  // What a process has begun it ends: only connections on which nothing was under way are closed.
  expect(balancer.repeated).toMatchObject({ cutInWork: 0, unavailableKeptOpen: 0 })
  expect(repeats).toMatchObject({ takenUntold: 0 })
  // Who sends by SMTP met every restart of its process.
  if (isLong) expect(repeats.putOff + repeats.unreached).toBeGreaterThan(ROUNDS)

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
}

async function stopWhileRead(): Promise<void> {
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
}
