import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { type Database, openDatabase } from './database.ts'
import { findStsPolicy, forgetOldStsPolicies, saveStsPolicy } from './tls-policies.ts'

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
  await database.engine.query('DELETE FROM valija.mta_sts_policies')
})

const policy = { id: '1', text: 'version: STSv1\n', maxAgeSeconds: 86_400 }
const age = (interval: string) =>
  database.engine.query('UPDATE valija.mta_sts_policies SET fetched_at = now() - $1::interval', [interval])

test('a policy is found as it was saved, with its age', async () => {
  await saveStsPolicy(database.engine, 'example.com', policy)
  await age('1 hour')
  const found = await findStsPolicy(database.engine, 'example.com')
  expect(found).toEqual({ ...policy, ageMs: expect.closeTo(3_600_000, -5) })
  expect(await findStsPolicy(database.engine, 'other.com')).toBeNull()
})

test('the next one takes its place and begins anew', async () => {
  await saveStsPolicy(database.engine, 'example.com', policy)
  await age('1 hour')
  await saveStsPolicy(database.engine, 'example.com', { ...policy, id: '2' })
  const found = await findStsPolicy(database.engine, 'example.com')
  expect(found?.id).toBe('2')
  expect(found?.ageMs).toBeLessThan(60_000)
})

test('beyond its age it is not found, and forgotten', async () => {
  await saveStsPolicy(database.engine, 'example.com', policy)
  await saveStsPolicy(database.engine, 'longer.com', { ...policy, maxAgeSeconds: 90_000 })
  await age('86401 seconds')
  expect(await findStsPolicy(database.engine, 'example.com')).toBeNull()
  expect(await findStsPolicy(database.engine, 'longer.com')).not.toBeNull()
  expect(await forgetOldStsPolicies(database.engine)).toBe(1)
  expect(await forgetOldStsPolicies(database.engine)).toBe(0)
  expect(await findStsPolicy(database.engine, 'longer.com')).not.toBeNull()
})
