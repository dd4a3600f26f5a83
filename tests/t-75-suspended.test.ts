/**
 * Two long accidents, at the same time so that they share one wait of 30 s:
 *
 *   suspended   the machine sleeps: every process of ours is stopped for longer than leases last, and goes on
 *   dead        a worker is killed while it has the only connection that a site allows
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startInternet } from './support/internet.ts'
import {
  allEnded,
  countEach,
  inParallel,
  type MessageView,
  post,
  untilEnded,
} from './support/message-life.ts'
import { type SmtpPeer, silence, startSmtpPeer } from './support/smtp-peer.ts'
import { until } from './support/until.ts'
import { expectStatus, startValija, type Valija } from './support/valija.ts'
import { startWebhookReceiver, type WebhookReceiver } from './support/webhook-receiver.ts'

/** Leases and places last so long. */
const LEASE_MS = 30_000
const REPAIR_MS = 60_000

const closers: (() => Promise<unknown>)[] = []
const at = (name: string, domain = 'example.org') => `${name}@${domain}`

type Suspended = {
  valija: Valija
  peer: SmtpPeer
  receiver: WebhookReceiver
  /** `held` was in conversation when the machine went to sleep, `due` came due meanwhile, `next` was posted after it. */
  messages: Map<string, MessageView>
  /** From the resume to the end of the last. */
  tookMs: number
  ends: { code: number | null; signal: NodeJS.Signals | null }[]
}

let suspended: Suspended

async function suspend(): Promise<Suspended> {
  const [peer, receiver] = await Promise.all([startSmtpPeer(), startWebhookReceiver()])
  closers.push(() => Promise.all([peer.stop(), receiver.stop()]))
  const valija = await startValija({
    queue: 'postgres',
    delivery: 'smarthost',
    smarthost: peer,
    workers: 2,
    env: { VALIJA_ALLOW_NETWORKS: '127.0.0.0/8' },
  })
  closers.push(() => valija.stop())
  const endpoint = { url: receiver.url, events: ['message.delivered'] }
  receiver.secret = expectStatus(
    await valija.api<{ secret: string }>('POST', '/webhooks', endpoint),
    201,
  ).json.secret
  const ours = [...valija.apis, ...valija.workers]
  const ids = new Map<string, string>()
  const send = async (name: string, fields: Record<string, unknown> = {}) =>
    void ids.set(name, await post(valija.api, valija.mail({ to: at(name), ...fields })))
  let isAsleep = false
  peer.script = {
    // The answer to DATA then waits in its worker's socket.
    data: ({ to }) => {
      if (isAsleep || to[0] !== at('held')) return undefined
      isAsleep = true
      for (const process of ours) process.pause()
      return undefined
    },
  }
  const sendAt = new Date(Date.now() + 8_000).toISOString()
  await inParallel(3, 3, (index) => send(`due${index}`, { send_at: sendAt }))
  await send('held')
  await until('the machine asleep', () => isAsleep)
  const isOver = async () => {
    const rows = await valija.sql(
      `SELECT FROM valija.deliveries
       WHERE message_id = $1 AND state = 'leased' AND leased_until < now() - interval '3 s'`,
      [ids.get('held')!.replace('msg_', '')],
    )
    return rows.length === 1
  }
  await until('a lease that ran out', isOver, LEASE_MS + 10_000)
  for (const process of ours) process.resume()
  const resumedMs = performance.now()
  await send('next')
  const messages = new Map<string, MessageView>()
  for (const [name, id] of ids) messages.set(name, await untilEnded(valija.api, id, REPAIR_MS))
  const tookMs = performance.now() - resumedMs
  await receiver.received(ids.size)
  const ends = await Promise.all(ours.map((process) => process.stop()))
  return { valija, peer, receiver, messages, tookMs, ends }
}

type Dead = {
  peer: SmtpPeer
  messages: MessageView[]
  /** From the kill to the first mail that another worker got through. */
  freedMs: number
  highestOpen: number
}

let dead: Dead

async function dieWithConnection(): Promise<Dead> {
  const internet = await startInternet()
  const folder = await mkdtemp(path.join(os.tmpdir(), 'valija-places-'))
  closers.push(
    () => internet.stop(),
    () => rm(folder, { recursive: true, force: true }),
  )
  await writeFile(
    path.join(folder, 'shaping.yaml'),
    'providers:\n  narrow: { mx: [narrow.test], connections: 1 }\n',
  )
  const peer = await internet.site('narrow.test')
  const valija = await startValija({
    queue: 'postgres',
    delivery: 'mx',
    internet,
    env: { VALIJA_DATA_DIR: folder, VALIJA_EHLO_NAME: 'dead.test' },
  })
  closers.push(() => valija.stop())
  let highestOpen = 0
  const connect = () => {
    highestOpen = Math.max(highestOpen, peer.open())
    return undefined
  }
  peer.script = { connect, rcpt: silence() }
  const ids = [await post(valija.api, valija.mail({ to: at('first', 'narrow.test') }))]
  await until('the only connection', () => peer.transcript.some((line) => line.includes('RCPT')))
  peer.script = { connect }
  await valija.addWorker({ VALIJA_EHLO_NAME: 'alive.test' })
  // Until the other worker has one in hand, and no place to send it from.
  const isWaiting = async () => {
    ids.push(await post(valija.api, valija.mail({ to: at(`more${ids.length}`, 'narrow.test') })))
    return (await valija.sql('SELECT FROM valija.shaping_permits WHERE wanted_since IS NOT NULL')).length > 0
  }
  await until('the other worker waits for a place', isWaiting)
  await valija.workers[0]!.kill()
  const killedMs = performance.now()
  await peer.received(1, LEASE_MS + 20_000)
  const freedMs = performance.now() - killedMs
  const messages = await allEnded(valija.api, ids, REPAIR_MS)
  return { peer, messages, freedMs, highestOpen }
}

beforeAll(async () => {
  ;[suspended, dead] = await Promise.all([suspend(), dieWithConnection()])
}, 180_000)

afterAll(async () => {
  for (const close of closers.reverse()) await close()
})

describe('a machine that was suspended for longer than leases last', () => {
  test('loses no mail and sends none twice: what was in conversation, what came due meanwhile, and what comes after', () => {
    const { messages, peer } = suspended
    expect(countEach([...messages.values()].map(({ status }) => status))).toEqual(
      new Map([['delivered', messages.size]]),
    )
    const arrived = countEach(peer.mails.flatMap(({ to }) => to))
    expect(arrived).toEqual(new Map([...messages.keys()].map((name) => [at(name), 1])))
    expect(peer.refused).toEqual([])
  })

  test('goes on by itself within seconds', () => {
    expect(suspended.tookMs).toBeLessThan(20_000)
  })

  test('has one attempt and one end of each on record, and tells each end once', async () => {
    const { receiver, messages } = suspended
    const told = countEach(receiver.calls.map(({ json }) => String((json.data as { email: string }).email)))
    expect(told).toEqual(new Map([...messages.keys()].map((name) => [at(name), 1])))
    for (const { recipients } of messages.values()) expect(recipients[0]!.attempts).toBe(1)
  })

  test('has ended none of its processes for having stood still: each stops in peace when it is asked to', () => {
    expect(suspended.ends).toEqual(suspended.ends.map(() => ({ code: 0, signal: null })))
  })
})

describe('a worker that died with the only connection to a limited site', () => {
  test('keeps it from the others for 30 s after its last word and not longer', () => {
    expect(dead.freedMs).toBeLessThan(LEASE_MS + 10_000)
    // Its last word was at most 10 s old. Sooner would mean that its place was not counted.
    expect(dead.freedMs).toBeGreaterThan(LEASE_MS - 12_000)
  })

  test('costs no mail more than time: each arrives once, over one connection at a time', () => {
    const { messages, peer, highestOpen } = dead
    expect(countEach(messages.map(({ status }) => status))).toEqual(new Map([['delivered', messages.length]]))
    const arrived = countEach(peer.mails.flatMap(({ to }) => to))
    expect([arrived.size, Math.max(...arrived.values())]).toEqual([messages.length, 1])
    expect(new Set(peer.mails.map(({ helo }) => helo))).toEqual(new Set(['alive.test']))
    expect(highestOpen).toBe(1)
  })
})
