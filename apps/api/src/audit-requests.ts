/**
 * Has every request that manages something in the audit log, in one place, by what its route declares: a route that is added can not forget it.
 * What it changes is noted with the change itself (packages/store/src/audit.ts); one that succeeded and changed nothing that is watched is
 * noted before it is answered, if that can be done: what was done is done, and its answer may hold a secret that is shown only once.
 *
 * Whether a change was noted already PostgreSQL looks up for each such request: 0.07 ms there, and a twentieth of what POST /suppressions takes. To
 * know it here would take as many round trips, since Prisma sends its COMMIT alone.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { auditAction } from '@valija/core'
import { noTenant } from '@valija/flows'
import { type AuditedRequest, asAudited, noteRequest } from '@valija/store'
import type { FastifyRequest } from 'fastify'
import type { ApiDependencies } from './dependencies.ts'
import type { App, RouteScope } from './route.ts'

declare module 'fastify' {
  interface FastifyRequest {
    audited: AuditedRequest | null
  }
}

const noteMs = 2_000

/** Whether the log has what a route does. */
export function isAudited(method: string, scope: RouteScope | undefined): boolean {
  return !['GET', 'HEAD', 'OPTIONS'].includes(method) && (scope === 'manage' || scope === 'operator')
}

export function registerAudit(app: App, { database }: ApiDependencies): void {
  /** By operation: a verb that has no word stops the start. */
  const actions = new Map<string, string>()
  app.addHook('onRoute', ({ method, config, schema }) => {
    const operationId = (schema as { operationId?: string } | undefined)?.operationId
    if (operationId !== undefined && isAudited(String(method), config?.scope))
      actions.set(operationId, auditAction(operationId))
  })
  const actionOf = ({ routeOptions, method }: FastifyRequest): string | undefined =>
    isAudited(method, routeOptions.config.scope)
      ? actions.get((routeOptions.schema as { operationId?: string } | undefined)?.operationId ?? '')
      : undefined
  app.decorateRequest('audited', null)
  app.addHook('preHandler', (request, _reply, done) => {
    const { caller, ip, id } = request
    const action = actionOf(request)
    if (action === undefined || caller === null) return done()
    const tenantId = caller.tenantId === noTenant ? null : caller.tenantId
    request.audited = { tenantId, keyId: caller.keyId, clientIp: ip, requestId: id, action }
    asAudited(request.audited, () => done())
  })
  const noteInTime = async (request: FastifyRequest, audited: AuditedRequest) => {
    const { id } = request.params as { id?: string }
    const noted = noteRequest(database, audited, id ?? null)
    const late = new AbortController()
    const tooLate = delay(noteMs, undefined, { signal: late.signal }).then(() => {
      throw new Error(`PostgreSQL did not note it within ${noteMs} ms.`)
    })
    await Promise.race([noted, tooLate]).catch((error: unknown) =>
      request.log.error({ err: error }, 'a request that was done may be missing in the audit log'),
    )
    late.abort()
    tooLate.catch(() => undefined)
    noted.catch(() => undefined)
  }
  app.addHook('onSend', (request, reply, _payload, done) => {
    if (request.audited === null || reply.statusCode >= 300) return done()
    noteInTime(request, request.audited).then(() => done(), done)
  })
}
