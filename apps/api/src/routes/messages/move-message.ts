/** PATCH /messages/:id: move a message that waits to another time. */
import { type FieldFault, invalidRequest, ProductError, parseId, readSendAt, type Uuid } from '@valija/core'
import { findMessage } from '@valija/store'
import { Type } from 'typebox'
import { callerOf, idParams, nullable, problems, type RoutePlugin, ref, strictObject } from '../../route.ts'
import { Message, showMessage } from './schemas.ts'

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
  const find = async (tenantId: Uuid, id: Uuid | null) => {
    const message = id && (await findMessage(database, tenantId, id))
    if (!message) throw new ProductError('not_found', { detail: 'There is no such message.' })
    return message
  }
  app.patch(
    '/messages/:id',
    {
      config: { scope: 'send' },
      schema: {
        operationId: 'moveMessage',
        summary: 'Move a message that waits to another time',
        description:
          'Every recipient that nobody is sending to this moment goes at `send_at`, from which its expiry is counted anew. 409 `already_sending` when none was moved: `errors` says of each why.',
        tags: ['Messages'],
        params: idParams,
        body: Move,
        response: { 200: ref(Message), ...problems(400, 404, 409, 413, 415) },
      },
    },
    async (request) => {
      const { tenantId } = callerOf(request)
      const { id } = await find(tenantId, parseId('message', request.params.id))
      await messageDesk.move(tenantId, id, readTime(request.body.send_at, clock.nowMs()))
      return showMessage(await find(tenantId, id))
    },
  )
}

/** @throws {ProductError} invalid_request */
function readTime(text: string | null | undefined, nowMs: number): Date | null {
  if (text === undefined) {
    throw invalidRequest([{ path: '/send_at', message: 'Is missing. Give a time, or null for at once.' }])
  }
  const faults: FieldFault[] = []
  const sendAt = text === null ? null : readSendAt(text, new Date(nowMs), faults)
  if (faults.length > 0) throw invalidRequest(faults)
  return sendAt
}
