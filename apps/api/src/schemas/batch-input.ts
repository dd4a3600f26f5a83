/** The body of POST /send/batch. */

import { Type } from 'typebox'
import { named, ref, strictObject } from '../route.ts'
import { MessageInput } from './message-input.ts'

/** As POST /send allows (DESIGN 2). */
export const maxBatchMessages = 1_000
/**
 * In all messages of a batch: what one commit writes in one to two seconds on two cores, so well within an answer's time on a database that
 * is four times slower. Counted as they are given, doubles as well.
 */
export const maxBatchRecipients = 10_000

const bounds = { minItems: 1, maxItems: maxBatchMessages }

export const BatchMessageInput = named(
  'BatchMessageInput',
  strictObject(
    {
      ...MessageInput.properties,
      idempotency_key: Type.Optional(
        Type.String({
          description:
            'At most 255 visible ASCII characters, per tenant. Kept until 24 h after acceptance or send_at: the same message gets the stored answer, another one 409.',
        }),
      ),
    },
    { description: 'A message as POST /send takes it, and its own idempotency key.' },
  ),
)

export const BatchInput = named(
  'BatchInput',
  strictObject(
    { messages: Type.Array(ref(BatchMessageInput), bounds) },
    {
      description: `Up to 1,000 messages, with at most ${maxBatchRecipients.toLocaleString('en')} addresses in to, cc and bcc in all.`,
      examples: [
        {
          messages: [
            {
              from: 'Acme <hello@acme.example>',
              to: 'ann@example.com',
              subject: 'Your receipt',
              text: 'Thank you!',
              idempotency_key: 'receipt-4711',
            },
          ],
        },
      ],
    },
  ),
)

/** What has to be right before a message is looked at: each is judged by itself, since the fault of one need not stop the others. */
export const BatchFrame = strictObject({ messages: Type.Array(Type.Unknown(), bounds) })

export const batchInputSchemas = [BatchMessageInput, BatchInput]
