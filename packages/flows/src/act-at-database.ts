/** What a command does at the database, without the API, as the operator's action in the audit log. */
import { randomUUID } from 'node:crypto'
import { auditAction } from '@valija/core'
import { asAudited } from '@valija/store'

/** @param operationId of the request that would do the same */
export function actAtDatabase<T>(operationId: string, work: () => Promise<T>): Promise<T> {
  const action = auditAction(operationId)
  // No request of the API's, whose log knows it.
  const requestId = `cmd_${randomUUID().replaceAll('-', '')}`
  return asAudited({ tenantId: null, keyId: null, clientIp: 'local', requestId, action }, work)
}
