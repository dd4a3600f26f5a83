/** What the routes of API keys take and answer. */

import {
  type Scope,
  type SizeLimitName,
  scopes,
  sizeLimits,
  type UsageLimitName,
  usageLimits,
} from '@valija/core'
import { type TSchema, Type } from 'typebox'
import { named, nullable, strictObject, time } from '../../route.ts'

/** Text of one line that PostgreSQL can hold and a person can read: no control characters, no lone surrogates. */
export const oneLine = (maxLength: number, description: string) =>
  Type.String({
    minLength: 1,
    maxLength,
    pattern: '^[^\\u0000-\\u001f\\u007f\\ud800-\\udfff]*$',
    description,
  })

/** A list of such texts. */
export const listOf = <T extends TSchema>(item: T, description: string, maxItems = 100) =>
  Type.Array(item, { maxItems, description })

const limit = (description: string, maximum: number) =>
  Type.Optional(
    nullable(Type.Integer({ minimum: 1, maximum, description: `${description} Absent or null: no limit.` })),
  )

/** What tenants and keys alike may have in `limits`. */
export const limitFields = {
  ...(Object.fromEntries(
    Object.entries(usageLimits).map(([name, { description }]) => [name, limit(description, 1_000_000_000)]),
  ) as Record<UsageLimitName, ReturnType<typeof limit>>),
  ...(Object.fromEntries(
    Object.entries(sizeLimits).map(([name, { description, maximum }]) => [name, limit(description, maximum)]),
  ) as Record<SizeLimitName, ReturnType<typeof limit>>),
}

const limits = strictObject(limitFields, {
  description:
    'What the key may use and send at most, beside the limits of its tenant. A change leaves those that it does not name as they are; null ends one.',
})

const grantFields = {
  scopes: Type.Array(Type.Unsafe<Scope>(Type.Enum([...scopes])), {
    minItems: 1,
    uniqueItems: true,
    description: 'What it may do; none implies another.',
  }),
  domains: listOf(Type.String(), 'The only domains that it may send from; empty: all of the tenant.'),
  networks: listOf(
    Type.String(),
    'The only networks (CIDR) or addresses that it may be used from; empty: all.',
  ),
  route: nullable(oneLine(64, 'The route that its mails take; null: the usual one.')),
  recipients: listOf(
    Type.String(),
    'The only recipients that it may send to: addresses, or whole domains as `@example.com`; empty: all.',
    1_000,
  ),
  expires_at: nullable(time('When it stops to work; null: never.')),
}

const name = oneLine(128, 'For people.')

const bounds = {
  domains: Type.Optional(grantFields.domains),
  networks: Type.Optional(grantFields.networks),
  route: Type.Optional(grantFields.route),
  recipients: Type.Optional(grantFields.recipients),
  limits: Type.Optional(limits),
  expires_at: Type.Optional(grantFields.expires_at),
}

export const KeyInput = named('KeyInput', strictObject({ name, scopes: grantFields.scopes, ...bounds }))

export const KeyChange = named(
  'KeyChange',
  strictObject({ name: Type.Optional(name), scopes: Type.Optional(grantFields.scopes), ...bounds }),
)

const shown = {
  id: Type.String({ pattern: '^key_[0-9a-f]{32}$' }),
  name,
  hint: Type.String({ description: 'Its first characters, to recognise it by.' }),
  ...grantFields,
  limits: Type.Object({}, { additionalProperties: true, description: 'Those that are set.' }),
  created_at: time('When it was made.'),
}

export const Key = named('Key', Type.Object(shown, { description: 'An API key, without the key itself.' }))

export const CreatedKey = named(
  'CreatedKey',
  Type.Object(
    {
      ...shown,
      key: Type.String({ description: 'The key itself: shown this once, only a hash of it is kept.' }),
    },
    { description: 'An API key that was just made.' },
  ),
)
