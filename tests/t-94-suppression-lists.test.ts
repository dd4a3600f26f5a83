/** Suppression lists that move in and out whole, over a real connection: 10,000 lines, some of them wrong, and back again. */
import http from 'node:http'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { post, untilEnded } from './support/message-life.ts'
import { type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { expectStatus, startValija, type Valija } from './support/valija.ts'

let peer: SmtpPeer
let valija: Valija

beforeAll(async () => {
  peer = await startSmtpPeer({ script: { rcpt: () => '550 5.1.1 no such user here' } })
  valija = await startValija({ queue: 'postgres', delivery: 'smarthost', smarthost: peer })
})
afterAll(async () => {
  await valija?.stop()
  await peer?.stop()
})

type Report = { rows: number; added: number; present: number; rejected: number; errors: { line: number }[] }

const csv = { 'content-type': 'text/csv' }
const upload = async (file: string, call = valija.api) =>
  expectStatus(await call<Report>('POST', '/suppressions/import', file, csv), 200).json
const rowCount = 10_000

test('10,000 lines are read within seconds; each wrong one is named, and all others come out again as they went in', async () => {
  const isWrong = (i: number) => i % 1_000 === 999
  const lines = Array.from({ length: rowCount }, (_, i) =>
    isWrong(i) ? `wrong ${i},,` : `u${i}@example.org,bulk,unsubscribe`,
  )
  const file = `email,stream,reason\r\n${lines.join('\r\n')}\r\n`
  const startedMs = performance.now()
  const report = await upload(file)
  const tookMs = performance.now() - startedMs
  expect(report).toMatchObject({ rows: rowCount, added: rowCount - 10, present: 0, rejected: 10 })
  expect(report.errors.map(({ line }) => line)).toEqual(lines.flatMap((_, i) => (isWrong(i) ? [i + 2] : [])))
  // 1 s on two idle cores.
  expect(tookMs).toBeLessThan(20_000)

  const [{ count } = { count: 0 }] = await valija.sql<{ count: number }>(
    `SELECT count(*)::int AS count FROM valija.events WHERE type = 'suppression.added'`,
  )
  expect(count).toBe(rowCount - 10)
  const exported = expectStatus(await valija.api('GET', '/suppressions/export'), 200).text
  const emails = exported
    .trimEnd()
    .split('\r\n')
    .slice(1)
    .map((line) => line.split(',')[1])
  expect(emails.sort()).toEqual(lines.flatMap((line, i) => (isWrong(i) ? [] : [line.split(',')[0]!])).sort())

  expect(await upload(exported)).toMatchObject({ added: 0, present: rowCount - 10, rejected: 0 })
  const other = await valija.addTenant('other', 'other.test')
  expect(await upload(exported, other.call)).toMatchObject({ added: rowCount - 10, rejected: 0 })
})

test('a file that trickles in is written while it comes, and what came before its connection was lost is kept', async () => {
  const url = new URL('/suppressions/import', valija.url)
  const request = http.request(url, {
    method: 'POST',
    headers: { ...csv, authorization: `Bearer ${valija.tenantKey}` },
  })
  request.on('error', () => undefined)
  const rows = Array.from({ length: 1_500 }, (_, i) => `trickle${i}@example.org`)
  request.write(`email\n${rows.join('\n')}\n`)
  const kept = async () => {
    const text = `SELECT count(*)::int AS count FROM valija.suppressions WHERE email LIKE 'trickle%'`
    return (await valija.sql<{ count: number }>(text))[0]!.count
  }
  await expect.poll(kept, { timeout: 30_000 }).toBe(1_000)
  request.destroy()
  expect(await upload(`email\n${rows.join('\n')}\n`)).toMatchObject({ added: 500, present: 1_000 })
})

test('what a provider’s servers said on a bad day is undone together, and the addresses are sent to again', async () => {
  const after = new Date(Date.now() - 60_000).toISOString()
  const to = ['bad1@denied.test', 'bad2@denied.test', 'bad3@denied.test']
  expect((await untilEnded(valija.api, await post(valija.api, valija.mail({ to })))).status).toBe('bounced')
  type List = { data: { provider: string }[] }
  const listed = async () => (await valija.api<List>('GET', '/suppressions?reason=mailbox_unknown')).json.data
  const entries = await listed()
  expect(entries).toHaveLength(3)
  const { provider } = entries[0]!
  const undone = await valija.api('POST', '/suppressions/undo', { provider, after })
  expect(expectStatus(undone, 200).json).toEqual({ dry_run: false, count: 3, more: false })
  expect(await listed()).toEqual([])
  peer.script.rcpt = () => undefined
  expect((await untilEnded(valija.api, await post(valija.api, valija.mail({ to })))).status).toBe('delivered')
})
