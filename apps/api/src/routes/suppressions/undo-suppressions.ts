/** POST /suppressions/undo: takes off the list what a provider's servers said between two times. */

import { mailboxFaults } from '@valija/core'
import { undoProvidersDay } from '@valija/flows'
import { Type } from 'typebox'
import { callerOf, named, problems, type RoutePlugin, ref, strictObject, time } from '../../route.ts'

export const SuppressionUndo = named(
  'SuppressionUndo',
  strictObject(
    {
      provider: Type.Optional(
        Type.String({
          minLength: 1,
          maxLength: 253,
          description: 'Whose servers said so: as the entries name it. It, or a domain, or both.',
          examples: ['microsoft'],
        }),
      ),
      domain: Type.Optional(Type.String({ description: 'Of the addresses.', examples: ['example.com'] })),
      reason: Type.Optional(
        Type.Enum([...mailboxFaults], { description: 'Absent: whatever servers say of a mailbox.' }),
      ),
      after: time('Entries that were added at this time or later.'),
      before: Type.Optional(time('And before this one; absent: until now.')),
      dry_run: Type.Optional(Type.Boolean({ description: 'Change nothing, and answer how many there are.' })),
    },
    {
      description:
        'Which entries to undo. Those that people made, complaints and unsubscribes are never among them.',
      examples: [
        {
          provider: 'microsoft',
          after: '2026-11-24T08:00:00Z',
          before: '2026-11-24T12:00:00Z',
          dry_run: true,
        },
      ],
    },
  ),
)

export const undoSuppressionsRoute: RoutePlugin = (app, { database, wake, nextId }) => {
  const desk = { database, wake, nextId }
  app.post(
    '/suppressions/undo',
    {
      config: { scope: 'manage' },
      schema: {
        operationId: 'undoSuppressions',
        summary: 'Undo a provider’s bad day',
        description:
          'Takes off the list, in one go, the addresses that a provider’s servers denied between two times. Each is told by suppression.removed, and stays to be seen by GET /suppressions?status=removed.',
        tags: ['Suppressions'],
        body: ref(SuppressionUndo),
        response: {
          200: Type.Object({
            dry_run: Type.Boolean(),
            count: Type.Integer({ description: 'Entries that were removed, or would be.' }),
            more: Type.Boolean({ description: 'There are further ones: ask again.' }),
          }),
          ...problems(400, 413, 415),
        },
      },
    },
    (request) => undoProvidersDay(desk, callerOf(request), request.body),
  )
}
