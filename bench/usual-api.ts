/**
 * The accepting half of the usual stack: a Fastify route that validates the same body, writes a row of its own for the mail and
 * adds a BullMQ job that has the mail in it.
 *
 *   node bench/usual-api.ts <port> <PostgreSQL's address> <port of Redis>      (started by usual-stack.ts; asked over IPC)
 */
import { randomUUID } from 'node:crypto'
import { Queue } from 'bullmq'
import pg from 'pg'
import { answerQuestions } from './program.ts'
import { createSendApp } from './send-app.ts'
import { keptJobs, queueName } from './usual-jobs.ts'

const [, , port, databaseUrl, redisPort] = process.argv
const database = new pg.Pool({ connectionString: databaseUrl })
const queue = new Queue(queueName, {
  connection: { host: '127.0.0.1', port: Number(redisPort) },
  defaultJobOptions: keptJobs,
})

const app = createSendApp(async (mail, reply) => {
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
