/**
 * What the whole way is compared with: a script that hands receipts to nodemailer's pool, in one process and with nothing
 * durable. As many connections and mails on each as Valija's worker has for a smarthost; the queue in memory is kept short.
 *
 *   node bench/nodemailer-pool.ts <port of the sink>      (started by bench/main.ts; asked over IPC)
 */
import { createTransport } from 'nodemailer'
import { answerQuestions, monotonicMs } from './program.ts'
import { receipt } from './receipt.ts'

const connections = 20
const mailsPerConnection = 1_000
/** Mails handed in and not sent yet. */
const underWay = 5 * connections

const pool = createTransport({
  pool: true,
  host: '127.0.0.1',
  port: Number(process.argv[2]),
  secure: false,
  ignoreTLS: true,
  maxConnections: connections,
  maxMessages: mailsPerConnection,
})

async function send({ first, count }: { first: number; count: number }): Promise<{ startedAtMs: number }> {
  const startedAtMs = monotonicMs()
  let next = first
  const work = async () => {
    while (next < first + count) await pool.sendMail(receipt(next++))
  }
  await Promise.all(Array.from({ length: underWay }, work))
  return { startedAtMs }
}

answerQuestions({ send })
