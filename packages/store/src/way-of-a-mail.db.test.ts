/**
 * The tables on the way of a mail: accept → lease → settle, on a real PostgreSQL.
 */
import { randomUUID } from 'node:crypto'
import { createIdSource, type Uuid } from '@valija/core'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase } from '../../../tests/support/database.ts'
import { until } from '../../../tests/support/until.ts'
import { acceptMessages, type NewMessage } from './accept-messages.ts'
import { readmitAll, readmitOlderThan, releaseExpiredLeases } from './admission.ts'
import { type Database, openDatabase } from './database.ts'
import { deleteOrphans, leaseDeliveries, releaseLeases, renewLeases } from './lease-deliveries.ts'
import { makeMessage } from './make-message.test-support.ts'
import { type Settlement, settleAttempts } from './settle-attempts.ts'

let database: Database
let databaseUrl: string
let drop: () => Promise<void>
const nextId = createIdSource(() => Date.now())

beforeAll(async () => {
  const made = await createDatabase()
  drop = made.drop
  databaseUrl = made.url
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

const newMessage = (tenantId: Uuid, more: Partial<NewMessage> = {}) => makeMessage(nextId, tenantId, more)

const recipientOf = (message: NewMessage): Uuid => message.recipients[0]!.id

function delivered(message: NewMessage, epoch: number, more: Partial<Settlement> = {}): Settlement {
  return {
    recipientId: recipientOf(message),
    messageId: message.id,
    tenantId: message.tenantId,
    epoch,
    isSensitive: false,
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
    mailboxFault: null,
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
    const leased = takers.flatMap((taker) => taker.deliveries)
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
      `UPDATE valija.deliveries SET leased_until = now() - interval '3 s' WHERE recipient_id = $1`,
      [id],
    )
    // The first seconds of a PostgreSQL belong to the workers that were cut off from it.
    await until(
      'the sweep finds the lease',
      async () => (await releaseExpiredLeases(database.engine)).count > 0,
    )
    expect((await renewLeases(database.engine, [{ recipientId: id, epoch: 1 }])).size).toBe(0)
    const late = delivered(message, 1, {
      isSensitive: false,
      isFact: false,
      change: { to: 'deferred', from: ['queued'] },
      nextInMs: 60_000,
    })
    expect((await settleAttempts(database.engine, [late])).settled.size).toBe(0)
    expect((await rowOf('recipients', 'id', id))?.status).toBe('queued')
    expect(await rowOf('events', 'message_id', message.id)).toBeUndefined()
  })
})

/** Messages with a lease each, in falling order of their recipients' ids, which is also the order of the stored rows. */
async function leasedMessages(count: number): Promise<NewMessage[]> {
  const tenantId = await newTenant()
  const messages = Array.from({ length: count }, () => newMessage(tenantId)).reverse()
  for (const message of messages) await acceptMessages(database.engine, [message], { directShare: count })
  for (const message of messages) await leaseDeliveries(database.engine, [recipientOf(message)])
  return messages
}

const leaseOf = (message: NewMessage) => ({ recipientId: recipientOf(message), epoch: 1 })

/** Works while another transaction has taken a recipient's delivery. */
async function whileTaken<T>(message: NewMessage, work: (other: pg.PoolClient) => Promise<T>): Promise<T> {
  const other = await database.engine.connect()
  try {
    await other.query('BEGIN')
    await other.query('SELECT FROM valija.deliveries WHERE recipient_id = $1 FOR UPDATE', [
      recipientOf(message),
    ])
    return await work(other)
  } finally {
    await other.query('ROLLBACK')
    other.release()
  }
}

/** Resolves when some statement waits for a transaction's rows. */
const someoneWaitsFor = (other: pg.PoolClient) =>
  until('a statement waits', async () => {
    const result = await other.query(
      'SELECT FROM pg_locks WHERE NOT granted AND transactionid::text = pg_current_xact_id()::text',
    )
    return result.rowCount === 1
  })

/** What waits for nobody is over at once: before a statement that waits would be given up, which is after 15 s. */
const atOnce = { timeout: 12_000 }

describe('rows that another transaction has', () => {
  test(
    'are told apart by a renewal from those that are lost, and hold up no other lease',
    atOnce,
    async () => {
      const [mine, busy, lost] = (await leasedMessages(3)) as [NewMessage, NewMessage, NewMessage]
      await settleAttempts(database.engine, [delivered(lost, 1)])
      const renewed = await whileTaken(busy, () =>
        renewLeases(database.engine, [mine, busy, lost].map(leaseOf)),
      )
      expect(renewed).toEqual(
        new Map([
          [recipientOf(mine), 'renewed'],
          [recipientOf(busy), 'busy'],
        ]),
      )
    },
  )

  test('are taken by rising recipient id when a batch is settled', atOnce, async () => {
    const [high, low] = (await leasedMessages(2)) as [NewMessage, NewMessage]
    await whileTaken(low, async (other) => {
      const settling = settleAttempts(database.engine, [delivered(high, 1), delivered(low, 1)])
      await someoneWaitsFor(other)
      // Nothing is held above the row that it waits for, else this would wait in a circle.
      await other.query('SELECT FROM valija.deliveries WHERE recipient_id = $1 FOR UPDATE NOWAIT', [
        recipientOf(high),
      ])
      await other.query('ROLLBACK')
      expect((await settling).settled.size).toBe(2)
    })
  })

  test('are taken by rising recipient id when leases are given back', atOnce, async () => {
    const [high, low] = (await leasedMessages(2)) as [NewMessage, NewMessage]
    await whileTaken(low, async (other) => {
      const releasing = releaseLeases(database.engine, [high, low].map(leaseOf), { dueInMs: 0, hold: null })
      await someoneWaitsFor(other)
      await other.query('SELECT FROM valija.deliveries WHERE recipient_id = $1 FOR UPDATE NOWAIT', [
        recipientOf(high),
      ])
      await other.query('ROLLBACK')
      await releasing
    })
    expect(await rowOf('deliveries', 'recipient_id', recipientOf(high))).toMatchObject({ state: 'waiting' })
  })

  test('are left alone by the sweep', atOnce, async () => {
    const [free, taken] = (await leasedMessages(2)) as [NewMessage, NewMessage]
    await database.engine.query(
      `UPDATE valija.deliveries SET state = 'admitted', admitted_at = now() - interval '1 h' WHERE recipient_id = ANY ($1)`,
      [[recipientOf(free), recipientOf(taken)]],
    )
    await whileTaken(taken, async () => {
      for (const sweep of [readmitAll, (pool: pg.Pool) => readmitOlderThan(pool, 60_000)]) {
        await sweep(database.engine)
        expect((await rowOf('deliveries', 'recipient_id', recipientOf(taken)))?.state).toBe('admitted')
      }
      expect((await rowOf('deliveries', 'recipient_id', recipientOf(free)))?.state).toBe('waiting')
    })
  })
})

describe('a lease that ran out', () => {
  test('is left to its holder for 2 s more, and for the first 5 s of a PostgreSQL', async () => {
    const [message] = (await leasedMessages(1)) as [NewMessage]
    const runOut = (seconds: number, client: Pick<pg.Pool, 'query'> = database.engine) =>
      client.query(
        'UPDATE valija.deliveries SET leased_until = now() - make_interval(secs => $2) WHERE recipient_id = $1',
        [recipientOf(message), seconds],
      )
    const stateNow = async () => (await rowOf('deliveries', 'recipient_id', recipientOf(message)))?.state
    // What a session of a PostgreSQL that was started this moment sees.
    const owner = new pg.Pool({
      connectionString: databaseUrl,
      max: 1,
      options: '-c search_path=just_started,pg_catalog',
    })
    await owner.query('CREATE SCHEMA just_started')
    await owner.query(
      'CREATE FUNCTION just_started.pg_postmaster_start_time() RETURNS timestamptz LANGUAGE sql AS $$ SELECT now() $$',
    )
    await runOut(60)
    await releaseExpiredLeases(owner)
    await owner.end()
    expect(await stateNow()).toBe('leased')
    // In one transaction, where now() stands still.
    const one = new pg.Pool({ connectionString: databaseUrl, max: 1, idleTimeoutMillis: 0 })
    await one.query('BEGIN')
    await runOut(1, one)
    await releaseExpiredLeases(one)
    await one.query('COMMIT')
    await one.end()
    expect(await stateNow()).toBe('leased')
    await runOut(3)
    await until('the sweep finds it', async () => (await releaseExpiredLeases(database.engine)).count > 0)
    expect(await stateNow()).toBe('waiting')
  })
})

describe('a lease given back', () => {
  test('until a later time shows people that time, and none to those at their end', async () => {
    const [held, ended] = (await leasedMessages(2)) as [NewMessage, NewMessage]
    await database.engine.query(`UPDATE valija.recipients SET status = 'delivered' WHERE id = $1`, [
      recipientOf(ended),
    ])
    await releaseLeases(database.engine, [held, ended].map(leaseOf), { dueInMs: 60_000, hold: null })
    const delivery = await rowOf('deliveries', 'recipient_id', recipientOf(held))
    expect(delivery?.due_at).toBeInstanceOf(Date)
    expect(Number(delivery?.due_at)).toBeGreaterThan(Date.now() + 50_000)
    expect(await rowOf('recipients', 'id', recipientOf(held))).toMatchObject({
      status: 'queued',
      next_attempt_at: delivery?.due_at,
    })
    expect((await rowOf('recipients', 'id', recipientOf(ended)))?.next_attempt_at).toBeNull()
  })

  test('at once changes no time', async () => {
    const [message] = (await leasedMessages(1)) as [NewMessage]
    const before = await rowOf('deliveries', 'recipient_id', recipientOf(message))
    await releaseLeases(database.engine, [leaseOf(message)], { dueInMs: 0, hold: null })
    expect(await rowOf('deliveries', 'recipient_id', recipientOf(message))).toMatchObject({
      state: 'waiting',
      due_at: before?.due_at,
    })
    expect((await rowOf('recipients', 'id', recipientOf(message)))?.next_attempt_at).toBeNull()
  })
})

describe('a delivery without its recipient or message', () => {
  test('comes back from leasing as an orphan, apart from the others, and can be ended', async () => {
    const tenantId = await newTenant()
    const messages = [1, 2, 3].map(() => newMessage(tenantId)) as [NewMessage, NewMessage, NewMessage]
    await acceptMessages(database.engine, messages, { directShare: 9 })
    await database.engine.query('DELETE FROM valija.recipients WHERE id = $1', [recipientOf(messages[0])])
    await database.engine.query('DELETE FROM valija.messages WHERE id = $1', [messages[1].id])
    const { deliveries, orphans } = await leaseDeliveries(database.engine, messages.map(recipientOf))
    expect(deliveries.map((delivery) => delivery.recipientId)).toEqual([recipientOf(messages[2])])
    expect(new Set(orphans)).toEqual(new Set([leaseOf(messages[0]), leaseOf(messages[1])]))
    await deleteOrphans(database.engine, orphans)
    const left = await database.engine.query(
      'SELECT recipient_id FROM valija.deliveries WHERE tenant_id = $1',
      [tenantId],
    )
    expect(left.rows).toEqual([{ recipient_id: recipientOf(messages[2]) }])
  })
})

/** What is on record about a message, by table. */
async function recordOf(message: NewMessage) {
  const read = async (sql: string) => (await database.engine.query(sql, [message.id])).rows
  return {
    status: (await rowOf('recipients', 'id', recipientOf(message)))?.status,
    events: await read('SELECT type FROM valija.events WHERE message_id = $1 ORDER BY id'),
    attempts: await read('SELECT outcome FROM valija.attempts WHERE message_id = $1 ORDER BY id'),
  }
}

const deferral: Partial<Settlement> = {
  isSensitive: false,
  isFact: false,
  change: { to: 'deferred', from: ['queued', 'deferred'] },
  nextInMs: 60_000,
  deliveredAt: null,
}
const deferredEvent = () => [
  { id: nextId(), type: 'message.deferred' as const, createdAtMs: Date.now(), data: {} },
]

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
      isSensitive: false,
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

describe('a settlement that comes', () => {
  test('again, because the answer to its commit was lost, changes nothing and fails nowhere', async () => {
    const [kept, ended] = (await leasedMessages(2)) as [NewMessage, NewMessage]
    const batch = [delivered(kept, 1, { ...deferral, events: deferredEvent() }), delivered(ended, 1)]
    await settleAttempts(database.engine, batch)
    const before = [await recordOf(kept), await recordOf(ended)]
    const [late] = (await leasedMessages(1)) as [NewMessage]
    const { settled } = await settleAttempts(database.engine, [...batch, delivered(late, 1)])
    expect(settled).toEqual(new Set([recipientOf(late)]))
    expect([await recordOf(kept), await recordOf(ended)]).toEqual(before)
  })

  test.each([
    ['before', 0],
    ['after', 1],
  ])('%s the fact about the same recipient in one batch yields to it', async (_, position) => {
    const [message] = (await leasedMessages(1)) as [NewMessage]
    const late = delivered(message, 1, { ...deferral, events: deferredEvent(), seq: 9 })
    const fact = delivered(message, 7)
    await settleAttempts(database.engine, position === 0 ? [late, fact] : [fact, late])
    const record = await recordOf(message)
    expect(record).toMatchObject({ status: 'delivered', events: [{ type: 'message.delivered' }] })
    expect(record.attempts).toHaveLength(2)
    expect((await rowOf('recipients', 'id', recipientOf(message)))?.seq).toBe(3)
  })

  test('of a lost lease in one batch with that of the present one yields to it', async () => {
    const [message] = (await leasedMessages(1)) as [NewMessage]
    await database.engine.query('UPDATE valija.deliveries SET epoch = 2 WHERE recipient_id = $1', [
      recipientOf(message),
    ])
    const stale = delivered(message, 1, { ...deferral, seq: 8 })
    const present = delivered(message, 2, { ...deferral, seq: 9, events: deferredEvent() })
    await settleAttempts(database.engine, [present, stale])
    expect(await recordOf(message)).toMatchObject({
      status: 'deferred',
      events: [{ type: 'message.deferred' }],
    })
    expect((await rowOf('recipients', 'id', recipientOf(message)))?.seq).toBe(9)
  })

  test('to a recipient at its end tells no event of what did not happen', async () => {
    const [message] = (await leasedMessages(1)) as [NewMessage]
    await database.engine.query(`UPDATE valija.recipients SET status = 'cancelled' WHERE id = $1`, [
      recipientOf(message),
    ])
    await settleAttempts(database.engine, [delivered(message, 1)])
    expect(await recordOf(message)).toMatchObject({ status: 'cancelled', events: [] })
  })

  test('without a change of state tells its events all the same', async () => {
    const [message] = (await leasedMessages(1)) as [NewMessage]
    await settleAttempts(database.engine, [delivered(message, 1, { change: null })])
    expect(await recordOf(message)).toMatchObject({
      status: 'queued',
      events: [{ type: 'message.delivered' }],
    })
  })

  test('after others told of the recipient counts its events on from theirs', async () => {
    const messages = (await leasedMessages(2)) as [NewMessage, NewMessage]
    await database.engine.query('UPDATE valija.recipients SET seq = seq + 2 WHERE id = $1', [
      recipientOf(messages[0]),
    ])
    const numbered = (message: NewMessage) => {
      const [event] = delivered(message, 1).events
      return delivered(message, 1, { seq: 2, events: [{ ...event!, data: { ...event!.data, seq: 2 } }] })
    }
    await settleAttempts(database.engine, messages.map(numbered))
    const numbers = messages.map(async (message) => {
      const event = await rowOf('events', 'message_id', message.id)
      return [
        (await rowOf('recipients', 'id', recipientOf(message)))?.seq,
        [(event!.data as { seq: number }).seq],
      ]
    })
    expect(await Promise.all(numbers)).toEqual([
      [4, [4]],
      [2, [2]],
    ])
  })
})
