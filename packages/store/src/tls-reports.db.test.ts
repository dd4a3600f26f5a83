import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { type Database, openDatabase } from './database.ts'
import {
  addTlsReports,
  forgetOldTlsReports,
  listTlsReports,
  type TlsReportCount,
  type TlsReportRow,
} from './tls-reports.ts'

let target: TestDatabase
let database: Database
beforeAll(async () => {
  target = await createDatabase()
  database = openDatabase({ url: target.url, onError: () => undefined })
})
afterAll(async () => {
  await database.close()
  await target.drop()
})

beforeEach(async () => {
  await database.engine.query('DELETE FROM valija.tls_reports')
})

const count = (over: Partial<TlsReportCount> = {}): TlsReportCount => ({
  domain: 'example.com',
  policy: 'sts',
  mx: 'mx.example.com',
  result: 'success',
  sessions: 1,
  ...over,
})
const list = (over: object = {}) =>
  listTlsReports(database.engine, { domain: null, day: null, after: null, limit: 100, ...over })
const today = () => new Date().toISOString().slice(0, 10)

test('counts add up, within a batch and over batches', async () => {
  await addTlsReports(database.engine, [count(), count({ sessions: 4 })])
  await addTlsReports(database.engine, [count({ sessions: 5 }), count({ result: 'certificate-expired' })])
  await addTlsReports(database.engine, [])
  expect(await list()).toEqual([
    { ...count({ result: 'certificate-expired' }), day: today() },
    { ...count({ sessions: 10 }), day: today() },
  ])
})

test('workers that write the same rows in different order do not block each other', async () => {
  const counts = Array.from({ length: 200 }, (_, i) => count({ domain: `d${i}.example` }))
  const batches = Array.from({ length: 8 }, (_, i) => (i % 2 ? counts : counts.toReversed()))
  await Promise.all(batches.map((batch) => addTlsReports(database.engine, batch)))
  expect((await list()).map((row) => row.sessions)).toEqual(Array(100).fill(8))
})

test('pages go from the newest day to the oldest and miss nothing', async () => {
  await addTlsReports(
    database.engine,
    ['a', 'b', 'c'].map((domain) => count({ domain })),
  )
  await database.engine.query('UPDATE valija.tls_reports SET day = day - 1')
  await addTlsReports(
    database.engine,
    ['a', 'c'].map((domain) => count({ domain })),
  )
  const seen: TlsReportRow[] = []
  for (
    let page = await list({ limit: 2 });
    page.length > 0;
    page = await list({ limit: 2, after: seen.at(-1) })
  ) {
    seen.push(...page)
  }
  expect(seen.map((row) => `${row.day === today() ? 'today' : 'before'} ${row.domain}`)).toEqual([
    'today a',
    'today c',
    'before a',
    'before b',
    'before c',
  ])
  expect(await list({ domain: 'c' })).toHaveLength(2)
  expect(await list({ day: today() })).toHaveLength(2)
  expect(await list({ domain: 'b', day: today() })).toEqual([])
})

test('days beyond the retention are forgotten', async () => {
  await addTlsReports(database.engine, [count(), count({ domain: 'old.example' })])
  await database.engine.query(`UPDATE valija.tls_reports SET day = day - 61 WHERE domain = 'old.example'`)
  expect(await forgetOldTlsReports(database.engine)).toBe(1)
  expect((await list()).map((row) => row.domain)).toEqual(['example.com'])
})
