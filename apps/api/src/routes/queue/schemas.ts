/** What the operator is shown of the queue and of receiving sites. */

import { Type } from 'typebox'
import { named, nullable, ref, time } from '../../route.ts'

const counts = {
  waiting: Type.Integer({ description: 'Recipients that nobody works on.' }),
  due: Type.Integer({ description: 'Of these, those whose time has come.' }),
  admitted: Type.Integer({ description: 'Handed to the workers, and not taken yet.' }),
  leased: Type.Integer({ description: 'In the hands of a worker.' }),
  oldest_due_at: nullable(time('Since when the one that has waited longest for a worker has been due.')),
}

export const SiteLimits = named(
  'SiteLimits',
  Type.Object(
    {
      connections: Type.Integer({ description: 'At the same time, over all workers.' }),
      mails_per_connection: Type.Integer(),
      mails_per_second: nullable(Type.Number({ description: 'Null: no limit.' })),
    },
    { description: 'How much a receiving site is sent at once, from one source address.' },
  ),
)

export const QueuedSite = named(
  'QueuedSite',
  Type.Object(
    {
      id: Type.String({ description: 'What `POST /queue/sites/{id}/resume` takes.' }),
      provider: nullable(
        Type.String({ description: 'Its name in the shaping rules; null for an unknown one.' }),
      ),
      site: Type.String({ description: 'An exchanger’s name, or the route’s.' }),
      source: Type.String({ description: 'Name of the source address; `default` when the system chooses.' }),
      state: Type.Union([Type.Literal('ok'), Type.Literal('slowed'), Type.Literal('suspended')]),
      since: nullable(time('Since when it is slowed or suspended.')),
      until: nullable(time('When what slows it ends; null when it ends step by step.')),
      reason: nullable(Type.String()),
      reply: nullable(Type.String({ description: 'The reply, or failure, that caused it.' })),
      limits: ref(SiteLimits),
      configured: ref(SiteLimits),
      connections: nullable(
        Type.Integer({
          description: 'In use now, over all workers; null for a relay, which each worker counts alone.',
        }),
      ),
    },
    { description: 'A receiving site, or a provider with all its sites.' },
  ),
)

const TenantQueue = Type.Object({ id: Type.String(), name: nullable(Type.String()), ...counts })

const Hold = Type.Object({
  provider: nullable(Type.String()),
  site: nullable(Type.String()),
  tenant_id: Type.String(),
  domain: nullable(Type.String({ description: 'The sending domain; null: all mail of the tenant.' })),
  until: time('When it ends.'),
  reason: nullable(Type.String()),
  reply: nullable(Type.String()),
})

export const Queue = named(
  'Queue',
  Type.Object(
    {
      ...counts,
      tenants: Type.Array(TenantQueue, { description: 'Those with the most first; at most 100.' }),
      sites: Type.Array(ref(QueuedSite), {
        description: 'Sites that are suspended or slowed, then those that are connected to; at most 200.',
      }),
      holds: Type.Array(Hold, {
        description:
          'Mail of single tenants or sending domains that a provider’s rule holds back; at most 100.',
      }),
    },
    { description: 'What waits, and where.' },
  ),
)
