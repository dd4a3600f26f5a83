/**
 * The database is set back to an earlier time: a base backup made while mail flows, and the WAL up to a point (docs/operations.md, "Backup and
 * restore"). What had been accepted by then has its end once more, what came later is unknown, and receivers can tell what they get twice.
 *
 *   ended      delivered before the point                          is not sent again
 *   backedUp   accepted before the base backup, waiting            its end was after the point: it is sent again
 *   between    accepted after the base backup and before the point the same
 *   later      accepted after the point                            is unknown
 */
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type BackedUpCluster, startBackedUpCluster } from './support/backed-up-cluster.ts'
import { type EventView, eventTypes, post, readMessage, untilEnded } from './support/message-life.ts'
import { startApp } from './support/processes.ts'
import { type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { needsProgram, PATIENCE_MS, until } from './support/until.ts'
import { type Call, expectStatus, startValija, type Valija } from './support/valija.ts'
import { startWebhookReceiver, type WebhookReceiver } from './support/webhook-receiver.ts'

const queue = needsProgram('redis-server') ? 'postgres' : 'redis'
type Name = 'ended' | 'backedUp' | 'between' | 'later'

let cluster: BackedUpCluster
let peer: SmtpPeer
let receiver: WebhookReceiver
let valija: Valija
/** The API on the restored database. */
let restored: Call
const ids = {} as Record<Name, string>
/** Where a reader of /events had come when the database was lost. */
let cursor: string
/** How often each had arrived before the loss. */
let arrivedBefore: Record<string, number>

const arrived = (name: Name) => peer.mails.filter(({ to }) => to[0] === `${name.toLowerCase()}@example.org`)
const send = (call: Call, name: Name) =>
  post(call, valija.mail({ to: `${name.toLowerCase()}@example.org` }), { 'idempotency-key': `key-${name}` })

/** Reads the stream to its end. */
async function follow(call: Call, from: string): Promise<{ events: EventView[]; cursor: string }> {
  const events: EventView[] = []
  for (let at = from; ; ) {
    const path = `/events?limit=100${at && `&cursor=${encodeURIComponent(at)}`}`
    const page = expectStatus(await call<{ data: EventView[]; next_cursor: string }>('GET', path), 200).json
    events.push(...page.data)
    at = page.next_cursor
    if (page.data.length === 0) return { events, cursor: at }
  }
}

/** Everything up to the loss; returns the point in time. */
async function liveUntilLoss(): Promise<string> {
  let isHeldBack = true
  peer.script = {
    rcpt: ({ argument }) => (isHeldBack && /backedup|between/.test(argument) ? '451 4.7.1 later' : undefined),
  }
  const deferred = (id: string) =>
    until(`${id} deferred`, async () => (await eventTypes(valija.api, id)).includes('deferred'), PATIENCE_MS)
  ids.ended = await send(valija.api, 'ended')
  await untilEnded(valija.api, ids.ended, PATIENCE_MS)
  ids.backedUp = await send(valija.api, 'backedUp')
  await deferred(ids.backedUp)
  await cluster.backUp()
  ids.between = await send(valija.api, 'between')
  await deferred(ids.between)
  const [point] = await valija.sql<{ at: string }>('SELECT clock_timestamp()::text AS at')

  isHeldBack = false
  await valija.sql(`UPDATE valija.deliveries SET due_at = now() WHERE state = 'waiting'`)
  await untilEnded(valija.api, ids.backedUp, PATIENCE_MS)
  await untilEnded(valija.api, ids.between, PATIENCE_MS)
  ids.later = await send(valija.api, 'later')
  await untilEnded(valija.api, ids.later, PATIENCE_MS)
  cursor = (await follow(valija.api, '')).cursor
  await receiver.received(4, PATIENCE_MS)
  await cluster.archiveAll()
  return point!.at
}

/** Readers' places in /events are numbers of transactions: those that were given out since the point must not be given out again. */
async function passTransactions(url: string, count: number): Promise<void> {
  const client = new pg.Client({ connectionString: url, options: '-c synchronous_commit=off' })
  await client.connect()
  await client.query(
    `DO $$ BEGIN FOR n IN 1..${count} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$`,
  )
  await client.end()
}

beforeAll(async () => {
  ;[cluster, peer, receiver] = await Promise.all([
    startBackedUpCluster(),
    startSmtpPeer(),
    startWebhookReceiver(),
  ])
  const migration = startApp('migrate', { DATABASE_URL: cluster.url })
  expect(await migration.ended).toMatchObject({ code: 0 })
  valija = await startValija({
    ...{ queue, delivery: 'smarthost', smarthost: peer, databaseUrl: cluster.url },
    env: { VALIJA_ALLOW_NETWORKS: '127.0.0.0/8', VALIJA_RETRY_SCHEDULE: '1h' },
  })
  const webhook = { url: receiver.url, events: ['message.delivered'] }
  receiver.secret = expectStatus(
    await valija.api<{ secret: string }>('POST', '/webhooks', webhook),
    201,
  ).json.secret
  const point = await liveUntilLoss()
  await Promise.all([...valija.apis, ...valija.workers].map((process) => process.stop(PATIENCE_MS)))
  arrivedBefore = Object.fromEntries((Object.keys(ids) as Name[]).map((name) => [name, arrived(name).length]))

  const url = await cluster.restore(point)
  await passTransactions(url, 20_000)
  const api = await valija.addApi({ DATABASE_URL: url })
  restored = api.call
  expect((await readMessage(restored, ids.between)).status).toBe('deferred')
  await valija.addWorker({ DATABASE_URL: url })
  // The retry would come by itself, an hour later.
  const client = new pg.Client(url)
  await client.connect()
  await client.query(`UPDATE valija.deliveries SET due_at = now() WHERE state = 'waiting'`)
  await client.end()
}, 300_000)
afterAll(async () => {
  await valija?.stop()
  await receiver?.stop()
  await peer?.stop()
  await cluster?.stop()
})

describe('after a restore to a point in time', () => {
  test.each(['backedUp', 'between'] as const)(
    'a mail accepted before the point is not lost, and sent again with the same bytes if its end came later: %s',
    async (name) => {
      expect((await untilEnded(restored, ids[name], PATIENCE_MS)).status).toBe('delivered')
      expect(arrivedBefore[name]).toBe(1)
      const [first, second, ...more] = arrived(name)
      expect(more).toEqual([])
      expect(second!.raw.equals(first!.raw)).toBe(true)
      expect(first!.text).toMatch(/^Message-ID: </im)
    },
  )

  test('a mail that had ended before the point is not sent again', async () => {
    expect((await readMessage(restored, ids.ended)).status).toBe('delivered')
    expect(arrived('ended')).toHaveLength(1)
  })

  test('a mail accepted after the point is unknown, and its Idempotency-Key free', async () => {
    expect(arrivedBefore.later).toBe(1)
    expect((await restored('GET', `/messages/${ids.later}`)).status).toBe(404)
    const again = await send(restored, 'later')
    expect(again).not.toBe(ids.later)
    await untilEnded(restored, again, PATIENCE_MS)
    expect(arrived('later')).toHaveLength(2)
  })

  test('an Idempotency-Key of before the point has its stored answer', async () => {
    expect(await send(restored, 'between')).toBe(ids.between)
  })

  test('a reader that goes on from the place where it was before the loss misses nothing that happens from now on', async () => {
    await untilEnded(restored, ids.between, PATIENCE_MS)
    await untilEnded(restored, ids.backedUp, PATIENCE_MS)
    const delivered = new Set<string>()
    await until('both ends in the stream', async () => {
      const read = await follow(restored, cursor)
      cursor = read.cursor
      for (const { type, data } of read.events) if (type === 'message.delivered') delivered.add(data.email)
      return delivered.has('backedup@example.org') && delivered.has('between@example.org')
    })
  })

  test('webhooks tell the second end under an id of its own', async () => {
    const told = () => receiver.calls.filter(({ text }) => text.includes('between@example.org'))
    await until('told again', () => told().length === 2, PATIENCE_MS)
    expect(new Set(told().map(({ id }) => id)).size).toBe(2)
    expect(told().every(({ isVerified }) => isVerified)).toBe(true)
  })
})
