/** GET /audit: who changed what of the management, newest first. */
import { showAudit } from '@valija/flows'
import { Type } from 'typebox'
import { readTime, timeQuery } from '../../query-time.ts'
import {
  callerOf,
  named,
  nullable,
  page,
  pageQuery,
  problems,
  type RoutePlugin,
  ref,
  strictObject,
  time,
} from '../../route.ts'

const text = (description: string) =>
  Type.Optional(Type.String({ minLength: 1, maxLength: 100, description }))

export const AuditEntry = named(
  'AuditEntry',
  Type.Object(
    {
      id: Type.String({ pattern: '^aud_[0-9a-f]{32}$' }),
      timestamp: time('When it was done.'),
      action: Type.String({ description: 'Such as `webhook.created`, `key.revoked`, `tenant.changed`.' }),
      target: nullable(Type.String({ description: 'The id of what was changed; null where it is many.' })),
      fields: Type.Array(Type.String(), {
        description: 'What of it was changed, by the names of the store; values are not kept.',
      }),
      count: Type.Integer({
        description: 'Of how many things this is the entry; 0: it was done, and changed nothing.',
      }),
      actor: Type.Object({
        type: Type.Enum(['key', 'operator']),
        key_id: nullable(Type.String()),
        key_name: nullable(Type.String({ description: 'Its name now, also of a key that was revoked.' })),
      }),
      client_ip: nullable(
        Type.String({
          description:
            'From where it was asked for; `local`: by a command at the database. Null: from where the operator did.',
        }),
      ),
      request_id: Type.String(),
      tenant_id: nullable(Type.String({ description: 'Null: the operator’s alone.' })),
    },
    { description: 'An action of the management.' },
  ),
)

export const listAudit: RoutePlugin = (app, { database }) => {
  app.get(
    '/audit',
    {
      config: { scope: 'read', mayLackTenant: true },
      schema: {
        operationId: 'listAudit',
        summary: 'Who changed what',
        description:
          'Actions of the management, newest first: those of the tenant’s keys, and what the operator did to it. For the operator who names no tenant: all. Kept as long as events. All conditions must hold.',
        tags: ['Audit'],
        querystring: strictObject({
          action: text('Such as `webhook.created`.'),
          key: text('The id of the key that did it; `operator`: what the operator did.'),
          target: text('The id of what was changed.'),
          after: timeQuery('Only what was done at this time or later.'),
          before: timeQuery('Only what was done before this time.'),
          ...pageQuery,
        }),
        response: { 200: page(ref(AuditEntry)), ...problems(400) },
      },
    },
    (request) => {
      const { after, before, ...query } = request.query
      const [afterMs, beforeMs] = [readTime('after', after), readTime('before', before)]
      return showAudit(database, callerOf(request), {
        ...query,
        ...(afterMs !== undefined && { afterMs }),
        ...(beforeMs !== undefined && { beforeMs }),
      })
    },
  )
}
