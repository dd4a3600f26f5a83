/**
 * GET /inbox: what was caught, newest first. With `wait` a test needs no loop: it is answered as soon as there is a mail.
 */

import { showInbox } from '@valija/flows'
import { Type } from 'typebox'
import { answerMs } from '../../answer-in-time.ts'
import { callerOf, page, pageQuery, problems, type RoutePlugin, ref, strictObject } from '../../route.ts'
import { InboxEntry } from './schemas.ts'

export const listInbox: RoutePlugin = (app, { database, wake }) => {
  const desk = { database, wake }
  const closing = new AbortController()
  // Whoever waits is answered, so that nobody holds up the end of the process for a minute.
  app.addHook('preClose', async () => closing.abort())
  app.get(
    '/inbox',
    {
      config: { scope: 'read:content', answerWithinMs: 60_000 + answerMs },
      schema: {
        operationId: 'listInbox',
        summary: 'List the caught mails',
        description: 'Newest first. With `wait`, an empty page means that nothing came in time.',
        tags: ['Inbox'],
        querystring: strictObject({
          ...pageQuery,
          to: Type.Optional(Type.String({ description: 'Only mails with this envelope recipient.' })),
          after: Type.Optional(Type.String({ description: 'Only mails newer than the one with this id.' })),
          wait: Type.Optional(
            Type.String({
              description: 'Answer as soon as there is one, at most this long (up to 60s).',
              examples: ['20s'],
            }),
          ),
        }),
        response: { 200: page(ref(InboxEntry)), ...problems(400) },
      },
    },
    async (request) => {
      const left = new AbortController()
      const leave = () => left.abort()
      request.raw.socket.once('close', leave)
      try {
        const gone = AbortSignal.any([left.signal, closing.signal])
        return await showInbox(desk, callerOf(request), request.query, gone)
      } finally {
        request.raw.socket.off('close', leave)
      }
    },
  )
}
