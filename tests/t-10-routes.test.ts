/** Named routes, end to end: failover between relays, a login that is refused, a tenant's relay in a private network. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { post, readAttempts, readMessage, untilEnded } from './support/message-life.ts'
import { freePort } from './support/ports.ts'
import { untilShown } from './support/shown-events.ts'
import { type SmtpPeer, type SmtpPeerOptions, startSmtpPeer } from './support/smtp-peer.ts'
import { until } from './support/until.ts'
import { expectStatus, startValija, type TestTenant, type Valija } from './support/valija.ts'

let valija: Valija
let usual: SmtpPeer
const peers: SmtpPeer[] = []

beforeAll(async () => {
  usual = await startSmtpPeer()
  const env = { VALIJA_RETRY_SCHEDULE: '1s' }
  valija = await startValija({ queue: 'postgres', delivery: 'smarthost', smarthost: usual, env })
})
afterEach(() => Promise.all(peers.splice(0).map((peer) => peer.stop())))
afterAll(async () => {
  await valija?.stop()
  await usual?.stop()
})

async function relay(options: SmtpPeerOptions = {}): Promise<SmtpPeer> {
  const peer = await startSmtpPeer(options)
  peers.push(peer)
  return peer
}

let tenants = 0
async function newTenant(): Promise<TestTenant & { domain: string }> {
  const domain = `t${++tenants}.test`
  return { ...(await valija.addTenant(`tenant ${tenants}`, domain)), domain }
}

/** A route of the tenant's that the operator makes: its host may be on this machine. */
async function makeRoute(tenant: TestTenant, name: string, port: number, more: object = {}): Promise<string> {
  const body = { name, kind: 'smarthost', host: '127.0.0.1', port, tls: 'off', ...more }
  const headers = { 'valija-tenant': tenant.id }
  return expectStatus(await valija.admin<{ id: string }>('POST', '/routes', body, headers), 201).json.id
}

type Event = { type: string; data: Record<string, unknown> }
const eventsOf = async (tenant: TestTenant, type: string) => {
  await untilShown(valija.sql)
  return expectStatus(await tenant.call<{ data: Event[] }>('GET', `/events?type=${type}`), 200).json.data
}

const mailOf = ({ domain }: { domain: string }, to: string, more: object = {}) =>
  valija.mail({ from: `a@${domain}`, to, ...more })

const routesOf = async (tenant: TestTenant, id: string) =>
  (await readAttempts(tenant.call, id)).map((attempt) => (attempt as unknown as { route: string }).route)

test('two relays: when the first is away its mail goes by the second, with the same Message-ID, and back when it is there', async () => {
  const tenant = await newTenant()
  const port = await freePort()
  const [known, second] = [await relay({ port }), await relay()]
  await makeRoute(tenant, 'first', port)
  await makeRoute(tenant, 'second', second.port)
  const list = { routes: [{ route: 'first' }, { route: 'second', backup: true }] }
  expectStatus(await tenant.call('POST', '/route-lists', list), 201)
  // Until the worker has heard of the list its mail goes by the usual relay.
  await until('the list is known', async () => {
    const early = await post(tenant.call, mailOf(tenant, 'early@example.org'))
    await untilEnded(tenant.call, early)
    return known.mails.length > 0 || null
  })
  await known.stop()

  const to = Array.from({ length: 12 }, (_, i) => `r${i}@example.org`)
  const id = await post(tenant.call, valija.mail({ from: `a@${tenant.domain}`, to }))
  const { status, rfc_message_id } = await untilEnded(tenant.call, id, 40_000)
  expect(status).toBe('delivered')
  expect(second.mails.map((mail) => mail.to[0]).sort()).toEqual([...to].sort())
  for (const { text } of second.mails) expect(text).toContain(`Message-ID: ${rfc_message_id}`)
  const routes = await routesOf(tenant, id)
  expect(routes.filter((route) => route === 'second')).toHaveLength(to.length)
  // Few met the one that was away: the others were asked about again and took the second at once.
  expect(routes.filter((route) => route === 'first').length).toBeLessThan(to.length)

  const first = await relay({ port })
  await until('the first again', async () => {
    const next = await post(tenant.call, mailOf(tenant, 'later@example.org'))
    await untilEnded(tenant.call, next)
    return first.mails.length > 0 || null
  })
})

describe('a relay that refuses the login', () => {
  const auth = { user: 'acme', pass: 'right' }

  test('is paused: its tenant is told, no mail is lost or bounced, and all of it goes when the password is mended', async () => {
    const tenant = await newTenant()
    const peer = await relay({ auth })
    const id = await makeRoute(tenant, 'ses', peer.port, { user: 'acme', password: 'wrong' })
    const first = await post(tenant.call, mailOf(tenant, 'first@example.org', { route: 'ses' }))
    const [down] = await until('route.down', async () => {
      const events = await eventsOf(tenant, 'route.down')
      return events.length > 0 ? events : null
    })
    expect(down!.data).toMatchObject({ route: 'ses', kind: 'smarthost', reason: 'login_refused' })
    const route = expectStatus(await tenant.call('GET', `/routes/${id}`), 200).json
    expect(route).toMatchObject({ state: 'paused', paused_reason: 'login_refused', has_password: true })

    const to = Array.from({ length: 20 }, (_, i) => `r${i}@example.org`)
    const rest = await post(tenant.call, valija.mail({ from: `a@${tenant.domain}`, to, route: 'ses' }))
    await until('all of it waits', async () => {
      const held = await valija.sql<{ count: number }>(
        `SELECT count(*)::int AS count FROM valija.deliveries WHERE hold = 'route_paused:ses'`,
      )
      return held[0]!.count === to.length || null
    })
    expect(new Set((await readMessage(tenant.call, rest)).recipients.map(({ status }) => status))).toEqual(
      new Set(['queued']),
    )
    expect(await readAttempts(tenant.call, rest)).toEqual([])
    expect(await readAttempts(tenant.call, first)).toHaveLength(1)
    expect(usual.mails.filter((mail) => mail.to.some((address) => to.includes(address)))).toEqual([])

    expectStatus(await tenant.call('PATCH', `/routes/${id}`, { password: 'right' }), 200)
    expect((await untilEnded(tenant.call, rest)).status).toBe('delivered')
    expect(peer.mails.map((mail) => mail.user)).toEqual(to.map(() => 'acme'))
    expect(await eventsOf(tenant, 'route.recovered')).toMatchObject([{ data: { route: 'ses' } }])
    // The first waits for its own next time, by the schedule of its failure.
    expect((await readMessage(tenant.call, first)).recipients[0]).toMatchObject({
      status: 'deferred',
      reason: 'authentication',
    })
  })

  test('keeps one tenant’s login from another’s session, though host, port and name are the same', async () => {
    const [one, two] = [await newTenant(), await newTenant()]
    const peer = await relay({ auth })
    await makeRoute(one, 'same', peer.port, { user: 'acme', password: 'right' })
    await makeRoute(two, 'same', peer.port, { user: 'acme', password: 'wrong' })
    const mine = await post(one.call, mailOf(one, 'mine@example.org', { route: 'same' }))
    expect((await untilEnded(one.call, mine)).status).toBe('delivered')
    await post(two.call, mailOf(two, 'theirs@example.org', { route: 'same' }))
    await until('their refusal', async () => (await eventsOf(two, 'route.down')).length > 0 || null)
    expect(peer.mails.map((mail) => mail.to)).toEqual([['mine@example.org']])
    expect(await eventsOf(one, 'route.down')).toEqual([])
  })
})

test('a relay in a private network that a tenant names is not connected to; the operator’s may be there', async () => {
  const tenant = await newTenant()
  const peer = await relay()
  const own = { name: 'inside', kind: 'smarthost', host: '127.0.0.1', port: peer.port, tls: 'off' }
  expectStatus(await tenant.call('POST', '/routes', own), 201)
  expectStatus(await tenant.call('POST', '/routes', { ...own, name: 'by-name', host: 'localhost' }), 201)
  for (const route of ['inside', 'by-name']) {
    const id = await post(tenant.call, mailOf(tenant, 'ann@example.org', { route }))
    const { recipients } = await untilEnded(tenant.call, id)
    expect(recipients[0]).toMatchObject({ status: 'failed', reason: 'rejected' })
    expect(recipients[0]!.reply).toContain('private')
  }
  expect(peer.sessions()).toBe(0)

  expectStatus(await valija.admin('POST', '/routes', { ...own, name: 'shared' }), 201)
  const id = await post(tenant.call, mailOf(tenant, 'ann@example.org', { route: 'shared' }))
  expect((await untilEnded(tenant.call, id)).status).toBe('delivered')
  expect(peer.mails).toHaveLength(1)
})

test('a tenant’s bulk mail by a relay of its own, with a return path and all else by the usual one', async () => {
  const tenant = await newTenant()
  const peer = await relay()
  const path = { return_path: 'fixed', return_path_address: `bounces@${tenant.domain}` }
  await makeRoute(tenant, 'bulk-relay', peer.port, path)
  const list = { stream: 'bulk', routes: [{ route: 'bulk-relay' }] }
  expectStatus(await tenant.call('POST', '/route-lists', list), 201)
  await until('the list is known', async () => {
    const id = await post(tenant.call, mailOf(tenant, 'news@example.org', { stream: 'bulk' }))
    await untilEnded(tenant.call, id)
    return peer.mails.length > 0 || null
  })
  expect(peer.mails[0]).toMatchObject({ from: `bounces@${tenant.domain}`, to: ['news@example.org'] })
  const code = await post(tenant.call, mailOf(tenant, 'code@example.org'))
  await untilEnded(tenant.call, code)
  expect(await routesOf(tenant, code)).toEqual(['smarthost'])
})
