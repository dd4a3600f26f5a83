/**
 * What accepting is compared with: a Fastify route that parses the same body, validates it with the same schema and answers
 * what is as long as a 202. No key, no database, no log: the most that any API on Fastify can reach.
 *
 *   node bench/bare-fastify.ts <port>      (started by others.ts; asked over IPC)
 */
import { answerQuestions } from './program.ts'
import { createSendApp } from './send-app.ts'

const app = createSendApp(({ to }, reply) => {
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
