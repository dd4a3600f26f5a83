/** Counting events into the statistics, on a real PostgreSQL: each once, whatever happens in between. */
import { createIdSource, type Uuid } from '@valija/core'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase } from '../../../tests/support/database.ts'
import { untilShown } from '../../../tests/support/shown-events.ts'
import { until } from '../../../tests/support/until.ts'
import { countEvents, statsNameLimits } from './count-events.ts'
import { type Database, openDatabase } from './database.ts'
import { judgeRates } from './judge-rates.ts'
import { eventExpressions, eventParameters, type NewEvent } from './new-events.ts'
import { readEvents, streamStart } from './read-events.ts'
import { readStats, type StatsQuestion } from './read-stats.ts'
import { deleteTenant } from './tenants.ts'

let database: Database
let databaseUrl: string
let drop: () => Promise<void>
const nextId = createIdSource(() => Date.now())
const hourMs = 3_600_000
/** One moment for all: no hour ends in between. */
const nowMs = Date.now()

beforeAll(async () => {
  const made = await createDatabase()
  drop = made.drop
  databaseUrl = made.url
  database = openDatabase({ url: made.url, onError: () => undefined })
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

type Data = Record<string, unknown>

function eventOf(tenantId: Uuid, type: string, data: Data = {}, more: Partial<NewEvent> = {}): NewEvent {
  return {
    id: nextId(),
    tenantId,
    type: `message.${type}` as NewEvent['type'],
    messageId: nextId(),
    createdAtMs: nowMs,
    data: { email: 'ann@example.test', domain: 'acme.test', stream: 'transactional', tags: [], ...data },
    ...more,
  }
}

const write = (client: Pick<pg.Pool, 'query'>, events: readonly NewEvent[]) =>
  client.query(`WITH ${eventExpressions(1)} SELECT`, eventParameters(events))

const shown = () => untilShown(async (sql) => (await database.engine.query(sql)).rows)

/** Counts all that there is. */
async function count(most = 20_000): Promise<number> {
  await shown()
  return countVisible(most)
}

async function countVisible(most: number): Promise<number> {
  let total = 0
  await until('the events are counted', async () => {
    const outcome = await countEvents(database.engine, { notWithinMs: 0, most })
    if (outcome === 'busy') return false
    total += outcome.counted
    return outcome.isUpToDate
  })
  return total
}

const today: Omit<StatsQuestion, 'only'> = {
  span: 'hour',
  after: new Date(Math.floor(nowMs / hourMs) * hourMs - 48 * hourMs),
  before: new Date(nowMs + 2 * hourMs),
  isPerSpan: false,
  group: null,
  groupsMost: 25,
}

/** Sums by group, outcome and reason, as `group outcome reason`. */
async function sums(tenantId: Uuid, question: Partial<StatsQuestion> = {}): Promise<Record<string, number>> {
  const { counts } = await readStats(database, tenantId, { ...today, only: {}, ...question })
  return Object.fromEntries(
    counts.map(({ name, outcome, reason, count }) => [
      [name, outcome, reason].filter((part) => part !== null && part !== '').join(' '),
      count,
    ]),
  )
}

describe('an event', () => {
  test('counts by outcome and reason, in its hour and in its day', async () => {
    const tenantId = await newTenant()
    const before = today.after.getTime() + 3 * hourMs
    await write(database.engine, [
      eventOf(tenantId, 'accepted'),
      eventOf(tenantId, 'accepted', {}, { createdAtMs: before + 1 }),
      eventOf(tenantId, 'attempted', { outcome: 'deferred' }),
      eventOf(tenantId, 'deferred', { reason: 'greylisted' }),
      eventOf(tenantId, 'delivered', { latency_ms: 900 }),
      eventOf(tenantId, 'bounced', { reason: 'mailbox_unknown', bounce_type: 'hard' }),
      eventOf(tenantId, 'bounced', { reason: 'policy', bounce_type: 'block' }),
      eventOf(tenantId, 'scheduled'),
      eventOf(tenantId, 'complained'),
    ])
    await count()
    const all = {
      accepted: 2,
      'deferred greylisted': 1,
      delivered: 1,
      'bounced mailbox_unknown': 1,
      'bounced policy': 1,
      hard_bounced: 1,
      complained: 1,
    }
    expect(await sums(tenantId)).toEqual(all)
    expect(
      await sums(tenantId, { span: 'day', after: new Date(today.after.getTime() - 24 * hourMs) }),
    ).toEqual(all)
    const itsHour = { after: new Date(before), before: new Date(before + hourMs) }
    expect(await sums(tenantId, itsHour)).toEqual({ accepted: 1 })
  })

  test('counts by domain, stream, provider and each of its tags', async () => {
    const tenantId = await newTenant()
    await database.engine.query(
      `INSERT INTO valija.destinations (domain, scope_key, provider, exchangers) VALUES ('known.test', 'k', 'google', '{}')`,
    )
    await write(database.engine, [
      eventOf(tenantId, 'accepted', { email: 'a@known.test', tags: ['red', 'blue'] }),
      eventOf(tenantId, 'delivered', { provider: 'yahoo', stream: 'bulk', domain: 'b.test', tags: ['red'] }),
      eventOf(tenantId, 'accepted'),
    ])
    await count()
    expect(await sums(tenantId, { group: 'provider' })).toEqual({
      'google accepted': 1,
      'yahoo delivered': 1,
      accepted: 1,
    })
    expect(await sums(tenantId, { group: 'stream' })).toEqual({
      'transactional accepted': 2,
      'bulk delivered': 1,
    })
    expect(await sums(tenantId, { group: 'domain' })).toEqual({
      'acme.test accepted': 2,
      'b.test delivered': 1,
    })
    expect(await sums(tenantId, { group: 'tag' })).toEqual({
      'red accepted': 1,
      'red delivered': 1,
      'blue accepted': 1,
    })
    expect(await sums(tenantId, { only: { stream: 'bulk' } })).toEqual({ delivered: 1 })
    expect(await sums(tenantId, { only: { tag: 'blue' } })).toEqual({ accepted: 1 })
  })

  test('of the simulator counts nowhere', async () => {
    const tenantId = await newTenant()
    await write(database.engine, [
      eventOf(tenantId, 'bounced', { simulated: true, bounce_type: 'hard', tags: ['x'] }),
    ])
    expect(await count()).toBe(1)
    expect(await sums(tenantId)).toEqual({})
    expect(await sums(tenantId, { group: 'tag' })).toEqual({})
  })

  test('of a version that did not tell the stream has it from its message', async () => {
    const tenantId = await newTenant()
    const messageId = nextId()
    await database.engine.query(
      `INSERT INTO valija.messages (id, tenant_id, created_at, stream, delivery, from_header, from_email, from_domain, subject, tags,
         metadata, expires_at, rfc_message_id, is_simulated, recipient_count)
       VALUES ($1, $2, now(), 'bulk', 'mx', '', '', '', '', '{}', '{}', now(), '', false, 1)`,
      [messageId, tenantId],
    )
    await write(database.engine, [eventOf(tenantId, 'accepted', { stream: undefined }, { messageId })])
    await count()
    expect(await sums(tenantId, { group: 'stream' })).toEqual({ 'bulk accepted': 1 })
  })
})

describe('each event counts once', () => {
  test('in pages of any size', async () => {
    const tenants = [await newTenant(), await newTenant()]
    await write(
      database.engine,
      tenants.flatMap((tenantId) => Array.from({ length: 50 }, () => eventOf(tenantId, 'accepted'))),
    )
    expect(await count(7)).toBe(100)
    expect(await count()).toBe(0)
    for (const tenantId of tenants) expect(await sums(tenantId)).toEqual({ accepted: 50 })
  })

  test('with several that count at the same time', async () => {
    const tenantId = await newTenant()
    await write(
      database.engine,
      Array.from({ length: 300 }, () => eventOf(tenantId, 'accepted')),
    )
    await Promise.all([count(10), count(20), count(30)])
    expect(await sums(tenantId)).toEqual({ accepted: 300 })
  })

  test('when whoever counts is killed in the middle', async () => {
    const tenantId = await newTenant()
    await count()
    await write(database.engine, [eventOf(tenantId, 'accepted', { latency_ms: 1, tags: ['a'] })])
    const blocker = new pg.Client(databaseUrl)
    await blocker.connect()
    await blocker.query('BEGIN; LOCK TABLE valija.latency_stats IN SHARE MODE')
    const killed = countEvents(database.engine, { notWithinMs: 0, most: 10 }).catch((error: Error) => error)
    await until('it is being counted', async () => {
      const { rowCount } = await blocker.query(
        `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE relation = 'valija.latency_stats'::regclass AND NOT granted`,
      )
      return rowCount === 1
    })
    expect(await killed).toBeInstanceOf(Error)
    await blocker.query('ROLLBACK')
    await blocker.end()
    expect(await sums(tenantId)).toEqual({})
    expect(await count()).toBe(1)
    expect(await sums(tenantId)).toEqual({ accepted: 1 })
  })

  test('and none is skipped whose transaction began earlier and ends later', async () => {
    const tenantId = await newTenant()
    await count()
    const slow = await database.engine.connect()
    await slow.query('BEGIN')
    await write(slow, [eventOf(tenantId, 'accepted')])
    await write(database.engine, [eventOf(tenantId, 'delivered')])
    expect(await countVisible(10)).toBe(0)
    await slow.query('COMMIT')
    slow.release()
    expect(await count()).toBe(2)
    expect(await sums(tenantId)).toEqual({ accepted: 1, delivered: 1 })
  })
})

describe('other tenants’ events are shown', () => {
  test('while a count is between its reading and its writing', async () => {
    const [tenantId, other] = [await newTenant(), await newTenant()]
    await count()
    const gate = new pg.Client(databaseUrl)
    await gate.connect()
    await gate.query(`
      CREATE FUNCTION public.wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN NEW; END $$`)
    for (const table of ['stats_cursors', 'stats_names', 'stats', 'tag_stats', 'latency_stats'])
      await gate.query(
        `CREATE TRIGGER gate BEFORE INSERT ON valija.${table} FOR EACH ROW EXECUTE FUNCTION public.wait_at_gate()`,
      )
    await write(database.engine, [eventOf(tenantId, 'accepted', { latency_ms: 1, tags: ['a'] })])
    await gate.query('SELECT pg_advisory_lock(4711)')
    let counted = 0
    await shown()
    const counting = countVisible(20_000).then((total) => {
      counted = total
    })
    await until('it is about to write', async () => {
      const { rowCount } = await gate.query(
        `SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted`,
      )
      return rowCount === 1
    })
    const event = eventOf(other, 'accepted')
    await write(database.engine, [event])
    await until('its event is shown', async () => {
      const from = streamStart()
      const { events } = await readEvents(database, other, { types: [event.type] }, { from, limit: 1 })
      return events[0]?.id === event.id
    })
    expect(counted).toBe(0)
    await gate.query('SELECT pg_advisory_unlock(4711); DROP FUNCTION public.wait_at_gate() CASCADE')
    await gate.end()
    await counting
    expect(counted).toBe(1)
    expect(await count()).toBe(1)
    expect(await sums(tenantId)).toEqual({ accepted: 1 })
    expect(await sums(other)).toEqual({ accepted: 1 })
  })

  test('while rates are judged', async () => {
    const lock = new pg.Client(databaseUrl)
    await lock.connect()
    await lock.query('BEGIN; LOCK TABLE valija.alarms IN ACCESS EXCLUSIVE MODE')
    const judging = judgeRates(database.engine, 0, () => ({ alarms: [], pause: null }))
    const idOfWaiting = await until('it reads', async () => {
      const { rows } = await lock.query<{ id: string | null }>(
        `SELECT a.backend_xid::text AS id FROM pg_locks JOIN pg_stat_activity AS a USING (pid)
         WHERE relation = 'valija.alarms'::regclass AND NOT granted`,
      )
      return rows[0]
    })
    expect(idOfWaiting).toEqual({ id: null })
    await lock.query('ROLLBACK')
    await lock.end()
    await judging
  })
})

describe('names', () => {
  test('beyond the bound of an hour are counted together, over several counts as well', async () => {
    const tenantId = await newTenant()
    const { tag: most } = statsNameLimits
    const tagged = (from: number, to: number) =>
      Array.from({ length: to - from }, (_, at) => eventOf(tenantId, 'accepted', { tags: [`t${from + at}`] }))
    await write(database.engine, [...tagged(0, most - 10), eventOf(tenantId, 'accepted', { tags: ['t0'] })])
    await count()
    // The one that has most is told apart, whatever its name.
    const large = Array.from({ length: 3 }, () => eventOf(tenantId, 'accepted', { tags: ['zz'] }))
    await write(database.engine, [...tagged(most - 10, most + 10), ...large, ...tagged(0, 1)])
    await count()
    const { rows } = await database.engine.query<{ tag: string; count: number }>(
      `SELECT tag, count FROM valija.tag_stats WHERE tenant_id = $1 AND span = 'hour' ORDER BY count DESC, tag`,
      [tenantId],
    )
    expect(rows).toHaveLength(most + 1)
    expect(rows.slice(0, 3)).toEqual([
      { tag: '', count: 11 },
      { tag: 't0', count: 3 },
      { tag: 'zz', count: 3 },
    ])
  })

  test('that are asked for are those in which most happened; the others are one row', async () => {
    const tenantId = await newTenant()
    const from = (domain: string, times: number) =>
      Array.from({ length: times }, () => eventOf(tenantId, 'accepted', { domain }))
    await write(database.engine, [
      ...from('a.test', 1),
      ...from('b.test', 3),
      ...from('c.test', 1),
      ...from('d.test', 2),
    ])
    await count()
    expect(await sums(tenantId, { group: 'domain', groupsMost: 2 })).toEqual({
      'b.test accepted': 3,
      'd.test accepted': 2,
      accepted: 2,
    })
  })
})

test('of a tenant that is deleted while its events are counted nothing stays', async () => {
  const tenantId = await newTenant()
  await write(database.engine, [eventOf(tenantId, 'accepted')])
  const [deleted] = await Promise.all([
    deleteTenant(database, tenantId),
    countEvents(database.engine, { notWithinMs: 0, most: 10 }).catch(() => undefined),
  ])
  expect(deleted).toBe('deleted')
  await count()
  const { rowCount } = await database.engine.query('SELECT FROM valija.stats WHERE tenant_id = $1', [
    tenantId,
  ])
  expect(rowCount).toBe(0)
})
