/** What the operator's routes of tenants take and answer. */
import { Type } from '@fastify/type-provider-typebox'
import { named, strictObject, time } from '../../route.ts'
import { oneLine } from '../keys/schemas.ts'

const name = oneLine(128, 'Unique in this installation.')
const limits = Type.Unsafe<Record<string, never>>(
  strictObject({}, { description: 'No limit can be set yet.' }),
)
const weight = Type.Integer({
  minimum: 1,
  maximum: 1_000,
  description:
    'Its share of the sending, against the weights of the other tenants that have something to send.',
})

export const TenantInput = named(
  'TenantInput',
  strictObject({
    name,
    weight: Type.Optional({ ...weight, default: 1 }),
    limits: Type.Optional(limits),
  }),
)

export const TenantChange = named(
  'TenantChange',
  strictObject({
    name: Type.Optional(name),
    weight: Type.Optional(weight),
    limits: Type.Optional(limits),
  }),
)

const shown = {
  id: Type.String({ pattern: '^ten_[0-9a-f]{32}$', description: 'What the header Valija-Tenant takes.' }),
  name,
  weight,
  limits: Type.Object({}, { additionalProperties: true }),
  is_default: Type.Boolean({ description: 'The tenant that `npm start` made.' }),
  created_at: time('When it was made.'),
}

export const Tenant = named('Tenant', Type.Object(shown, { description: 'A tenant of this installation.' }))

export const CreatedTenant = named(
  'CreatedTenant',
  Type.Object(
    { ...shown, key: Type.String({ description: 'Its first API key, with all scopes: shown this once.' }) },
    { description: 'A tenant that was just made.' },
  ),
)
