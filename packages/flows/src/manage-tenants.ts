/** Managing tenants: the operator's business. A new tenant comes with a first key that has all scopes. */
import {
  type AlarmLimits,
  conflict,
  createApiKey,
  formatId,
  type IdSource,
  ProductError,
  parseId,
  pauseWords,
  scopes,
  type Uuid,
} from '@valija/core'
import {
  asEngine,
  type BulkPause,
  type Database,
  deleteTenant,
  findTenant,
  insertTenant,
  listTenants,
  pauseBulk,
  resumeBulk,
  type StoredTenant,
  setSuspended,
  type TenantChanges,
  type TenantLimits,
  updateTenant,
  type Wake,
} from '@valija/store'
import { type PageAnswer, type PageRequest, readPage } from './manage-pages.ts'
import { recallOfTenant } from './recall-mail.ts'
import type { RetentionInput } from './tenant-retention.ts'

export interface TenantDesk {
  database: Database
  wake: Wake
  nextId: IdSource
}

type OrNull<T> = { [Name in keyof T]: T[Name] | null }

/** The body of POST /tenants, and of PATCH /tenants/:id with every field optional. */
export interface TenantInput extends RetentionInput {
  name: string
  weight?: number
  /** Null: as for any tenant. A change leaves those that it does not name. */
  limits?: OrNull<Omit<TenantLimits, 'alarms'>> & {
    alarms?: OrNull<Partial<AlarmLimits>> | null
  }
  at_most_once?: boolean
}

/** The body of PATCH /tenants/:id. */
export type TenantChange = Partial<TenantInput> & { status?: TenantView['status']; bulk_paused?: boolean }

export interface TenantView {
  id: string
  name: string
  weight: number
  limits: Record<string, unknown>
  at_most_once: boolean
  status: 'active' | 'suspended'
  suspended_at: string | null
  bulk_paused: boolean
  bulk_pause: ({ since: string } & BulkPause) | null
  retention_days: number | null
  redact_after_days: number | null
  is_default: boolean
  created_at: string
}

export function showTenants(desk: TenantDesk, request: PageRequest): Promise<PageAnswer<TenantView>> {
  return readPage('tenant', request, (page) => listTenants(desk.database, page), toView)
}

/** @throws {ProductError} not_found */
export async function showTenant(desk: TenantDesk, id: string): Promise<TenantView> {
  const uuid = parseId('tenant', id)
  const tenant = uuid && (await findTenant(desk.database, uuid))
  if (!tenant) throw new ProductError('not_found')
  return toView(tenant)
}

/**
 * Makes a tenant and its first key.
 *
 * @param isDefault only for the tenant that `npm start` makes
 * @returns the tenant with the key itself, which is not kept
 * @throws {ProductError} conflict when the name is taken
 */
export async function addTenant(
  desk: TenantDesk,
  input: TenantInput,
  isDefault = false,
): Promise<TenantView & { key: string }> {
  const tenantId = desk.nextId()
  const { key, hash, hint } = createApiKey()
  const stored = await insertTenant(
    desk.database,
    {
      id: tenantId,
      name: input.name,
      weight: input.weight ?? 1,
      limits: limitsOf(input.limits),
      isDefault,
      atMostOnce: input.at_most_once ?? false,
      retentionDays: input.retention_days ?? null,
      redactAfterDays: input.redact_after_days ?? null,
    },
    {
      id: desk.nextId(),
      tenantId,
      name: 'first key',
      hash,
      hint,
      scopes: [...scopes],
      domains: [],
      networks: [],
      route: null,
      recipients: [],
      limits: {},
      expiresAt: null,
    },
  )
  if (stored === null) throw nameTaken(input.name)
  desk.wake.send('keys', tenantId)
  return { ...toView(stored), key }
}

/** @throws {ProductError} not_found, conflict */
export async function changeTenant(
  desk: TenantDesk,
  id: string,
  { status, bulk_paused: isBulkPaused, ...input }: TenantChange,
): Promise<TenantView> {
  const uuid = parseId('tenant', id)
  const changed =
    uuid && (await updateTenant(desk.database, uuid, (present) => toChanges(input, present.limits)))
  if (!changed) throw new ProductError('not_found')
  if (changed === 'name_taken') throw nameTaken(input.name)
  // Its limits are known with its keys.
  if (input.limits) desk.wake.send('keys', uuid)
  if (status === undefined && isBulkPaused === undefined) return toView(changed)
  if (status !== undefined) await changeStatus(desk, uuid, status)
  if (isBulkPaused !== undefined) await changeBulk(desk, uuid, isBulkPaused)
  return showTenant(desk, id)
}

/** Whoever is suspended has nothing accepted, and nothing sent: what is with the workers is given back, but for what is past its final dot. */
async function changeStatus(
  { database, wake }: TenantDesk,
  id: Uuid,
  status: TenantView['status'],
): Promise<void> {
  const isSuspended = status === 'suspended'
  const { hasWebhooks } = await setSuspended(database, id, isSuspended)
  // Also where nothing has changed: whoever asked before may have ended here, and asks again.
  wake.send('keys', id)
  if (hasWebhooks) wake.send('webhooks')
  if (isSuspended) wake.send('recall', recallOfTenant(id))
  else wake.send('dispatch')
}

/** Bulk mail that is held is accepted, and not sent; what workers have in hand goes out. */
async function changeBulk({ database, wake }: TenantDesk, id: Uuid, isPaused: boolean): Promise<void> {
  const { hasWebhooks } = await asEngine(database, (client) =>
    isPaused ? pauseBulk(client, id, { reason: 'operator' }, pauseWords('operator')) : resumeBulk(client, id),
  )
  if (hasWebhooks) wake.send('webhooks')
  if (!isPaused) wake.send('dispatch')
}

/** @throws {ProductError} not_found; conflict for the default tenant, and while mails of the tenant are on their way */
export async function removeTenant(desk: TenantDesk, id: string): Promise<void> {
  const uuid = parseId('tenant', id)
  const outcome = uuid === null ? 'unknown' : await deleteTenant(desk.database, uuid)
  if (uuid === null || outcome === 'unknown') throw new ProductError('not_found')
  if (outcome === 'default') {
    throw conflict('fixed', { detail: 'The default tenant belongs to `npm start` and stays.' })
  }
  if (outcome !== 'deleted') {
    const detail = `${outcome.live} recipients of its mails are not at their end; cancel them or wait.`
    throw conflict('used', { detail })
  }
  desk.wake.send('keys', uuid)
}

function toChanges(
  { at_most_once, limits, retention_days, redact_after_days, ...input }: Partial<TenantInput>,
  present: TenantLimits,
): TenantChanges {
  return {
    ...input,
    ...(limits !== undefined && { limits: limitsOf(limits, present) }),
    ...(at_most_once !== undefined && { atMostOnce: at_most_once }),
    ...(retention_days !== undefined && { retentionDays: retention_days }),
    ...(redact_after_days !== undefined && { redactAfterDays: redact_after_days }),
  }
}

/** What is null is not kept: no limit of its own. What is not named stays as it is at present, among the limits of alarms as well. */
function limitsOf(
  { alarms, ...limits }: TenantInput['limits'] = {},
  { alarms: presentAlarms, ...present }: TenantLimits = {},
): TenantLimits {
  const changed = alarms === null ? {} : withoutNulls({ ...presentAlarms, ...alarms })
  return {
    ...withoutNulls({ ...present, ...limits }),
    ...(Object.keys(changed).length > 0 && { alarms: changed }),
  }
}

const withoutNulls = (fields: object) =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null))

function nameTaken(name: string | undefined): ProductError {
  return conflict('exists', { detail: `There is a tenant named ${JSON.stringify(name)} already.` })
}

function toView(tenant: StoredTenant): TenantView {
  return {
    id: formatId('tenant', tenant.id),
    name: tenant.name,
    weight: tenant.weight,
    limits: tenant.limits,
    at_most_once: tenant.atMostOnce,
    status: tenant.suspendedAt === null ? 'active' : 'suspended',
    suspended_at: tenant.suspendedAt?.toISOString() ?? null,
    bulk_paused: tenant.bulkPausedAt !== null,
    bulk_pause: tenant.bulkPausedAt &&
      tenant.bulkPause && { since: tenant.bulkPausedAt.toISOString(), ...tenant.bulkPause },
    retention_days: tenant.retentionDays,
    redact_after_days: tenant.redactAfterDays,
    is_default: tenant.isDefault,
    created_at: tenant.createdAt.toISOString(),
  }
}
