/** What the routes of erasures take and answer. */

import { Type } from 'typebox'
import { named, nullable, strictObject, time } from '../../route.ts'

export const ErasureInput = named(
  'ErasureInput',
  strictObject({
    email: Type.String({
      description: 'An address, without a name. The case of its local part does not matter.',
      examples: ['ann@example.com'],
    }),
  }),
)

const count = (description: string) => Type.Integer({ minimum: 0, description })

export const Erasure = named(
  'Erasure',
  Type.Object(
    {
      id: Type.String({ pattern: '^ers_[0-9a-f]{32}$' }),
      status: Type.Enum(['pending', 'done'], {
        description:
          'pending: workers are at it, or wait until a mail to several has its end for the others.',
      }),
      placeholder: Type.String({
        description:
          'What stands for the address from now on: the same each time, and not to be found by trying addresses.',
        examples: ['erased-7d0a4f4be6c24f1da4b0f9f5a4c3ad10@erased.invalid'],
      }),
      being_sent: count(
        'Mails to the address that could not be stopped any more when they were looked at last.',
      ),
      counts: Type.Object(
        {
          cancelled: count('Recipients that were to be sent to, and are not.'),
          recipients: count('Recipients whose address was replaced.'),
          bodies: count(
            'Contents that were deleted, or rid of the address where others had the mail as well.',
          ),
          events: count('Events that were rid of the address and of what servers said.'),
          attempts: count('Attempts that were rid of what servers said, and of their conversation.'),
        },
        { description: 'What was done so far.' },
      ),
      requested_at: time('When it was asked for.'),
      completed_at: nullable(time('When it was done; null while it is pending.')),
    },
    { description: 'The deletion of what is kept about one person.' },
  ),
)

export const erasureSchemas = [Erasure, ErasureInput]
