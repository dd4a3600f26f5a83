/**
 * The accepting half of the usual stack: a Fastify route that validates the same body, writes a row of its own for the mail and
 * adds a BullMQ job that has the mail in it.
 *
 *   node bench/usual-api.ts <port> <PostgreSQL's address> <port of Redis>      (started by usual-stack.ts; asked over IPC)
 */
import { randomUUID } from 'node:crypto'
import { Type } from '@fastify/type-provider-typebox'
import { Queue } from 'bullmq'
import Fastify from 'fastify'
import pg from 'pg'
import { MessageInput, messageInputSchemas } from '../apps/api/src/schemas/message-input.ts'
import { createValidatorCompiler } from '../apps/api/src/validators.ts'
import type { Mail } from './mails.ts'
import { answerQuestions } from './program.ts'
import { keptJobs, queueName } from './usual-jobs.ts'

const [, , port, databaseUrl, redisPort] = process.argv
const database = new pg.Pool({ connectionString: databaseUrl })
const queue = new Queue(queueName, {
  connection: { host: '127.0.0.1', port: Number(redisPort) },
  defaultJobOptions: keptJobs,
})

const app = Fastify({ logger: false, bodyLimit: 10_000_000 })
app.setValidatorCompiler(createValidatorCompiler(messageInputSchemas))
for (const schema of messageInputSchemas) app.addSchema(schema)
app.post('/send', { schema: { body: Type.Ref(`${MessageInput.$id}#`) } }, async (request, reply) => {
  const mail = request.body as Mail
  const id = randomUUID()
  await database.query(`INSERT INTO mails (id, recipient, subject, status) VALUES ($1, $2, $3, 'queued')`, [
    id,
    mail.to,
    mail.subject,
  ])
  await queue.add('send', { id, mail })
  return reply.code(202).send({ id, status: 'queued', created_at: new Date().toISOString(), to: mail.to })
})
const listening = app.listen({ host: '127.0.0.1', port: Number(port) })
answerQuestions({ ready: () => listening.then(() => queue.waitUntilReady()).then(() => undefined) })
