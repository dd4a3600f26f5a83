/** What a command does at the database, without the API, as the operator's action in the audit log. */
import { randomUUID } from 'node:crypto'
import { auditAction } from '@valija/core'
import { type AuditedRequest, asAudited, type Database, noteRequest } from '@valija/store'

/** @param operationId of the request that would do the same */
export function actAtDatabase<T>(operationId: string, work: () => Promise<T>): Promise<T> {
  return asAudited(requestOf(operationId), work)
}

/**
 * The same of what changes nothing that is watched, once it is done.
 *
 * @param target the id of whose it is, as programs see it; null: everybody's
 */
export async function noteAtDatabase(
  database: Database,
  operationId: string,
  target: string | null,
): Promise<void> {
  await noteRequest(database, requestOf(operationId), target)
}

function requestOf(operationId: string): AuditedRequest {
  // No request of the API's, whose log knows it.
  const requestId = `cmd_${randomUUID().replaceAll('-', '')}`
  return { tenantId: null, keyId: null, clientIp: 'local', requestId, action: auditAction(operationId) }
}
