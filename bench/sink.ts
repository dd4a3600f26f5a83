/**
 * The receiver of all benchmarks: takes SMTP (RFC 5321) with PIPELINING, 8BITMIME, SMTPUTF8 and SIZE, keeps nothing of a mail
 * but its number, and counts each number. It does as little as it can, because it runs on the same cores as what is measured.
 * On request it is far away (a round-trip time), speaks TLS 1.3 after STARTTLS (RFC 3207), thinks after the final dot, or says
 * nothing more after it at some of its addresses.
 *
 * Postfix's smtp-sink is no substitute: it counts mails, but can't say which ones came, so a lost mail and a doubled one would
 * look like two that came; and it would be one more thing that differs between machines.
 *
 *   node bench/sink.ts <port> <SinkOptions as JSON>      (started by stage.ts; asked over IPC)
 */
import { once } from 'node:events'
import net from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls'
import { certificate } from '../tests/support/certificate.ts'
import { DelayedStream } from './delayed-stream.ts'
import { createLedger } from './ledger.ts'
import { ledgerField } from './mails.ts'
import { answerQuestions } from './program.ts'

export interface SinkOptions {
  /** Where to listen, always on the same port. */
  hosts: string[]
  roundTripMs: number
  tls: boolean
  /** From the final dot to its reply. */
  pauseMs: number
  /** Those of the hosts whose mails are not counted, whatever becomes of them. */
  uncounted: string[]
  /** These say nothing after the final dot, and keep the connection open. */
  areUncountedSilent: boolean
}

const offers = ['PIPELINING', '8BITMIME', 'SMTPUTF8', 'SIZE 104857600']
const ehlo = (words: string[]) =>
  ['250-sink.test', ...words.map((word) => `250-${word}`), '250 ENHANCEDSTATUSCODES', ''].join('\r\n')
const replies = {
  greeting: '220 sink.test ESMTP\r\n',
  ehlo: ehlo(offers),
  ehloBeforeTls: ehlo([...offers, 'STARTTLS']),
  ok: '250 2.0.0 ok\r\n',
  data: '354 go on\r\n',
  kept: '250 2.0.0 kept\r\n',
  startTls: '220 2.0.0 go ahead\r\n',
  bye: '221 2.0.0 bye\r\n',
  unknown: '502 5.5.1 unknown\r\n',
}
const fieldStart = Buffer.from(`${ledgerField}: `)
const endOfMail = Buffer.from('\r\n.\r\n')

const ledger = createLedger()
const options = JSON.parse(process.argv[3] ?? '{}') as SinkOptions
const context = options.tls
  ? createSecureContext({ ...(await certificate()), minVersion: 'TLSv1.3' })
  : undefined

let connections = 0
/** Connections to hosts that are silent; null when those are let go. */
let held: Set<net.Socket> | null = new Set()

async function take(socket: net.Socket, host: string): Promise<void> {
  connections += 1
  const isCounted = !options.uncounted.includes(host)
  const isSilent = !isCounted && options.areUncountedSilent
  if (isSilent) {
    if (held === null) return void socket.destroy()
    held.add(socket)
    socket.on('close', () => held?.delete(socket))
  }
  socket.setNoDelay(true)
  socket.on('error', () => socket.destroy())
  const stream = options.roundTripMs > 0 ? new DelayedStream(socket, options.roundTripMs) : socket
  converse(stream, { tls: context, isCounted, isSilent })
  // The three segments that open a connection were quick, and the client saw its end of it at once.
  if (options.roundTripMs > 0) await delay(1.5 * options.roundTripMs)
  stream.write(replies.greeting)
}

interface Manner {
  /** What may still begin. */
  tls: SecureContext | undefined
  isCounted: boolean
  isSilent: boolean
}

/** One connection. All replies to what came in one piece go out in one. */
function converse(stream: Duplex, manner: Manner): void {
  const { tls, isCounted, isSilent } = manner
  let rest: Buffer = Buffer.alloc(0)
  let isInMail = false
  /** How far the mail in `rest` was looked through already. */
  let searched = 0
  const send = createSender(stream)
  const take = (chunk: Buffer) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    let answer = ''
    for (;;) {
      const end = isInMail ? rest.indexOf(endOfMail, searched) : rest.indexOf(0x0a)
      if (end < 0) {
        searched = isInMail ? Math.max(0, rest.length - endOfMail.length) : 0
        break
      }
      if (isInMail) {
        if (isCounted) ledger.enter(numberOf(rest, end), end)
        if (isSilent) {
          stream.off('data', take).resume()
          return
        }
        answer += replies.kept
      } else answer += replyTo(rest.toString('latin1', 0, 4).toUpperCase(), tls)
      rest = rest.subarray(end + (isInMail ? endOfMail.length : 1))
      isInMail = answer.endsWith(replies.data)
      searched = 0
    }
    if (answer !== '') send(answer)
    if (answer === replies.startTls) {
      stream.off('data', take)
      const inner = new TLSSocket(stream, { isServer: true, secureContext: tls })
      converse(inner, { ...manner, tls: undefined })
    }
  }
  stream.on('error', () => stream.destroy())
  stream.on('data', take)
}

/** Writes answers in their order; those to a final dot after the pause. */
function createSender(stream: Duplex): (answer: string) => void {
  const write = (answer: string) => {
    if (answer.endsWith(replies.bye)) stream.end(answer)
    else stream.write(answer)
  }
  if (options.pauseMs === 0) return write
  let last = Promise.resolve()
  return (answer) => {
    last = last.then(async () => {
      if (answer.includes(replies.kept)) await delay(options.pauseMs)
      write(answer)
    })
  }
}

function replyTo(verb: string, tls: SecureContext | undefined): string {
  if (verb === 'EHLO' || verb === 'HELO') return tls ? replies.ehloBeforeTls : replies.ehlo
  if (verb === 'DATA') return replies.data
  if (verb === 'QUIT') return replies.bye
  if (verb === 'STAR' && tls) return replies.startTls
  if (verb === 'MAIL' || verb === 'RCPT' || verb === 'RSET' || verb === 'NOOP') return replies.ok
  return replies.unknown
}

function numberOf(mail: Buffer, end: number): number {
  const at = mail.indexOf(fieldStart)
  if (at < 0 || at > end) return Number.NaN
  const start = at + fieldStart.length
  return Number(mail.toString('latin1', start, mail.indexOf(0x0d, start)))
}

const port = Number(process.argv[2])
const listening = Promise.all(
  options.hosts.map((host) =>
    once(
      net.createServer((socket) => void take(socket, host)).listen({ port, host, backlog: 1024 }),
      'listening',
    ),
  ),
)
const { enter: _, ...questions } = ledger
answerQuestions({
  ...questions,
  ready: () => listening.then(() => undefined),
  /** How many it took since it began. */
  connections: () => connections,
  /** Ends what is held up by silence, and whatever comes there from now on. */
  release: () => {
    const sockets = [...(held ?? [])]
    held = null
    for (const socket of sockets) socket.destroy()
  },
})
