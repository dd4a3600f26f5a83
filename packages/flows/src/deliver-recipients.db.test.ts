/**
 * What a worker does with rows that it cannot send now: its site is down, it has no room, it is told to stop.
 */
import { setTimeout as delay } from 'node:timers/promises'
import {
  createIdSource,
  createJudge,
  createMailLog,
  createSealer,
  createUnsubscribeTokens,
  loadReplyRules,
  type Uuid,
} from '@valija/core'
import {
  captureTarget,
  createFixedShaper,
  createNetworkGuard,
  createOpenSession,
  createSiteScheduler,
  defaultDeadlines,
  type Opening,
  relayDestination,
} from '@valija/courier'
import {
  acceptMessages,
  type Database,
  encodeBody,
  insertErasure,
  leaseMs,
  type NewMessage,
  openDatabase,
  openWake,
  startDatabaseClock,
  type Wake,
} from '@valija/store'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { until } from '../../../tests/support/until.ts'
import {
  type PeerScript,
  type ScriptedPeer,
  startScriptedPeer,
} from '../../courier/src/testing/scripted-peer.ts'
import { openRouteChooser } from './choose-route.ts'
import { createDeliverer, type Deliverer } from './deliver-recipients.ts'
import { failedReport } from './failed-report.ts'
import type { Found } from './find-destination.ts'
import { configuredSources } from './own-routes.ts'
import type { RouteChooser } from './route-choice.ts'
import { createMailSigner } from './sign-mail.ts'
import { reflexObserver } from './site-observer.ts'

const nextId = createIdSource(() => Date.now())
const tenantId = nextId()
const trouble: Error[] = []
let testDatabase: TestDatabase
let database: Database
let wake: Wake
let peer: ScriptedPeer
let deliverer: Deliverer
let routing: RouteChooser

beforeAll(async () => {
  testDatabase = await createDatabase()
  database = openDatabase({ url: testDatabase.url, onError: () => {} })
  wake = await openWake(testDatabase.url, () => {})
  await database.engine.query("INSERT INTO valija.tenants (id, name) VALUES ($1, 'acme')", [tenantId])
})
afterEach(async () => {
  deliverer.hurry()
  await deliverer.drain()
  await peer.close()
  await routing.close()
  await database.engine.query('DELETE FROM valija.deliveries')
  await database.engine.query('DELETE FROM valija.route_health')
  expect(trouble.splice(0)).toEqual([])
})
afterAll(async () => {
  await wake.close()
  await database.close()
  await testDatabase.drop()
})

const busy: PeerScript = { greeting: '421 4.3.2 busy' }

interface World {
  maxLeased?: number
  maxHandedOver?: number
  waitingInTrouble?: number
  lookUp?: () => Promise<void>
  /** What a look-up of the way comes to, instead of the smarthost; and an opening there. */
  found?: Found
  opening?: Opening
  /** Of the smarthost, instead of the peer's. */
  port?: number
}

/** A worker whose smarthost does as the script says. */
async function begin(script: PeerScript, more: World = {}) {
  peer = await startScriptedPeer(script)
  const openSession = createOpenSession({ guard: createNetworkGuard([]) })
  const port = more.port ?? peer.port
  const target = captureTarget({ host: '127.0.0.1', port }, 'us.example')
  const destination = relayDestination(target, 'smarthost', 'default')
  routing = await openRouteChooser({
    database,
    wake,
    sealer: createSealer(['a secret of this test']),
    clock: { nowMs: Date.now },
    nextId,
    delivery: 'smarthost',
    smarthost: { secure: false, host: '127.0.0.1', port, user: null, pass: null },
    hasBounceDomain: false,
    sources: configuredSources([], 'us.example'),
    localAddresses: () => [],
    onError: (error) => void trouble.push(error),
    log: () => {},
  })
  const clock = await startDatabaseClock(database.engine, (error) => void trouble.push(error))
  onTestFinished(clock.stop)
  deliverer = createDeliverer({
    database,
    clock,
    nextId: createIdSource(clock.tellMs),
    wake,
    mailLog: createMailLog(() => {}),
    judge: createJudge(loadReplyRules()),
    signer: createMailSigner({ database, wake, sealer: createSealer(['a secret']) }),
    unsubscribeTokens: createUnsubscribeTokens([Buffer.alloc(32)]),
    reportFields: () => '',
    retryPolicy: { networkScheduleMs: [60_000] },
    routing,
    destinations: {
      find: async () => {
        await more.lookUp?.()
        return more.found ?? { ok: true, destination, policies: null }
      },
      providerOf: async () => null,
    },
    returnPaths: { of: async () => '' },
    shaping: { ...reflexObserver, heldUntil: () => null },
    tlsReports: { countSession: () => {} },
    pace: { note: () => {} },
    openCell: null,
    onGivenUp: () => undefined,
    maxLeased: more.maxLeased ?? 100,
    maxHandedOver: more.maxHandedOver ?? 100,
    createSites: (callbacks) =>
      createSiteScheduler({
        ...callbacks,
        shaper: createFixedShaper({ connections: 1, mailsPerConnection: 100 }),
        limits: {
          idleMs: 10_000,
          sockets: 10,
          waitingInTrouble: more.waitingInTrouble ?? 100,
          slowAfterMs: 60_000,
        },
        open: async () => more.opening ?? (await openSession(target, defaultDeadlines)),
      }),
    onError: (error) => void trouble.push(error),
  })
}

function newMessage(more: Partial<NewMessage>): NewMessage {
  const id = nextId()
  const recipient = {
    id: nextId(),
    email: 'ann@example.org',
    emailKey: 'ann@example.org',
    domain: 'example.org',
  }
  return {
    id,
    tenantId,
    createdAtMs: Date.now(),
    stream: 'transactional',
    delivery: 'smarthost',
    route: 'smarthost',
    fromHeader: 'hi@acme.test',
    fromEmail: 'hi@acme.test',
    fromDomain: 'acme.test',
    subject: 'x',
    tags: [],
    metadata: {},
    sendAtMs: null,
    expiresAtMs: Date.now() + 3_600_000,
    rfcMessageId: `<${id}@acme.test>`,
    requireTls: false,
    isSimulated: false,
    isSensitive: false,
    isSandbox: false,
    resentFrom: null,
    template: null,
    lateAtMs: null,
    body: encodeBody({ kind: 'raw', bytes: Buffer.from('Subject: x\r\n\r\nx\r\n'), needsSmtpUtf8: false }),
    recipients: [{ ...recipient, type: 'to', status: 'queued', reason: null, simulation: null, seq: 1 }],
    events: [],
    idempotency: null,
    ...more,
  }
}

/** A hint of rows that were accepted just now. */
async function accept(count: number, more: Partial<NewMessage> = {}): Promise<{ ids: Uuid[] }> {
  const messages = Array.from({ length: count }, () => newMessage(more))
  await acceptMessages(database.engine, messages, { directShare: 1_000 })
  return { ids: messages.map(({ recipients }) => recipients[0]!.id) }
}

interface Row {
  id: Uuid
  state: string
  writer: string
  dueInMs: number
}
async function readRows({ ids }: { ids: Uuid[] }): Promise<Row[]> {
  const { rows } = await database.engine.query<Row>(
    `SELECT recipient_id AS id, state, xmin::text AS writer,
       (extract(epoch FROM due_at - clock_timestamp()) * 1000)::float8 AS "dueInMs"
     FROM valija.deliveries WHERE recipient_id = ANY ($1::uuid[]) ORDER BY recipient_id`,
    [ids],
  )
  return rows
}
const statesOf = async (hint: { ids: Uuid[] }) => (await readRows(hint)).map(({ state }) => state)

test('what is told of a mail comes after its acceptance, which an API told by a clock that is ahead', async () => {
  await begin({})
  const theirs = createIdSource(() => Date.now() + 200)
  const [id, recipientId] = [theirs(), theirs()]
  const [recipient] = newMessage({}).recipients
  const hint = await accept(1, { id, recipients: [{ ...recipient!, id: recipientId }] })
  await deliverer.takeHint(hint)
  await until('its end', async () => (await statesOf(hint)).length === 0)
  const { rows } = await database.engine.query(
    `SELECT id > $2 AS "isLater" FROM (SELECT id FROM valija.events WHERE message_id = $1
     UNION ALL SELECT id FROM valija.attempts WHERE message_id = $1) AS told`,
    [id, recipientId],
  )
  // The attempt, and the events `message.attempted` and `message.delivered`.
  expect(rows).toEqual(Array(3).fill({ isLater: true }))
})

test('rows of a site that is down stay in hand up to its share; the rest goes back in one statement, due after the pause', async () => {
  await begin(busy, { waitingInTrouble: 5 })
  await deliverer.takeHint(await accept(1))
  await until('the site is down', () => peer.connections.length >= 1 && deliverer.leased === 0)
  const hint = await accept(30)
  await deliverer.takeHint(hint)
  await until('the excess is given back', () => deliverer.leased <= 5)
  const rows = await readRows(hint)
  const back = rows.filter(({ state, dueInMs }) => state === 'waiting' && dueInMs <= 5_250)
  expect(back.length).toBeGreaterThanOrEqual(25)
  expect(new Set(back.map(({ writer }) => writer)).size).toBeLessThanOrEqual(3)
})

test('a relay that stays down is tried again and again, and its mail is told once', async () => {
  // Nobody listens at port 1; one that was let go may be somebody else's by now.
  await begin({}, { port: 1 })
  const hint = await accept(1)
  const isBack = async () => (await readRows(hint))[0]?.state === 'waiting'
  for (let tries = 0; tries < 3; tries++) {
    const sql = "UPDATE valija.deliveries SET state = 'admitted', admitted_at = now() WHERE recipient_id = $1"
    await database.engine.query(sql, hint.ids)
    await deliverer.takeHint(hint)
    await until('it waits again', isBack)
  }
  const { rows } = await database.engine.query(
    `SELECT status, attempts, next_attempt_at > now() AS "isDueLater", seq - 1 AS told,
       (SELECT count(*)::int FROM valija.attempts WHERE recipient_id = r.id) AS kept,
       (SELECT hold LIKE 'site:%' FROM valija.deliveries WHERE recipient_id = r.id) AS "isHeld"
     FROM valija.recipients AS r WHERE id = $1`,
    hint.ids,
  )
  expect(rows).toEqual([
    { status: 'deferred', attempts: 1, isDueLater: true, told: 2, kept: 1, isHeld: true },
  ])
})

const noSocket = { failure: 'no_socket', detail: 'this worker could open no connection' } as const

test.each<[string, World]>([
  ['no socket to look up a way by', { found: { ok: false, ...noSocket } }],
  ['no socket for a session to exchangers', { found: exchangersOf('example.org'), opening: failedOpening() }],
])(
  'a worker with %s tells its mail once, uses up no step of its schedule, and brings it again in 2 s for nobody’s sake',
  async (_, world) => {
    await begin({}, world)
    const hint = await accept(1)
    const backs: { inMs: number; hold: string | null }[] = []
    for (let tries = 0; tries < 3; tries++) {
      const sql =
        "UPDATE valija.deliveries SET state = 'admitted', admitted_at = now() WHERE recipient_id = $1"
      await database.engine.query(sql, hint.ids)
      await deliverer.takeHint(hint)
      const [row] = await until('it waits again', async () => {
        const rows = await readRows(hint)
        return rows[0]?.state === 'waiting' ? rows : null
      })
      const { rows } = await database.engine.query(
        'SELECT hold FROM valija.deliveries WHERE recipient_id = $1',
        hint.ids,
      )
      backs.push({ inMs: row!.dueInMs, hold: rows[0].hold })
    }
    for (const { inMs } of backs) expect(inMs).toBeLessThanOrEqual(2_250)
    for (const { inMs } of backs) expect(inMs).toBeGreaterThan(0)
    expect(backs.map(({ hold }) => hold)).toEqual([null, null, null])
    const { rows } = await database.engine.query(
      `SELECT status, reason, attempts, seq - 1 AS told,
       (SELECT count(*)::int FROM valija.attempts WHERE recipient_id = r.id) AS kept,
       (SELECT retry_steps FROM valija.deliveries WHERE recipient_id = r.id) AS steps
     FROM valija.recipients AS r WHERE id = $1`,
      hint.ids,
    )
    expect(rows).toEqual([
      { status: 'deferred', reason: 'internal', attempts: 1, told: 2, kept: 1, steps: 0 },
    ])
  },
)

function failedOpening(): Opening {
  return { ok: false, report: failedReport('mx', noSocket.failure, noSocket.detail) }
}

function exchangersOf(domain: string): Found {
  const target = captureTarget({ host: '127.0.0.1', port: 25 }, 'us.example')
  const destination = relayDestination(target, domain, 'default')
  return {
    ok: true,
    destination: { ...destination, scope: { ...destination.scope, kind: 'mx' } },
    policies: null,
  }
}

test('a mail whose time ends while its site is down is given back to be ended; the others keep their places', async () => {
  await begin(busy)
  const [first, others] = [await accept(1), await accept(20)]
  const short = await accept(1, { expiresAtMs: Date.now() + 5_000 })
  // Whoever is first in line is told why at each try: the short one is last.
  for (const hint of [first, others, short]) await deliverer.takeHint(hint)
  await until('it is given back', async () => (await statesOf(short))[0] === 'waiting')
  expect(deliverer.leased).toBeGreaterThan(0)

  await database.engine.query(
    "UPDATE valija.deliveries SET state = 'admitted', admitted_at = now() WHERE recipient_id = $1",
    short.ids,
  )
  await deliverer.takeHint(short)
  const recipient = async () =>
    (await database.engine.query('SELECT status, reason FROM valija.recipients WHERE id = $1', short.ids))
      .rows[0]
  await until('its end', async () => (await recipient()).status === 'failed')
  expect((await recipient()).reason).toBe('expired')
})

test('a hint that waits for room ends when the worker stops, while a conversation goes on, and its rows go back at once', async () => {
  await begin({ dot: 'SILENCE' }, { maxLeased: 1 })
  const [inHand, late, tooLate] = [await accept(2), await accept(2), await accept(2)]
  await deliverer.takeHint(inHand)
  await until('a conversation', () => peer.connections[0]?.some((line) => line === 'DATA'))
  const waiting = deliverer.takeHint(late)
  deliverer.stop()
  await waiting
  await deliverer.takeHint(tooLate)
  await until('what was not begun is given back', () => deliverer.leased === 1)
  expect((await statesOf(inHand)).sort()).toEqual(['leased', 'waiting'])
  for (const hint of [late, tooLate]) {
    const rows = await readRows(hint)
    expect(rows.map(({ state }) => state)).toEqual(['waiting', 'waiting'])
    for (const { dueInMs } of rows) expect(dueInMs).toBeLessThanOrEqual(0)
  }
})

test('while PostgreSQL takes no results nothing new is begun, and all of it is when it does', async () => {
  await begin({})
  const administrator = new pg.Client(testDatabase.url)
  await administrator.connect()
  await administrator.query('REVOKE INSERT ON valija.attempts FROM valija_engine')
  const [taken, later] = [await accept(1), await accept(3)]
  await deliverer.takeHint(taken)
  await until('a result that is refused', () =>
    trouble.some((error) => /permission denied/.test(error.message)),
  )
  const waiting = deliverer.takeHint(later)
  const refusals = trouble.length
  await until('it is refused again and again', () => trouble.length > refusals + 2)
  expect(await statesOf(taken)).toEqual(['leased'])
  expect(await statesOf(later)).toEqual(Array(3).fill('admitted'))
  await administrator.query('GRANT INSERT ON valija.attempts TO valija_engine')
  await administrator.end()
  await waiting
  await until(
    'the end of all',
    async () => (await statesOf(later)).length + (await statesOf(taken)).length === 0,
  )
  trouble.length = 0
})

test('a recipient whose data is being erased is not sent to: it is given back to whoever erases it', async () => {
  await begin({})
  const hint = await accept(1)
  await insertErasure(database, {
    ...{ id: nextId(), tenantId, emailKey: 'ann@example.org', placeholder: 'erased-0@erased.invalid' },
  })
  const later = await accept(1)
  await deliverer.takeHint(hint)
  await until('it waits again', async () => (await statesOf(hint))[0] === 'waiting' && deliverer.leased === 0)
  expect(peer.connections).toEqual([])
  await deliverer.takeHint(later)
  await until('what was accepted later is sent', async () => (await statesOf(later)).length === 0)
  await database.engine.query('DELETE FROM valija.erasures')
})

test('what is held after a restore is never sent: it waits until its time is over, though that is later than it was, and ends then as uncertain', async () => {
  await begin({})
  const hint = await accept(1)
  const change = (sql: string) =>
    database.engine.query(
      `UPDATE valija.deliveries SET state = 'admitted', admitted_at = now(), ${sql} WHERE recipient_id = $1`,
      hint.ids,
    )
  // As it is found at the end that it had before its tenant was suspended for an hour.
  await change("hold = 'restored:transactional', dot_epoch = epoch")
  await database.engine.query(`UPDATE valija.recipients SET reason = 'mailbox_full' WHERE id = $1`, hint.ids)
  await deliverer.takeHint(hint)
  await until('it waits again', async () => (await statesOf(hint))[0] === 'waiting' && deliverer.leased === 0)
  expect((await readRows(hint))[0]!.dueInMs).toBeGreaterThan(3_500_000)
  const { rows } = await database.engine.query(
    'SELECT hold FROM valija.deliveries WHERE recipient_id = $1',
    hint.ids,
  )
  expect(rows).toEqual([{ hold: 'restored:transactional' }])

  await change("expires_at = now() - interval '1 s'")
  await deliverer.takeHint(hint)
  await until('its end', async () => (await statesOf(hint)).length === 0)
  const ends = await database.engine.query(
    `SELECT type, data ->> 'uncertain' AS uncertain, data ->> 'explanation' AS why,
       (SELECT count(*)::int FROM valija.mailbox_faults) AS faults
     FROM valija.events WHERE message_id = (SELECT message_id FROM valija.recipients WHERE id = $1) ORDER BY id DESC LIMIT 1`,
    hint.ids,
  )
  expect(ends.rows).toEqual([
    { type: 'message.failed', uncertain: 'true', why: expect.stringContaining('set back'), faults: 0 },
  ])
  expect(peer.connections).toEqual([])
})

test('a drain waits until what was given back is written down', async () => {
  await begin({})
  const hint = await accept(2, { route: 'mx' })
  await deliverer.takeHint(hint)
  await deliverer.drain()
  const rows = await readRows(hint)
  expect(rows.map(({ state }) => state)).toEqual(['waiting', 'waiting'])
  for (const { dueInMs } of rows) expect(dueInMs).toBeGreaterThan(50_000)
})

test('a drain returns what waits for a site that is down', async () => {
  await begin(busy)
  const hint = await accept(5)
  await deliverer.takeHint(hint)
  await until('the site is down', () => deliverer.leased === 4)
  await deliverer.drain()
  expect(await statesOf(hint)).toEqual(Array(5).fill('waiting'))
  expect(deliverer.leased).toBe(0)
})

test('deliveries whose way is being looked up keep no other one waiting', async () => {
  let isSlow = true
  const answered = Promise.withResolvers<void>()
  await begin({}, { maxLeased: 2, lookUp: async () => (isSlow ? answered.promise : undefined) })
  const slow = await accept(2)
  await deliverer.takeHint(slow)
  expect(deliverer.leased).toBe(2)
  isSlow = false
  const quick = await accept(2)
  await deliverer.takeHint(quick)
  await until('the end of the others', async () => ((await readRows(quick)).length === 0 ? true : null))
  expect(await readRows(slow)).toMatchObject([{ state: 'leased' }, { state: 'leased' }])
  answered.resolve()
  await until('the end of all', async () => ((await readRows(slow)).length === 0 ? true : null))
})

test('a mail whose worker stood still for longer than its lease is due at once, though a renewal on its way has kept the lease', async () => {
  const lookedUp = Promise.withResolvers<void>()
  await begin({}, { lookUp: () => lookedUp.promise })
  const hint = await accept(1)
  await deliverer.takeHint(hint)
  expect(await statesOf(hint)).toEqual(['leased'])
  // By its clock the worker has had no renewal for longer than it may believe in; by the database's the lease has just begun.
  const now = performance.now.bind(performance)
  vi.spyOn(performance, 'now').mockImplementation(() => now() + leaseMs)
  onTestFinished(() => void vi.restoreAllMocks())
  lookedUp.resolve()
  await until('it waits', async () => (await statesOf(hint))[0] === 'waiting', leaseMs / 3)
  expect((await readRows(hint))[0]?.dueInMs).toBeLessThanOrEqual(0)
  await until('it is let go', () => deliverer.leased === 0)
  expect(peer.mails).toEqual([])
})

/** No result can be committed until the returned function is called. */
async function holdCommits(): Promise<() => Promise<void>> {
  const client = new pg.Client(testDatabase.url)
  await client.connect()
  await client.query('BEGIN; LOCK TABLE valija.attempts IN SHARE MODE')
  return () => client.end()
}
const countOf = (command: string) => peer.connections.flat().filter((line) => line.startsWith(command)).length

test('no more mails are handed over before their results are on record than a kill may double', async () => {
  await begin({}, { maxHandedOver: 3 })
  const goOn = await holdCommits()
  const hint = await accept(8)
  await deliverer.takeHint(hint)
  await until('the next one waits for its dot', () => countOf('DATA') >= 4)
  // Its dot would have gone at once.
  await delay(200)
  expect(peer.mails).toHaveLength(3)
  await goOn()
  await until('the end of all', async () => (await readRows(hint)).length === 0)
  expect(peer.mails).toHaveLength(8)
})

test('of recalled mails those are given back whose final dot has not gone out, and no other', async () => {
  await begin({}, { maxHandedOver: 1 })
  const goOn = await holdCommits()
  const hint = await accept(3)
  await deliverer.takeHint(hint)
  await until('the second waits for its dot', () => countOf('DATA') === 2)
  const { rows } = await database.engine.query('SELECT message_id AS id FROM valija.deliveries')
  for (const { id } of rows) wake.send('recall', id)
  const inLine = async () => (await readRows(hint)).find(({ state }) => state === 'waiting')
  // Whoever recalled it has time to take it before anybody else does.
  expect((await until('what was in line', inLine)).dueInMs).toBeGreaterThan(1_000)
  await goOn()
  await until('the end of the first', async () => (await readRows(hint)).length === 2)
  await until('all is given back', () => deliverer.leased === 0)
  expect(await statesOf(hint)).toEqual(['waiting', 'waiting'])
  expect(peer.mails).toHaveLength(1)
})

test('a mail that was refused before its dot keeps no other from being handed over', async () => {
  await begin({ rcpt: '550 5.1.1 no such user' }, { maxHandedOver: 2 })
  const goOn = await holdCommits()
  await deliverer.takeHint(await accept(6))
  await until('all are refused', () => countOf('RCPT') === 6)
  await goOn()
})
