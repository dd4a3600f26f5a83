/** What the routes of named routes take and answer. */

import { routeKinds } from '@valija/core'
import { returnPathKinds, routeTlsModes } from '@valija/store'
import { Type } from 'typebox'
import { named, nullable, strictObject, time } from '../../route.ts'
import { oneLine } from '../keys/schemas.ts'

const name = Type.String({
  maxLength: 64,
  description:
    'What mails, keys and lists name it by: lower-case letters, digits, hyphens. It cannot be changed.',
  examples: ['relay-1'],
})
const kind = Type.Enum([...routeKinds], {
  description:
    'smarthost: a relay. mx: the mail exchangers of the recipients; capture: the inbox (both with the operator’s key only).',
})
const host = Type.String({ minLength: 1, maxLength: 253, description: 'Name or IP address of the relay.' })
const port = Type.Integer({ minimum: 1, maximum: 65_535, description: '587; with implicit TLS 465.' })
const tls = Type.Enum([...routeTlsModes], {
  description:
    'implicit: TLS from the first byte, verified (usual on 465). required: STARTTLS, verified. opportunistic: STARTTLS where it is offered; the login is only sent over a verified connection or inside a private network. off: none.',
})
const user = oneLine(256, 'For the login; null: none.')
const password = oneLine(1_024, 'Sealed at rest and never shown.')
const returnPath = Type.Enum([...returnPathKinds], {
  description:
    'The envelope sender. verp: an address of ours for each recipient (VALIJA_BOUNCE_DOMAIN; without it as from). from: the address in From. fixed: return_path_address.',
})
const returnPathAddress = Type.String({
  maxLength: 320,
  description: 'The envelope sender for return_path fixed.',
})
const rewritesIds = Type.Boolean({
  description: 'The relay rewrites Date and Message-ID, as Amazon SES does: DKIM leaves them unsigned.',
})
const pool = Type.String({
  pattern: '^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$',
  description: 'The pool of source addresses that it leaves from (operator only); null: the usual one.',
})
const state = Type.Enum(['enabled', 'paused'], {
  description: 'Mail for a paused route waits, or takes the next of its list.',
})

const config = {
  host: Type.Optional(host),
  port: Type.Optional(port),
  tls: Type.Optional(tls),
  user: Type.Optional(nullable(user)),
  password: Type.Optional(nullable(password)),
  return_path: Type.Optional(returnPath),
  return_path_address: Type.Optional(nullable(returnPathAddress)),
  rewrites_ids: Type.Optional(rewritesIds),
  pool: Type.Optional(nullable(pool)),
}

export const RouteInput = named(
  'RouteInput',
  strictObject(
    { name, kind, ...config },
    {
      examples: [
        {
          name: 'ses',
          kind: 'smarthost',
          host: 'email-smtp.eu-west-1.amazonaws.com',
          port: 587,
          tls: 'required',
          user: 'AKIA…',
          password: '…',
          rewrites_ids: true,
        },
      ],
    },
  ),
)

export const RouteChange = named(
  'RouteChange',
  strictObject({
    ...config,
    state: Type.Optional(state),
    paused_until: Type.Optional(nullable(time('When the pause ends by itself.'))),
  }),
)

export const Route = named(
  'Route',
  Type.Object(
    {
      id: Type.String({ pattern: '^rou_[0-9a-f]{32}$' }),
      name,
      kind,
      shared: Type.Boolean({
        description: 'The operator’s, for all tenants; where it leads is shown to the operator only.',
      }),
      host: nullable(host),
      port: nullable(port),
      tls: Type.Union([tls, Type.Null()]),
      user: nullable(Type.String()),
      has_password: Type.Boolean(),
      return_path: returnPath,
      return_path_address: nullable(returnPathAddress),
      rewrites_ids: rewritesIds,
      pool: nullable(pool),
      state,
      paused_reason: nullable(
        Type.String({ description: 'manual, or login_refused: the relay refused the login.' }),
      ),
      paused_reply: nullable(Type.String({ description: 'What the relay answered.' })),
      paused_until: nullable(time('When the pause ends by itself; null: when somebody resumes it.')),
      down_since: nullable(time('Since when it cannot be used; null while it can.')),
      down_reply: nullable(Type.String({ description: 'Why: what the relay or the network said.' })),
      created_at: time('When it was made.'),
    },
    { description: 'A named way that mail can take.' },
  ),
)
