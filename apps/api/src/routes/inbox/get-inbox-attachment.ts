/**
 * GET /inbox/:id/attachments/:index: one attachment's content. It is a stranger's file: octets for download, never
 * shown by a browser under our origin. The type that it claims to have is told by GET /inbox/:id only.
 */

import { showInboxAttachment } from '@valija/flows'
import { Type } from 'typebox'
import { callerOf, idParams, problems, type RoutePlugin, strictObject } from '../../route.ts'

export const getInboxAttachment: RoutePlugin = (app, { database, wake }) => {
  const desk = { database, wake }
  app.get(
    '/inbox/:id/attachments/:index',
    {
      config: { scope: 'read:content' },
      schema: {
        operationId: 'getInboxAttachment',
        summary: 'Download an attachment of a caught mail',
        tags: ['Inbox'],
        params: strictObject({
          ...idParams.properties,
          index: Type.String({ description: 'Its place in `attachments`, from 0.' }),
        }),
        response: {
          200: {
            description: 'The decoded content.',
            content: { 'application/octet-stream': { schema: Type.String({ format: 'binary' }) } },
          },
          ...problems(404),
        },
      },
    },
    async (request, reply) => {
      const { id, index } = request.params
      const attachment = await showInboxAttachment(desk, callerOf(request), id, index)
      return reply
        .type('application/octet-stream')
        .header('content-disposition', toDisposition(attachment.filename ?? `attachment-${index}`))
        .header('x-content-type-options', 'nosniff')
        .send(attachment.content as never)
    },
  )
}

/** RFC 6266: a plain name for all, and the whole one in UTF-8 (RFC 8187). Nothing of the name can leave its quotes. */
function toDisposition(filename: string): string {
  const plain = filename.replace(/[^A-Za-z0-9 ._-]/g, '_').slice(0, 200)
  const whole = encodeURIComponent(filename.toWellFormed().slice(0, 200).toWellFormed())
  return `attachment; filename="${plain}"; filename*=UTF-8''${whole.replace(/['()*]/g, percentEncode)}`
}

/** `encodeURIComponent` leaves some characters that RFC 8187's attr-char does not have. */
function percentEncode(char: string): string {
  return `%${char.charCodeAt(0).toString(16).toUpperCase()}`
}
