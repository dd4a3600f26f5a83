/** PATCH /messages/:id: move a message that waits to another time. */
import { type FieldFault, invalidRequest, parseId, readSendAt } from '@valija/core'
import { Type } from 'typebox'
import { callerOf, idParams, nullable, problems, type RoutePlugin, ref, strictObject } from '../../route.ts'
import { findForChange } from './find-for-change.ts'
import { ChangedMessage, showChanged } from './schemas.ts'

const Move = strictObject({
  // Asked for by the handler: whose message it is comes first.
  send_at: Type.Optional(
    nullable(
      Type.String({
        description:
          'When to send it: an RFC 3339 time up to a year ahead. null, or a time that has just passed: at once. Required.',
        examples: ['2026-12-24T18:00:00Z'],
      }),
    ),
  ),
})

export const moveMessage: RoutePlugin = (app, { database, clock, messageDesk }) => {
  app.patch(
    '/messages/:id',
    {
      config: { scope: 'send' },
      schema: {
        operationId: 'moveMessage',
        summary: 'Move a message that waits to another time',
        description:
          'Every recipient that nobody is sending to this moment goes at `send_at`, from which its expiry is counted anew. 409 `already_sending` when none was moved: `errors` says of each why. 403 `key_restricted` where the key may not send from its domain, or to all of its recipients.',
        tags: ['Messages'],
        params: idParams,
        body: Move,
        response: { 200: ref(ChangedMessage), ...problems(400, 404, 409, 413, 415) },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const { id } = await findForChange(database, caller, parseId('message', request.params.id))
      await messageDesk.move(caller.tenantId, id, readTime(request.body.send_at, clock.nowMs()))
      return showChanged(await findForChange(database, caller, id), caller.scopes.has('read'))
    },
  )
}

/** @throws {ProductError} invalid_request */
function readTime(text: string | null | undefined, nowMs: number): Date | null {
  if (text === undefined) {
    throw invalidRequest([{ path: '/send_at', message: 'Is missing. Give a time, or null for at once.' }])
  }
  const faults: FieldFault[] = []
  const sendAt = text === null ? null : readSendAt(text, new Date(nowMs), faults, 'null for at once')
  if (faults.length > 0) throw invalidRequest(faults)
  return sendAt
}
