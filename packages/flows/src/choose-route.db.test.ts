/** Which route a mail takes: names, lists, weights, failover, pauses; with relays at real ports, or at closed ones. */
import { type Phase, pinRoute, steadyNowMs, type TransportFailure } from '@valija/core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type ScriptedPeer, startScriptedPeer } from '../../courier/src/testing/scripted-peer.ts'
import { answered, judge, openRoutingBench, type RoutingBench, tryRelay } from './choosing.test-support.ts'
import { failedReport } from './failed-report.ts'
import { changeRoute, type RouteChange, resumeRoute, showRoute } from './manage-routes.ts'
import type { ChoosableDelivery, RouteChoice, RouteChooser } from './route-choice.ts'

let bench: RoutingBench
/** Nobody listens there, and nobody is given it: it lies below 1024. */
const closedPort = 1
let refusing: ScriptedPeer

beforeAll(async () => {
  bench = await openRoutingBench()
  refusing = await startScriptedPeer({
    features: ['AUTH PLAIN'],
    auth: '535 5.7.8 Authentication credentials invalid',
  })
})
beforeEach(() => bench.clear())
afterEach(() => expect(bench.trouble.splice(0)).toEqual([]))
afterAll(async () => {
  await refusing.close()
  await bench.close()
})

const nobody = async () => null
const delivered = () => answered('250 2.0.0 Ok')
const nameOf = (choice: RouteChoice) => (choice.kind === 'send' ? choice.route.name : choice.hold)
const choose = async (worker: RouteChooser, more: Partial<ChoosableDelivery> = {}) =>
  nameOf(await worker.choose(bench.delivery(more), nobody))

/** Sends a mail to wherever the worker says, which must fail to open; what it chose. */
async function failOnce(worker: RouteChooser, more: Partial<ChoosableDelivery> = {}) {
  const delivery = bench.delivery(more)
  const choice = await worker.choose(delivery, nobody)
  if (choice.kind !== 'send') return choice.hold
  const { report, disposition } = await tryRelay(choice.route)
  worker.observe(delivery, choice, report, disposition)
  return choice.route.name
}

/** A mail that is delivered by the route that is chosen for it. */
async function succeed(worker: RouteChooser, more: Partial<ChoosableDelivery> = {}) {
  const delivery = bench.delivery(more)
  const choice = await worker.choose(delivery, nobody)
  if (choice.kind !== 'send') throw new Error(`waits: ${choice.hold}`)
  worker.observe(delivery, choice, delivered().report, delivered().disposition)
}

describe('without anything that somebody made', () => {
  test('mail takes the installation’s own route, and what was accepted for capture stays there', async () => {
    const worker = await bench.worker()
    expect(await choose(worker)).toBe('smarthost')
    expect(await choose(worker, { route: 'capture' })).toBe('capture')
    expect(await choose(worker, { route: 'mx' })).toBe('no_route:mx')
  })

  test('its relay is tried however often it fails; its tenants are told once', async () => {
    const worker = await bench.worker({
      smarthost: { secure: false, host: '127.0.0.1', port: closedPort, user: null, pass: null },
    })
    for (let i = 0; i < 8; i++) expect(await failOnce(worker)).toBe('smarthost')
    await expect
      .poll(() => bench.events('route.down'))
      .toEqual([
        {
          tenantId: bench.tenant.tenantId,
          // What the operator's relay says is not for tenants.
          data: { route: 'smarthost', kind: 'smarthost', reason: 'unreachable' },
        },
      ])
    await succeed(worker)
    await expect.poll(() => bench.events('route.recovered')).toMatchObject([{ data: { route: 'smarthost' } }])
  })
})

describe('a route by name', () => {
  test('that is the installation’s own is taken whatever the lists say', async () => {
    await bench.route(bench.tenant, 'two', { host: 'tenant.test' })
    await bench.list(bench.tenant, [{ route: 'two' }])
    const worker = await bench.worker()
    expect(await choose(worker)).toBe('two')
    expect(await choose(worker, { route: pinRoute('smarthost') })).toBe('smarthost')
  })

  test('is the tenant’s own before the operator’s; nobody takes another tenant’s', async () => {
    await bench.route(bench.operator, 'one', { host: 'operator.test' })
    await bench.route(bench.tenant, 'two', { host: 'tenant.test', user: 'u', password: 'p', tls: 'required' })
    const worker = await bench.worker()
    const choice = await worker.choose(bench.delivery({ route: 'two' }), nobody)
    expect(choice).toMatchObject({
      kind: 'send',
      route: {
        name: 'two',
        way: {
          kind: 'smarthost',
          secure: false,
          host: 'tenant.test',
          port: 587,
          auth: { user: 'u', pass: 'p' },
          tls: 'required',
          isGuarded: true,
        },
        returnPath: { kind: 'verp' },
      },
    })
    expect(await worker.choose(bench.delivery({ route: 'one' }), nobody)).toMatchObject({
      route: { way: { host: 'operator.test', isGuarded: false } },
    })
    const stranger = bench.nextId()
    expect(await choose(worker, { route: 'two', tenantId: stranger })).toBe('no_route:two')
  })

  test('that was made a moment ago is found', async () => {
    const worker = await bench.worker()
    await bench.route(bench.tenant, 'fresh')
    expect(await choose(worker, { route: 'fresh' })).toBe('fresh')
  })

  test('has another key after a change, so that nothing goes on over sessions of before', async () => {
    const id = await bench.route(bench.tenant, 'r', { user: 'u', password: 'one' })
    const worker = await bench.worker()
    const keyOf = async () => {
      const choice = await worker.choose(bench.delivery({ route: 'r' }), nobody)
      return choice.kind === 'send' ? choice.route.key : null
    }
    const before = await keyOf()
    await changeRoute(bench, bench.tenant, id, { password: 'two' })
    await expect.poll(keyOf).not.toBe(before)
  })
})

describe('a list', () => {
  test('spreads recipients by weight, each always to the same route', async () => {
    for (const name of ['a', 'b']) await bench.route(bench.tenant, name)
    await bench.list(bench.tenant, [{ route: 'a', weight: 3 }, { route: 'b' }])
    const worker = await bench.worker()
    const counts: Record<string, number> = {}
    for (let i = 0; i < 400; i++) {
      const email = `r${i}@example.test`
      const name = await choose(worker, { email })
      counts[name] = (counts[name] ?? 0) + 1
      if (i < 20) expect(await choose(worker, { email })).toBe(name)
    }
    expect(counts.a! / 400).toBeGreaterThan(0.65)
    expect(counts.b! / 400).toBeGreaterThan(0.15)
  })

  test('holds for what it is for', async () => {
    await bench.route(bench.tenant, 'ses')
    await bench.list(bench.tenant, [{ route: 'ses' }], { stream: 'bulk' })
    const worker = await bench.worker()
    expect(await choose(worker, { stream: 'bulk' })).toBe('ses')
    expect(await choose(worker)).toBe('smarthost')
    expect(await choose(worker, { stream: 'bulk', tenantId: bench.nextId() })).toBe('smarthost')
    expect(await choose(worker, { stream: 'bulk', route: 'capture' })).toBe('capture')
  })
})

describe('a relay is not found wanting for what is not its own', () => {
  const fails = (failure: TransportFailure, phase: Phase) => {
    const report = { ...failedReport('smarthost', failure, 'a sentence'), phase }
    return { report, disposition: failure === 'lease_lost' ? delivered().disposition : judge(report) }
  }
  /** What a relay is taken for after ten ends of this kind, beside another that could be taken. */
  const after = async (failure: TransportFailure, phase: Phase, tls: 'opportunistic' | 'required') => {
    await bench.route(bench.operator, 'first', { tls })
    await bench.route(bench.operator, 'second')
    await bench.list(bench.tenant, [{ route: 'first' }, { route: 'second', backup: true }])
    const worker = await bench.worker()
    const delivery = bench.delivery()
    const choice = await worker.choose(delivery, nobody)
    if (choice.kind !== 'send') throw new Error(choice.hold)
    const { report, disposition } = fails(failure, phase)
    for (let i = 0; i < 10; i++) worker.observe(delivery, choice, report, disposition)
    return choose(worker)
  }

  test.each<[TransportFailure, Phase]>([
    ['sign', 'connect'],
    ['no_socket', 'connect'],
    ['no_socket', 'dns'],
    ['compose', 'connect'],
    ['lease_lost', 'mail'],
    ['capability', 'mail'],
    ['too_large', 'mail'],
    ['tls', 'tls'],
  ])('%s in phase %s, where TLS is only a mail’s demand', async (failure, phase) => {
    expect(await after(failure, phase, 'opportunistic')).toBe('first')
  })

  test.each<[TransportFailure, Phase]>([
    ['name_unavailable', 'dns'],
    ['connection_refused', 'connect'],
    ['timeout', 'greeting'],
    ['connection_lost', 'ehlo'],
    ['tls', 'tls'],
    ['tls', 'auth'],
  ])('but %s in phase %s is, with TLS as its own demand', async (failure, phase) => {
    expect(await after(failure, phase, 'required')).toBe('second')
  })

  test('nor are those the news that it works again', async () => {
    const worker = await bench.worker()
    const delivery = bench.delivery()
    const choice = await worker.choose(delivery, nobody)
    if (choice.kind !== 'send') throw new Error(choice.hold)
    const observe = (failure: TransportFailure, phase: Phase) => {
      const { report, disposition } = fails(failure, phase)
      worker.observe(delivery, choice, report, disposition)
    }
    for (let i = 0; i < 5; i++) {
      observe('connection_refused', 'connect')
      observe('sign', 'connect')
      observe('too_large', 'mail')
    }
    await expect.poll(() => bench.events('route.down')).toHaveLength(1)
    await worker.close()
    expect(await bench.events('route.recovered')).toEqual([])
  })
})

describe('of two relays', () => {
  const twoRelays = async () => {
    await bench.route(bench.operator, 'dead', { port: closedPort })
    await bench.route(bench.operator, 'alive')
    await bench.list(bench.tenant, [{ route: 'dead' }, { route: 'alive', backup: true }])
    return bench.worker()
  }

  test('the second takes the mail of one that has just failed, and is asked about what waits for it', async () => {
    const worker = await twoRelays()
    const unavailable: string[] = []
    worker.onUnavailable((key) => unavailable.push(key))
    const choice = await worker.choose(bench.delivery(), nobody)
    expect(await failOnce(worker)).toBe('dead')
    expect(unavailable).toEqual([choice.kind === 'send' && choice.route.key])
    expect(await choose(worker)).toBe('alive')
    expect(await bench.events('route.down')).toEqual([])
  })

  test('one that is down is so for all workers, until a single mail of all tries it', async () => {
    const worker = await twoRelays()
    const other = await bench.worker()
    await bench.database.engine.query(
      `INSERT INTO valija.route_health (route, condition, probe_at, told)
       SELECT id::text, 'down', now() + interval '1 hour', ARRAY[$1::uuid] FROM valija.routes WHERE name = 'dead'`,
      [bench.tenant.tenantId],
    )
    bench.wake.send('routes')
    for (const one of [worker, other]) await expect.poll(() => choose(one)).toBe('alive')
    await bench.database.engine.query('UPDATE valija.route_health SET probe_at = now()')
    bench.wake.send('routes')
    const firsts = async () => [await choose(worker), await choose(other)].filter((name) => name === 'dead')
    const tries: string[] = []
    await expect
      .poll(async () => {
        tries.push(...(await firsts()))
        return tries.length
      })
      .toBe(1)
    for (let i = 0; i < 5; i++) expect(await firsts()).toEqual([])
  })

  test('one that is down recovers with the mail that tried it: its tenants are told, and what waited is due', async () => {
    const worker = await twoRelays()
    await bench.database.engine.query(
      `INSERT INTO valija.route_health (route, condition, probe_at, told)
       SELECT id::text, 'down', now(), ARRAY[$1::uuid] FROM valija.routes WHERE name = 'dead'`,
      [bench.tenant.tenantId],
    )
    bench.wake.send('routes')
    const delivery = bench.delivery()
    let choice = await worker.choose(delivery, nobody)
    await expect
      .poll(async () => {
        choice = await worker.choose(delivery, nobody)
        return bench.database.engine
          .query(`SELECT FROM valija.route_health WHERE probe_at > now() + interval '1 s'`)
          .then(({ rowCount }) => rowCount)
      })
      .toBe(1)
    expect(nameOf(choice)).toBe('dead')
    if (choice.kind === 'send') worker.observe(delivery, choice, delivered().report, delivered().disposition)
    await expect
      .poll(() => bench.events('route.recovered'))
      .toEqual([{ tenantId: bench.tenant.tenantId, data: { route: 'dead', kind: 'smarthost' } }])
    await expect.poll(() => choose(worker)).toBe('dead')
  })

  test('a mail waits for the first of both when neither can be used', async () => {
    await bench.route(bench.operator, 'a')
    await bench.route(bench.operator, 'b')
    await bench.list(bench.tenant, [{ route: 'a' }, { route: 'b' }])
    await bench.database.engine.query(
      `INSERT INTO valija.route_health (route, condition, probe_at, told)
       SELECT id::text, 'down', now() + interval '20 seconds', '{}' FROM valija.routes`,
    )
    const worker = await bench.worker()
    const choice = await worker.choose(bench.delivery(), nobody)
    expect(choice).toMatchObject({ kind: 'hold', hold: expect.stringMatching(/^route_down:[ab]$/) })
  })

  test('one that refused a recipient’s mail for who we are is taken last for him, and for nobody else', async () => {
    await bench.route(bench.tenant, 'a')
    await bench.route(bench.tenant, 'b')
    await bench.list(bench.tenant, [{ route: 'a' }, { route: 'b', backup: true }])
    const worker = await bench.worker()
    const id = await addRow()
    const delivery = bench.delivery({ recipientId: id })
    const choice = await worker.choose(delivery, nobody)
    const { report, disposition } = answered(
      '550 5.7.1 Service unavailable; client host [192.0.2.1] blocked using Spamhaus',
    )
    expect(disposition.action).toMatch(/^retry_other/)
    if (choice.kind === 'send') worker.observe(delivery, choice, report, disposition)
    const avoid = await until(async () => (await rowOf(id)).avoid)
    expect(avoid).toEqual(['route:a'])
    expect(await choose(worker, { recipientId: id, avoid })).toBe('b')
    expect(await choose(worker, { recipientId: id, avoid: ['route:a', 'route:b'] })).toBe('a')
    expect(await choose(worker)).toBe('a')
  })
})

describe('a relay that refuses our login', () => {
  const login = { user: 'u', password: 'wrong', tls: 'off' as const }

  test('is paused for good by the first refusal, its tenant is told, and its mail waits', async () => {
    const id = await bench.route(bench.operator, 'r', { ...login, port: refusing.port })
    await bench.database.engine.query(`UPDATE valija.routes SET tenant_id = $1`, [bench.tenant.tenantId])
    const [worker, other] = [await bench.worker(), await bench.worker()]
    expect(await failOnce(worker, { route: 'r' })).toBe('r')
    expect(await choose(worker, { route: 'r' })).toBe('route_paused:r')
    await expect.poll(() => choose(other, { route: 'r' })).toBe('route_paused:r')
    expect(await bench.events('route.down')).toEqual([
      {
        tenantId: bench.tenant.tenantId,
        data: {
          route: 'r',
          kind: 'smarthost',
          reason: 'login_refused',
          reply: expect.stringContaining('535'),
        },
      },
    ])
    const held = await addRow({ hold: 'route_paused:r', route: 'r' })
    expect(await resumeRoute(bench, bench.tenant, id)).toMatchObject({ state: 'enabled', down_since: null })
    await expect.poll(() => choose(other, { route: 'r' })).toBe('r')
    expect(await rowOf(held)).toMatchObject({ hold: null, isDue: true })
    expect(await bench.events('route.recovered')).toHaveLength(1)
  })

  test('is paused for good also when an earlier pause of it has run out', async () => {
    await bench.route(bench.operator, 'r', { ...login, port: refusing.port })
    await bench.database.engine.query(
      `UPDATE valija.routes SET state = 'paused', paused_reason = 'manual', paused_until = now() - interval '1 minute'`,
    )
    const [worker, other] = [await bench.worker(), await bench.worker()]
    expect(await failOnce(worker, { route: 'r' })).toBe('r')
    await expect.poll(() => choose(other, { route: 'r' })).toBe('route_paused:r')
    expect(await bench.events('route.down')).toHaveLength(1)
  })

  test('leaves no mail behind that was being set aside just when the login was mended', async () => {
    const id = await bench.route(bench.operator, 'r', { ...login, port: refusing.port })
    const [worker, other] = [await bench.worker(), await bench.worker()]
    expect(await failOnce(worker, { route: 'r' })).toBe('r')
    await expect.poll(() => choose(other, { route: 'r' })).toBe('route_paused:r')
    await resumeRoute(bench, bench.operator, id)
    const late = await addRow({ hold: 'route_paused:r', route: 'r' })
    await expect.poll(() => rowOf(late), { timeout: 10_000 }).toMatchObject({ hold: null, isDue: true })
  })

  test('is not paused for a login that was changed meanwhile', async () => {
    const id = await bench.route(bench.operator, 'r', { ...login, port: refusing.port })
    const worker = await bench.worker()
    const delivery = bench.delivery({ route: 'r' })
    const choice = await worker.choose(delivery, nobody)
    if (choice.kind !== 'send') throw new Error(choice.hold)
    const { report, disposition } = await tryRelay(choice.route)
    await changeRoute(bench, bench.operator, id, { password: 'right' })
    worker.observe(delivery, choice, report, disposition)
    await expect.poll(() => choose(worker, { route: 'r' })).toBe('r')
    expect(await showRoute(bench, bench.operator, id)).toMatchObject({ state: 'enabled', down_since: null })
    expect(await bench.events('route.down')).toEqual([])
  })

  test('and is the installation’s own is tried by one mail every few minutes, at once after a restart', async () => {
    const smarthost = { secure: false, host: '127.0.0.1', port: refusing.port, user: 'u', pass: 'wrong' }
    const worker = await bench.worker({ smarthost })
    expect(await failOnce(worker)).toBe('smarthost')
    const held = await worker.choose(bench.delivery(), nobody)
    expect(held).toMatchObject({ kind: 'hold', hold: 'route_paused:smarthost' })
    if (held.kind === 'hold') expect(held.untilMs - Date.now()).toBeGreaterThan(60_000)
    // The inbox has nothing to do with it.
    expect(await choose(worker, { route: 'capture' })).toBe('capture')
    await expect.poll(() => bench.events('route.down')).toHaveLength(1)
    const restarted = await bench.worker({ smarthost: { ...smarthost, pass: 'right' } })
    await succeed(restarted)
    await expect.poll(() => bench.events('route.recovered')).toHaveLength(1)
    await expect.poll(() => choose(worker)).toBe('smarthost')
  })

  test('lets the others of its list take the mail', async () => {
    await bench.route(bench.operator, 'r', { ...login, port: refusing.port })
    await bench.route(bench.operator, 's')
    await bench.list(bench.tenant, [{ route: 'r' }, { route: 's', backup: true }])
    const worker = await bench.worker()
    expect(await failOnce(worker)).toBe('r')
    expect(await choose(worker)).toBe('s')
    await expect.poll(() => bench.events('route.down')).toHaveLength(1)
  })

  test('for a moment only (4xx) is a failure like others', async () => {
    const busy = await startScriptedPeer({
      features: ['AUTH PLAIN'],
      auth: '454 4.7.0 Temporary authentication failure',
    })
    try {
      await bench.route(bench.operator, 'r', { ...login, port: busy.port })
      const worker = await bench.worker()
      expect(await failOnce(worker, { route: 'r' })).toBe('r')
      expect(await choose(worker, { route: 'r' })).toBe('r')
    } finally {
      await busy.close()
    }
  })
})

test('a relay that works again just while it is written down as failing ends as one that works', async () => {
  const worker = await bench.worker()
  const delivery = bench.delivery()
  const choice = await worker.choose(delivery, nobody)
  if (choice.kind !== 'send') throw new Error(choice.hold)
  const report = failedReport('smarthost', 'connection_refused', 'a sentence')
  for (let i = 0; i < 5; i++) worker.observe(delivery, choice, report, judge(report))
  worker.observe(delivery, choice, delivered().report, delivered().disposition)
  await worker.close()
  expect(await bench.events('route.down')).toHaveLength(1)
  expect(await bench.events('route.recovered')).toHaveLength(1)
  expect((await bench.database.engine.query('SELECT FROM valija.route_health')).rowCount).toBe(0)
})

test('a session that was open before its route’s login was refused does not end the pause', async () => {
  const id = await bench.route(bench.operator, 'r', {
    user: 'u',
    password: 'wrong',
    tls: 'off',
    port: refusing.port,
  })
  const worker = await bench.worker()
  const delivery = bench.delivery({ route: 'r' })
  const choice = await worker.choose(delivery, nobody)
  if (choice.kind !== 'send') throw new Error(choice.hold)
  const { report, disposition } = await tryRelay(choice.route)
  worker.observe(delivery, choice, report, disposition)
  await expect.poll(() => bench.events('route.down')).toHaveLength(1)
  worker.observe(delivery, choice, delivered().report, delivered().disposition)
  await worker.close()
  expect(await bench.events('route.recovered')).toEqual([])
  expect(await showRoute(bench, bench.operator, id)).toMatchObject({
    state: 'paused',
    down_reply: expect.any(String),
  })
})

describe('a change of a route that is down', () => {
  const makeDown = async () => {
    const id = await bench.route(bench.operator, 'r', { user: 'u', password: 'p' })
    await bench.database.engine.query(
      `INSERT INTO valija.route_health (route, condition, probe_at, told)
       SELECT id::text, 'down', now() + interval '1 hour', ARRAY[$1::uuid] FROM valija.routes`,
      [bench.tenant.tenantId],
    )
    return { id, held: [await addRow({ hold: 'route_down:r' }), await addRow({ hold: 'route_paused:r' })] }
  }
  const areDue = (rows: string[]) => Promise.all(rows.map(async (id) => (await rowOf(id)).isDue))

  test.each<[string, RouteChange]>([
    ['what has nothing to do with where it leads', { rewrites_ids: true }],
    ['what it is already', { user: 'u' }],
    ['a pause', { state: 'paused' }],
  ])('to %s leaves it down', async (_, change) => {
    const { id, held } = await makeDown()
    const view = await changeRoute(bench, bench.operator, id, change)
    expect(view.down_since).not.toBeNull()
    expect(await bench.events('route.recovered')).toEqual([])
    expect(await areDue(held)).toEqual([false, false])
  })

  test.each<[string, RouteChange]>([
    ['be enabled', { state: 'enabled' }],
    ['another host', { host: 'relay.test', password: 'p' }],
    ['another password', { password: 'q' }],
  ])(
    'to %s makes it usable: its tenants are told, and all mail that waits for it is due',
    async (_, change) => {
      const { id, held } = await makeDown()
      expect(await changeRoute(bench, bench.operator, id, change)).toMatchObject({ down_since: null })
      expect(await bench.events('route.recovered')).toHaveLength(1)
      expect(await areDue(held)).toEqual([true, true])
    },
  )
})

test('a pause by hand ends by itself at its time', async () => {
  const id = await bench.route(bench.tenant, 'r')
  const until = new Date(Date.now() + 5_000)
  await changeRoute(bench, bench.tenant, id, { state: 'paused', paused_until: until.toISOString() })
  const worker = await bench.worker()
  const choice = await worker.choose(bench.delivery({ route: 'r' }), nobody)
  expect(choice).toMatchObject({ kind: 'hold', hold: 'route_paused:r' })
  if (choice.kind === 'hold') {
    const leftMs = until.getTime() - Date.now()
    expect(choice.untilMs - steadyNowMs()).toBeLessThanOrEqual(leftMs + 100)
  }
  await expect.poll(() => choose(worker, { route: 'r' })).toBe('r')
})

async function addRow(fields: { hold?: string; route?: string } = {}) {
  const id = bench.nextId()
  await bench.database.engine.query(
    `INSERT INTO valija.deliveries (recipient_id, message_id, tenant_id, stream, route, domain, state, due_at, expires_at, hold)
     VALUES ($1, $1, $2, 'transactional', $3, 'example.test', 'waiting', now() + interval '5 minutes', now() + interval '1 day', $4)`,
    [id, bench.tenant.tenantId, fields.route ?? 'smarthost', fields.hold ?? null],
  )
  return id
}

async function rowOf(id: string) {
  const found = await bench.database.engine.query(
    `SELECT avoid, hold, due_at <= now() AS "isDue" FROM valija.deliveries WHERE recipient_id = $1`,
    [id],
  )
  return found.rows[0]
}

async function until<T>(read: () => Promise<T | null>): Promise<T> {
  let value: T | null = null
  await expect
    .poll(async () => {
      value = await read()
      return value !== null
    })
    .toBe(true)
  return value as T
}
