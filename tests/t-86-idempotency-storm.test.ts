/**
 * Many clients repeat many requests at once, at two APIs, and lose their connections at any moment: one message and one answer for each
 * Idempotency-Key. N3, in its long form 1,000 keys.
 */
import http from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { countEach, inParallel } from './support/message-life.ts'
import { isLong, scaled, timeFor } from './support/scale.ts'
import { type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { PATIENCE_MS, until } from './support/until.ts'
import { startValija, type Valija } from './support/valija.ts'

const KEYS = scaled(1_000, 30)
const CLIENTS = 10
/** Keys at a time: 200 connections. */
const WIDTH = 20
/** Of each key's clients these lose their connection, up to so long after the request is written. */
const CUT_CLIENTS = 4
const CUT_WITHIN_MS = 60

let peer: SmtpPeer
let valija: Valija

beforeAll(async () => {
  peer = await startSmtpPeer()
  valija = await startValija({
    apis: 2,
    workers: 1,
    queue: 'postgres',
    delivery: 'smarthost',
    smarthost: peer,
  })
})
afterAll(async () => {
  await valija?.stop()
  await peer?.stop()
})

type Told = { status: number; text: string; isReplay: boolean }

/** One post on a connection of its own; with `cutAfterMs` the connection is reset so long after the whole request was written. */
function post(url: string, key: string, body: string, cutAfterMs?: number): Promise<Told | 'cut'> {
  return new Promise((resolve, reject) => {
    let isCut = false
    const request = http.request(`${url}/send`, {
      agent: false,
      method: 'POST',
      headers: {
        authorization: `Bearer ${valija.tenantKey}`,
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        'idempotency-key': key,
      },
    })
    const cut = () => {
      isCut = true
      request.socket?.resetAndDestroy()
      request.destroy()
      resolve('cut')
    }
    request.once('finish', () => {
      if (cutAfterMs !== undefined) setTimeout(cut, cutAfterMs)
    })
    request.on('error', (error) => {
      if (!isCut) reject(error)
    })
    request.once('response', (response) => {
      const chunks: Buffer[] = []
      response.on('error', () => undefined) // a cut, told above
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.once('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          text: Buffer.concat(chunks).toString(),
          isReplay: response.headers['idempotency-replayed'] === 'true',
        }),
      )
    })
    request.end(body)
  })
}

const isToRepeat = ({ status, text }: Told) =>
  status === 503 || (status === 409 && text.includes('"idempotency_in_progress"'))

/** Counted for the figures: how often the storm did what it is for. */
const seen = { cut: 0, repeated: 0, replayed: 0 }

/** A client that does not give up: repeats at the other API until it is told something to keep. */
async function insist(index: number, key: string, body: string): Promise<string> {
  let cutAfterMs = index < CUT_CLIENTS ? Math.random() * CUT_WITHIN_MS : undefined
  const end = performance.now() + PATIENCE_MS
  for (let turn = index; ; turn += 1) {
    const told = await post(valija.urls[turn % 2]!, key, body, cutAfterMs)
    cutAfterMs = undefined
    if (told === 'cut') seen.cut += 1
    else if (!isToRepeat(told)) {
      if (told.isReplay) seen.replayed += 1
      return `${told.status} ${told.text}`
    } else seen.repeated += 1
    if (performance.now() > end) throw new Error(`no answer to keep for ${key}`)
    await delay(50)
  }
}

test(
  `${KEYS} keys, ${CLIENTS} posts of each at once at two APIs, with connections reset at random: a message and an answer for each key`,
  async () => {
    const answers = await inParallel(KEYS, WIDTH, (number) => {
      const key = `key${number}`
      const body = JSON.stringify(valija.mail({ to: `${key}@example.org` }))
      return Promise.all(Array.from({ length: CLIENTS }, (_, index) => insist(index, key, body)))
    })
    if (isLong) process.stdout.write(`${JSON.stringify(seen)}\n`)
    const differing = answers.map((each) => new Set(each)).filter(({ size }) => size > 1)
    expect(differing).toEqual([])
    expect(answers.filter(([first]) => !first?.startsWith('202 '))).toEqual([])
    expect(seen.cut).toBeGreaterThan(0)

    const [messages] = await valija.sql<{ count: number }>(
      'SELECT count(*)::int AS count FROM valija.messages',
    )
    expect(messages).toEqual({ count: KEYS })
    await until('every mail has ended', async () => {
      const [live] = await valija.sql<{ count: number }>(
        `SELECT count(*)::int AS count FROM valija.recipients WHERE status <> 'delivered'`,
      )
      return live?.count === 0
    })
    const arrivals = countEach(peer.mails.flatMap(({ to }) => to))
    expect([arrivals.size, Math.max(...arrivals.values())]).toEqual([KEYS, 1])
  },
  timeFor(120_000),
)
