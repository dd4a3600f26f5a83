/** GET /messages/:id/explain: where each recipient stands, why, when the next try is, and what to do. */
import { ProductError, parseId } from '@valija/core'
import { explainMessage } from '@valija/flows'
import { callerOf, idParams, problems, type RoutePlugin, ref } from '../../route.ts'
import { MessageExplanation } from './schemas.ts'

export const explainMessageRoute: RoutePlugin = (app, { database, clock, queue, options }) => {
  const desk = { database, clock, queue, delivery: options.delivery }
  app.get(
    '/messages/:id/explain',
    {
      config: { scope: 'read' },
      schema: {
        operationId: 'explainMessage',
        summary: 'Explain where each recipient of a message stands, and why',
        description:
          'Of the causes in `because` the most likely true one stands first; `remedy` is one thing that cures it. The conversation itself is in the attempts.',
        tags: ['Messages'],
        params: idParams,
        response: { 200: ref(MessageExplanation), ...problems(400, 404) },
      },
    },
    async (request) => {
      const id = parseId('message', request.params.id)
      const recipients = id && (await explainMessage(desk, callerOf(request).tenantId, id))
      if (!recipients) throw new ProductError('not_found', { detail: 'There is no such message.' })
      return { recipients }
    },
  )
}
