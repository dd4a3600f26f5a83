/** What the routes of suppressions take and answer. */

import {
  type RemovalHow,
  removalHows,
  type Stream,
  streams,
  suppressionReasons,
  suppressionStatuses,
} from '@valija/core'
import { Type } from 'typebox'
import { named, nullable, strictObject, time } from '../../route.ts'

const streamOrNull = (description: string) =>
  Type.Unsafe<Stream | null>({ type: ['string', 'null'], enum: [...streams, null], description })

export const SuppressionInput = named(
  'SuppressionInput',
  strictObject({
    email: Type.String({ description: 'An address, without a name.', examples: ['ann@example.com'] }),
    stream: Type.Optional(streamOrNull('Only for this stream; absent or null: for both.')),
  }),
)

export const SuppressionChange = named(
  'SuppressionChange',
  strictObject({
    status: Type.Optional(
      Type.Literal('active', {
        description: 'Puts a quarantined entry in force. To give the address free, delete the entry.',
      }),
    ),
    stream: Type.Optional(streamOrNull('The stream that it stops; null: both.')),
  }),
)

export const Suppression = named(
  'Suppression',
  Type.Object(
    {
      id: Type.String({ pattern: '^sup_[0-9a-f]{32}$' }),
      email: Type.String({
        description: 'In canonical form. The case of the local part does not matter for what it stops.',
      }),
      stream: streamOrNull('The stream that it stops; null: both.'),
      reason: Type.Enum([...suppressionReasons], {
        description:
          'manual: somebody added it. mailbox_*: what a server said. complaint, unsubscribe: its owner.',
      }),
      status: Type.Enum([...suppressionStatuses], {
        description:
          'quarantined: not sure enough yet; it stops nothing until it is confirmed. removed: it was on the list.',
      }),
      message_id: nullable(Type.String({ description: 'The message that caused it.' })),
      reply: nullable(Type.String({ description: 'What the server said.' })),
      created_at: time('When it was added.'),
      provider: nullable(Type.String({ description: 'Whose server said so; null where a person did.' })),
      removed: Type.Unsafe<{ at: string; how: RemovalHow; key_id: string | null } | null>({
        description: 'Of what was taken off the list.',
        anyOf: [
          Type.Object({
            at: time('When.'),
            how: Type.Enum([...removalHows], {
              description: 'deleted: by its id. undone: by provider and time. resubscribed: by its owner.',
            }),
            key_id: nullable(
              Type.String({ description: 'The key that did; null: the operator, or the owner.' }),
            ),
          }),
          Type.Null(),
        ],
      }),
    },
    { description: 'An address that is not sent to.' },
  ),
)

export const SuppressionImport = named(
  'SuppressionImport',
  Type.Object(
    {
      dry_run: Type.Boolean(),
      rows: Type.Integer({ description: 'Lines with content, without the first.' }),
      added: Type.Integer({ description: 'Addresses that are suppressed now and were not before.' }),
      present: Type.Integer({ description: 'Suppressed already, or twice in the file.' }),
      skipped: Type.Integer({ description: 'Their status says that they stop nothing.' }),
      rejected: Type.Integer({ description: 'Lines with a fault.' }),
      errors: Type.Array(
        Type.Object({
          line: Type.Integer({ description: 'Of the file, from 1.' }),
          column: nullable(Type.String()),
          message: Type.String(),
        }),
        { description: 'The first 1,000 faults.' },
      ),
      ignored_columns: Type.Array(Type.String()),
    },
    { description: 'What became of an imported list.' },
  ),
)

export const suppressionSchemas = [Suppression, SuppressionInput, SuppressionChange, SuppressionImport]
