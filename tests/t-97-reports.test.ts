/**
 * Aggregate reports that come to a domain's address: shown by GET /domains/:id/reports, once each, to the tenant whose domain they are
 * about; and what is made to fill memory or time is survived.
 */
import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { createSealer, parseId } from '@valija/core'
import { domainReportAddress, messageToken } from '@valija/mail'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { deflatedRepeats, dmarcXml, gzipOf, reportMail, tlsJson, zip } from './support/domain-reports.ts'
import type { Running } from './support/processes.ts'
import { handIn } from './support/smtp-client.ts'
import {
  type Call,
  expectStatus,
  SECRET_KEY,
  startValija,
  type TestTenant,
  type Valija,
} from './support/valija.ts'

const secret = createSealer([SECRET_KEY]).signingKeys('return path')[0]!
/** Where the domain's DMARC record, as we want it, sends reports. */
async function addressOf(call: Call, domainId: string): Promise<string> {
  const domain = await call<{ records: { purpose: string; value: string }[] }>('GET', `/domains/${domainId}`)
  const record = expectStatus(domain, 200).json.records.find(({ purpose }) => purpose === 'dmarc')!
  return /rua=mailto:(r-[a-z2-7]+@bounces\.ours\.test)$/.exec(record.value)![1]!
}

/** Yesterday in UTC. */
const begin = (Math.floor(Date.now() / 86_400_000) - 1) * 86_400
const day = new Date(begin * 1000).toISOString().slice(0, 10)
const xml = (id: string, more: object = {}) =>
  dmarcXml([{ count: 7 }], { begin, end: begin + 86_399, id, ...more })

let valija: Valija
let smtp: { process: Running; port: number }
let rival: TestTenant

beforeAll(async () => {
  valija = await startValija({
    workers: 0,
    queue: 'postgres',
    delivery: 'capture',
    env: { VALIJA_BOUNCE_DOMAIN: 'bounces.ours.test' },
  })
  smtp = await valija.addSmtp()
  rival = await valija.addTenant('rival', 'rival.test')
})
afterAll(() => valija?.stop())

async function addDomain(name: string): Promise<string> {
  const body = { name, vouched: true }
  const made = await valija.admin<{ id: string }>('POST', '/domains', body, {
    'valija-tenant': valija.tenantId,
  })
  return expectStatus(made, 201).json.id
}

interface Shown {
  data: { day: string; dmarc: { reports: number; messages: number } | null; tls: object | null }[]
  totals: { dmarc: { reports: number; messages: number } | null; tls: object | null }
}
const shownTo = async (call: Call, id: string) =>
  expectStatus(await call<Shown>('GET', `/domains/${id}/reports`), 200).json

test('reports in gzip and zip, of DMARC and TLS, are shown by day, and each counts once however often and however packed it comes', async () => {
  const id = await addDomain('once.test')
  const to = (await addressOf(valija.api, id)).toUpperCase()
  const report = Buffer.from(xml('a', { domain: 'once.test' }))
  const expired = [{ 'result-type': 'certificate-expired', 'failed-session-count': 2 }]
  const mails = [
    reportMail(to, gzipSync(report)),
    reportMail(to, gzipSync(report)),
    reportMail(to, zip([report]), 'zip'),
    reportMail(to, zip([Buffer.from(xml('b', { domain: 'mail.once.test', reporter: 'gmx.net' }))]), 'zip'),
    reportMail(to, gzipSync(tlsJson(expired, { domain: 'once.test', day })), 'json.gz'),
  ]
  const replies = await Promise.all(mails.map((mail) => handIn(smtp.port, to, mail)))
  expect(replies.map((reply) => reply.slice(0, 3))).toEqual(mails.map(() => '250'))
  const { data, totals } = await shownTo(valija.api, id)
  expect(data).toMatchObject([
    {
      day,
      dmarc: { reports: 2, messages: 14, pass_share: 1 },
      tls: { sessions: 7, failed: 2, failures: [{ reason: 'certificate-expired', sessions: 2 }] },
    },
  ])
  expect(totals).toMatchObject({ dmarc: { reports: 2, messages: 14 } })
  await smtp.process.line('"reporter":"gmx.net"')
})

describe('nothing is changed by a report', () => {
  const nothing = { data: [], next_cursor: null, totals: { dmarc: null, tls: null } }

  test('to an address that we did not sign, which is refused', async () => {
    const id = await addDomain('signed.test')
    const real = await addressOf(valija.api, id)
    const stranger = Buffer.from('another key, which is long enough')
    const forged = [
      domainReportAddress(parseId('domain', id)!, stranger, 'bounces.ours.test'),
      real.replace(/.@/, (end) => (end === 'a@' ? 'b@' : 'a@')),
    ]
    for (const to of [...forged, 'dmarc@bounces.ours.test']) {
      expect(
        await handIn(smtp.port, to, reportMail(to, gzipSync(xml('x', { domain: 'signed.test' })))),
      ).toMatch(/^550 5\.1\.1/)
    }
    expect(await shownTo(valija.api, id)).toEqual(nothing)
  })

  test('to an address of ours of another kind', async () => {
    const id = await addDomain('kind.test')
    const token = messageToken({ messageId: '0'.repeat(32), day: Math.floor(begin / 86_400) }, secret)
    const to = `${token}@bounces.ours.test`
    expect(await handIn(smtp.port, to, reportMail(to, gzipSync(xml('x', { domain: 'kind.test' }))))).toMatch(
      /^250/,
    )
    expect(await shownTo(valija.api, id)).toEqual(nothing)
  })

  test('about another tenant’s domain, to the address of one’s own', async () => {
    const id = await addDomain('mine.test')
    const theirs = expectStatus(await rival.call<{ data: { id: string }[] }>('GET', '/domains'), 200).json
      .data[0]!.id
    for (const [to, domain] of [
      [await addressOf(valija.api, id), 'rival.test'],
      [await addressOf(rival.call, theirs), 'mine.test'],
    ] as const) {
      expect(await handIn(smtp.port, to, reportMail(to, gzipSync(xml('x', { domain }))))).toMatch(/^250/)
    }
    expect(await shownTo(valija.api, id)).toEqual(nothing)
    expect(await shownTo(rival.call, theirs)).toEqual(nothing)
  })
})

describe('what is hostile', () => {
  const status = (name: string) =>
    Number(
      new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(
        readFileSync(`/proc/${smtp.process.pid}/status`, 'utf8'),
      )![1],
    ) / 1024
  /** In seconds, of 100 ticks each: what Linux shows everywhere. */
  const cpu = () => {
    const fields = readFileSync(`/proc/${smtp.process.pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ')
    return (Number(fields[11]) + Number(fields[12])) / 100
  }
  const mebibyte = 2 ** 20
  const zeros = Buffer.alloc(mebibyte)
  const record = dmarcXml([{}])
    .replace(/^.*?<record>/s, '<record>')
    .replace('</feedback>\n', '')
  const records = Buffer.from(record.repeat(Math.floor(mebibyte / record.length)))
  const start = dmarcXml([]).replace('</feedback>\n', '')
  /** All but 4 GiB: what a zip archive can say without an extension. */
  const size = 4_095 * mebibyte
  const bomb = (from: string, of: Buffer) => ({
    packed: deflatedRepeats(from, of, 4_095),
    size: size + from.length,
    crc: 0,
  })

  test('bombs of 4 GB, nested ones and endless markup cost little memory and time, and the next report is read', async () => {
    const id = await addDomain('bombed.test')
    const to = await addressOf(valija.api, id)
    const [memory, seconds] = [status('VmRSS'), cpu()]
    const mails = [
      reportMail(to, zip([bomb('', zeros)]), 'zip'),
      reportMail(to, gzipOf(deflatedRepeats(start, records, 512))),
      reportMail(to, gzipSync(gzipOf(deflatedRepeats(start, zeros, 512)))),
      reportMail(to, zip([zip([bomb('', zeros)])]), 'zip'),
      reportMail(to, gzipOf(deflatedRepeats('<feedback>', Buffer.alloc(mebibyte, '<a>'), 512))),
      reportMail(to, gzipOf(deflatedRepeats('<feedback ', Buffer.alloc(mebibyte, 'a="" '), 512))),
      reportMail(to, gzipOf(deflatedRepeats('{"policies":[', Buffer.alloc(mebibyte, '{},'), 512)), 'json.gz'),
      reportMail(to, zip(Array.from({ length: 5_000 }, () => Buffer.from('x'))), 'zip'),
    ]
    for (const mail of mails) expect(await handIn(smtp.port, to, mail)).toMatch(/^250/)
    expect(status('VmHWM') - memory).toBeLessThan(150)
    expect(cpu() - seconds).toBeLessThan(15)
    expect((await shownTo(valija.api, id)).data).toEqual([])
    expect(
      await handIn(smtp.port, to, reportMail(to, gzipSync(xml('after', { domain: 'bombed.test' })))),
    ).toMatch(/^250/)
    expect((await shownTo(valija.api, id)).totals.dmarc).toMatchObject({ messages: 7 })
  })
})
