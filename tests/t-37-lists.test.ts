/**
 * Lists and query strings: every list pages through all of it, once and in order; every route refuses query keys that it
 * does not know. The routes are taken from /openapi.json, so a new one is covered from its first day.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  endOfMail,
  forEachOf,
  type Listed,
  type MailView,
  type ProblemBody,
  readAll,
  sendMail,
} from './support/messages.ts'
import { until } from './support/until.ts'
import { type Call, expectStatus, startValija, type Valija } from './support/valija.ts'

type Parameter = { name: string; in: string }
type Operation = { method: string; path: string; query: string[] }
type Entry = {
  id: string
  event_id?: string
  created_at?: string
  received_at?: string
  timestamp?: string
  started_at?: string
  requested_at?: string
  type?: string
}

/** More than two pages of three. */
const ENTRIES = 7
/** What a list's order is when nothing else is said: newest first. */
const OLDEST_FIRST = new Set([
  '/events',
  '/messages/{id}/events',
  '/messages/{id}/attempts',
  '/tenants',
  '/webhooks/{id}/pending',
])

let valija: Valija
let operations: Operation[]
let ids: Record<string, string>

beforeAll(async () => {
  const env = { VALIJA_ALLOW_NETWORKS: '' }
  valija = await startValija({ queue: 'postgres', delivery: 'capture', env })
  type Paths = Record<string, Record<string, { parameters?: Parameter[] }>>
  const { json } = await valija.api<{ paths: Paths }>('GET', '/openapi.json')
  operations = Object.entries(json.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { parameters = [] }]) => ({
      method: method.toUpperCase(),
      path,
      query: parameters.filter((parameter) => parameter.in === 'query').map(({ name }) => name),
    })),
  )
  ids = await fill(valija.api)
})

afterAll(() => valija?.stop())

/** Enough of everything that each list has several pages. */
async function fill(call: Call): Promise<Record<string, string>> {
  const numbers = Array.from({ length: ENTRIES }, (_, i) => i)
  const make = async (path: string, body: unknown, as: Call = call) =>
    expectStatus(await as<{ id: string }>('POST', path, body), 201).json.id
  const webhooks = await forEachOf(numbers, 1, (i) =>
    make('/webhooks', {
      url: `http://127.0.0.1:1/${i}`,
      events: i === 0 ? ['message.delivered'] : ['message.clicked'],
    }),
  )
  for (const i of numbers) {
    await make('/keys', { name: `k${i}`, scopes: ['read'] })
    await make('/domains', { name: `d${i}.test` })
    await make('/suppressions', { email: `gone${i}@example.org` })
    expectStatus(await call('POST', '/recipients/erase', { email: `nobody${i}@example.org` }), 202)
    await make('/mailboxes', {
      ...{ name: `m${i}`, protocol: 'imap', host: 'imap.acme.test', port: 993, user: 'b', password: 'p' },
      state: 'paused',
    })
    await make('/templates', { slug: `t${i}`, subject: 'Hello', text: 'Hello' })
    await make('/routes', { name: `r${i}`, kind: 'smarthost', host: 'relay.test' })
    await make('/route-lists', { domain: `d${i}.test`, routes: [{ route: 'capture' }] })
    await make('/source-ips', { address: `192.0.2.${i}`, ehlo_name: 'a.test' }, valija.admin)
    if (i > 0) expectStatus(await valija.admin('POST', '/tenants', { name: `t${i}` }), 201)
  }
  const to = numbers.map((i) => `r${i}@example.org`)
  const many = await sendMail(call, valija.mail({ to, subject: 'to many' }))
  await endOfMail(call, many.id)
  for (const i of numbers) {
    const { id } = await sendMail(call, valija.mail({ subject: `Größe ${i}` }))
    await endOfMail(call, id)
  }
  const ids: Record<string, string> = {
    messages: many.id,
    webhooks: webhooks[0]!,
    tenants: valija.tenantId,
    // A site that nobody slowed is not listed; its id has no prefix.
    queue: '0'.repeat(32),
  }
  const listed = [
    'inbox',
    'keys',
    'domains',
    'suppressions',
    'erasures',
    'mailboxes',
    'templates',
    'routes',
    'route-lists',
    'source-ips',
  ]
  for (const list of listed) ids[list] = (await readAll<Entry>(callFor(`/${list}`), `/${list}`))[0]!.id
  return ids
}

const isOperators = (path: string): boolean => /^\/(?:tenants|source-ips|tls-report|queue)\b/.test(path)
const callFor = (path: string): Call => (isOperators(path) ? valija.admin : valija.api)

function pathOf(path: string): string {
  const id = ids[path.split('/')[1]!]
  if (path.includes('{id}') && id === undefined)
    throw new Error(`this test has no id for ${path}: make one in fill`)
  return path
    .replace('{id}', id ?? '')
    .replace('{index}', '0')
    .replace('{version}', '1')
}

const lists = () => operations.filter(({ method, query }) => method === 'GET' && query.includes('limit'))

/** The places that a refusal names; fails when the answer is not a 400 problem. */
async function refusedAt(path: string, query: string, method = 'GET'): Promise<string[]> {
  const mark = path.includes('?') ? '&' : '?'
  const answer = await callFor(path)<ProblemBody>(method, `${pathOf(path)}${mark}${query}`)
  expect([answer.status, answer.json.code], `${method} ${path}?${query}: ${answer.text}`).toEqual([
    400,
    'invalid_request',
  ])
  return (answer.json.errors ?? []).map((error) => error.path)
}

describe('every list', () => {
  test('is known to this test', () => {
    expect(
      lists()
        .map(({ path }) => path)
        .sort(),
    ).toEqual(
      expect.arrayContaining([
        ...[
          '/domains',
          '/events',
          '/inbox',
          '/keys',
          '/messages',
          '/messages/{id}/attempts',
          '/messages/{id}/events',
        ],
        ...['/tenants', '/webhooks', '/webhooks/{id}/deliveries'],
      ]),
    )
  })

  test('takes a limit from 1 to 100 and nothing else for one', async () => {
    for (const { path } of lists()) {
      for (const limit of ['0', '101', '-1', 'x', '1.5', '', '1e9', '%00', ' ', 'NaN', '١']) {
        expect(await refusedAt(path, `limit=${limit}`), `${path} ${limit}`).toEqual(['limit'])
      }
      expect(await refusedAt(path, 'limit=1&limit=2'), path).toEqual(['limit'])
      for (const limit of [1, 100]) {
        const { json } = expectStatus(
          await callFor(path)<Listed<Entry>>('GET', `${pathOf(path)}?limit=${limit}`),
          200,
        )
        expect(json.data.length).toBeLessThanOrEqual(limit)
      }
    }
  })

  test('takes no cursor but its own', async () => {
    for (const { path } of lists()) {
      for (const cursor of [
        'x',
        '',
        '%00',
        'null',
        'AAAA',
        `msg_${'0'.repeat(31)}`,
        '%27%3B--',
        'x'.repeat(10_000),
      ]) {
        expect(await refusedAt(path, `cursor=${cursor}`), `${path} ${cursor.slice(0, 40)}`).toEqual([
          'cursor',
        ])
      }
    }
  })

  test('gives all of it page by page, once and in its order', async () => {
    // Webhooks that fail are tried again after 5 s, and then not for 5 minutes.
    const triedOnce = () => valija.sql('SELECT FROM valija.webhook_outbox WHERE tries < 2')
    await until('the second try of all webhooks', async () => (await triedOnce()).length === 0)
    // What the stream may show is up to what other transactions do; its own test is t-34.
    // Reports by day have no ids, and tests of their own.
    const withoutIds = ['/events', '/tls-report', '/domains/{id}/reports']
    for (const { path } of lists().filter(({ path }) => !withoutIds.includes(path))) {
      const whole = await readAll<Entry>(callFor(path), pathOf(path), 100)
      // A webhook's only event was tried once, and a template is as it was made.
      const least = /\/(?:deliveries|versions)$/.test(path) ? 1 : ENTRIES
      expect(whole.length, path).toBeGreaterThanOrEqual(least)
      // An event that is still to be told has no other id than its own, and is tried meanwhile.
      const isPending = path.endsWith('/pending')
      const asShown = (entries: Entry[]) =>
        isPending ? entries.map(({ event_id, type, timestamp }) => ({ event_id, type, timestamp })) : entries
      for (const limit of [1, 3])
        expect(asShown(await readAll(callFor(path), pathOf(path), limit)), path).toEqual(asShown(whole))
      const entryIds = whole.map(({ id, event_id = id }) => (isPending ? event_id : id))
      expect(new Set(entryIds).size, path).toBe(entryIds.length)
      const times = whole.map(
        (entry) =>
          entry.created_at ??
          entry.received_at ??
          entry.timestamp ??
          entry.started_at ??
          entry.requested_at ??
          '',
      )
      expect(
        times.every((time) => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(time)),
        path,
      ).toBe(true)
      const byId = [...entryIds].sort()
      expect(entryIds, path).toEqual(OLDEST_FIRST.has(path) ? byId : byId.reverse())
    }
  })

  test('goes on where it was when entries come and go between the pages', async () => {
    const before = await readAll<Entry>(valija.api, '/keys')
    const { json: first } = await valija.api<Listed<Entry>>('GET', '/keys?limit=3')
    const made = await valija.api<Entry>('POST', '/keys', { name: 'meanwhile', scopes: ['read'] })
    expectStatus(await valija.api('DELETE', `/keys/${before[1]!.id}`), 204)
    expectStatus(await valija.api('DELETE', `/keys/${before[4]!.id}`), 204)
    const { json: rest } = await valija.api<Listed<Entry>>(
      'GET',
      `/keys?limit=100&cursor=${first.next_cursor}`,
    )
    expect(rest.data.map(({ id }) => id)).toEqual(
      before
        .slice(3)
        .filter((_, i) => i !== 1)
        .map(({ id }) => id),
    )
    expectStatus(await valija.api('DELETE', `/keys/${made.json.id}`), 204)
    ids.keys = before[0]!.id
  })

  test('is empty and at its end where there is nothing', async () => {
    const other = await valija.addTenant('empty', 'empty.test')
    for (const { path } of lists().filter((list) => !list.path.includes('{') && !isOperators(list.path))) {
      const { json } = expectStatus(await other.call<Listed<Entry>>('GET', path), 200)
      if (path === '/keys' || path === '/domains') expect(json.data).toHaveLength(1)
      // How the operator made it, its first key and its domain.
      else if (path === '/audit') expect(json.data).toHaveLength(3)
      else expect(json.data, path).toEqual([])
      if (path === '/events') expect(json.next_cursor).toBeTypeOf('string')
      else expect(json.next_cursor, path).toBeNull()
    }
  })
})

/** It takes no JSON, which is what it is sent here; its own test is beside it. */
const takesFile = (path: string): boolean => path === '/suppressions/import'

describe('every route', () => {
  test('refuses query keys that it does not know', async () => {
    for (const { method, path, query } of operations) {
      const body = method === 'GET' || method === 'DELETE' ? undefined : {}
      for (const key of ['nonsense', '__proto__', 'limit[]', 'Limit', '']) {
        const name = `${method} ${path}?${key}`
        const answer = await callFor(path)<ProblemBody>(
          method,
          `${pathOf(path)}?${encodeURIComponent(key)}=1`,
          body,
        )
        // A body of nothing may be refused before or after; that it is refused, and nothing happens, is what counts.
        expect(answer.status, `${name}: ${answer.text}`).toBe(takesFile(path) ? 415 : 400)
        if (method === 'GET')
          expect(
            answer.json.errors?.map((error) => error.path),
            name,
          ).toEqual([key])
      }
      if (!query.includes('key')) {
        const answer = await callFor(path)(method, `${pathOf(path)}?key=${valija.tenantKey}`, body)
        expect(answer.status).toBe(takesFile(path) ? 415 : 400)
      }
    }
    expect((await valija.api('GET', pathOf('/messages/{id}'))).status).toBe(200)
    expect((await readAll(valija.api, '/inbox')).length).toBeGreaterThan(0)
  })

  test('unknown is 404 as a problem, and a method that a path has not is 405', async () => {
    for (const [method, path, status, code] of [
      ['GET', '/nothing', 404, 'not_found'],
      ['GET', '/messages/x/y', 404, 'not_found'],
      ['POST', '/messages', 405, 'method_not_allowed'],
      ['PUT', '/send', 405, 'method_not_allowed'],
      ['GET', '/send/batch', 405, 'method_not_allowed'],
      ['DELETE', '/events', 405, 'method_not_allowed'],
    ] as const) {
      const answer = await valija.api<ProblemBody>(method, path)
      expect([answer.status, answer.json.code], `${method} ${path}`).toEqual([status, code])
      expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/)
    }
  })
})

describe('GET /messages', () => {
  const found = async (query: string) => {
    const { json } = expectStatus(
      await valija.api<Listed<MailView>>('GET', `/messages?limit=100&${query}`),
      200,
    )
    return json.data.map(({ subject }) => subject).sort()
  }
  const first = 'Größe first'
  const second = 'Größe second'

  beforeAll(async () => {
    const send = async (fields: Record<string, unknown>) =>
      endOfMail(valija.api, (await sendMail(valija.api, valija.mail(fields))).id)
    await send({
      subject: first,
      to: 'Finder@MÜNCHEN.example',
      tags: ['a%b', 'news'],
      metadata: { 'order.id': '4711', ключ: 'x' },
    })
    await send({
      subject: second,
      to: 'bounced@simulator.valija.test',
      cc: 'suppressed@simulator.valija.test',
      stream: 'bulk',
      metadata: { 'order.id': '4712' },
    })
  })

  test.each<[string, string[]]>([
    ['to=finder@xn--mnchen-3ya.example', [first]],
    [`to=${encodeURIComponent('FINDER@münchen.EXAMPLE.')}`, [first]],
    ['to=nobody@example.org', []],
    [`subject=${encodeURIComponent('größe FIRST')}`, [first]],
    ['subject=%25', []],
    ['subject=_', []],
    ['subject=%27%20OR%201%3D1', []],
    ['tag=a%25b', [first]],
    ['tag=a', []],
    ['metadata.order.id=4711', [first]],
    ['metadata.order.id=4712&stream=bulk', [second]],
    [`metadata.${encodeURIComponent('ключ')}=x`, [first]],
    ['metadata.order.id=4711&stream=bulk', []],
    ['stream=bulk', [second]],
    ['status=bounced', [second]],
    ['reason=mailbox_unknown', [second]],
    ['status=delivered&tag=news', [first]],
    ['domain=ACME.test.&tag=news', [first]],
    ['domain=beta.test', []],
    ['from=HI@acme.test&tag=news', [first]],
    ['tag=news&after=2020-01-01T00:00:00Z&before=2120-01-01T00:00:00Z', [first]],
    ['after=2120-01-01T00:00:00Z', []],
    ['before=2020-01-01T00:00:00Z', []],
  ])('?%s finds %j', async (query, subjects) => {
    expect(await found(query)).toEqual(subjects)
  })

  test.each([
    ['to=nonsense', 'to'],
    ['from=a%00@x.test', 'from'],
    ['domain=-x.test', 'domain'],
    ['status=lost', 'status'],
    ['stream=x', 'stream'],
    ['after=yesterday', 'after'],
    ['before=2026-02-30T00:00:00Z', 'before'],
    ['metadata.=x', 'metadata.'],
    ['metadata=x', 'metadata'],
    [`metadata.${'k'.repeat(65)}=x`, `metadata.${'k'.repeat(65)}`],
    ['tag=', 'tag'],
    ['subject=%00', 'subject'],
    ['tag=a&tag=b', 'tag'],
  ])('?%s is refused at %s', async (query, path) => {
    expect(await refusedAt('/messages', query)).toEqual([path])
  })
})
