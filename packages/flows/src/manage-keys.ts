/**
 * Managing API keys. One rule above all: a key makes no key, and changes none into one, that can do more than itself.
 * Absent bounds mean "everything", so a bound key has to name the bounds of what it makes.
 */
import { BlockList, isIP } from 'node:net'
import {
  type Caller,
  createApiKey,
  type FieldFault,
  formatId,
  type IdSource,
  invalidRequest,
  isBuiltInRoute,
  ProductError,
  parseId,
  type Scope,
} from '@valija/core'
import { parseAddress, parseDomain } from '@valija/mail'
import {
  type Database,
  findKey,
  findRouteNames,
  insertKey,
  type KeyGrant,
  type KeyLimits,
  listKeys,
  revokeKey,
  type StoredKey,
  updateKey,
  type Wake,
} from '@valija/store'
import { type PageAnswer, type PageRequest, readPage } from './manage-pages.ts'

export interface KeyDesk {
  database: Database
  wake: Wake
  nextId: IdSource
  clock: { nowMs(): number }
}

/** The body of POST /keys, and of PATCH /keys/:id with every field optional. */
export interface KeyInput {
  name: string
  scopes: Scope[]
  domains?: string[]
  networks?: string[]
  route?: string | null
  recipients?: string[]
  /** Null: no such limit. A change leaves those that it does not name. */
  limits?: { [Name in keyof KeyLimits]: KeyLimits[Name] | null }
  expires_at?: string | null
}

export interface KeyView {
  id: string
  name: string
  hint: string
  scopes: Scope[]
  domains: string[]
  networks: string[]
  route: string | null
  recipients: string[]
  limits: KeyLimits
  expires_at: string | null
  created_at: string
}

export function showKeys(desk: KeyDesk, caller: Caller, request: PageRequest): Promise<PageAnswer<KeyView>> {
  return readPage('key', request, (page) => listKeys(desk.database, caller.tenantId, page), toView)
}

/** @throws {ProductError} not_found */
export async function showKey(desk: KeyDesk, caller: Caller, id: string): Promise<KeyView> {
  const uuid = parseId('key', id)
  const key = uuid && (await findKey(desk.database, caller.tenantId, uuid))
  if (!key) throw new ProductError('not_found')
  return toView(key)
}

/**
 * Makes a key.
 *
 * @returns it with the key itself, which is not kept
 * @throws {ProductError} invalid_request, insufficient_scope, key_restricted
 */
export async function addKey(
  desk: KeyDesk,
  caller: Caller,
  input: KeyInput,
): Promise<KeyView & { key: string }> {
  const grant = readGrant(input, desk.clock.nowMs(), await findRouteFaults(desk, caller, input.route))
  requireNotWider(await grantOf(desk, caller), grant)
  const { key, hash, hint } = createApiKey()
  const stored = await insertKey(desk.database, {
    ...grant,
    id: desk.nextId(),
    tenantId: caller.tenantId,
    name: input.name,
    hash,
    hint,
  })
  // Whoever tried it too early is not refused for another second.
  desk.wake.send('keys', hash.toString('hex'))
  return { ...toView(stored), key }
}

/** @throws {ProductError} not_found, invalid_request, insufficient_scope, key_restricted */
export async function changeKey(
  desk: KeyDesk,
  caller: Caller,
  id: string,
  input: Partial<KeyInput>,
): Promise<KeyView> {
  const uuid = parseId('key', id)
  if (uuid === null) throw new ProductError('not_found')
  const own = await grantOf(desk, caller)
  const routeFaults = await findRouteFaults(desk, caller, input.route)
  const changed = await updateKey(desk.database, caller.tenantId, uuid, (present) => {
    const afterMs = input.expires_at ? desk.clock.nowMs() : null
    const limits = { ...present.limits, ...input.limits }
    const grant = readGrant({ ...toView(present), ...input, limits }, afterMs, routeFaults)
    requireNotWider(own, grant)
    return { ...grant, name: input.name ?? present.name }
  })
  if (changed === null) throw new ProductError('not_found')
  desk.wake.send('keys', changed.hash.toString('hex'))
  return toView(changed.key)
}

/** Revokes a key; it is unknown from then on. @throws {ProductError} not_found */
export async function removeKey(desk: KeyDesk, caller: Caller, id: string): Promise<void> {
  const uuid = parseId('key', id)
  const hash = uuid && (await revokeKey(desk.database, caller.tenantId, uuid))
  if (!hash) throw new ProductError('not_found')
  desk.wake.send('keys', hash.toString('hex'))
}

/** What the caller itself may do; null for the operator, who may do everything. Read anew: a cached key may be 2 s old. */
async function grantOf(desk: KeyDesk, caller: Caller): Promise<KeyGrant | null> {
  if (caller.keyId === null) return null
  const own = await findKey(desk.database, caller.tenantId, caller.keyId)
  if (own === null) throw new ProductError('invalid_key', { detail: 'The key was revoked.' })
  return own
}

/** Whether mail can take the route that is asked for: the installation's own, the tenant's, or one that the operator shares. */
async function findRouteFaults(
  desk: KeyDesk,
  caller: Caller,
  route: string | null | undefined,
): Promise<FieldFault[]> {
  if (route == null || isBuiltInRoute(route)) return []
  if ((await findRouteNames(desk.database, caller.tenantId, [route])).length > 0) return []
  const message = `There is no route ${JSON.stringify(route)}: see GET /routes; capture is always there.`
  return [{ path: '/route', message }]
}

/** @param afterMs the expiry must be later than this; null: it was checked when it was set */
function readGrant(input: KeyInput, afterMs: number | null, routeFaults: readonly FieldFault[]): KeyGrant {
  const faults: FieldFault[] = [...routeFaults]
  const read = (field: 'domains' | 'networks' | 'recipients', parse: (text: string) => Reading) =>
    readList(field, input[field] ?? [], parse, faults)
  const expiresAt = input.expires_at ? new Date(input.expires_at) : null
  if (expiresAt !== null && afterMs !== null && !(expiresAt.getTime() > afterMs)) {
    faults.push({ path: '/expires_at', message: 'must lie in the future' })
  }
  const grant = {
    scopes: input.scopes,
    domains: read('domains', parseDomain),
    networks: read('networks', parseNetwork),
    route: input.route ?? null,
    recipients: read('recipients', parseRecipientRule),
    limits: Object.fromEntries(Object.entries(input.limits ?? {}).filter(([, value]) => value !== null)),
    expiresAt,
  }
  if (faults.length > 0) throw invalidRequest(faults)
  return grant
}

type Reading = { ok: true; value: string } | { ok: false; message: string }

function readList(
  field: string,
  entries: readonly string[],
  parse: (text: string) => Reading,
  faults: FieldFault[],
): string[] {
  const values = entries.flatMap((entry, i) => {
    const reading = parse(entry)
    if (reading.ok) return [reading.value]
    faults.push({ path: `/${field}/${i}`, message: reading.message })
    return []
  })
  return [...new Set(values)]
}

/** An address, or a CIDR block (RFC 4632 section 3.1, RFC 4291 section 2.3). */
function parseNetwork(text: string): Reading {
  const [address = '', prefix, ...rest] = text.toLowerCase().split('/')
  const family = isIP(address)
  const longest = family === 6 ? 128 : 32
  const isPrefixRight =
    prefix === undefined || (/^(0|[1-9]\d{0,2})$/.test(prefix) && Number(prefix) <= longest)
  if (family === 0 || address.includes('%') || !isPrefixRight || rest.length > 0) {
    return {
      ok: false,
      message: `${JSON.stringify(text)} is no IP address or CIDR block, such as 192.0.2.0/24`,
    }
  }
  return { ok: true, value: prefix === undefined ? address : `${address}/${prefix}` }
}

/** `ann@example.test`, or everybody there as `@example.test`; in the form in which recipients are compared. */
function parseRecipientRule(text: string): Reading {
  if (text.startsWith('@')) {
    const domain = parseDomain(text.slice(1))
    return domain.ok ? { ok: true, value: `@${domain.value}` } : domain
  }
  const address = parseAddress(text)
  return address.ok ? { ok: true, value: `${address.value.key}@${address.value.domain}` } : address
}

function requireNotWider(own: KeyGrant | null, wanted: KeyGrant): void {
  if (own === null) return
  const lacking = wanted.scopes.filter((scope) => !own.scopes.includes(scope))
  if (lacking.length > 0) {
    const detail = `The key that asks lacks ${lacking.join(', ')} itself.`
    throw new ProductError('insufficient_scope', { detail })
  }
  const wider = findWiderBound(own, wanted)
  if (wider === null) return
  const detail = `The key that asks is bound in ${wider}; the other key's ${wider} must be given and lie within its own.`
  throw new ProductError('key_restricted', { detail })
}

/** The first field in which `wanted` allows what `own` does not. */
function findWiderBound(own: KeyGrant, wanted: KeyGrant): string | null {
  const isWithin = (mine: string[], theirs: string[], covers: (a: string, b: string) => boolean) =>
    mine.length === 0 || (theirs.length > 0 && theirs.every((b) => mine.some((a) => covers(a, b))))
  if (!isWithin(own.domains, wanted.domains, (a, b) => a === b)) return 'domains'
  if (!isWithin(own.networks, wanted.networks, coversNetwork)) return 'networks'
  if (!isWithin(own.recipients, wanted.recipients, coversRecipient)) return 'recipients'
  if (own.route !== null && wanted.route !== own.route) return 'route'
  for (const [name, value] of Object.entries(own.limits)) {
    const other = wanted.limits[name as keyof KeyLimits]
    if (other === undefined || other > value) return `limits.${name}`
  }
  const isLater = own.expiresAt !== null && (wanted.expiresAt === null || wanted.expiresAt > own.expiresAt)
  return isLater ? 'expires_at' : null
}

function coversRecipient(rule: string, other: string): boolean {
  return rule === other || (rule.startsWith('@') && other.endsWith(rule))
}

function coversNetwork(block: string, other: string): boolean {
  const [outer, inner] = [block, other].map((text) => {
    const [address = '', prefix] = text.split('/')
    const family = isIP(address) === 6 ? ('ipv6' as const) : ('ipv4' as const)
    return { address, family, prefix: Number(prefix ?? (family === 'ipv6' ? 128 : 32)) }
  }) as [Network, Network]
  if (outer.family !== inner.family || inner.prefix < outer.prefix) return false
  const list = new BlockList()
  list.addSubnet(outer.address, outer.prefix, outer.family)
  return list.check(inner.address, inner.family)
}

interface Network {
  address: string
  family: 'ipv4' | 'ipv6'
  prefix: number
}

function toView(key: StoredKey): KeyView {
  return {
    id: formatId('key', key.id),
    name: key.name,
    hint: key.hint,
    scopes: key.scopes,
    domains: key.domains,
    networks: key.networks,
    route: key.route,
    recipients: key.recipients,
    limits: key.limits,
    expires_at: key.expiresAt?.toISOString() ?? null,
    created_at: key.createdAt.toISOString(),
  }
}
