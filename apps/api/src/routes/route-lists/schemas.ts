/** What the routes of lists of routes take and answer. */

import { streams } from '@valija/core'
import { Type } from 'typebox'
import { named, nullable, strictObject, time } from '../../route.ts'

const domain = Type.String({
  maxLength: 253,
  description: 'The sender domain that it is for, with what lies below it; null: all.',
})
const stream = Type.Enum([...streams], { description: 'The stream that it is for; null: both.' })
const route = Type.String({
  maxLength: 64,
  description: 'Name of a route; capture, and smarthost or mx (as VALIJA_DELIVERY says), are always there.',
})
const weight = Type.Integer({
  minimum: 1,
  maximum: 1_000,
  description: 'Its share of the recipients, against the others of the list that are no backups.',
})
const backup = Type.Boolean({ description: 'Taken only while none of the others can be.' })

const routesInput = Type.Array(
  strictObject({
    route,
    weight: Type.Optional({ ...weight, default: 1 }),
    backup: Type.Optional({ ...backup, default: false }),
  }),
  { minItems: 1, maxItems: 20 },
)

export const RouteListInput = named(
  'RouteListInput',
  strictObject(
    {
      domain: Type.Optional(nullable(domain)),
      stream: Type.Optional(Type.Union([stream, Type.Null()])),
      routes: routesInput,
    },
    {
      examples: [
        { routes: [{ route: 'relay-1' }, { route: 'relay-2', backup: true }] },
        { stream: 'bulk', routes: [{ route: 'ses' }] },
      ],
    },
  ),
)

export const RouteListChange = named('RouteListChange', strictObject({ routes: Type.Optional(routesInput) }))

export const RouteList = named(
  'RouteList',
  Type.Object(
    {
      id: Type.String({ pattern: '^rtl_[0-9a-f]{32}$' }),
      domain: nullable(domain),
      stream: Type.Union([stream, Type.Null()]),
      routes: Type.Array(Type.Object({ route, weight, backup })),
      created_at: time('When it was made.'),
    },
    { description: 'Which routes the mails of a tenant, a sender domain, a stream take.' },
  ),
)
