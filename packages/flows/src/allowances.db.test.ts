/** Limits of usage where rows are locked and batches are given back: on a real PostgreSQL. */
import { type Caller, createIdSource, ProductError } from '@valija/core'
import { type Database, openDatabase } from '@valija/store'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { type Allowances, createAllowances } from './allowances.ts'

const nextId = createIdSource(() => Date.now())
let target: TestDatabase
let database: Database
let allowances: Allowances
let errors: Error[]

beforeAll(async () => {
  target = await createDatabase()
  database = openDatabase({ url: target.url, onError: () => {} })
})
afterAll(async () => {
  await database.close()
  await target.drop()
})
beforeEach(() => {
  errors = []
  const onError = (error: Error) => errors.push(error)
  allowances = createAllowances({ database, wake: { send: () => {} }, onError })
})

async function createCaller(): Promise<Caller> {
  const tenantId = nextId()
  await database.engine.query('INSERT INTO valija.tenants (id, name) VALUES ($1, $2)', [tenantId, tenantId])
  const usage = [{ of: 'tenant', ownerId: tenantId, name: 'recipients_per_hour', value: 1_000 }]
  return { tenantId, limits: { usage, size: [], seen: [], isSuspended: false } } as unknown as Caller
}

const usedOf = async ({ tenantId }: Caller) => {
  const { rows } = await database.engine.query<{ used: number }>(
    'SELECT used FROM valija.usage WHERE tenant_id = $1',
    [tenantId],
  )
  return rows[0]?.used
}

test('a counter that a process has locked and leaves so stops the sends of its tenant only', async () => {
  const [stuck, other] = [await createCaller(), await createCaller()]
  for (const caller of [stuck, other]) await allowances.drawAll(caller, [['a@b.test']])
  const stopped = new pg.Client({ connectionString: target.url })
  await stopped.connect()
  try {
    await stopped.query('BEGIN')
    await stopped.query('SELECT FROM valija.usage WHERE tenant_id = $1 FOR UPDATE', [stuck.tenantId])
    const refusal = expect(allowances.drawAll(stuck, [['a@b.test']])).rejects.toMatchObject({
      code: 'overloaded',
      retryAfterS: 5,
    })
    await allowances.drawAll(other, [['a@b.test']])
    // Also whoever comes while it waits.
    await allowances.drawAll(other, [['a@b.test']])
    await refusal
  } finally {
    await stopped.end()
  }
  await allowances.drawAll(stuck, [['a@b.test']])
  expect([await usedOf(stuck), await usedOf(other)]).toEqual([2, 3])
})

test('what was drawn for a thousand messages by themselves is given back in one transaction', async () => {
  const caller = await createCaller()
  const messages = Array.from({ length: 1_000 }, (_, index) => [`a${index}@b.test`])
  const drawn = await allowances.drawEach(caller, messages)
  expect(await usedOf(caller)).toBe(1_000)
  const unused = messages.flatMap((message, index) => {
    const each = drawn[index]!
    return index < 10 || each instanceof ProductError ? [] : [{ drawn: each, messages: [message] }]
  })
  let connections = 0
  const count = () => {
    connections += 1
  }
  database.engine.on('acquire', count)
  await allowances.giveBack(caller, unused)
  database.engine.off('acquire', count)
  expect(connections).toBe(1)
  expect(await usedOf(caller)).toBe(10)
  expect(errors).toEqual([])
})
