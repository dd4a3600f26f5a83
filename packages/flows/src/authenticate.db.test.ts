/** Who gets in, as whom, and how soon a revocation is known: against a real PostgreSQL and real wake-ups. */
import { createApiKey, createIdSource, formatId, noLimits, ProductError, type Scope } from '@valija/core'
import {
  type Database,
  type DatabaseClock,
  insertKey,
  insertTenant,
  type KeyGrant,
  openDatabase,
  openWake,
  revokeKey,
  startDatabaseClock,
  type Wake,
} from '@valija/store'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { until } from '../../../tests/support/until.ts'
import { type Authenticator, createAuthenticator, requireAccess } from './authenticate.ts'
import { createBriefMemory } from './brief-memory.ts'

const adminKey = 'the-operators-key'
const newId = createIdSource(Date.now)
const anybody: KeyGrant = {
  scopes: ['send'],
  domains: [],
  networks: [],
  route: null,
  recipients: [],
  limits: {},
  expiresAt: null,
}

let target: TestDatabase
let database: Database
let wake: Wake
let clock: DatabaseClock
let authenticator: Authenticator
let tenantId: string
/** Statements that the engine pool was given. */
let queries = 0

beforeAll(async () => {
  target = await createDatabase()
  database = openDatabase({ url: target.url, onError: () => undefined })
  wake = await openWake(target.url, () => undefined)
  clock = await startDatabaseClock(database.engine, () => undefined)
  const query = database.engine.query.bind(database.engine)
  Object.assign(database.engine, {
    query: (...args: Parameters<typeof query>) => {
      queries += 1
      return query(...args)
    },
  })
  authenticator = createAuthenticator({ database, wake, adminKey, clock })
  tenantId = newId()
  const { key: _, ...first } = createApiKey()
  await insertTenant(
    database,
    { id: tenantId, name: 'acme', weight: 1, limits: {}, isDefault: false },
    { ...anybody, ...first, id: newId(), tenantId, name: 'first' },
  )
})

afterAll(async () => {
  authenticator.close()
  clock.stop()
  await wake.close()
  await database.close()
  await target.drop()
})

async function makeKey(grant: Partial<KeyGrant> = {}) {
  const { key, hash, hint } = createApiKey()
  const stored = await insertKey(database, {
    ...anybody,
    ...grant,
    id: newId(),
    tenantId,
    name: 'k',
    hash,
    hint,
  })
  return { key, hash, id: stored.id }
}

const enter = (key: string | undefined, more: { tenant?: string; ip?: string; by?: Authenticator } = {}) =>
  (more.by ?? authenticator).authenticate({
    authorization: key === undefined ? undefined : `Bearer ${key}`,
    tenant: more.tenant,
    ip: more.ip ?? '192.0.2.1',
  })

/** The code of the refusal; the promise must be refused by a ProductError. */
async function refusal(attempt: Promise<unknown>): Promise<ProductError> {
  const error = await attempt.then(
    () => new Error('was let in'),
    (thrown) => thrown,
  )
  if (error instanceof ProductError) return error
  throw error
}

describe('an API key', () => {
  test('makes the caller that its row describes', async () => {
    const made = await makeKey({
      scopes: ['send', 'read'],
      domains: ['acme.test'],
      route: 'r',
      recipients: ['@b.test'],
    })
    expect(await enter(made.key)).toEqual({
      tenantId,
      keyId: made.id,
      queuedLimit: null,
      limits: noLimits(),
      scopes: new Set<Scope>(['send', 'read']),
      domains: ['acme.test'],
      recipients: ['@b.test'],
      route: 'r',
      isOperator: false,
      isDefaultTenant: false,
    })
  })

  test.each([
    ['is absent', undefined],
    ['is of another scheme', 'Basic dTpw'],
    ['is empty', 'Bearer '],
    ['has two words', 'Bearer a b'],
  ])('is refused when the header %s', async (_, authorization) => {
    const error = await refusal(
      authenticator.authenticate({ authorization, tenant: undefined, ip: '192.0.2.1' }),
    )
    expect(error.code).toBe('invalid_key')
  })

  test('with a wrong checksum is refused without a query', async () => {
    const { key } = await makeKey()
    const before = queries
    const mistyped = key.slice(0, -1) + (key.endsWith('a') ? 'b' : 'a')
    expect((await refusal(enter(mistyped))).code).toBe('invalid_key')
    expect(queries).toBe(before)
  })

  test('that nobody made is refused, and asked about once a second at most', async () => {
    const { key } = createApiKey()
    const before = queries
    for (let i = 0; i < 3; i++) expect((await refusal(enter(key))).code).toBe('invalid_key')
    expect(queries - before).toBe(1)
  })

  test('that is made after it was refused is let in at once', async () => {
    const { key, hash, hint } = createApiKey()
    await refusal(enter(key))
    await insertKey(database, { ...anybody, id: newId(), tenantId, name: 'late', hash, hint })
    wake.send('keys', hash.toString('hex'))
    await until('the new key is known', () => enter(key).then(() => true), 900)
  })

  test('is looked up once for many requests at the same time', async () => {
    const { key } = await makeKey()
    const before = queries
    await Promise.all(Array.from({ length: 50 }, () => enter(key)))
    expect(queries - before).toBe(1)
  })

  test('that has expired is refused, also when it was remembered', async () => {
    const validMs = 3_600_000
    let aheadMs = 0
    const nowMs = () => clock.nowMs() + aheadMs
    const later = createAuthenticator({ database, wake, adminKey, clock: { ...clock, nowMs } })
    const { key } = await makeKey({ expiresAt: new Date(clock.nowMs() + validMs) })
    await enter(key, { by: later })
    aheadMs = validMs
    expect((await refusal(enter(key, { by: later }))).detail).toMatch(/expired/)
    later.close()
  })

  test('that is revoked is refused in another process as soon as that one hears of it', async () => {
    const otherWake = await openWake(target.url, () => undefined)
    const { key, id } = await makeKey()
    await enter(key)
    const hash = await revokeKey(database, tenantId, id)
    otherWake.send('keys', hash!.toString('hex'))
    await until(
      'the revocation is known',
      () =>
        enter(key).then(
          () => false,
          () => true,
        ),
      1_000,
    )
    expect((await refusal(enter(key))).code).toBe('invalid_key')
    await otherWake.close()
  })

  test('that is revoked is refused within 5 s even when nobody is told', async () => {
    const { key, id } = await makeKey()
    await enter(key)
    await revokeKey(database, tenantId, id)
    await until(
      'the revocation is known',
      () =>
        enter(key).then(
          () => false,
          () => true,
        ),
      2_500,
    )
  })

  test.each([
    ['192.0.2.0/24', '192.0.2.77', true],
    ['192.0.2.0/24', '192.0.3.1', false],
    ['192.0.2.0/24', '::ffff:192.0.2.77', true],
    ['192.0.2.0/24', '2001:db8::1', false],
    ['2001:db8::/32', '2001:db8:1::1', true],
    ['2001:db8::/32', '2001:db9::1', false],
    ['198.51.100.7', '198.51.100.7', true],
    ['198.51.100.7', 'not an address', false],
  ])('bound to %s: a request from %s is let in: %s', async (network, ip, isLetIn) => {
    const { key } = await makeKey({ networks: [network] })
    const result = enter(key, { ip })
    if (isLetIn) expect((await result).tenantId).toBe(tenantId)
    else expect((await refusal(result)).code).toBe('key_restricted')
  })

  test('cannot act for a tenant, not even its own', async () => {
    const { key } = await makeKey()
    const error = await refusal(enter(key, { tenant: formatId('tenant', tenantId) }))
    expect(error.code).toBe('invalid_request')
    expect(error.errors).toMatchObject([{ path: 'Valija-Tenant' }])
  })
})

describe('the operator', () => {
  test('acts for the tenant in Valija-Tenant with all scopes', async () => {
    const caller = await enter(adminKey, { tenant: formatId('tenant', tenantId) })
    expect(caller).toMatchObject({ tenantId, keyId: null, isOperator: true })
    for (const scope of ['send', 'read', 'read:content', 'manage', 'operator'] as const)
      requireAccess(caller, scope)
  })

  test.each([['ten_00000000000070008000000000000000'], ['nonsense'], ['']])(
    'gets 404 for the tenant %j',
    async (tenant) => {
      expect((await refusal(enter(adminKey, { tenant }))).code).toBe('not_found')
    },
  )

  test('without a tenant reaches operator routes only, and is told how to name one', async () => {
    const caller = await enter(adminKey)
    requireAccess(caller, 'operator')
    const error = await refusal((async () => requireAccess(caller, 'read'))())
    expect(error.code).toBe('invalid_request')
    expect(error.errors).toMatchObject([{ path: 'Valija-Tenant', message: expect.stringContaining('ten_') }])
  })

  test.each([['the-operators-kez'], ['the-operators-ke'], ['the-operators-key2']])(
    'is not who says %s',
    async (key) => {
      expect((await refusal(enter(key))).code).toBe('invalid_key')
    },
  )

  test('is not let in by an empty VALIJA_ADMIN_KEY', () => {
    expect(() => createAuthenticator({ database, wake, adminKey: '', clock })).toThrow(RangeError)
  })
})

test('a tenant’s key reaches neither operator routes nor scopes that it lacks', async () => {
  const { key } = await makeKey({ scopes: ['send'] })
  const caller = await enter(key)
  requireAccess(caller, 'send')
  for (const needed of ['operator', 'read', 'read:content', 'manage'] as const) {
    expect((await refusal((async () => requireAccess(caller, needed))())).code).toBe('insufficient_scope')
  }
})

test('nobody is told that a key is wrong while the database cannot be asked', async () => {
  const away = openDatabase({ url: 'postgres://nobody@127.0.0.1:1/none', onError: () => undefined })
  const unlucky = createAuthenticator({ database: away, wake, adminKey, clock })
  const { key } = createApiKey()
  const error = await refusal(
    unlucky.authenticate({ authorization: `Bearer ${key}`, tenant: undefined, ip: '::1' }),
  )
  expect(error.code).toBe('database_unavailable')
  expect(error.retryAfterS).toBeGreaterThan(0)
  unlucky.close()
  await away.close()
})

describe('brief memory', () => {
  test('does not keep an answer that was asked for before the change', async () => {
    let answer = Promise.withResolvers<string>()
    const memory = createBriefMemory<string>(10, () => answer.promise)
    const early = memory.get('k')
    memory.forget((key) => key === 'k')
    answer.resolve('old')
    expect(await early).toBe('old')
    answer = Promise.withResolvers<string>()
    answer.resolve('new')
    expect(await memory.get('k')).toBe('new')
  })

  test('holds no more answers than its size, and unknown keys push no known one out', async () => {
    let asked = 0
    const memory = createBriefMemory<string>(3, async (key) => {
      asked += 1
      return key.startsWith('known') ? key : null
    })
    await memory.get('known')
    for (let i = 0; i < 100; i++) await memory.get(`guess ${i}`)
    await memory.get('known')
    expect(asked).toBe(101)
    await memory.get('guess 0')
    expect(asked).toBe(102)
  })

  test('remembers no failure', async () => {
    let isAway = true
    const memory = createBriefMemory<string>(3, async () => {
      if (isAway) throw new Error('away')
      return 'here'
    })
    await expect(memory.get('k')).rejects.toThrow('away')
    isAway = false
    expect(await memory.get('k')).toBe('here')
  })
})
