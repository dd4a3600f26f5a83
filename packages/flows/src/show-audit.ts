/** The audit log as programs see it. */
import { type Caller, formatId, invalidRequest, parseId, type Uuid } from '@valija/core'
import { type AuditEntry, type AuditSearch, type Database, findAuditEntries } from '@valija/store'
import { noTenant } from './authenticate.ts'
import { type PageAnswer, type PageRequest, readPage } from './manage-pages.ts'

export interface AuditRequest extends PageRequest {
  action?: string
  key?: string
  target?: string
  afterMs?: number
  beforeMs?: number
}

export interface AuditView {
  id: string
  timestamp: string
  action: string
  target: string | null
  fields: string[]
  count: number
  actor: { type: 'key' | 'operator'; key_id: string | null; key_name: string | null }
  client_ip: string | null
  request_id: string
  tenant_id: string | null
}

/** @throws {ProductError} invalid_request */
export function showAudit(
  database: Database,
  { tenantId }: Caller,
  { limit, cursor, ...request }: AuditRequest,
): Promise<PageAnswer<AuditView>> {
  const search = {
    action: request.action ?? null,
    key: readKey(request.key),
    target: request.target ?? null,
    afterMs: request.afterMs ?? null,
    beforeMs: request.beforeMs ?? null,
  } satisfies Partial<AuditSearch>
  const owner = tenantId === noTenant ? null : tenantId
  return readPage(
    'audit',
    { limit, ...(cursor !== undefined && { cursor }) },
    (page) => findAuditEntries(database, owner, { ...search, limit: page.limit, olderThan: page.after }),
    (entry) => toView(entry, owner === null),
  )
}

function readKey(key: string | undefined): Uuid | 'operator' | null {
  if (key === undefined || key === 'operator') return key ?? null
  const id = parseId('key', key)
  if (id === null) throw invalidRequest([{ path: 'key', message: 'Must be the id of a key, or `operator`.' }])
  return id
}

/** From where the operator works is not a tenant's to know. */
function toView(entry: AuditEntry, isForOperator: boolean): AuditView {
  const { keyId, keyName, tenantId } = entry
  return {
    id: formatId('audit', entry.id),
    timestamp: entry.createdAt.toISOString(),
    action: entry.action,
    target: entry.target,
    fields: entry.fields,
    count: entry.count,
    actor: {
      type: keyId === null ? 'operator' : 'key',
      key_id: keyId === null ? null : formatId('key', keyId),
      key_name: keyName,
    },
    client_ip: keyId === null && !isForOperator ? null : entry.clientIp,
    request_id: entry.requestId,
    tenant_id: tenantId === null ? null : formatId('tenant', tenantId),
  }
}
