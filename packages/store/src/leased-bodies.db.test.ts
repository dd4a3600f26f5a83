/** Bodies come with the lease: one round trip for both, and what is read is what the lease has made certain. */
import { createIdSource, type Uuid } from '@valija/core'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase } from '../../../tests/support/database.ts'
import { acceptMessages, type NewMessage } from './accept-messages.ts'
import { askTogether } from './ask-together.ts'
import { type Database, openDatabase } from './database.ts'
import { leaseDeliveries, releaseLeases } from './lease-deliveries.ts'
import { makeMessage } from './make-message.test-support.ts'

let database: Database
let drop: () => Promise<void>
let url: string
let tenantId: Uuid
const nextId = createIdSource(() => Date.now())

beforeAll(async () => {
  const made = await createDatabase()
  drop = made.drop
  url = made.url
  database = openDatabase({ url: made.url, onError: () => {} })
  tenantId = nextId()
  await database.engine.query('INSERT INTO valija.tenants (id, name) VALUES ($1, $2)', [tenantId, 'acme'])
})
afterAll(async () => {
  await database.close()
  await drop()
})

async function accept(more: Partial<NewMessage> = {}, recipients = 1): Promise<NewMessage> {
  const message = makeMessage(nextId, tenantId, more)
  const [first] = message.recipients
  message.recipients = Array.from({ length: recipients }, () => ({ ...first!, id: nextId() }))
  await acceptMessages(database.engine, [message], { directShare: 100 })
  return message
}

const idsOf = (messages: NewMessage[]) => messages.flatMap(({ recipients }) => recipients.map(({ id }) => id))

describe('the body of a leased delivery', () => {
  test('is its message’s, the same octets in memory for all recipients', async () => {
    const messages = [await accept({}, 3), await accept()]
    const { deliveries } = await leaseDeliveries(database.engine, idsOf(messages))
    expect(deliveries).toHaveLength(4)
    for (const { messageId, body } of deliveries) expect(body?.toString()).toBe(`body of ${messageId}`)
    expect(new Set(deliveries.map(({ body }) => body)).size).toBe(2)
  })

  test('stays where it is when nothing is to be sent', async () => {
    const message = await accept()
    const { deliveries } = await leaseDeliveries(database.engine, idsOf([message]), false)
    expect(deliveries.map(({ body }) => body)).toEqual([undefined])
  })

  test('is left where it is when it is large', async () => {
    const messages = [
      await accept({ body: Buffer.alloc(8 * 1024) }),
      await accept({ body: Buffer.alloc(8 * 1024 + 1) }),
    ]
    const { deliveries } = await leaseDeliveries(database.engine, idsOf(messages))
    const bodies = new Map(deliveries.map(({ messageId, body }) => [messageId, body?.length]))
    expect(messages.map(({ id }) => bodies.get(id))).toEqual([8 * 1024, undefined])
  })

  test('is read anew with the next lease', async () => {
    const message = await accept()
    const [first] = (await leaseDeliveries(database.engine, idsOf([message]))).deliveries
    await releaseLeases(database.engine, [first!], { dueInMs: 0, hold: null })
    await database.engine.query('UPDATE valija.bodies SET content = $2 WHERE message_id = $1', [
      message.id,
      'rewritten',
    ])
    await database.engine.query(`UPDATE valija.deliveries SET state = 'admitted' WHERE message_id = $1`, [
      message.id,
    ])
    const [second] = (await leaseDeliveries(database.engine, idsOf([message]))).deliveries
    expect(second?.body?.toString()).toBe('rewritten')
  })

  test('that cannot be read is no reason not to lease', async () => {
    const message = await accept()
    const owner = new pg.Client(url)
    await owner.connect()
    await owner.query('REVOKE SELECT ON valija.bodies FROM valija_engine')
    const { deliveries } = await leaseDeliveries(database.engine, idsOf([message]))
    await owner.query('GRANT SELECT ON valija.bodies TO valija_engine')
    await owner.end()
    expect(deliveries.map(({ body }) => body)).toEqual([undefined])
  })

  test('that is gone is no reason not to lease', async () => {
    const message = await accept()
    await database.engine.query('DELETE FROM valija.bodies WHERE message_id = $1', [message.id])
    const { deliveries } = await leaseDeliveries(database.engine, idsOf([message]))
    expect(deliveries.map(({ body }) => body)).toEqual([undefined])
  })
})

describe('queries that are asked together', () => {
  test('go one after the other, and a later one sees what an earlier one did', async () => {
    const id = nextId()
    const [inserted, seen] = await askTogether<[object, { name: string }]>(database.engine, [
      { text: 'INSERT INTO valija.tenants (id, name) VALUES ($1, $2)', values: [id, 'together'] },
      { text: 'SELECT name FROM valija.tenants WHERE id = $1', values: [id] },
    ])
    expect(inserted).toMatchObject({ status: 'fulfilled', value: { rowCount: 1 } })
    expect(seen).toMatchObject({ status: 'fulfilled', value: { rows: [{ name: 'together' }] } })
  })

  test('each have their own end: one that fails takes no other with it, and the pool goes on', async () => {
    const [first, second] = await askTogether<[object, { two: number }]>(database.engine, [
      { text: 'SELECT 1 / 0' },
      { text: 'SELECT 2 AS two' },
    ])
    expect(first).toMatchObject({ status: 'rejected', reason: { code: '22012' } })
    expect(second).toMatchObject({ status: 'fulfilled', value: { rows: [{ two: 2 }] } })
    expect((await database.engine.query('SELECT 3 AS three')).rows).toEqual([{ three: 3 }])
  })
})
