/**
 * The database is set back to an earlier time: a base backup made while mail flows, and the WAL up to a point (docs/operations.md, "Backup and
 * restore"). What had been accepted by then has its end once more, what came later is unknown, and receivers can tell what they get twice.
 *
 *   ended      delivered before the point                          is not sent again
 *   backedUp   accepted before the base backup, waiting            its end was after the point: it is sent again
 *   between    accepted after the base backup and before the point the same
 *   later      accepted after the point                            is unknown
 *   inHand     at the point in a worker's hands, past its DATA      is held, and sent again only when the operator lets it go
 *   once       waiting at the point, of a tenant set to at_most_once is not sent again: it has its end as uncertain
 *   campaign   waiting at the point, bulk                          is not sent again: the operator has it ended
 */
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type BackedUpCluster, startBackedUpCluster } from './support/backed-up-cluster.ts'
import { client } from './support/http.ts'
import {
  type EventView,
  eventTypes,
  post,
  readEvents,
  readMessage,
  untilEnded,
} from './support/message-life.ts'
import { startApp } from './support/processes.ts'
import { type SmtpPeer, startSmtpPeer, when } from './support/smtp-peer.ts'
import { needsProgram, PATIENCE_MS, until } from './support/until.ts'
import {
  type Call,
  expectStatus,
  SECRET_KEY,
  startValija,
  type TestTenant,
  type Valija,
} from './support/valija.ts'
import { startWebhookReceiver, type WebhookReceiver } from './support/webhook-receiver.ts'

const queue = needsProgram('redis-server') ? 'postgres' : 'redis'
type Name = 'ended' | 'backedUp' | 'between' | 'later' | 'inHand' | 'once' | 'campaign'

let cluster: BackedUpCluster
let peer: SmtpPeer
let receiver: WebhookReceiver
let valija: Valija
/** The API on the restored database. */
let restored: Call
/** Set to at_most_once; and its way to the API on the restored database. */
let once: TestTenant
let restoredOnce: Call
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
  let isInHand = false
  const taken = Promise.withResolvers<void>()
  peer.script = {
    rcpt: ({ argument }) =>
      isHeldBack && /backedup|between|once|campaign/.test(argument) ? '451 4.7.1 later' : undefined,
    body: ({ to }) => {
      if (to[0] !== 'inhand@example.org') return undefined
      isInHand = true
      return when(taken.promise, '250 2.0.0 taken')
    },
  }
  const deferred = (id: string, call = valija.api) =>
    until(`${id} deferred`, async () => (await eventTypes(call, id)).includes('deferred'), PATIENCE_MS)
  ids.ended = await send(valija.api, 'ended')
  await untilEnded(valija.api, ids.ended, PATIENCE_MS)
  ids.backedUp = await send(valija.api, 'backedUp')
  await deferred(ids.backedUp)
  await cluster.backUp()
  ids.between = await send(valija.api, 'between')
  await deferred(ids.between)
  ids.once = await post(once.call, valija.mail({ from: 'hi@once.test', to: 'once@example.org' }))
  await deferred(ids.once, once.call)
  ids.campaign = await post(valija.api, valija.mail({ to: 'campaign@example.org', stream: 'bulk' }))
  await deferred(ids.campaign)
  ids.inHand = await send(valija.api, 'inHand')
  await until('the whole mail at the receiver', () => isInHand, PATIENCE_MS)
  const [point] = await valija.sql<{ at: string }>('SELECT clock_timestamp()::text AS at')

  isHeldBack = false
  taken.resolve()
  await valija.sql(`UPDATE valija.deliveries SET due_at = now() WHERE state = 'waiting'`)
  await untilEnded(valija.api, ids.backedUp, PATIENCE_MS)
  await untilEnded(valija.api, ids.between, PATIENCE_MS)
  await untilEnded(valija.api, ids.inHand, PATIENCE_MS)
  await untilEnded(once.call, ids.once, PATIENCE_MS)
  await untilEnded(valija.api, ids.campaign, PATIENCE_MS)
  ids.later = await send(valija.api, 'later')
  await untilEnded(valija.api, ids.later, PATIENCE_MS)
  cursor = (await follow(valija.api, '')).cursor
  await receiver.received(6, PATIENCE_MS)
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

const runRestore = (url: string, words: string[]) =>
  startApp('restore', { DATABASE_URL: url, VALIJA_SECRET_KEY: SECRET_KEY }, words)

/** `valija restore …` at the restored database; what it prints. */
async function restore(url: string, ...words: string[]): Promise<unknown> {
  const run = runRestore(url, [...words, '--json'])
  expect(await run.ended, run.lines.join('\n')).toMatchObject({ code: 0 })
  // Without the lines of the mail log.
  return JSON.parse(run.lines.filter((line) => !line.startsWith('{"')).join('\n'))
}

/** What the database shows when workers run on it, and before the operator has decided. */
const whileHeld = { arrived: {} as Record<string, number>, hold: '', explained: '' }

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
  once = await valija.addTenant('once', 'once.test')
  expectStatus(await valija.admin('PATCH', `/tenants/${once.id}`, { at_most_once: true }), 200)
  const point = await liveUntilLoss()
  await Promise.all([...valija.apis, ...valija.workers].map((process) => process.stop(PATIENCE_MS)))
  arrivedBefore = Object.fromEntries((Object.keys(ids) as Name[]).map((name) => [name, arrived(name).length]))

  const url = await cluster.restore(point)
  await passTransactions(url, 20_000)
  // As if the hour until its retry had passed before the loss.
  const database = new pg.Client(url)
  await database.connect()
  await database.query(`UPDATE valija.deliveries SET due_at = now() - interval '1 s' WHERE state = 'waiting'`)
  await database.end()
  const lostAt = new Date().toISOString()
  expect(await restore(url, 'hold', '--lost-at', lostAt)).toEqual({ held: 5, due_by: lostAt })
  const api = await valija.addApi({ DATABASE_URL: url })
  restored = api.call
  restoredOnce = client(api.url, once.key)
  await valija.addWorker({ DATABASE_URL: url })
  await untilEnded(restored, await post(restored, valija.mail({ to: 'fresh@example.org' })), PATIENCE_MS)
  whileHeld.arrived = Object.fromEntries(
    (Object.keys(ids) as Name[]).map((name) => [name, arrived(name).length]),
  )
  whileHeld.hold = (await readMessage(restored, ids.inHand)).status
  const path = `/messages/${ids.inHand}/explain`
  type Explained = { recipients: { because: { kind: string }[] }[] }
  whileHeld.explained = expectStatus(await restored<Explained>('GET', path), 200).json.recipients[0]!
    .because[0]!.kind
  // A worker runs by now.
  expect(await runRestore(url, ['hold']).ended).toMatchObject({ code: 1 })
  expect(await restore(url, 'end', '--stream', 'bulk')).toEqual({ ended: 1 })
  expect(await restore(url, 'release')).toEqual({ released: 3, ended: 1 })
}, 300_000)
afterAll(async () => {
  await valija?.stop()
  await receiver?.stop()
  await peer?.stop()
  await cluster?.stop()
})

describe('after a restore to a point in time', () => {
  test('what may have been delivered since is held, while mail that comes new goes on', () => {
    expect(whileHeld).toEqual({
      arrived: arrivedBefore,
      hold: expect.stringMatching(/queued|deferred/),
      explained: 'restored',
    })
  })

  test('a mail of a tenant that is set to at_most_once is not sent again: it has its end, as uncertain', async () => {
    expect(arrivedBefore.once).toBe(1)
    expect((await untilEnded(restoredOnce, ids.once, PATIENCE_MS)).status).toBe('failed')
    expect((await readEvents(restoredOnce, ids.once)).at(-1)).toMatchObject({
      type: 'message.failed',
      data: { uncertain: true, explanation: expect.stringContaining('set back to an earlier time') },
    })
    expect(arrived('once')).toHaveLength(1)
  })

  test('a campaign that the operator has ended is not sent again', async () => {
    expect(arrivedBefore.campaign).toBe(1)
    expect((await untilEnded(restored, ids.campaign, PATIENCE_MS)).status).toBe('failed')
    expect((await readEvents(restored, ids.campaign)).at(-1)!.data).toMatchObject({ uncertain: true })
    expect(arrived('campaign')).toHaveLength(1)
  })

  test.each(['backedUp', 'between', 'inHand'] as const)(
    'a mail accepted before the point is not lost, and once it is let go sent again with the same bytes if its end came later: %s',
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
