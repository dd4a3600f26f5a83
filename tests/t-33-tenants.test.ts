/**
 * What is one tenant's is no other's, and a key does what it was made for: isolation, scopes, bounds, revocation, and the
 * domains that may be sent from. The routes are taken from /openapi.json, so a new one is covered from its first day.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Answer, client } from './support/http.ts'
import {
  type AcceptedMail,
  endOfMail,
  forEachOf,
  type Listed,
  type ProblemBody,
  sendMail,
} from './support/messages.ts'
import { untilShown } from './support/shown-events.ts'
import { until } from './support/until.ts'
import { type Call, expectStatus, startValija, type TestTenant, type Valija } from './support/valija.ts'

type Operation = { method: string; path: string; isOpen: boolean }

const SCOPES = ['send', 'read', 'read:content', 'manage'] as const
const UNKNOWN = '0192f0c1a2b37c4d8e5f60718293a4b5'
/** How soon a revocation must work everywhere. */
const REVOKED_WITHIN_MS = 5_000

let valija: Valija
let other: TestTenant
let operations: Operation[]
/** First step of the path → id of something that the first tenant has. */
let ids: Record<string, string>
/** An event of the first tenant. */
let eventId: string

beforeAll(async () => {
  valija = await startValija({ apis: 2, queue: 'postgres', delivery: 'capture' })
  other = await valija.addTenant('other', 'beta.test')
  const { json } = await valija.api<{ paths: Record<string, Record<string, { security?: unknown[] }>> }>(
    'GET',
    '/openapi.json',
  )
  operations = Object.entries(json.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { security = [] }]) => ({
      method: method.toUpperCase(),
      path,
      isOpen: security.length === 0,
    })),
  )
  ids = await makeOneOfEach(valija.api)
  await untilShown(valija.sql)
  eventId = (await valija.api<Listed<{ id: string }>>('GET', '/events?limit=1')).json.data[0]!.id
})

afterAll(() => valija?.stop())

/** Nobody looks at it. */
const pausedMailbox = {
  ...{ name: 'bounces', protocol: 'imap', host: 'imap.acme.test', port: 993, user: 'b', password: 'p' },
  state: 'paused',
}

async function makeOneOfEach(call: Call): Promise<Record<string, string>> {
  const make = async (path: string, body: unknown, as: Call = call) =>
    expectStatus(await as<{ id: string }>('POST', path, body), 201).json.id
  const { id } = await sendMail(call, valija.mail({ attachments: [{ filename: 'a.txt', content: 'eA==' }] }))
  await endOfMail(call, id)
  const inbox = await call<Listed<{ id: string }>>('GET', '/inbox?wait=10s')
  return {
    messages: id,
    inbox: inbox.json.data[0]!.id,
    // Told of nothing that happens here, so what it shows stays as it is.
    webhooks: await make('/webhooks', { url: 'https://acme.test/hook', events: ['quota.reached'] }),
    keys: await make('/keys', { name: 'k', scopes: ['read'] }),
    domains: await make('/domains', { name: 'pending.test' }),
    mailboxes: await make('/mailboxes', pausedMailbox),
    templates: await make('/templates', { slug: 'hello', subject: 'Hello', text: 'Hello' }),
    suppressions: await make('/suppressions', { email: 'gone@example.org' }),
    erasures: await eraseNobody(call),
    routes: await make('/routes', { name: 'relay', kind: 'smarthost', host: 'relay.test' }),
    'route-lists': await make('/route-lists', { routes: [{ route: 'capture' }] }),
    tenants: valija.tenantId,
    // No site has an id before it was sent to.
    queue: `que_${UNKNOWN}`,
    'source-ips': await make('/source-ips', { address: '192.0.2.1', ehlo_name: 'a.test' }, valija.admin),
  }
}

/** The erasure of an address that nothing was sent to, as it stands when it is done. */
async function eraseNobody(call: Call): Promise<string> {
  const asked = await call<{ id: string }>('POST', '/recipients/erase', { email: 'nobody@example.org' })
  const { id } = expectStatus(asked, 202).json
  await until('the erasure is done', async () => {
    const { json } = await call<{ status: string }>('GET', `/erasures/${id}`)
    return json.status === 'done'
  })
  return id
}

/** The path with an id in the place of `{id}`, and of something of the first tenant's in the place of the others. */
function pathOf(path: string, id: string): string {
  return path
    .replace('{id}', id)
    .replace('{index}', '0')
    .replace('{event_id}', eventId)
    .replace('{version}', '1')
}

/** An id of the same kind that nothing has. */
const unknownId = (id: string): string => id.replace(/_.*/, `_${UNKNOWN}`)

function sampleId({ path }: Operation): string {
  const id = ids[path.split('/')[1]!]
  if (id === undefined) throw new Error(`this test has no id for ${path}: make one in makeOneOfEach`)
  return id
}

const isOperators = (path: string): boolean => /^\/(?:tenants|source-ips|tls-report|queue)\b/.test(path)

/** By the contract: what a key must be allowed to do to use a route. */
function scopeOf({ method, path }: Operation): string {
  if (isOperators(path)) return 'operator'
  if (
    /^\/send|\/(?:cancel|resend)$|^\/templates\/.*\/test$/.test(path) ||
    (method === 'PATCH' && path.startsWith('/messages'))
  )
    return 'send'
  if (method !== 'GET') return 'manage'
  return /^\/inbox|\/raw$|\/preview$/.test(path) ? 'read:content' : 'read'
}

const makeKey = async (more: object): Promise<{ id: string; key: string }> =>
  expectStatus(
    await valija.api<{ id: string; key: string }>('POST', '/keys', {
      name: 'k',
      scopes: [...SCOPES],
      ...more,
    }),
    201,
  ).json

const asProblem = ({ status, json }: Answer<ProblemBody>) => ({
  status,
  problem: { ...json, request_id: '' },
})

const withIds = () => operations.filter(({ path }) => path.includes('{id}'))

describe('another tenant’s ids', () => {
  test('are like unknown ones on every route that takes one, and nothing happens to them', async () => {
    const read = () =>
      forEachOf(
        withIds().filter(({ method }) => method === 'GET'),
        4,
        async (operation) => {
          const call = isOperators(operation.path) ? valija.admin : valija.api
          const answer = await call('GET', pathOf(operation.path, sampleId(operation)))
          // Explanations tell how long ago things were, which goes on.
          return [operation.path, expectStatus(answer, 200).text.replace(/\(\d[^()]* ago\)/g, '(ago)')]
        },
      )
    const before = await read()
    expect(before.length).toBeGreaterThan(8)
    for (const operation of withIds().filter(({ path }) => !isOperators(path))) {
      const id = sampleId(operation)
      const body = /PATCH|PUT|POST/.test(operation.method) ? {} : undefined
      const ask = (asked: string) =>
        other.call<ProblemBody>(operation.method, pathOf(operation.path, asked), body)
      const [foreign, unknown, junk] = [await ask(id), await ask(unknownId(id)), await ask('junk')]
      const name = `${operation.method} ${operation.path}`
      expect(foreign.status, `${name}: ${foreign.text}`).toBe(404)
      expect(asProblem(foreign), name).toEqual(asProblem(unknown))
      expect(junk.status, name).toBe(404)
    }
    expect(await read()).toEqual(before)
  })

  test('appear in none of its lists, streams and searches', async () => {
    const lists = operations.filter(
      ({ method, path }) => method === 'GET' && !path.includes('{') && !isOperators(path),
    )
    for (const { path, isOpen } of lists.filter(({ isOpen }) => !isOpen)) {
      expect(isOpen).toBe(false)
      const { status, text } = await other.call('GET', path)
      expect(status, path).toBe(200)
      for (const id of Object.values(ids)) expect(text, path).not.toContain(id)
    }
    expect((await other.call<Listed<unknown>>('GET', '/messages?to=ann@example.org')).json.data).toEqual([])
  })

  test('may have the same idempotency key without meeting', async () => {
    const key = { 'idempotency-key': 'order-4711' }
    const mine = await valija.api<AcceptedMail>('POST', '/send', valija.mail(), key)
    const theirs = await other.call<AcceptedMail>('POST', '/send', valija.mail({ from: 'x@beta.test' }), key)
    expect([mine.status, theirs.status]).toEqual([202, 202])
    expect(mine.json.id).not.toBe(theirs.json.id)
  })
})

describe('a key', () => {
  test('without the scope of a route gets 403 there, and with only that scope gets in', async () => {
    const only = new Map<string, Call>()
    const without = new Map<string, Call>()
    for (const scope of SCOPES) {
      only.set(scope, client(valija.url, (await makeKey({ scopes: [scope] })).key))
      without.set(
        scope,
        client(valija.url, (await makeKey({ scopes: SCOPES.filter((name) => name !== scope) })).key),
      )
    }
    for (const operation of operations.filter(({ isOpen }) => !isOpen)) {
      const { method, path } = operation
      const name = `${method} ${path}`
      const scope = scopeOf(operation)
      const asked = path.includes('{id}') ? pathOf(path, unknownId(sampleId(operation))) : path
      const body = method === 'GET' || method === 'DELETE' ? undefined : {}
      const refused = await (without.get(scope) ?? valija.api)<ProblemBody>(method, asked, body)
      expect([refused.status, refused.json.code], name).toEqual([403, 'insufficient_scope'])
      expect(refused.json.detail, name).toContain(scope === 'operator' ? 'VALIJA_ADMIN_KEY' : scope)
      if (path === '/inbox' && method === 'DELETE') continue // the others need what it would delete
      const admitted = await (only.get(scope) ?? valija.admin)(method, asked, body)
      expect([401, 403], `${name}: ${admitted.text}`).not.toContain(admitted.status)
    }
  })

  test('that is absent, mistyped or of nobody gets 401 on every route but the open ones', async () => {
    const last = valija.tenantKey.at(-1) === 'a' ? 'b' : 'a'
    const first = valija.tenantKey.replace(/^vlj_(.)/, (_, char: string) => `vlj_${char === 'x' ? 'y' : 'x'}`)
    const wrong = [
      `${valija.tenantKey.slice(0, -1)}${last}`,
      first,
      `${valija.tenantKey}x`,
      'vlj_',
      'Basic',
      valija.adminKey.slice(1),
    ]
    const callers = [client(valija.url), ...wrong.map((key) => client(valija.url, key))]
    for (const { method, path, isOpen } of operations) {
      for (const call of callers) {
        const { status, json, headers } = await call<ProblemBody>(method, pathOf(path, `msg_${UNKNOWN}`))
        if (isOpen) expect(status, path).toBeLessThan(300)
        else {
          expect([status, json.code, headers.get('www-authenticate')], `${method} ${path}`).toEqual([
            401,
            'invalid_key',
            'Bearer',
          ])
        }
      }
    }
    const inQuery = await client(valija.url)('GET', `/messages?key=${valija.tenantKey}`)
    expect(inQuery.status).toBe(401)
  })

  test('that is revoked stops everywhere within 5 s, and one that expires stops by itself', async () => {
    const made = await makeKey({ scopes: ['read'] })
    const soon = new Date(Date.now() + 2_500).toISOString()
    const expiring = await makeKey({ scopes: ['read'], expires_at: soon })
    const at = (key: string) => valija.urls.map((url) => client(url, key))
    const statuses = (key: string) =>
      Promise.all(at(key).map(async (call) => (await call('GET', '/messages')).status))
    expect(await statuses(made.key)).toEqual([200, 200])
    expectStatus(await valija.api('DELETE', `/keys/${made.id}`), 204)
    const startedAt = performance.now()
    await until(
      '401 everywhere',
      async () => (await statuses(made.key)).every((status) => status === 401),
      REVOKED_WITHIN_MS,
    )
    expect(performance.now() - startedAt).toBeLessThan(REVOKED_WITHIN_MS)
    expectStatus(await valija.api('GET', `/keys/${made.id}`), 404)
    await until('401 after the end', async () =>
      (await statuses(expiring.key)).every((status) => status === 401),
    )
    expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(soon))
  })

  test('that is bound to networks, domains or recipients does nothing outside of them', async () => {
    const restricted = async (bounds: object, body: Record<string, unknown> = {}) => {
      const { key } = await makeKey(bounds)
      const { status, json } = await client(valija.url, key)<ProblemBody>('POST', '/send', valija.mail(body))
      return status === 202 ? 'accepted' : `${status} ${json.code}`
    }
    expect(await restricted({ networks: ['10.0.0.0/8', '::1/128'] })).toBe('403 key_restricted')
    expect(await restricted({ networks: ['127.0.0.0/8'] })).toBe('accepted')
    const more = { name: 'second.test', vouched: true }
    expectStatus(await valija.admin('POST', '/domains', more, { 'valija-tenant': valija.tenantId }), 201)
    const fromSecond = { from: 'a@second.test' }
    expect(await restricted({ domains: ['ACME.test.'] }, fromSecond)).toBe('403 key_restricted')
    expect(await restricted({ domains: ['ACME.test.'] })).toBe('accepted')
    expect(await restricted({ domains: ['second.test'] }, fromSecond)).toBe('accepted')
    const raw = Buffer.from('From: a@second.test\n\nx').toString('base64')
    const { subject: _, text: __, ...bare } = valija.mail({ raw })
    const bound = client(valija.url, (await makeKey({ domains: ['acme.test'] })).key)
    expect((await bound<ProblemBody>('POST', '/send', bare)).json.code).toBe('key_restricted')
    const recipients = ['@Example.ORG', 'Bob@other.test']
    expect(await restricted({ recipients }, { to: ['ANN@example.org', 'bob@OTHER.test'] })).toBe('accepted')
    expect(await restricted({ recipients }, { bcc: 'eve@other.test' })).toBe('403 key_restricted')
    expect(await restricted({ recipients }, { to: 'a@sub.example.org' })).toBe('403 key_restricted')
  })
})

describe('the sender’s domain', () => {
  /** The verdict on one sender, in each place where readers see one. */
  async function verdicts(call: Call, email: string, fine: string): Promise<Set<string>> {
    const raw = (header: string) => ({
      from: fine,
      to: 'a@example.org',
      raw: Buffer.from(`${header}\n\nx`).toString('base64'),
    })
    const bodies = [
      valija.mail({ from: email }),
      valija.mail({ from: `Acme <${email}>` }),
      valija.mail({ from: { email } }),
      // A raw header is taken as it is read by others, so only without its final dot.
      ...(email.endsWith('.') ? [] : [raw(`From: ${email}`), raw(`From: ${fine}\nSender: Acme <${email}>`)]),
    ]
    const answers = await Promise.all(bodies.map((body) => call<ProblemBody>('POST', '/send', body)))
    return new Set(
      answers.map(({ status, json }) => (status === 202 ? 'accepted' : `${status} ${json.code}`)),
    )
  }

  beforeAll(async () => {
    const vouch = async (tenant: string, name: string) =>
      expectStatus(
        await valija.admin('POST', '/domains', { name, vouched: true }, { 'valija-tenant': tenant }),
        201,
      )
    await vouch(valija.tenantId, 'bücher.test')
    await vouch(valija.tenantId, 'mail.corp.test')
    await vouch(other.id, 'hr.acme.test')
  })

  test('may be a verified one in any spelling, or one below it', async () => {
    const fine = [
      'ACME.TEST',
      'acme.test.',
      'Acme.Test',
      'mail.acme.test',
      'BÜCHER.test',
      'xn--bcher-kva.test',
      'XN--BCHER-KVA.test',
      'x.mail.corp.test',
    ]
    for (const domain of fine) {
      expect(await verdicts(valija.api, `hi@${domain}`, 'hi@acme.test'), domain).toEqual(
        new Set(['accepted']),
      )
    }
    // At once on the other API process too.
    expectStatus(
      await client(valija.urls[1]!, valija.tenantKey)(
        'POST',
        '/send',
        valija.mail({ from: 'a@bücher.test' }),
      ),
      202,
    )
  })

  test.each([
    ...['beta.test', 'BETA.test', 'beta.test.', 'x.beta.test'],
    ...[
      'pending.test',
      'nobody.test',
      'corp.test',
      'x.corp.test',
      'notacme.test',
      'acme.test.evil.test',
      'acme-test.test',
    ],
    ...[
      'hr.acme.test',
      'x.hr.acme.test',
      'HR.acme.test.',
      'b\u00fccher.acme',
      'аcme.test',
      'simulator.valija.test',
    ],
  ])('%s is refused: another’s, not verified, above, beside or alike', async (domain) => {
    expect(await verdicts(valija.api, `hi@${domain}`, 'hi@acme.test')).toEqual(
      new Set(['403 domain_not_verified']),
    )
  })

  test('of another tenant is refused to the other one as well', async () => {
    for (const domain of ['acme.test', 'xn--bcher-kva.test', 'BÜCHER.TEST', 'mail.corp.test']) {
      expect(await verdicts(other.call, `hi@${domain}`, 'hi@beta.test'), domain).toEqual(
        new Set(['403 domain_not_verified']),
      )
    }
    expect(await verdicts(other.call, 'hi@hr.acme.test', 'hi@beta.test')).toEqual(new Set(['accepted']))
  })

  test('is nobody’s once it was deleted, within 5 s', async () => {
    const admin = { 'valija-tenant': valija.tenantId }
    const { json } = expectStatus(
      await valija.admin<{ id: string }>('POST', '/domains', { name: 'gone.test', vouched: true }, admin),
      201,
    )
    const send = async (url: string) =>
      (await client(url, valija.tenantKey)('POST', '/send', valija.mail({ from: 'a@gone.test' }))).status
    expect(await Promise.all(valija.urls.map(send))).toEqual([202, 202])
    expectStatus(await valija.api('DELETE', `/domains/${json.id}`), 204)
    await until(
      '403 everywhere',
      async () => (await Promise.all(valija.urls.map(send))).every((status) => status === 403),
      REVOKED_WITHIN_MS,
    )
  })

  test('is vouched for by the operator alone', async () => {
    const { status, json } = await valija.api<ProblemBody>('POST', '/domains', {
      name: 'mine.test',
      vouched: true,
    })
    expect([status, json.code]).toEqual([403, 'insufficient_scope'])
    const change = await valija.api<ProblemBody>('PATCH', `/domains/${ids.domains}`, { vouched: true })
    expect([change.status, change.json.code]).toEqual([403, 'insufficient_scope'])
  })
})

describe('the operator', () => {
  test('acts for the tenant that Valija-Tenant names, and for none without it', async () => {
    const as = (tenant: string) => ({ 'valija-tenant': tenant })
    const lists = await Promise.all(
      [valija.tenantId, other.id].map((id) =>
        valija.admin<Listed<{ id: string }>>('GET', '/messages', undefined, as(id)),
      ),
    )
    const [mine, theirs] = lists.map(({ json }) => new Set(json.data.map(({ id }) => id)))
    expect(mine!.size).toBeGreaterThan(0)
    expect(theirs!.size).toBeGreaterThan(0)
    expect([...mine!].some((id) => theirs!.has(id))).toBe(false)
    expectStatus(await valija.admin('POST', '/send', valija.mail(), as(valija.tenantId)), 202)
    expectStatus(await valija.admin('POST', '/send', valija.mail(), as(other.id)), 403)
    const nobody = await valija.admin<ProblemBody>('GET', '/messages')
    expect([nobody.status, nobody.json.errors?.[0]?.path]).toEqual([400, 'Valija-Tenant'])
    for (const id of [`ten_${UNKNOWN}`, 'junk', ids.messages!]) {
      expectStatus(await valija.admin('GET', '/messages', undefined, as(id)), 404)
    }
    const tenant = await valija.api<ProblemBody>('GET', '/messages', undefined, as(other.id))
    expect([tenant.status, tenant.json.errors?.[0]?.path]).toEqual([400, 'Valija-Tenant'])
  })
})
