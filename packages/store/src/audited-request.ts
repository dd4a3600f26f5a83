/**
 * For which request a transaction works: a request that manages something says who it is (`asAudited`), its transactions hand that on to
 * PostgreSQL, and triggers there write the entries of the audit log into the same transaction. So no route and no statement can forget it,
 * and what was undone has none. Outside of such a request nothing is told, and the triggers do not run.
 *
 * The request is known along its chain of calls (AsyncLocalStorage) and not by arguments: this is the only such thing here, because what has
 * to be handed on by every function would be left out by one.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Uuid } from '@valija/core'
import pg from 'pg'

/** A request that manages something. */
export interface AuditedRequest {
  /** For whom; null: the operator for himself. */
  tenantId: Uuid | null
  /** Null: the operator. */
  keyId: Uuid | null
  /** From where it was asked for; `local`: by a command at the database. */
  clientIp: string
  requestId: string
  action: string
}

const present = new AsyncLocalStorage<AuditedRequest>()

/** Whatever `work` writes, and what it calls, is this request's. */
export function asAudited<T>(request: AuditedRequest, work: () => T): T {
  return present.run(request, work)
}

/** The statement by which a transaction tells for which request it works; null outside of one. */
export function tellRequest(): string | null {
  const request = present.getStore()
  if (request === undefined) return null
  const { keyId, clientIp, requestId, action } = request
  const told = JSON.stringify({ key_id: keyId, client_ip: clientIp, request_id: requestId, action })
  return `SET LOCAL valija.audit = ${pg.escapeLiteral(told)}`
}
