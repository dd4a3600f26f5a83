/** Messages: sending them, and what became of them. */
import type { RouteGroup } from '../../route.ts'
import { batchInputSchemas } from '../../schemas/batch-input.ts'
import { messageInputSchemas } from '../../schemas/message-input.ts'
import { cancelMessage } from './cancel-message.ts'
import { explainMessageRoute } from './explain-message.ts'
import { getMessage } from './get-message.ts'
import { getRaw } from './get-raw.ts'
import { listAttempts } from './list-attempts.ts'
import { listMessageEvents } from './list-message-events.ts'
import { listMessages } from './list-messages.ts'
import { moveMessage } from './move-message.ts'
import { preview } from './preview.ts'
import { MessagePreview } from './preview-schema.ts'
import { resendMessage } from './resend-message.ts'
import { messageSchemas } from './schemas.ts'
import { send } from './send.ts'
import { sendBatch } from './send-batch.ts'

export const messageRoutes: RouteGroup = {
  tag: { name: 'Messages', description: 'Sending messages, and what became of them.' },
  schemas: [...messageInputSchemas, ...batchInputSchemas, ...messageSchemas, MessagePreview],
  routes: [
    send,
    sendBatch,
    preview,
    listMessages,
    getMessage,
    cancelMessage,
    moveMessage,
    resendMessage,
    listMessageEvents,
    listAttempts,
    explainMessageRoute,
    getRaw,
  ],
}
