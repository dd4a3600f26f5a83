/** POST /send/preview: what POST /send would make of a message. Nothing is stored and nothing is sent. */
import { answerMs } from '../../answer-in-time.ts'
import { maxBodyBytes } from '../../body-limits.ts'
import { callerOf, problems, type RoutePlugin, ref } from '../../route.ts'
import { MessageInput } from '../../schemas/message-input.ts'
import { findFurtherFaults } from './further-faults.ts'
import { MessagePreview } from './preview-schema.ts'

export const preview: RoutePlugin = (app, { previewMessage, options }) => {
  app.post(
    '/send/preview',
    {
      config: { scope: 'send', findFurtherFaults, answerWithinMs: answerMs },
      bodyLimit: maxBodyBytes(options.maxMessageSizeBytes),
      schema: {
        operationId: 'previewMessage',
        summary: 'Show what would be sent',
        description:
          'The body of POST /send, judged by the same rules: the mail as it would go out, whether DKIM, SPF and DMARC would pass with a receiving server by what DNS says now, and what is likely to go wrong. Sends nothing.',
        tags: ['Messages'],
        body: ref(MessageInput),
        response: { 200: ref(MessagePreview), ...problems(400, 403, 413, 415) },
      },
    },
    (request) => previewMessage(callerOf(request), request.body),
  )
}
