/**
 * The receiver of all benchmarks: takes SMTP (RFC 5321) with PIPELINING, 8BITMIME, SMTPUTF8 and SIZE, keeps nothing of a mail
 * but its number, and counts each number. It does as little as it can, because it runs on the same cores as what is measured.
 *
 *   node bench/sink.ts <port>      (started by bench/main.ts; asked over IPC)
 */
import net from 'node:net'
import { answerQuestions, monotonicMs } from './program.ts'
import { ledgerField } from './receipt.ts'

/** What came since the last `expect`. */
export interface Tally {
  /** Numbers of the expected range that came at least once. */
  distinct: number
  /** Mails whose number had come before. */
  doubled: number
  /** Mails without a number of the expected range. */
  foreign: number
  /** Of all mails, as they came (dot-stuffed, without the final dot). */
  bytes: number
  /** When the last new number came, by the monotonic clock. */
  lastAtMs: number
}

const replies = {
  greeting: '220 sink.bench.test ESMTP\r\n',
  ehlo: '250-sink.bench.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-SIZE 104857600\r\n250 ENHANCEDSTATUSCODES\r\n',
  ok: '250 2.0.0 ok\r\n',
  data: '354 go on\r\n',
  kept: '250 2.0.0 kept\r\n',
  bye: '221 2.0.0 bye\r\n',
  unknown: '502 5.5.1 unknown\r\n',
}
const fieldStart = Buffer.from(`${ledgerField}: `)
const endOfMail = Buffer.from('\r\n.\r\n')

/** The book of numbers. */
function createLedger() {
  let first = 0
  let arrivals = new Float64Array(0)
  let tally: Tally = { distinct: 0, doubled: 0, foreign: 0, bytes: 0, lastAtMs: 0 }
  let any = Promise.withResolvers<void>()
  let complete = Promise.withResolvers<Tally>()
  const watched = new Map<number, (atMs: number) => void>()
  return {
    expect: (range: { first: number; count: number }) => {
      first = range.first
      arrivals = new Float64Array(range.count)
      tally = { distinct: 0, doubled: 0, foreign: 0, bytes: 0, lastAtMs: 0 }
      any = Promise.withResolvers<void>()
      complete = Promise.withResolvers<Tally>()
    },
    tally: () => tally,
    /** Resolves when as many mails have come as numbers are expected. */
    complete: () => complete.promise,
    /** Resolves when the first of them has come. */
    any: () => any.promise,
    /** Resolves with the time at which a number comes, or has come. */
    arrival: ({ number }: { number: number }) =>
      arrivals[number - first] || new Promise<number>((resolve) => watched.set(number, resolve)),
    enter: (number: number, bytes: number) => {
      const index = number - first
      tally.bytes += bytes
      if (!(index >= 0 && index < arrivals.length)) tally.foreign += 1
      else if (arrivals[index] !== 0) tally.doubled += 1
      else {
        tally.distinct += 1
        tally.lastAtMs = monotonicMs()
        arrivals[index] = tally.lastAtMs
        if (tally.distinct === 1) any.resolve()
        watched.get(number)?.(tally.lastAtMs)
        watched.delete(number)
      }
      // A wrong mail ends the run as well, only not well.
      if (tally.distinct + tally.doubled + tally.foreign >= arrivals.length) complete.resolve(tally)
    },
  }
}

type Ledger = ReturnType<typeof createLedger>

/** One connection. All replies to what came in one piece go out in one. */
function converse(socket: net.Socket, ledger: Ledger): void {
  let rest: Buffer = Buffer.alloc(0)
  let isInMail = false
  /** How far the mail in `rest` was looked through already. */
  let searched = 0
  socket.setNoDelay(true)
  socket.on('error', () => socket.destroy())
  socket.write(replies.greeting)
  socket.on('data', (chunk: Buffer) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    let answer = ''
    for (;;) {
      const end = isInMail ? rest.indexOf(endOfMail, searched) : rest.indexOf(0x0a)
      if (end < 0) {
        searched = isInMail ? Math.max(0, rest.length - endOfMail.length) : 0
        break
      }
      if (isInMail) {
        ledger.enter(numberOf(rest, end), end)
        answer += replies.kept
      } else answer += replyTo(rest.toString('latin1', 0, 4).toUpperCase())
      rest = rest.subarray(end + (isInMail ? endOfMail.length : 1))
      isInMail = answer.endsWith(replies.data)
      searched = 0
    }
    if (answer.endsWith(replies.bye)) socket.end(answer)
    else if (answer !== '') socket.write(answer)
  })
}

function replyTo(verb: string): string {
  if (verb === 'EHLO' || verb === 'HELO') return replies.ehlo
  if (verb === 'DATA') return replies.data
  if (verb === 'QUIT') return replies.bye
  if (verb === 'MAIL' || verb === 'RCPT' || verb === 'RSET' || verb === 'NOOP') return replies.ok
  return replies.unknown
}

function numberOf(mail: Buffer, end: number): number {
  const at = mail.indexOf(fieldStart)
  if (at < 0 || at > end) return Number.NaN
  const start = at + fieldStart.length
  return Number(mail.toString('latin1', start, mail.indexOf(0x0d, start)))
}

const ledger = createLedger()
const server = net.createServer((socket) => converse(socket, ledger))
const listening = Promise.withResolvers<void>()
server.listen(Number(process.argv[2]), '127.0.0.1', listening.resolve).once('error', listening.reject)
const { enter: _, ...questions } = ledger
answerQuestions({ ...questions, ready: () => listening.promise })
