/**
 * What the whole way is compared with: a script that hands mails to nodemailer's pool, in one process (or some, each with its
 * share) and with nothing durable. As many connections and mails on each as Valija's worker has for a smarthost; the queue in
 * memory is kept short. With `dkim`, nodemailer signs by a key of its own, RSA-2048.
 *
 *   node bench/nodemailer-pool.ts <port of the sink> [dkim]      (started by others.ts; asked over IPC)
 */
import { generateKeyPairSync } from 'node:crypto'
import { createTransport } from 'nodemailer'
import { forNodemailer, type MailShape, makeMail, senderDomain } from './mails.ts'
import { answerQuestions, monotonicMs } from './program.ts'

const connections = 20
const mailsPerConnection = 1_000
/** Mails handed in and not sent yet. */
const underWay = 5 * connections

const pem = { type: 'pkcs8', format: 'pem' } as const
const dkim = () => ({
  domainName: senderDomain(0),
  keySelector: 'bench',
  privateKey: generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export(pem).toString(),
})
const pool = createTransport({
  pool: true,
  host: '127.0.0.1',
  port: Number(process.argv[2]),
  secure: false,
  ignoreTLS: true,
  maxConnections: connections,
  maxMessages: mailsPerConnection,
  ...(process.argv[3] === 'dkim' && { dkim: dkim() }),
})

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
