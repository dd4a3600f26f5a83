/**
 * The delivering half of the usual stack: a BullMQ worker that hands each job's mail to nodemailer's pool and notes in the mail's
 * row that it is sent.
 *
 *   node bench/usual-worker.ts <port of the sink> <PostgreSQL's address> <port of Redis> [dkim]      (started by usual-stack.ts; asked over IPC)
 */
import { Worker } from 'bullmq'
import pg from 'pg'
import { forNodemailer } from './mails.ts'
import { openPool, underWay } from './nodemailer-transport.ts'
import { answerQuestions } from './program.ts'
import { type MailJob, queueName } from './usual-jobs.ts'

const [, , sinkPort, databaseUrl, redisPort, dkim] = process.argv
const pool = openPool(Number(sinkPort), dkim === 'dkim')
const database = new pg.Pool({ connectionString: databaseUrl })
const worker = new Worker<MailJob>(
  queueName,
  async ({ data }) => {
    await pool.sendMail(forNodemailer(data.mail))
    await database.query(`UPDATE mails SET status = 'sent', sent_at = now() WHERE id = $1`, [data.id])
  },
  { connection: { host: '127.0.0.1', port: Number(redisPort) }, concurrency: underWay },
)
answerQuestions({ ready: () => worker.waitUntilReady().then(() => undefined) })
