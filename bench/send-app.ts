/** A Fastify application with POST /send that takes what Valija's takes, by the same schema; what it does with it is up to the route. */
import { Type } from '@fastify/type-provider-typebox'
import Fastify, { type FastifyReply } from 'fastify'
import { MessageInput, messageInputSchemas } from '../apps/api/src/schemas/message-input.ts'
import { createValidatorCompiler } from '../apps/api/src/validators.ts'
import type { Mail } from './mails.ts'

/** @param send answers */
export function createSendApp(send: (mail: Mail, reply: FastifyReply) => unknown) {
  const app = Fastify({ logger: false, bodyLimit: 10_000_000 })
  app.setValidatorCompiler(createValidatorCompiler(messageInputSchemas))
  for (const schema of messageInputSchemas) app.addSchema(schema)
  app.post('/send', { schema: { body: Type.Ref(`${MessageInput.$id}#`) } }, (request, reply) =>
    send(request.body as Mail, reply),
  )
  return app
}
