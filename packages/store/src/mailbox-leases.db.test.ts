/** Who looks after a mailbox: one worker at a time, another one when that is gone or the mailbox was changed. */
import { createIdSource } from '@valija/core'
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { type Database, openDatabase } from './database.ts'
import {
  claimMailboxes,
  forgetKnownMails,
  type HeldMailbox,
  nextMailboxDueInMs,
  noteFailedLook,
  noteGoodLook,
  noteMailboxMails,
  readKnownMails,
  releaseMailbox,
  renewMailboxes,
} from './mailbox-leases.ts'
import { countMailboxes, findMailbox, insertMailbox, updateMailbox } from './mailboxes.ts'

const nextId = createIdSource(Date.now)
const leaseMs = 30_000
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
beforeEach(() => database.engine.query('DELETE FROM valija.mailboxes'))

async function add(fields: { state?: string; inS?: number; tenantId?: string } = {}): Promise<string> {
  const id = nextId()
  await database.engine.query(
    `INSERT INTO valija.mailboxes (id, name, protocol, host, port, tls, username, password, state, next_look_at, tenant_id)
     VALUES ($1, 'm', 'pop3', 'mail.test', 995, 'implicit', 'u', '\\x01', $2, now() + make_interval(secs => $3), $4)`,
    [id, fields.state ?? 'enabled', fields.inS ?? -1, fields.tenantId ?? null],
  )
  return id
}

const claim = (limit = 10, { maxOfOwner = 100, owners = [] as (string | null)[] } = {}) =>
  claimMailboxes(database.engine, { holder: nextId(), leaseMs, limit, maxOfOwner, owners })
const renew = (...held: HeldMailbox[]) => renewMailboxes(database.engine, held, leaseMs)
const show = async (id: string) => (await findMailbox(database, null, id))!
const endLeases = () =>
  database.engine.query("UPDATE valija.mailboxes SET held_until = now() - interval '1 s'")

test('each mailbox is claimed by one of many at the same time; those first that have waited longest', async () => {
  for (const inS of [-1, -3, -2]) await add({ inS })
  await add({ state: 'paused' })
  await add({ inS: 60 })
  const claims = await Promise.all(Array.from({ length: 6 }, () => claim()))
  expect(claims.flat()).toHaveLength(3)
  await endLeases()
  const waits = await Promise.all((await claim(2)).map(async ({ id }) => (await show(id)).nextLookAt))
  const [longest] = waits.toSorted((one, other) => one.getTime() - other.getTime())
  expect(Date.now() - longest!.getTime()).toBeGreaterThanOrEqual(3_000)
  expect(await claim()).toHaveLength(1)
})

test('no owner has more than its part with those that the worker holds already, however long its mailboxes have waited', async () => {
  const [many, one] = [nextId(), nextId()]
  await database.engine.query(
    `INSERT INTO valija.tenants (id, name) SELECT id, id::text FROM unnest($1::uuid[]) AS id`,
    [[many, one]],
  )
  for (let n = 0; n < 6; n += 1) await add({ tenantId: many, inS: -100 })
  for (let n = 0; n < 4; n += 1) await add({ inS: -50 })
  await add({ tenantId: one })
  const owners = (held: HeldMailbox[]) =>
    [many, null, one].map((owner) => held.filter(({ tenantId }) => tenantId === owner).length)
  const first = await claim(50, { maxOfOwner: 3 })
  expect(owners(first)).toEqual([3, 3, 1])
  const held = first.map(({ tenantId }) => tenantId)
  expect(await claim(50, { maxOfOwner: 3, owners: held })).toEqual([])
  expect(owners(await claim(50, { maxOfOwner: 3, owners: [many, many, one] }))).toEqual([1, 1, 0])
  // Another worker has nothing of theirs yet.
  expect(owners(await claim(50, { maxOfOwner: 3 }))).toEqual([2, 0, 0])
})

test('a lease that is over is another’s; the former holder writes nothing any more', async () => {
  const id = await add()
  const [former] = await claim()
  await endLeases()
  const [present] = await claim()
  expect(present).toMatchObject({ id })
  expect(await renew(former!)).toEqual(new Set())
  await noteFailedLook(database.engine, former!, { code: 'timeout', detail: 'x', pauseMs: 1 })
  await releaseMailbox(database.engine, former!, 60_000)
  await noteGoodLook(database.engine, former!)
  expect(await show(id)).toMatchObject({ failures: 0, lookedAt: null })
  expect(await renew(present!)).toEqual(new Set([id]))
})

test('one that was changed, paused or deleted is held no more', async () => {
  const ids = [await add(), await add(), await add(), await add()]
  const held = await claim()
  await updateMailbox(database, null, ids[0]!, () => ({ name: 'other' }))
  await updateMailbox(database, null, ids[1]!, () => ({ state: 'paused' }))
  await database.engine.query('DELETE FROM valija.mailboxes WHERE id = $1', [ids[2]])
  expect(await renew(...held)).toEqual(new Set([ids[3]]))
  expect((await claim()).map(({ id }) => id)).toEqual([ids[0]])
})

test('a failure gives it back until its pause is over, and counts; a good look forgets all of it, and says so once', async () => {
  const id = await add()
  for (const failures of [1, 2]) {
    const [held] = await claim()
    expect(held!.failures).toBe(failures - 1)
    await noteFailedLook(database.engine, held!, { code: 'login_refused', detail: 'no', pauseMs: 60_000 })
    expect(await show(id)).toMatchObject({ failures, errorCode: 'login_refused', errorDetail: 'no' })
    expect(await claim()).toEqual([])
    expect(await nextMailboxDueInMs(database.engine)).toBeGreaterThan(50_000)
    await database.engine.query("UPDATE valija.mailboxes SET next_look_at = now() - interval '1 s'")
  }
  expect(await countMailboxes(database.engine)).toEqual([{ state: 'failing', count: 1 }])
  const [held] = await claim()
  expect(await noteGoodLook(database.engine, held!)).toEqual({ hasRecovered: true })
  expect(await noteGoodLook(database.engine, held!)).toEqual({ hasRecovered: false })
  expect(await show(id)).toMatchObject({ failures: 0, failingSince: null, errorCode: null })
  await releaseMailbox(database.engine, held!, 0)
  expect(await claim()).toHaveLength(1)
})

test('one that is given back for at once is due at once, in whatever part of a millisecond', async () => {
  const id = await add()
  const client = await database.engine.connect()
  try {
    for (let n = 0; n < 30; n += 1) {
      const [held] = await claim()
      // Time stands still in a transaction: what is not due for it now would not be for a statement that follows at once.
      await client.query('BEGIN')
      await releaseMailbox(client, held!, 0)
      const { rows } = await client.query(
        'SELECT next_look_at <= now() AS "isDue" FROM valija.mailboxes WHERE id = $1',
        [id],
      )
      await client.query('COMMIT')
      expect(rows).toEqual([{ isDue: true }])
    }
  } finally {
    client.release()
  }
})

test('a new one is due at once, however wrong the clock of the machine that it was made by', async () => {
  const id = nextId()
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 3_600_000 })
  try {
    await insertMailbox(database, {
      ...{ id, tenantId: null, name: 'm', protocol: 'pop3', host: 'mail.test', port: 995, tls: 'implicit' },
      ...{ username: 'u', password: Buffer.of(1), folder: null, doneFolder: null, state: 'enabled' },
    })
  } finally {
    vi.useRealTimers()
  }
  expect((await claim()).map((held) => held.id)).toEqual([id])
})

test('mails that stay are remembered once, and forgotten when they are gone; what mails came to adds up', async () => {
  const id = await add()
  const counts = { applied: 1, reports: 2, ignored: 3, other: 4 }
  await noteMailboxMails(database.engine, id, counts, ['a', 'b'])
  await noteMailboxMails(database.engine, id, counts, ['b', 'c'])
  expect(await readKnownMails(database.engine, id)).toEqual(new Set(['a', 'b', 'c']))
  await forgetKnownMails(database.engine, id, ['a', 'c'])
  expect(await readKnownMails(database.engine, id)).toEqual(new Set(['b']))
  const total = { appliedCount: 2, reportCount: 4, ignoredCount: 6, otherCount: 8 }
  expect(await show(id)).toMatchObject(total)
  // Of a mailbox that was deleted meanwhile nothing is kept.
  await noteMailboxMails(database.engine, nextId(), counts, ['a'])
})
