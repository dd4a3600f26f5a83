/**
 * The tables on the way of a mail: accept → lease → settle, on a real PostgreSQL.
 */
import { randomUUID } from 'node:crypto'
import { createIdSource, type Uuid } from '@valija/core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase } from '../../../tests/support/database.ts'
import { acceptMessages, type NewMessage } from './accept-messages.ts'
import { admitRows, findWaitingStreams, msUntilDue, releaseExpiredLeases } from './admission.ts'
import { type Database, openDatabase, readAsTenant } from './database.ts'
import { leaseDeliveries, renewLeases } from './lease-deliveries.ts'
import { type Settlement, settleAttempts } from './settle-attempts.ts'

let database: Database
let drop: () => Promise<void>
const nextId = createIdSource(() => Date.now())

beforeAll(async () => {
  const made = await createDatabase()
  drop = made.drop
  database = openDatabase({ url: made.url, onError: () => {} })
})
afterAll(async () => {
  await database.close()
  await drop()
})

async function newTenant(): Promise<Uuid> {
  const id = nextId()
  await database.engine.query('INSERT INTO valija.tenants (id, name) VALUES ($1, $2)', [id, id])
  return id
}

function newMessage(tenantId: Uuid, more: Partial<NewMessage> = {}): NewMessage {
  const id = nextId()
  return {
    id,
    tenantId,
    createdAtMs: Date.now(),
    stream: 'transactional',
    delivery: 'capture',
    route: 'capture',
    fromHeader: 'Acme <hi@acme.test>',
    fromEmail: 'hi@acme.test',
    fromDomain: 'acme.test',
    subject: 'Grüße',
    tags: ['welcome', 'a "quoted", one \\ {x}'],
    metadata: { order: '42' },
    sendAtMs: null,
    expiresAtMs: Date.now() + 3_600_000,
    rfcMessageId: `<${id}@acme.test>`,
    isSimulated: false,
    body: Buffer.from(`body of ${id}`),
    recipients: [
      {
        id: nextId(),
        email: 'Ann@example.org',
        emailKey: 'ann@example.org',
        domain: 'example.org',
        type: 'to',
        status: 'queued',
        reason: null,
        simulation: null,
        seq: 1,
      },
    ],
    events: [],
    idempotency: null,
    ...more,
  }
}

const recipientOf = (message: NewMessage): Uuid => message.recipients[0]!.id

function delivered(message: NewMessage, epoch: number, more: Partial<Settlement> = {}): Settlement {
  return {
    recipientId: recipientOf(message),
    messageId: message.id,
    tenantId: message.tenantId,
    epoch,
    isFact: true,
    change: { to: 'delivered', from: ['queued', 'deferred'] },
    reason: null,
    reply: '250 2.0.0 OK',
    enhancedStatus: '2.0.0',
    attempts: 1,
    retrySteps: 1,
    nextInMs: null,
    deliveredAt: new Date(),
    sizeBytes: 1234,
    seq: 3,
    attempt: {
      id: nextId(),
      number: 1,
      outcome: 'delivered',
      reason: null,
      startedAt: new Date(),
      report: { host: 'mx' },
    },
    events: [
      {
        id: nextId(),
        type: 'message.delivered',
        createdAtMs: Date.now(),
        data: { domain: 'acme.test', tags: [] },
      },
    ],
    ...more,
  }
}

async function rowOf(table: string, column: string, id: Uuid): Promise<Record<string, unknown> | undefined> {
  const result = await database.engine.query(`SELECT * FROM valija.${table} WHERE ${column} = $1`, [id])
  return result.rows[0]
}

describe('a batch of messages', () => {
  test('is stored whole, each with its own body, tags and metadata', async () => {
    const tenantId = await newTenant()
    const messages = Array.from({ length: 20 }, () => newMessage(tenantId))
    const { results } = await acceptMessages(database.engine, messages, { directShare: 100 })
    expect(results.map((result) => result.kind === 'accepted' && result.admitted)).toEqual(
      messages.map((message) => [recipientOf(message)]),
    )
    for (const message of messages) {
      expect((await rowOf('bodies', 'message_id', message.id))?.content).toEqual(message.body)
      const row = await rowOf('messages', 'id', message.id)
      expect(row).toMatchObject({
        subject: 'Grüße',
        tags: message.tags,
        metadata: { order: '42' },
        recipient_count: 1,
      })
    }
  })

  test('goes to partitions of their day and never to the default one', async () => {
    const result = await database.engine.query('SELECT tableoid::regclass::text AS part FROM valija.messages')
    expect(result.rows.length).toBeGreaterThan(0)
    for (const row of result.rows) expect(row.part).toMatch(/^valija_parts\.messages_\d{8}$/)
  })

  test('beyond its tenant’s share waits for the dispatcher, and so does one that is scheduled', async () => {
    const tenantId = await newTenant()
    const first = await acceptMessages(database.engine, [newMessage(tenantId), newMessage(tenantId)], {
      directShare: 2,
    })
    expect(first.hasWaiting).toBe(false)
    const second = await acceptMessages(database.engine, [newMessage(tenantId)], { directShare: 2 })
    expect(second).toMatchObject({ hasWaiting: true, results: [{ kind: 'accepted', admitted: [] }] })
    const later = newMessage(await newTenant(), { sendAtMs: Date.now() + 60_000 })
    expect((await acceptMessages(database.engine, [later], { directShare: 2 })).hasWaiting).toBe(true)
    const dueInMs = (await rowOf('deliveries', 'recipient_id', recipientOf(later)))?.due_at as Date
    expect(dueInMs.getTime()).toBe(later.sendAtMs)
  })
})

describe('an idempotency key', () => {
  const keyed = (tenantId: Uuid, key: string, bytes: string) =>
    newMessage(tenantId, {
      idempotency: {
        key,
        bodyHash: Buffer.from(bytes),
        response: `answer ${bytes}`,
        expiresAtMs: Date.now() + 60_000,
      },
    })

  test('makes one message of many processes’ concurrent claims', async () => {
    const tenantId = await newTenant()
    const key = randomUUID()
    const claim = () => acceptMessages(database.engine, [keyed(tenantId, key, 'same')], { directShare: 9 })
    const outcomes = await Promise.all(Array.from({ length: 20 }, claim))
    const kinds = outcomes.flatMap(({ results }) => results.map((result) => result.kind))
    expect(kinds.filter((kind) => kind === 'accepted')).toHaveLength(1)
    expect(kinds.every((kind) => kind === 'accepted' || kind === 'replay' || kind === 'busy')).toBe(true)
    const again = await claim()
    expect(again.results).toEqual([{ kind: 'replay', response: 'answer same' }])
    const count = await database.engine.query(
      'SELECT count(*)::int AS count FROM valija.messages WHERE tenant_id = $1',
      [tenantId],
    )
    expect(count.rows[0].count).toBe(1)
  })

  test('with other bytes is refused, and in a batch harms no other message', async () => {
    const tenantId = await newTenant()
    const key = randomUUID()
    await acceptMessages(database.engine, [keyed(tenantId, key, 'one')], { directShare: 9 })
    const { results } = await acceptMessages(
      database.engine,
      [keyed(tenantId, key, 'two'), newMessage(tenantId), keyed(await newTenant(), key, 'three')],
      { directShare: 9 },
    )
    expect(results.map((result) => result.kind)).toEqual(['reused', 'accepted', 'accepted'])
  })
})

describe('a lease', () => {
  test('is given to one worker only, with all that sending needs', async () => {
    const message = newMessage(await newTenant())
    await acceptMessages(database.engine, [message], { directShare: 9 })
    const takers = await Promise.all(
      [1, 2, 3].map(() => leaseDeliveries(database.engine, [recipientOf(message)])),
    )
    const leased = takers.flat()
    expect(leased).toHaveLength(1)
    expect(leased[0]).toMatchObject({
      messageId: message.id,
      email: 'Ann@example.org',
      fromEmail: 'hi@acme.test',
      status: 'queued',
      epoch: 1,
      attempts: 0,
      isExpired: false,
      tags: message.tags,
    })
  })

  test('that ran out is due at once, and its former holder can neither renew nor defer it', async () => {
    const message = newMessage(await newTenant())
    await acceptMessages(database.engine, [message], { directShare: 9 })
    const id = recipientOf(message)
    await leaseDeliveries(database.engine, [id])
    expect((await renewLeases(database.engine, [{ recipientId: id, epoch: 1 }])).has(id)).toBe(true)
    await database.engine.query(
      `UPDATE valija.deliveries SET leased_until = now() - interval '1 s' WHERE recipient_id = $1`,
      [id],
    )
    expect(await releaseExpiredLeases(database.engine)).toBe(1)
    expect((await renewLeases(database.engine, [{ recipientId: id, epoch: 1 }])).size).toBe(0)
    const late = delivered(message, 1, {
      isFact: false,
      change: { to: 'deferred', from: ['queued'] },
      nextInMs: 60_000,
    })
    expect((await settleAttempts(database.engine, [late])).settled.size).toBe(0)
    expect((await rowOf('recipients', 'id', id))?.status).toBe('queued')
    expect(await rowOf('events', 'message_id', message.id)).toBeUndefined()
  })
})

describe('a settlement', () => {
  test('of a delivery ends the recipient, with attempt and event, in one commit', async () => {
    const message = newMessage(await newTenant())
    await acceptMessages(database.engine, [message], { directShare: 9 })
    await leaseDeliveries(database.engine, [recipientOf(message)])
    const { settled } = await settleAttempts(database.engine, [delivered(message, 1)])
    expect(settled.has(recipientOf(message))).toBe(true)
    expect(await rowOf('deliveries', 'recipient_id', recipientOf(message))).toBeUndefined()
    expect(await rowOf('recipients', 'id', recipientOf(message))).toMatchObject({
      status: 'delivered',
      attempts: 1,
      size_bytes: 1234,
      seq: 3,
      reply: '250 2.0.0 OK',
    })
    expect(await rowOf('attempts', 'message_id', message.id)).toMatchObject({
      number: 1,
      report: { host: 'mx' },
    })
    expect(await rowOf('events', 'message_id', message.id)).toMatchObject({ type: 'message.delivered' })
  })

  test('of a fact counts whoever holds the lease by now', async () => {
    const message = newMessage(await newTenant())
    await acceptMessages(database.engine, [message], { directShare: 9 })
    await leaseDeliveries(database.engine, [recipientOf(message)])
    expect((await settleAttempts(database.engine, [delivered(message, 999)])).settled.size).toBe(1)
    expect((await rowOf('recipients', 'id', recipientOf(message)))?.status).toBe('delivered')
  })

  test('of a deferral makes the row due later, never after its expiry, and shows people that time', async () => {
    const tenantId = await newTenant()
    const soon = newMessage(tenantId)
    const late = newMessage(tenantId, { expiresAtMs: Date.now() + 5_000 })
    await acceptMessages(database.engine, [soon, late], { directShare: 9 })
    await leaseDeliveries(database.engine, [recipientOf(soon), recipientOf(late)])
    const deferral = {
      isFact: false,
      change: { to: 'deferred', from: ['queued'] },
      nextInMs: 60_000,
      deliveredAt: null,
    } as const
    await settleAttempts(database.engine, [delivered(soon, 1, deferral), delivered(late, 1, deferral)])
    for (const message of [soon, late]) {
      const delivery = await rowOf('deliveries', 'recipient_id', recipientOf(message))
      const recipient = await rowOf('recipients', 'id', recipientOf(message))
      expect(recipient).toMatchObject({ status: 'deferred', next_attempt_at: delivery?.due_at })
      expect((delivery?.due_at as Date) <= (delivery?.expires_at as Date)).toBe(true)
      expect(delivery).toMatchObject({ state: 'waiting', retry_steps: 1 })
    }
  })

  test('never overwrites an end', async () => {
    const message = newMessage(await newTenant())
    await acceptMessages(database.engine, [message], { directShare: 9 })
    await leaseDeliveries(database.engine, [recipientOf(message)])
    await database.engine.query(`UPDATE valija.recipients SET status = 'cancelled' WHERE id = $1`, [
      recipientOf(message),
    ])
    await settleAttempts(database.engine, [delivered(message, 1)])
    expect((await rowOf('recipients', 'id', recipientOf(message)))?.status).toBe('cancelled')
  })
})

describe('waiting rows', () => {
  test('are found per tenant and stream, and admitted oldest first up to the quota', async () => {
    const tenantId = await newTenant()
    const messages = [1, 2, 3].map(() => newMessage(tenantId, { stream: 'bulk' }))
    for (const message of messages) await acceptMessages(database.engine, [message], { directShare: 0 })
    const waiting = await findWaitingStreams(database.engine)
    expect(waiting).toContainEqual({ tenantId, weight: 1, stream: 'bulk' })
    expect(waiting.some((share) => share.tenantId === tenantId && share.stream === 'transactional')).toBe(
      false,
    )
    expect(await msUntilDue(database.engine)).toBeLessThanOrEqual(0)
    const admitted = await admitRows(database.engine, [{ tenantId, stream: 'bulk', count: 2 }])
    expect(new Set(admitted.map((row) => row.recipientId))).toEqual(
      new Set(messages.slice(0, 2).map(recipientOf)),
    )
  })
})

describe('row-level security', () => {
  test('shows a tenant its own messages only, though the query has no filter', async () => {
    const [mine, other] = [newMessage(await newTenant()), newMessage(await newTenant())]
    await acceptMessages(database.engine, [mine, other], { directShare: 9 })
    const seen = await readAsTenant(database, mine.tenantId, (client) =>
      client.query('SELECT id FROM valija.messages'),
    )
    expect(seen.rows).toEqual([{ id: mine.id }])
    const none = await database.tenant.query('SELECT id FROM valija.messages')
    expect(none.rows).toEqual([])
  })
})
