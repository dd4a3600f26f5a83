/**
 * A storm of bounces, S9: reports come over many connections as fast as they are taken, half of them twice, while mail flows. Each is
 * applied once, in bounded memory; nobody who connects waits for the storm, and the mail beside it stays prompt. In its long form 100,000.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { createSealer } from '@valija/core'
import { returnPath } from '@valija/mail'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { percentile } from './support/fairness-world.ts'
import { type MailGauge, startMailGauge } from './support/mail-gauge.ts'
import { inParallel } from './support/message-life.ts'
import { bounceOf } from './support/report-mail.ts'
import { isLong, scaled, timeFor } from './support/scale.ts'
import { connectSmtp, type SmtpClient } from './support/smtp-client.ts'
import { PATIENCE_MS, until } from './support/until.ts'
import { expectStatus, SECRET_KEY, type Smtp, startValija, type Valija } from './support/valija.ts'

const COUNT = isLong ? scaled(100_000, 0) : 100
const PER_MESSAGE = 50
/** One peer may have 20 connections, and four reports of its under way. */
const PEERS = { count: isLong ? 4 : 2, lanes: isLong ? 8 : 3 }
/** Of the whole storm; of a machine that does nothing else, in the long form. */
const BOUNDS = isLong ? { mailMs: 2_000, greetingMs: 500 } : { mailMs: 15_000, greetingMs: 5_000 }
const MEMORY_MIB = 192
const BOUNCE_DOMAIN = 'bounce.example.test'

let gauge: MailGauge
let valija: Valija
let smtp: Smtp

beforeAll(async () => {
  gauge = await startMailGauge()
  valija = await startValija({
    queue: 'postgres',
    delivery: 'smarthost',
    smarthost: gauge,
    env: { VALIJA_BOUNCE_DOMAIN: BOUNCE_DOMAIN },
  })
  smtp = await valija.addSmtp()
}, 180_000)
afterAll(async () => {
  await valija?.stop()
  await gauge?.stop()
})

type Delivered = { messageId: string; rfcMessageId: string; email: string; ordinal: number }

/** Mail that has been delivered, to as many addresses. */
async function deliverAll(): Promise<Delivered[]> {
  const each = Array.from({ length: COUNT / PER_MESSAGE }, (_, message) =>
    valija.mail({
      to: Array.from({ length: PER_MESSAGE }, (_, at) => `r${message * PER_MESSAGE + at}@storm.test`),
    }),
  )
  await inParallel(Math.ceil(each.length / 20), 4, async (batch) => {
    const messages = each.slice(batch * 20, batch * 20 + 20)
    expectStatus(await valija.api('POST', '/send/batch', { messages }), 202)
  })
  await until(
    'all to be on record as delivered',
    async () => (await countOf('delivered')) === COUNT,
    timeFor(PATIENCE_MS),
  )
  return valija.sql<Delivered>(
    `SELECT replace(r.message_id::text, '-', '') AS "messageId", m.rfc_message_id AS "rfcMessageId", r.email, r.ordinal
     FROM valija.recipients AS r JOIN valija.messages AS m ON m.id = r.message_id`,
  )
}

const countOf = async (status: string) =>
  (
    await valija.sql<{ n: number }>(
      'SELECT count(*)::int AS n FROM valija.recipients WHERE status = $1 AND domain = $2',
      [status, 'storm.test'],
    )
  )[0]!.n

const secret = createSealer([SECRET_KEY]).signingKeys('return path')[0]!
const day = Math.floor(Date.now() / 86_400_000)

type Report = { to: string; raw: string }

/** What its receiver writes when it does not want it after all: the same octets each time. */
function reportOf({ messageId, rfcMessageId, email, ordinal }: Delivered): Report {
  const to = returnPath({ messageId, ordinal, day }, secret, BOUNCE_DOMAIN)
  const text = `From: Acme <hi@acme.test>\r\nTo: ${email}\r\nMessage-ID: ${rfcMessageId}\r\n\r\nIt works.`
  const raw = bounceOf({ from: to, to: [email], text } as Parameters<typeof bounceOf>[0])
  return { to, raw: raw.replaceAll(/report-\d+-\d+/g, `report-${messageId}-${ordinal}`) }
}

async function handIn(client: SmtpClient, { to, raw }: Report): Promise<string> {
  for (const line of ['MAIL FROM:<>', `RCPT TO:<${to}>`, 'DATA']) {
    const reply = await client.say(line)
    if (!/^[23]/.test(reply)) return reply
  }
  return client.say(`${raw}\r\n.`)
}

const peakMib = (pid: number) =>
  Math.round(Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024)

/** Does something again and again until it is stopped; how long it took each time. */
function again(everyMs: number, work: (index: number) => Promise<number>) {
  let isOver = false
  const took: number[] = []
  const running = (async () => {
    for (let index = 0; !isOver; index += 1) {
      took.push(await work(index))
      await delay(everyMs)
    }
  })()
  running.catch(() => undefined) // told by whoever ends it
  return async () => {
    isOver = true
    await running
    return took
  }
}

/** From the request to its arrival. */
async function sendOne(index: number): Promise<number> {
  const to = `beside${index}@example.org`
  const [startedMs, arrival] = [performance.now(), gauge.arrivalOf(to)]
  expectStatus(await valija.api('POST', '/send', valija.mail({ to })), 202)
  return (await arrival) - startedMs
}

async function greetOne(): Promise<number> {
  const startedMs = performance.now()
  const client = await connectSmtp(smtp.port, '127.0.0.1', '127.0.0.99')
  expect(client.greeting).toMatch(/^220/)
  client.end()
  return performance.now() - startedMs
}

test(
  `${COUNT} bounces, half of them twice, are applied once each, in bounded memory, and mail beside them is prompt`,
  async () => {
    const delivered = await deliverAll()
    const atStartMib = peakMib(smtp.process.pid)
    const [endMail, endGreetings] = [again(100, sendOne), again(100, greetOne)]
    // The second ones come while the first ones do, and some at the same moment.
    const work = delivered.flatMap((mail, index) => (index % 2 === 0 ? [mail, mail] : [mail]))
    let [next, refused] = [0, 0]
    const startedMs = performance.now()
    await inParallel(PEERS.count * PEERS.lanes, PEERS.count * PEERS.lanes, async (lane) => {
      const client = await connectSmtp(smtp.port, '127.0.0.1', `127.0.0.${100 + (lane % PEERS.count)}`)
      await client.say('EHLO relay.example.test')
      for (let mail = work[next++]; mail !== undefined; mail = work[next++]) {
        const report = reportOf(mail)
        let reply = await handIn(client, report)
        for (; /^4(?!21)/.test(reply); reply = await handIn(client, report)) {
          refused += 1
          await client.say('RSET')
          await delay(100)
        }
        expect(reply).toMatch(/^250/)
      }
      client.end()
    })
    const tookS = (performance.now() - startedMs) / 1_000
    const [mailMs, greetingMs] = [await endMail(), await endGreetings()]
    const figures = {
      reports: work.length,
      perSecond: Math.round(work.length / tookS),
      askedToComeAgain: refused,
      mails: mailMs.length,
      mailMs: [percentile(mailMs, 0.5), percentile(mailMs, 0.99), Math.max(...mailMs)].map(Math.round),
      greetingMs: [percentile(greetingMs, 0.5), percentile(greetingMs, 0.99), Math.max(...greetingMs)].map(
        Math.round,
      ),
      memoryMib: [atStartMib, peakMib(smtp.process.pid)],
    }
    process.stdout.write(`${JSON.stringify(figures)}\n`)

    expect(await countOf('bounced')).toBe(COUNT)
    const [told] = await valija.sql(
      `SELECT (SELECT count(*)::int FROM valija.events WHERE type = 'message.bounced') AS events,
         (SELECT count(DISTINCT data ->> 'recipient_id')::int FROM valija.events WHERE type = 'message.bounced') AS recipients,
         (SELECT count(*)::int FROM valija.taken_reports) AS reports,
         (SELECT count(*)::int FROM valija.suppressions WHERE reason = 'mailbox_unknown') AS suppressions`,
    )
    expect(told).toEqual({ events: COUNT, recipients: COUNT, reports: COUNT, suppressions: COUNT })
    expect(percentile(mailMs, 0.99)).toBeLessThan(BOUNDS.mailMs)
    expect(percentile(greetingMs, 0.99)).toBeLessThan(BOUNDS.greetingMs)
    expect(peakMib(smtp.process.pid) - atStartMib).toBeLessThan(MEMORY_MIB)
  },
  timeFor(120_000),
)
