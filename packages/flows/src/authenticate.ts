/**
 * Who makes a request: the one place where a bearer token becomes a `Caller`.
 *
 * A token is the operator's key or a tenant's API key. What the database said about a key is believed for 2 s (1 s when it
 * knew none), and forgotten at once when any process changes the key and says so (wake topic `keys`: the key's hash in
 * hex, or a tenant's id). So a revocation works within milliseconds while processes hear each other, within 2 s else.
 */
import { timingSafeEqual } from 'node:crypto'
import { BlockList, isIP } from 'node:net'
import {
  type Caller,
  type CallerLimits,
  hashApiKey,
  invalidRequest,
  isPlausibleApiKey,
  noLimits,
  ProductError,
  parseId,
  type Scope,
  scopes,
  sizeLimitsOf,
  usageLimitsOf,
} from '@valija/core'
import {
  asProductError,
  type Database,
  type DatabaseClock,
  findKeyByHash,
  findTenantToActFor,
  type KeyCredential,
  type TenantToActFor,
  type Wake,
} from '@valija/store'
import { createBriefMemory } from './brief-memory.ts'
import { rememberKeys } from './remember-keys.ts'

export interface Credentials {
  /** The Authorization header. */
  authorization: string | undefined
  /** The Valija-Tenant header: for whom the operator acts. */
  tenant: string | undefined
  /** The client's address, IPv4 or IPv6, after trusted proxies. */
  ip: string
}

/** @throws {ProductError} invalid_key, key_restricted, invalid_request, not_found, database_unavailable */
export type Authenticate = (credentials: Credentials) => Promise<Caller>

export interface AuthenticatorParts {
  database: Database
  wake: Wake
  /** VALIJA_ADMIN_KEY; null: nobody is the operator here. */
  adminKey: string | null
  clock: DatabaseClock
}

export interface Authenticator {
  authenticate: Authenticate
  /** Stops listening for changed keys. */
  close(): void
}

/** Keys remembered at once: some MB. Known and unknown ones apart, so that guessing pushes no real key out. */
const rememberedKeys = 10_000

/** A key with its networks made ready to be asked. */
interface Credential extends KeyCredential {
  allowed: BlockList | null
  /** Whom it stands for; what a request finds of the limits is each request's own. */
  caller: Caller
}

/** @throws {RangeError} when the operator's key is empty: it would then match an empty token */
export function createAuthenticator(parts: AuthenticatorParts): Authenticator {
  const { database, wake, clock } = parts
  if (parts.adminKey === '') throw new RangeError('the operator’s key is empty')
  const adminHash = parts.adminKey === null ? null : hashApiKey(parts.adminKey)
  const tokenOf = rememberKeys(readToken)
  const keys = createBriefMemory(rememberedKeys, async (hashHex: string) => {
    const found = await findKeyByHash(database.engine, Buffer.from(hashHex, 'hex'))
    if (found === null) return null
    const allowed = found.networks.length > 0 ? toBlockList(found.networks) : null
    return { ...found, allowed, caller: toCaller(found) }
  })
  const tenants = createBriefMemory(rememberedKeys, (id: string) => findTenantToActFor(database.engine, id))
  const stopListening = wake.on('keys', (changed) => {
    keys.forget((hashHex, found) => changed === '' || hashHex === changed || found?.tenantId === changed)
    tenants.forget((id) => changed === '' || id === changed)
  })
  const authenticate: Authenticate = async ({ authorization, tenant, ip }) => {
    if (authorization === undefined) throw refuseKey('There is no Authorization header.')
    const { hash, hashHex, isPlausible } = tokenOf(authorization)
    if (adminHash !== null && timingSafeEqual(hash, adminHash)) return actAsOperator(tenant, tenants.get)
    if (!isPlausible) throw refuseKey('It is not a key of this installation; was it copied whole?')
    const key = await orUnavailable(keys.get(hashHex))
    if (key === null) throw refuseKey('The key is unknown or was revoked.')
    checkKey(key, ip, clock.nowMs())
    if (tenant !== undefined)
      throw refuseTenantHeader('only the operator’s key acts for a tenant; leave it out')
    const { caller } = key
    return { ...caller, limits: { ...caller.limits, seen: [] } }
  }
  return { authenticate, close: stopListening }
}

/**
 * Checks that a caller may use an endpoint.
 *
 * @param needed the endpoint's scope, or `operator`
 * @param mayLackTenant the operator may act for no tenant there: what he makes is his own
 * @throws {ProductError} insufficient_scope; invalid_request when the operator does not say for which tenant
 */
export function requireAccess(caller: Caller, needed: Scope | 'operator', mayLackTenant = false): void {
  if (needed === 'operator') {
    if (caller.isOperator) return
    throw new ProductError('insufficient_scope', {
      detail: 'Only the operator’s key (VALIJA_ADMIN_KEY) may do this.',
    })
  }
  if (caller.tenantId === noTenant) {
    if (mayLackTenant) return
    throw refuseTenantHeader(
      'is missing: name the tenant to act for, as in Valija-Tenant: ten_… (GET /tenants lists them)',
    )
  }
  if (caller.scopes.has(needed)) return
  throw new ProductError('insufficient_scope', { detail: `The key lacks the scope ${needed}.` })
}

/** The tenant of an operator who acts for none: no UUID, so no query can be made with it. */
export const noTenant = ''

async function actAsOperator(
  tenant: string | undefined,
  find: (id: string) => Promise<TenantToActFor | null>,
): Promise<Caller> {
  const nobody = { keyId: null, domains: [], recipients: [], route: null, isOperator: true }
  if (tenant === undefined) {
    const nothing = { scopes: new Set<Scope>(), isDefaultTenant: false, queuedLimit: null }
    return { ...nobody, ...nothing, tenantId: noTenant, limits: noLimits() }
  }
  const tenantId = parseId('tenant', tenant)
  const found = tenantId && (await orUnavailable(find(tenantId)))
  if (!tenantId || !found) {
    throw new ProductError('not_found', { detail: 'There is no tenant with the id in Valija-Tenant.' })
  }
  const { isDefaultTenant, queuedLimit, limits, isSuspended } = found
  const usage = usageLimitsOf('tenant', tenantId, limits)
  const size = sizeLimitsOf('tenant', limits)
  return {
    ...nobody,
    tenantId,
    scopes: new Set(scopes),
    isDefaultTenant,
    queuedLimit,
    limits: { usage, size, isSuspended, seen: [] },
  }
}

/** RFC 6750 section 2.1; the scheme's case does not count (RFC 9110 section 11.1). */
function readToken(authorization: string) {
  const token = /^bearer +(\S{1,512})$/i.exec(authorization.trim())?.[1]
  if (token === undefined) throw refuseKey('It does not read “Bearer <key>”.')
  const hash = hashApiKey(token)
  return { hash, hashHex: hash.toString('hex'), isPlausible: isPlausibleApiKey(token) }
}

function checkKey(key: Credential, ip: string, nowMs: number): void {
  if (key.expiresAt !== null && key.expiresAt.getTime() <= nowMs) {
    throw refuseKey(`The key expired at ${key.expiresAt.toISOString()}.`)
  }
  if (key.allowed === null) return
  const family = isIP(ip)
  // An IPv4 rule also meets the address in its IPv6 clothes (::ffff:192.0.2.1).
  const isAllowed = family !== 0 && key.allowed.check(ip, family === 6 ? 'ipv6' : 'ipv4')
  if (!isAllowed) {
    throw new ProductError('key_restricted', { detail: `The key may not be used from ${ip}.` })
  }
}

/** @param networks CIDR blocks or addresses, as POST /keys let them through */
function toBlockList(networks: readonly string[]): BlockList {
  const list = new BlockList()
  for (const network of networks) {
    const [address = '', prefix] = network.split('/')
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
    if (prefix === undefined) list.addAddress(address, family)
    else list.addSubnet(address, Number(prefix), family)
  }
  return list
}

function toCaller(key: KeyCredential): Caller {
  return {
    tenantId: key.tenantId,
    keyId: key.id,
    scopes: new Set(key.scopes),
    domains: key.domains,
    recipients: key.recipients,
    route: key.route,
    isOperator: false,
    isDefaultTenant: key.isDefaultTenant,
    queuedLimit: key.queuedLimit,
    limits: limitsOf(key),
  }
}

function limitsOf({ id, tenantId, limits, tenantLimits, isSuspended }: KeyCredential): CallerLimits {
  return {
    isSuspended,
    usage: [...usageLimitsOf('tenant', tenantId, tenantLimits), ...usageLimitsOf('key', id, limits)],
    size: [...sizeLimitsOf('tenant', tenantLimits), ...sizeLimitsOf('key', limits)],
    seen: [],
  }
}

function refuseKey(detail: string): ProductError {
  return new ProductError('invalid_key', { detail })
}

function refuseTenantHeader(message: string): ProductError {
  return invalidRequest([{ path: 'Valija-Tenant', message }])
}

/** Whoever cannot be looked up is neither let in nor told that the key is wrong. */
async function orUnavailable<T>(lookUp: Promise<T>): Promise<T> {
  try {
    return await lookUp
  } catch (error) {
    throw asProductError(error)
  }
}
