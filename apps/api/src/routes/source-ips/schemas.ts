/** What the routes of source addresses take and answer. */

import { defaultWarmUp } from '@valija/core'
import { Type } from 'typebox'
import { named, nullable, strictObject, time } from '../../route.ts'

const address = Type.String({
  maxLength: 15,
  description: 'IPv4, as the world sees it.',
  examples: ['192.0.2.10'],
})
const bind = Type.String({
  maxLength: 15,
  description: 'The address that the worker’s machine has, where it is behind a NAT; else as address.',
})
const ipv6 = Type.String({
  maxLength: 45,
  description: 'The IPv6 address that it also sends from; null: it sends over IPv4 only.',
})
const ehloName = Type.String({
  maxLength: 253,
  description: 'The name given in EHLO; should be the address’s PTR record.',
  examples: ['mail1.example.com'],
})
const pool = Type.String({
  pattern: '^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$',
  description:
    'transactional and bulk are for these streams, default for both; others are for routes that name them.',
})
const weight = Type.Integer({
  minimum: 1,
  maximum: 1_000,
  description: 'Its share of the recipients, against the others of its pool.',
})
const state = Type.Enum(['enabled', 'paused'])
const rate = (description: string) => Type.Number({ exclusiveMinimum: 0, maximum: 1, description })

const plan = {
  caps: Type.Array(Type.Integer({ minimum: 1, maximum: 1_000_000_000 }), {
    minItems: 1,
    maxItems: 100,
    description:
      'Mails per provider and day, stage by stage; a tenth of it in an hour. A day with 90 % of it handed off is followed by the next stage; behind the last one nothing is limited.',
    examples: [defaultWarmUp.caps],
  }),
  max_deferral_rate: rate('The share of deferrals at which a stage is lost. Usual: 0.1.'),
  max_complaint_rate: rate('The share of complaints at which a stage is lost. Usual: 0.001.'),
}

const warmUpInput = Type.Unsafe<
  { caps?: number[]; max_deferral_rate?: number; max_complaint_rate?: number } | boolean | null
>({
  type: ['object', 'boolean', 'null'],
  description: 'true: the usual schedule; false or null: it is warm.',
  properties: plan,
  additionalProperties: false,
})

const config = {
  bind: Type.Optional(nullable(bind)),
  ipv6: Type.Optional(nullable(ipv6)),
  pool: Type.Optional(pool),
  weight: Type.Optional(weight),
  state: Type.Optional(state),
  warm_up: Type.Optional(warmUpInput),
}

export const SourceInput = named(
  'SourceInput',
  strictObject(
    { address, ehlo_name: ehloName, ...config },
    { examples: [{ address: '192.0.2.10', ehlo_name: 'mail1.example.com', warm_up: true }] },
  ),
)

export const SourceChange = named(
  'SourceChange',
  strictObject({ ehlo_name: Type.Optional(ehloName), ...config }),
)

const progress = Type.Object({
  provider: Type.String({ description: 'As in the shaping data; other: all that it does not know.' }),
  stage: Type.Integer({ description: 'From 1.' }),
  cap_per_day: nullable(Type.Integer({ description: 'Null when the warm-up is over.' })),
  cap_per_hour: nullable(Type.Integer()),
  used_in_day: Type.Integer(),
  used_in_hour: Type.Integer(),
  handed_off: Type.Integer({ description: 'In this day, as are the others.' }),
  deferred: Type.Integer({ description: 'Deferred or refused for throttling, reputation or policy.' }),
  complained: Type.Integer(),
})

export const Source = named(
  'Source',
  Type.Object(
    {
      id: Type.String({ pattern: '^src_[0-9a-f]{32}$' }),
      address,
      bind,
      ipv6: nullable(ipv6),
      ehlo_name: ehloName,
      pool,
      weight,
      state,
      warm_up: Type.Union([Type.Object({ ...plan, providers: Type.Array(progress) }), Type.Null()]),
      health: Type.Object({
        status: Type.Enum(['ok', 'unbound', 'blocked'], {
          description:
            'unbound: no worker has this address. blocked: a receiver refused mail for its reputation within a day.',
        }),
        bound_at: nullable(time('When a worker last said that it has it.')),
        blocked_at: nullable(time('The last refusal for its reputation.')),
        blocked_reply: nullable(Type.String()),
      }),
      created_at: time('When it was made.'),
    },
    { description: 'An address that mail to mail exchangers leaves from.' },
  ),
)
