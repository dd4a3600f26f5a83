/** Where domains' mail goes, noted by workers and found again by domain. */
import { findSites } from '@valija/store'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { until } from '../../../tests/support/until.ts'
import { createDestinationNotes } from './note-destinations.ts'
import {
  bigmail,
  openShapingBench,
  plain,
  type ShapingBench,
  see,
  throttled,
} from './shaping.test-support.ts'

let bench: ShapingBench
beforeAll(async () => {
  bench = await openShapingBench()
})
afterAll(() => bench.close())

const open = () =>
  createDestinationNotes({ database: bench.database, onError: (error) => bench.errors.push(error) })
const sitesOf = (domain: string) => findSites(bench.database.engine, domain)

test('a domain’s site is found with how it does, and how it does not', async () => {
  const notes = open()
  notes.note('acme.test', bigmail, ['mx1.bigmail.test', 'mx2.bigmail.test'])
  await notes.stop()
  expect(await sitesOf('acme.test')).toMatchObject([
    {
      scopeKey: bigmail.key,
      provider: 'bigmail',
      exchangers: ['mx1.bigmail.test', 'mx2.bigmail.test'],
      condition: 'ok',
      pace: null,
    },
  ])
  const worker = await bench.worker()
  const tenantId = await bench.newTenant()
  see(worker, bigmail, throttled('450 blocked for an hour'), { tenantId, fromDomain: 'a.test' })
  see(worker, bigmail, throttled('450 blocked for an hour'), { tenantId, fromDomain: 'a.test' })
  await until('the suspension is found', async () => {
    const [site] = await sitesOf('acme.test')
    return site?.condition === 'suspended' && site.pace?.cause?.reply === '450 blocked for an hour'
  })
  expect(await sitesOf('unknown.test')).toEqual([])
  await worker.stop()
})

test('a thousand mails of one domain are one note, and a move to another site is a second', async () => {
  const notes = open()
  for (let i = 0; i < 1_000; i++) notes.note('busy.test', plain, ['mx.plain.test'])
  await until('it is noted', async () => (await sitesOf('busy.test')).length === 1)
  const seenAt = (await sitesOf('busy.test'))[0]?.seenAt
  notes.note('busy.test', plain, ['mx.plain.test'])
  notes.note('busy.test', bigmail, ['mx.bigmail.test'])
  await notes.stop()
  const sites = await sitesOf('busy.test')
  expect(sites.map(({ scopeKey }) => scopeKey)).toEqual([bigmail.key, plain.key])
  expect(sites[1]?.seenAt).toEqual(seenAt)
})

test('nothing went wrong on the side', () => {
  expect(bench.errors).toEqual([])
})
