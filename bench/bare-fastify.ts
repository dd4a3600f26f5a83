/**
 * What accepting is compared with: a Fastify route that parses the same body, validates it with the same schema and answers
 * what is as long as a 202. No key, no database, no log: the most that any API on Fastify can reach.
 *
 *   node bench/bare-fastify.ts <port>      (started by others.ts; asked over IPC)
 */
import { Type } from '@fastify/type-provider-typebox'
import Fastify from 'fastify'
import { MessageInput, messageInputSchemas } from '../apps/api/src/schemas/message-input.ts'
import { createValidatorCompiler } from '../apps/api/src/validators.ts'
import { answerQuestions } from './program.ts'

const app = Fastify({ logger: false, bodyLimit: 10_000_000 })
app.setValidatorCompiler(createValidatorCompiler(messageInputSchemas))
for (const schema of messageInputSchemas) app.addSchema(schema)
app.post('/send', { schema: { body: Type.Ref(`${MessageInput.$id}#`) } }, (request, reply) => {
  const { to } = request.body as { to: string }
  const answer = {
    id: `msg_${'0'.repeat(32)}`,
    status: 'queued',
    delivery: 'smarthost',
    created_at: new Date().toISOString(),
    recipients: [{ id: `rcp_${'0'.repeat(32)}`, email: to, type: 'to', status: 'queued' }],
  }
  reply.code(202).send(answer)
})
const listening = app.listen({ host: '127.0.0.1', port: Number(process.argv[2]) })
answerQuestions({ ready: () => listening.then(() => undefined) })
