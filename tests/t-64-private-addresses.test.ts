/**
 * N13: nobody makes Valija connect to a private address: not by spelling it in one of a hundred ways, as the URL of a webhook or as
 * the host of a relay, nor by a redirect, nor by a name whose address changes between the look and the connection.
 *
 * Listeners stand at every address of this machine and count who comes.
 */

import { once } from 'node:events'
import http from 'node:http'
import os from 'node:os'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Canaries, startCanaries } from './support/canary.ts'
import { type DnsServer, startDnsServer } from './support/dns-server.ts'
import { forEachOf, readAll, sendMail } from './support/messages.ts'
import { freePort } from './support/ports.ts'
import { PRIVATE_HOSTS, tricks } from './support/private-hosts.ts'
import { scaled, timeFor } from './support/scale.ts'
import { until } from './support/until.ts'
import { expectStatus, startValija, type Valija } from './support/valija.ts'

type Outcome = { ok: boolean; status_code: number | null; error: string | null }
type Try = { outcome: string; status_code: number | null; error: string | null }

/** The one address that may be connected to: it stands for the world outside. */
const OUTSIDE = '127.9.0.1'
/** Names whose address is another one at each question. */
const REBINDING = Array.from({ length: 10 }, (_, index) => `r${index}.rebind.test`)
/** Which the processes believe to be their machine's. */
const OWN = '2e00::1'
const REFUSED = /^(?:address_refused|name_unknown|bad_url)/

let valija: Valija
let dns: DnsServer
let canaries: Canaries
let outside: http.Server
let port: number
let arrivals = 0

beforeAll(async () => {
  port = await freePort()
  const own = Object.values(os.networkInterfaces()).flatMap(
    (list) => list?.map(({ address }) => address) ?? [],
  )
  const places = [
    ...own.filter((address) => !address.startsWith('fe80')),
    '127.0.0.1',
    '127.0.0.2',
    '127.127.127.127',
  ]
  canaries = await startCanaries([...new Set(places)], port)
  outside = http.createServer((request, response) => {
    arrivals += 1
    request.resume()
    // Every redirect to inside is one that must not be followed; no connection is kept, so that each try looks the name up.
    const headers = { location: `http://127.0.0.1:${port}/`, connection: 'close' }
    response.writeHead(request.url === '/redirect' ? 307 : 204, headers).end()
  })
  outside.listen(port, OUTSIDE)
  await once(outside, 'listening')
  const turns = new Map<string, number>()
  dns = await startDnsServer({
    ttl: 0,
    onQuestion: ({ name, type }) => {
      if (type !== 'A' || !REBINDING.includes(name)) return
      const turn = (turns.get(name) ?? 0) + 1
      turns.set(name, turn)
      dns.set(name, 'A', [turn % 2 === 0 ? '127.0.0.1' : OUTSIDE], 0)
    },
  })
  for (const name of REBINDING) dns.set(name, 'A', [OUTSIDE], 0)
  dns.set('mixed.test', 'A', [OUTSIDE, '127.0.0.1'])
  dns.set('inside.test', 'A', ['127.0.0.1'])
  dns.set('inside6.test', 'AAAA', ['::1', '::ffff:127.0.0.1'])
  dns.set('alias.test', 'CNAME', ['inside.test'])
  dns.set('outside.test', 'A', [OUTSIDE])
  dns.set('own.test', 'AAAA', [OWN])
  const hook = pathToFileURL(new URL('./support/own-address-hook.ts', import.meta.url).pathname).href
  const env = {
    VALIJA_ALLOW_NETWORKS: `${OUTSIDE}/32`,
    VALIJA_DNS_SERVERS: dns.address,
    NODE_OPTIONS: `--import ${hook}`,
  }
  valija = await startValija({ queue: 'postgres', delivery: 'capture', env })
})
afterAll(async () => {
  await valija?.stop()
  await canaries?.stop()
  await dns?.stop()
  outside?.close()
})

/** Null where the URL is refused as such. */
async function addWebhook(url: string): Promise<string | null> {
  const body = { url, events: ['message.accepted'] }
  const { status, json } = await valija.api<{ id: string }>('POST', '/webhooks', body)
  expect([201, 400], `${status} for ${url}`).toContain(status)
  return status === 201 ? json.id : null
}

/** More of one tenant's at a time are refused. */
const testsAtOnce = 4

async function tryOut(id: string): Promise<Outcome> {
  return expectStatus(await valija.api<Outcome>('POST', `/webhooks/${id}/test`), 200).json
}

test(
  'a webhook in over a hundred spellings: neither a test nor an event connects, and each try says why',
  async () => {
    const urls = [
      ...PRIVATE_HOSTS.map((host) => `http://${host}:${port}/`),
      ...tricks(port),
      ...['mixed', 'inside', 'inside6', 'alias'].map((name) => `http://${name}.test:${port}/`),
    ]
    expect(PRIVATE_HOSTS.length).toBeGreaterThanOrEqual(100)
    const made = await forEachOf(urls, 8, async (url) => ({ url, id: await addWebhook(url) }))
    const known = made.flatMap(({ url, id }) => (id === null ? [] : [{ url, id }]))
    expect(known.length).toBeGreaterThan(80)
    await forEachOf(known, testsAtOnce, async ({ url, id }) => {
      const outcome = await tryOut(id)
      expect(outcome, url).toMatchObject({
        ok: false,
        status_code: null,
        error: expect.stringMatching(REFUSED),
      })
    })
    await sendMail(valija.api, valija.mail({ to: 'suppressed@simulator.valija.test' }))
    await forEachOf(known, 4, async ({ url, id }) => {
      const [first] = await until(
        `a try at ${url}`,
        async () => {
          const tries = await readAll<Try>(valija.api, `/webhooks/${id}/deliveries`)
          return tries.length > 0 && tries
        },
        60_000,
      )
      expect(first, url).toMatchObject({
        outcome: 'failed',
        status_code: null,
        error: expect.stringMatching(REFUSED),
      })
      await valija.api('DELETE', `/webhooks/${id}`)
    })
    expect(canaries.visits).toEqual([])
  },
  timeFor(120_000),
)

test('an address of this machine itself is refused though it is public: to webhooks and mailboxes, by the API and by workers', async () => {
  const refused = { ok: false, error: expect.stringMatching(/^address_refused/) }
  const ids = [await addWebhook(`http://[${OWN}]:${port}/`), await addWebhook(`http://own.test:${port}/`)]
  for (const id of ids) expect(await tryOut(id!)).toMatchObject(refused)
  await sendMail(valija.api, valija.mail({ to: 'suppressed@simulator.valija.test' }))
  for (const id of ids) {
    const tries = () => readAll<Try>(valija.api, `/webhooks/${id}/deliveries`)
    const [first] = await until('a try', async () => (await tries()).length > 0 && tries(), 60_000)
    expect(first).toMatchObject({ outcome: 'failed', error: refused.error })
    await valija.api('DELETE', `/webhooks/${id}`)
  }
  const login = { name: 'own', protocol: 'imap', host: OWN, port, tls: 'none', user: 'u', password: 'p' }
  const { id } = expectStatus(await valija.api<{ id: string }>('POST', '/mailboxes', login), 201).json
  const error = { code: 'address_refused' }
  const tried = await valija.api('POST', `/mailboxes/${id}/test`)
  expect(expectStatus(tried, 200).json).toMatchObject({ ok: false, error })
  const show = async () => (await valija.api<{ status: string }>('GET', `/mailboxes/${id}`)).json
  await until('the worker has tried', async () => (await show()).status === 'failing')
  expect(await show()).toMatchObject({ error })
  expectStatus(await valija.api('DELETE', `/mailboxes/${id}`), 204)
})

test('a redirect to inside is not followed', async () => {
  const id = await addWebhook(`http://outside.test:${port}/redirect`)
  expect(await tryOut(id!)).toMatchObject({
    ok: false,
    status_code: 307,
    error: expect.stringContaining('redirect'),
  })
  expect(canaries.visits).toEqual([])
})

test(
  'a name whose address is inside at every second question leads outside or nowhere',
  async () => {
    const tries = scaled(1_000, 60)
    const ids = await forEachOf(REBINDING, 4, (name) => addWebhook(`http://${name}:${port}/`))
    const before = arrivals
    const outcomes = await forEachOf(Array.from({ length: tries }), testsAtOnce, (_, index) =>
      tryOut(ids[index % ids.length]!),
    )
    const told = outcomes.filter(({ ok }) => ok).length
    const refused = outcomes.filter(({ error }) => error?.startsWith('address_refused')).length
    // Both answers were met, and nothing else.
    expect(told).toBeGreaterThan(tries / 10)
    expect(refused).toBeGreaterThan(tries / 10)
    expect(told + refused).toBe(tries)
    expect(arrivals - before).toBe(told)
    expect(canaries.visits).toEqual([])
  },
  timeFor(180_000),
)

test(
  'a relay of a tenant in the same spellings is not connected to',
  async () => {
    const hosts = [
      ...PRIVATE_HOSTS.map((host) => host.replace(/^\[(.*)\]$/, '$1')),
      'mixed.test',
      'inside.test',
      'alias.test',
    ]
    const made = await forEachOf(hosts, 8, async (host, index) => {
      const name = `relay-${index}`
      const body = { name, kind: 'smarthost', host, port, tls: 'off' }
      const { status } = await valija.api('POST', '/routes', body)
      expect([201, 400], `${status} for ${host}`).toContain(status)
      return status === 201 ? { host, name } : null
    })
    const routes = made.filter((entry) => entry !== null)
    expect(routes.length).toBeGreaterThan(20)
    const mails = await forEachOf(routes, 8, ({ name }) => sendMail(valija.api, valija.mail({ route: name })))
    await forEachOf(mails, 4, (mail, index) =>
      until(
        `an attempt or a reason to wait at ${routes[index]!.host}`,
        async () => {
          const { json } = await valija.api<{ data: { outcome: string }[] }>(
            'GET',
            `/messages/${mail.id}/attempts`,
          )
          if (json.data.length === 0) return false
          expect(json.data[0]!.outcome, routes[index]!.host).not.toBe('delivered')
          return true
        },
        60_000,
      ),
    )
    expect(canaries.visits).toEqual([])
  },
  timeFor(120_000),
)
