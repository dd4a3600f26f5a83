/**
 * What the whole way is compared with: a script that hands mails to nodemailer's pool, in one process (or some, each with its
 * share) and with nothing durable. The queue in memory is kept short.
 *
 *   node bench/nodemailer-pool.ts <port of the sink> [dkim]      (started by others.ts; asked over IPC)
 */
import { forNodemailer, type MailShape, makeMail } from './mails.ts'
import { openPool, underWay } from './nodemailer-transport.ts'
import { answerQuestions, monotonicMs } from './program.ts'

const pool = openPool(Number(process.argv[2]), process.argv[3] === 'dkim')

interface Batch {
  shape: MailShape
  first: number
  count: number
}

async function send({ shape, first, count }: Batch): Promise<{ startedAtMs: number }> {
  const startedAtMs = monotonicMs()
  let next = first
  const work = async () => {
    while (next < first + count) await pool.sendMail(forNodemailer(makeMail(shape, next++)))
  }
  await Promise.all(Array.from({ length: underWay }, work))
  return { startedAtMs }
}

answerQuestions({ send })
