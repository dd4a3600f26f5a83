/**
 * The load for mail servers: hands in mails over SMTP on kept connections (RFC 5321, pipelined as RFC 2920 allows), one mail at
 * a time on each, as fast as replies come. The mails are what nodemailer makes of those that Valija gets as JSON.
 *
 *   node bench/smtp-load.ts      (started by mail-servers.ts; asked over IPC)
 */
import net from 'node:net'
import { createTransport } from 'nodemailer'
import { createTextWriter, forNodemailer, type MailShape, makeEnvelope, sampleMail } from './mails.ts'
import { answerQuestions, monotonicMs } from './program.ts'
import { type Quantiles, quantiles } from './quantiles.ts'

export interface SmtpLoadInput {
  port: number
  shape: MailShape
  first: number
  count: number
  connections: number
}

export interface SmtpLoadResult {
  startedAtMs: number
  endedAtMs: number
  /** From a mail's MAIL to the reply to its final dot. */
  answer: Quantiles
}

interface Lane {
  say(text: string | Buffer, replies: number): Promise<void>
  close(): void
}

/** Says something and waits for so many replies, each of which must be a 2xx or 354. */
async function openLane(port: number): Promise<Lane> {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
  let [received, open] = ['', 1]
  let waiting = Promise.withResolvers<void>()
  socket.on('data', (chunk: Buffer) => {
    received += chunk.toString('latin1')
    const lines = received.split('\r\n')
    received = lines.pop() ?? ''
    for (const line of lines.filter((each) => /^\d{3}(?: |$)/.test(each))) {
      if (!/^(?:2|354)/.test(line)) waiting.reject(new Error(`the server said: ${line}`))
      open -= 1
      if (open === 0) waiting.resolve()
    }
  })
  socket.on('error', (error) => waiting.reject(error))
  socket.on('close', () => waiting.reject(new Error('the server closed a connection')))
  await waiting.promise
  const say = (text: string | Buffer, replies: number) => {
    waiting = Promise.withResolvers<void>()
    open = replies
    socket.write(text)
    return waiting.promise
  }
  await say('EHLO load.test\r\n', 1)
  return {
    say,
    close: () => {
      waiting.promise.catch(() => undefined)
      socket.end('QUIT\r\n')
    },
  }
}

async function send({ port, shape, first, count, connections }: SmtpLoadInput): Promise<SmtpLoadResult> {
  const writeMail = await createMailWriter(shape)
  const lanes = await Promise.all(Array.from({ length: connections }, () => openLane(port)))
  const durations = new Float64Array(count)
  const startedAtMs = monotonicMs()
  let next = 0
  const work = async (lane: Lane) => {
    while (next < count) {
      const index = next++
      const { from, to } = makeEnvelope(shape, first + index)
      const beganAtMs = monotonicMs()
      await lane.say(`MAIL FROM:<${from}>\r\nRCPT TO:<${to}>\r\nDATA\r\n`, 3)
      await lane.say(writeMail(first + index), 1)
      durations[index] = monotonicMs() - beganAtMs
    }
  }
  await Promise.all(lanes.map(work))
  const endedAtMs = monotonicMs()
  for (const lane of lanes) lane.close()
  return { startedAtMs, endedAtMs, answer: quantiles(durations) }
}

/** A mail as it goes over the wire, with its final dot. */
async function createMailWriter(shape: MailShape): Promise<(number: number) => Buffer> {
  const composer = createTransport({ streamTransport: true, buffer: true, newline: 'windows' })
  const { message } = await composer.sendMail(forNodemailer(sampleMail(shape)))
  const text = message.toString('latin1').replaceAll(/^\./gm, '..')
  return createTextWriter(shape, `${text.replace(/(?:\r\n)*$/, '')}\r\n.\r\n`)
}

answerQuestions({ send })
