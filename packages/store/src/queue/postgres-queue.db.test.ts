/** What only the PostgreSQL backend has: its schema, and the few connections that it takes. */
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createEmptyDatabase, type TestDatabase } from '../../../../tests/support/database.ts'
import { until } from '../../../../tests/support/until.ts'
import type { Hint, HintQueue } from './hint-queue.ts'
import { migrateQueue, openPostgresQueue } from './postgres-queue.ts'

/**
 * Adds hints and tells how often that was tried. A store that is slow may be taken for one that is away: then the same is tried again, and some
 * may come twice.
 */
async function add(queue: HintQueue, hints: Hint[]): Promise<number> {
  let tries = 0
  await until('an add', async () => {
    await until('up', () => queue.isUp)
    tries += 1
    await queue.add(hints)
    return true
  })
  return tries
}

describe('the queue in PostgreSQL', () => {
  let database: TestDatabase
  let client: pg.Client

  beforeAll(async () => {
    database = await createEmptyDatabase()
    client = new pg.Client(database.url)
    await client.connect()
  })
  afterAll(async () => {
    await client.end()
    await database.drop()
  })

  test('a database without the schema is refused, with what is missing', async () => {
    const opening = openPostgresQueue({ databaseUrl: database.url, onError: () => {} })
    await expect(opening).rejects.toThrow(/schema "bullmq" is not initialized/)
  })

  test('migrateQueue runs at once in several processes, and again', async () => {
    await Promise.all([1, 2, 3].map(() => migrateQueue(database.url)))
    await migrateQueue(database.url)
    const { rows } = await client.query('SELECT count(*)::int AS epochs FROM bullmq.epoch')
    expect(rows).toEqual([{ epochs: 0 }])
  })

  test('hints and epoch are in unlogged tables, so that a crash empties them together', async () => {
    const { rows } = await client.query<{ name: string }>(
      `SELECT relname AS name FROM pg_class
        WHERE relnamespace = 'bullmq'::regnamespace AND relkind = 'r' AND relpersistence = 'u' ORDER BY 1`,
    )
    expect(rows.map(({ name }) => name)).toEqual([
      'epoch',
      'event',
      'job',
      'job_dependency',
      'job_log',
      'meta',
    ])
  })

  test('no event is recorded or notified, of hints one by one, in bulk, taken and done; and idle workers are woken all the same', async () => {
    await migrateQueue(database.url)
    const notified: string[] = []
    client.on('notification', ({ channel }) => notified.push(channel))
    await client.query('LISTEN bullmq_events; LISTEN bullmq_jobs')
    const queue = await openPostgresQueue({ databaseUrl: database.url, onError: () => {} })
    const taken = new Set<string>()
    const worker = queue.work(async ({ ids }) => void taken.add(ids[0]!), {
      concurrency: 4,
      onError: () => {},
    })
    const sent = [1, 16, 17, 100]
    const tries: number[] = []
    for (const [index, count] of sent.entries()) {
      tries.push(
        await add(
          queue,
          Array.from({ length: count }, (_, each) => ({ ids: [`${index}-${each}`] })),
        ),
      )
      const soFar = sent.slice(0, index + 1).reduce((sum, each) => sum + each)
      await until('the hints', () => taken.size === soFar)
      await until('all of them done', async () => {
        const { rows } = await client.query<{ jobs: number }>('SELECT count(*)::int AS jobs FROM bullmq.job')
        return rows[0]!.jobs === 0
      })
    }
    await worker.close()
    await queue.close()
    await client.query('UNLISTEN *')
    const { rows } = await client.query<{ events: number; next: number }>(
      `SELECT (SELECT count(*)::int FROM bullmq.event) AS events, nextval('bullmq.event_seq')::int AS next`,
    )
    // The bulk's are made up and dropped: two for each hint, after the one by which we look. An add that was given up may have made its own.
    expect(rows[0]!.events).toBe(0)
    expect(rows[0]!.next).toBeGreaterThanOrEqual(2 * (17 + 100) + 1)
    expect(rows[0]!.next).toBeLessThanOrEqual(2 * (17 * tries[2]! + 100 * tries[3]!) + 1)
    expect(new Set(notified)).toEqual(new Set(['bullmq_jobs']))
  })

  test('a publish_event that we do not know stays as it is, with its events', async () => {
    await migrateQueue(database.url)
    const bodyOf = async () => {
      const { rows } = await client.query<{ body: string }>(
        `SELECT prosrc AS body FROM pg_proc WHERE oid = 'bullmq.publish_event(text, text, jsonb)'::regprocedure`,
      )
      return rows[0]!.body
    }
    const ours = await bodyOf()
    const replace = (body: string) =>
      client.query(
        `CREATE OR REPLACE FUNCTION bullmq.publish_event(p_queue text, p_event text, p_data jsonb) RETURNS bigint
           LANGUAGE sql VOLATILE AS $$${body}$$`,
      )
    const other = `INSERT INTO bullmq.event (queue, event, data, created_at_ms) VALUES (p_queue, p_event, p_data, 0) RETURNING id`
    await replace(other)
    await migrateQueue(database.url)
    expect(await bodyOf()).toBe(other)
    const { rows } = await client.query<{ id: number | null }>(
      `SELECT bullmq.publish_event('a', 'b', '{}')::int AS id`,
    )
    expect(rows[0]!.id).toBeGreaterThan(0)

    await client.query('DROP FUNCTION bullmq.publish_event')
    await migrateQueue(database.url)
    await client.query('DROP SCHEMA bullmq CASCADE')
    await migrateQueue(database.url)
    expect(await bodyOf()).toBe(ours)
  })

  test('a process that adds and works takes three connections', async () => {
    const queue = await openPostgresQueue({ databaseUrl: database.url, onError: () => {} })
    const taken = new Set<string>()
    const worker = queue.work(async ({ ids }) => void taken.add(ids[0]!), {
      concurrency: 16,
      onError: () => {},
    })
    await add(
      queue,
      Array.from({ length: 200 }, (_, index) => ({ ids: [`${index}`] })),
    )
    await until('200 hints', () => taken.size === 200)
    const { rows } = await client.query(
      `SELECT count(*)::int AS connections FROM pg_stat_activity
       WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'`,
    )
    expect(rows).toEqual([{ connections: 3 }])
    await worker.close()
    await queue.close()
  })

  test('a worker whose fetch fails, as on a full disk, asks again twice a second and not in a loop, and goes on when it is over', async () => {
    await migrateQueue(database.url)
    await client.query(`
      CREATE SEQUENCE public.refusals;
      CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        PERFORM nextval('public.refusals');
        RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100';
      END $$;
      CREATE TRIGGER refuse BEFORE UPDATE ON bullmq.job FOR EACH ROW EXECUTE FUNCTION public.refuse()`)
    const errors: Error[] = []
    const queue = await openPostgresQueue({
      databaseUrl: database.url,
      onError: (error) => void errors.push(error),
    })
    let taken = 0
    const worker = queue.work(async () => void taken++, { concurrency: 4, onError: () => {} })
    await add(queue, [{ ids: ['a'] }])
    // Of an add that was given up, should there be one.
    errors.length = 0
    await until('a refusal', () => errors.length > 0)
    const [first, firstMs] = [errors.length, performance.now()]
    await until('more of them', () => errors.length >= first + 3)
    expect(performance.now() - firstMs).toBeGreaterThan(1_000)
    const { rows } = await client.query<{ count: string }>('SELECT last_value AS count FROM public.refusals')
    expect(Number(rows[0]!.count)).toBeLessThan(20)
    expect(queue.isUp).toBe(true)
    await client.query('DROP TRIGGER refuse ON bullmq.job')
    await until('the hint taken', () => taken > 0)
    await worker.close()
    await queue.close()
  })

  test('a worker does not ask when a delayed job is due, or a limit of rate ends: hints have neither', async () => {
    const errors: Error[] = []
    const onError = (error: Error) => void errors.push(error)
    const queue = await openPostgresQueue({ databaseUrl: database.url, onError })
    // Whoever asks is counted: an error of the second one would be kept quiet by BullMQ.
    await client.query(`
      CREATE SEQUENCE public.asked;
      ALTER FUNCTION bullmq.next_signal RENAME TO next_signal_aside;
      ALTER FUNCTION bullmq.next_delay RENAME TO next_delay_aside;
      CREATE FUNCTION bullmq.next_signal(text, integer, bigint, OUT rate_limit_ttl bigint, OUT next_delay bigint)
        LANGUAGE sql AS $$ SELECT 0 * nextval('public.asked'), NULL::bigint $$;
      CREATE FUNCTION bullmq.next_delay(text) RETURNS bigint
        LANGUAGE sql AS $$ SELECT nullif(0 * nextval('public.asked'), 0) $$`)
    const taken: string[] = []
    const worker = queue.work(async ({ ids }) => void taken.push(...ids), { concurrency: 1, onError })
    let givenUp = 0
    for (const id of ['a', 'b']) {
      givenUp += (await add(queue, [{ ids: [id] }])) - 1
      await until('it is taken', () => taken.includes(id))
    }
    await worker.close()
    const { rows } = await client.query<{ isAsked: boolean }>(
      'SELECT is_called AS "isAsked" FROM public.asked',
    )
    await client.query(`
      DROP FUNCTION bullmq.next_signal, bullmq.next_delay;
      ALTER FUNCTION bullmq.next_signal_aside RENAME TO next_signal;
      ALTER FUNCTION bullmq.next_delay_aside RENAME TO next_delay`)
    await queue.close()
    // An add that is given up is told, once.
    expect(errors.slice(givenUp)).toEqual([])
    expect(rows[0]!.isAsked).toBe(false)
  })

  test('session settings in the URL stay, and an error of one command is told as it is', async () => {
    const url = new URL(database.url)
    url.searchParams.set('options', '-c lock_timeout=100')
    const queue = await openPostgresQueue({ databaseUrl: url.href, onError: () => {} })
    await client.query('BEGIN; LOCK TABLE bullmq.job')
    const lockNotAvailable = '55P03'
    const refusal = await until('a refusal', async () => {
      await until('up', () => queue.isUp)
      return queue.add([{ ids: ['a'] }]).then(
        () => 'added',
        (error: { code?: string }) => error.code !== 'queue_away' && error,
      )
    })
    expect(refusal).toMatchObject({ code: lockNotAvailable })
    expect(queue.isUp).toBe(true)
    await client.query('ROLLBACK')
    await queue.close()
  })
})
