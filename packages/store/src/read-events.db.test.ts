/** The stream of events: order, and that a reader who keeps asking never skips one, whatever is open meanwhile. */
import { createIdSource, type EventType, eventTypes, lowestUuidAt, type Uuid } from '@valija/core'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { untilShown } from '../../../tests/support/shown-events.ts'
import { type Database, openDatabase } from './database.ts'
import { type EventPosition, readEvents, streamStart } from './read-events.ts'

const nextId = createIdSource(Date.now)
const all = { types: eventTypes }

let target: TestDatabase
let database: Database
let tenantId: Uuid
const writers: pg.Client[] = []

beforeAll(async () => {
  target = await createDatabase()
  database = openDatabase({ url: target.url, onError: () => undefined })
  for (let i = 0; i < 6; i++) {
    const writer = new pg.Client({ connectionString: target.url, options: '-c role=valija_engine' })
    await writer.connect()
    writers.push(writer)
  }
})
afterAll(async () => {
  for (const writer of writers) await writer.end()
  await database?.close()
  await target?.drop()
})
beforeEach(() => {
  tenantId = nextId()
})

async function write(
  writer: pg.Client | undefined,
  type: EventType = 'message.accepted',
  id = nextId(),
): Promise<Uuid> {
  await writer?.query(
    `INSERT INTO valija.events (id, tenant_id, type, message_id, created_at, data) VALUES ($1, $2, $3, NULL, now(), '{}')`,
    [id, tenantId, type],
  )
  return id
}

const read = async (from: EventPosition, limit = 100, types: readonly EventType[] = eventTypes) => {
  const { events, next } = await readEvents(database, tenantId, { types }, { from, limit })
  return { ids: events.map((event) => event.id), next }
}
const shown = () => untilShown(async (sql) => (await database.engine.query(sql)).rows)
/** Once no other transaction is open that is older than the newest event: for tests that hold none open themselves. */
const readWhole: typeof read = async (...place) => {
  await shown()
  return read(...place)
}

describe('readEvents', () => {
  test('an event of a later transaction waits for an earlier one that is still open', async () => {
    const [early, late] = writers
    await early?.query('BEGIN')
    const first = await write(early)
    const second = await write(late)
    const before = await read(streamStart())
    expect(before.ids).toEqual([])
    await early?.query('COMMIT')
    expect((await readWhole(before.next)).ids).toEqual([first, second])
  })

  test('an event whose id is older than one that was read already is not skipped', async () => {
    const [early, late] = writers
    const olderId = nextId()
    const newer = await write(late)
    const { ids, next } = await readWhole(streamStart())
    expect(ids).toEqual([newer])
    await write(early, 'message.accepted', olderId)
    expect((await readWhole(next)).ids).toEqual([olderId])
  })

  test('a transaction that is rolled back leaves no gap and holds nobody up', async () => {
    const [early, late] = writers
    await early?.query('BEGIN')
    await write(early)
    const second = await write(late)
    await early?.query('ROLLBACK')
    expect((await readWhole(streamStart())).ids).toEqual([second])
  })

  test('a position is not beyond the last event: numbers that left nothing durable are given out anew after a crash', async () => {
    const [writer] = writers
    const written = await write(writer)
    const row = await writer?.query('SELECT transaction::text AS number FROM valija.events WHERE id = $1', [
      written,
    ])
    await writer?.query('BEGIN')
    await writer?.query('SELECT pg_current_xact_id()')
    await writer?.query('ROLLBACK')
    for (const types of [eventTypes, ['domain.failed'] as const]) {
      const { next } = await readWhole(streamStart(), 100, types)
      expect(next).toMatchObject({ transaction: row?.rows[0].number, id: written })
      expect((await read(next)).next).toMatchObject({ transaction: next.transaction, id: next.id })
    }
  })

  test('pages cut a transaction in the middle without losing or doubling', async () => {
    const [writer] = writers
    await writer?.query('BEGIN')
    const written: Uuid[] = []
    for (let i = 0; i < 7; i++) written.push(await write(writer))
    await writer?.query('COMMIT')
    const seen: Uuid[] = []
    let from = streamStart()
    for (let i = 0; i < 4; i++) {
      const { ids, next } = await readWhole(from, 3)
      seen.push(...ids)
      from = next
    }
    expect(seen).toEqual(written)
  })

  test('a reader beside writers with transactions of every length sees each event once', async () => {
    const written = new Set<Uuid>()
    const seen: Uuid[] = []
    let areWriting = true
    const reader = (async () => {
      let from = streamStart()
      for (let isLast = false; ; ) {
        const { ids, next } = await read(from, 5)
        seen.push(...ids)
        from = next
        if (isLast && ids.length === 0) return
        isLast = !areWriting
      }
    })()
    await Promise.all(
      writers.map(async (writer, number) => {
        for (let round = 0; round < 25; round++) {
          await writer.query('BEGIN')
          written.add(await write(writer))
          await writer.query('SELECT pg_sleep($1)', [((number * 7 + round * 3) % 10) / 1000])
          written.add(await write(writer))
          await writer.query('COMMIT')
        }
      }),
    )
    await shown()
    areWriting = false
    await reader
    expect(seen.length).toBe(written.size)
    expect(new Set(seen)).toEqual(written)
  })

  test('a reader of a rare type does not search the same events again, and misses none', async () => {
    const [early, late] = writers
    await write(late)
    const first = await readWhole(streamStart(), 100, ['message.bounced'])
    expect(first.ids).toEqual([])
    expect(BigInt(first.next.transaction)).toBeGreaterThan(0n)
    await early?.query('BEGIN')
    const bounced = await write(early, 'message.bounced')
    const meanwhile = await read(first.next, 100, ['message.bounced'])
    await early?.query('COMMIT')
    expect((await readWhole(meanwhile.next, 100, ['message.bounced'])).ids).toEqual([bounced])
  })

  test('after leaves out what happened before, also when asked again with the position alone', async () => {
    const [writer] = writers
    await writer?.query(
      `INSERT INTO valija.events (id, tenant_id, type, created_at, data) VALUES ($1, $2, 'message.accepted', now() - interval '1 hour', '{}')`,
      [lowestUuidAt(Date.now() - 3_600_000).replace(/.{8}$/, '00000001'), tenantId],
    )
    const afterMs = Date.now() - 60_000
    await shown()
    const start = await readEvents(
      database,
      tenantId,
      { ...all, afterMs },
      { from: streamStart(afterMs), limit: 100 },
    )
    expect(start.events).toEqual([])
    expect((await read(start.next)).ids).toEqual([])
    expect((await read(streamStart())).ids).toHaveLength(1)
  })

  test('a tenant reads only its own events', async () => {
    await write(writers[0])
    await shown()
    const stranger = nextId()
    const { events } = await readEvents(database, stranger, all, { from: streamStart(), limit: 100 })
    expect(events).toEqual([])
  })
})
