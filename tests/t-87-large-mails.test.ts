/**
 * Many of the largest mails at once: what an API has no room for it refuses for a moment, nothing is lost, and the memory of API and
 * worker has a bound. In its long form 20 mails of 40 MB.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type MailGauge, startMailGauge } from './support/mail-gauge.ts'
import { isLong, scaled, timeFor } from './support/scale.ts'
import { PATIENCE_MS, until } from './support/until.ts'
import { startValija, type Valija } from './support/valija.ts'

const MIB = 1024 * 1024
const COUNT = scaled(20, 6)
const MAIL_BYTES = (isLong ? 38 : 19) * MIB
/** The largest mail that is taken; from it follow the octets that an API has in its hands at once: three of them. */
const LIMIT_BYTES = (isLong ? 40 : 20) * MIB

/** Octets of request bodies that an API has in hand at once, and of large mails a worker; each is there in several forms. */
const BUDGET_MIB = (3 * 1.5 * LIMIT_BYTES) / MIB
const ROOM_MIB = 128

let gauge: MailGauge
let valija: Valija

beforeAll(async () => {
  gauge = await startMailGauge()
  valija = await startValija({
    queue: 'postgres',
    delivery: 'smarthost',
    smarthost: gauge,
    env: { VALIJA_MAX_MESSAGE_SIZE: `${LIMIT_BYTES}` },
  })
})
afterAll(async () => {
  await valija?.stop()
  await gauge?.stop()
})

/** The most memory that a process ever had, in MiB. */
const peakMib = (pid: number) =>
  Math.round(Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024)

type Told = { status: number; retryAfter: string | undefined; text: string }

/** A refusal closes the connection, which a client that is still writing may notice before it reads why. */
const CLOSED = new Set(['EPIPE', 'ECONNRESET'])

/** Posts the parts of a body one behind the other, without a copy that holds them all. Null: closed before an answer was read. */
function post(parts: Buffer[]): Promise<Told | null> {
  return new Promise((resolve, reject) => {
    const request = http.request(`${valija.url}/send`, {
      agent: false,
      method: 'POST',
      headers: {
        authorization: `Bearer ${valija.tenantKey}`,
        'content-type': 'application/json',
        'content-length': parts.reduce((sum, { length }) => sum + length, 0),
      },
    })
    request.on('error', (error: NodeJS.ErrnoException) =>
      CLOSED.has(error.code ?? '') ? resolve(null) : reject(error),
    )
    request.once('response', (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
      response
        .once('error', reject)
        .once('end', () =>
          resolve({ status: response.statusCode ?? 0, retryAfter: response.headers['retry-after'], text }),
        )
    })
    for (const part of parts) request.write(part)
    request.end()
  })
}

/** A mail to `to` with the attachment; base64 needs no escapes, so the rest of the JSON goes around it. */
function bodyOf(to: string, attachment: Buffer): Buffer[] {
  const mark = 'ATTACHMENT'
  const body = JSON.stringify(
    valija.mail({ to, attachments: [{ filename: 'scan.bin', content: mark }] }),
  ).split(mark)
  return [Buffer.from(body[0]!), attachment, Buffer.from(body[1]!)]
}

test(
  `${COUNT} mails of ${MAIL_BYTES / MIB} MiB posted at once through one API: each is taken, some after a 503, and delivered once, in bounded memory`,
  async () => {
    const attachment = Buffer.from(randomBytes(Math.floor((MAIL_BYTES * 0.73) / 3) * 3).toString('base64'))
    const atStart = { api: peakMib(valija.apis[0]!.pid), worker: peakMib(valija.workers[0]!.pid) }
    const refusals: (Told | null)[] = []
    const insist = async (to: string) => {
      const parts = bodyOf(to, attachment)
      for (const end = performance.now() + 2 * PATIENCE_MS; ; ) {
        const told = await post(parts)
        if (told?.status === 202) return
        refusals.push(told)
        if ((told && told.status !== 503) || performance.now() > end)
          throw new Error(`${to}: ${told?.status} ${told?.text}`)
        await delay(Number(told?.retryAfter ?? 1) * 1_000 * Math.random())
      }
    }
    const everybody = Array.from({ length: COUNT }, (_, index) => `r${index}@example.org`)
    await Promise.all(everybody.map(insist))
    await until('every mail', () => gauge.mails.length >= COUNT, timeFor(2 * PATIENCE_MS))
    const peak = { api: peakMib(valija.apis[0]!.pid), worker: peakMib(valija.workers[0]!.pid) }
    process.stdout.write(`${JSON.stringify({ atStart, peak, refusals: refusals.length })}\n`)

    expect(gauge.mails.map(({ to }) => to).toSorted()).toEqual(everybody.toSorted())
    for (const { octets } of gauge.mails) expect(octets).toBeGreaterThan(attachment.length)
    expect(refusals.length).toBeGreaterThan(0)
    for (const { retryAfter, text } of refusals.filter((told) => told !== null))
      expect([JSON.parse(text).code, retryAfter]).toEqual(['overloaded', expect.stringMatching(/^[1-9]\d?$/)])
    expect(peak.api - atStart.api).toBeLessThan(8 * BUDGET_MIB)
    expect(peak.worker - atStart.worker).toBeLessThan(8 * ROOM_MIB)
  },
  timeFor(240_000),
)
