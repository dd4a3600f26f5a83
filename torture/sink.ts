/**
 * The receiver of a run, a process of its own: takes SMTP at one address for each site, does to each recipient what its address says
 * (sites.ts), and writes into its ledger every mail that came whole, with what it answered.
 *
 *   node torture/sink.ts <port> <ledger> <site>=<address>…      (started by world.ts; asked over IPC)
 */
import { createHash } from 'node:crypto'
import net from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { answerQuestions, monotonicMs } from '../bench/program.ts'
import { Input, Over } from '../tests/support/smtp-peer-input.ts'
import { openLedger, type SinkEntry } from './ledgers.ts'
import { numberField } from './mails.ts'
import { fateOf } from './sites.ts'

/** A 421 at most this often at a site: the third within ten minutes would be minutes of pause. */
const byeEveryMs = 240_000
const dripEveryMs = 2_000

const [portText = '', ledgerFile = '', ...siteArguments] = process.argv.slice(2)
const ledger = openLedger<SinkEntry>(ledgerFile)
/** Recipients that have met what their address says already. */
const met = new Set<string>()
let lastByeMs = -byeEveryMs
let sessions = 0
let lastMailMs = 0

/** True the first time. */
function isFirst(to: string): boolean {
  if (met.has(to)) return false
  met.add(to)
  return true
}

class Conversation {
  readonly #input = new Input()
  readonly #socket: net.Socket
  readonly #site: string
  readonly #session: number
  #ehlo = ''
  #from = ''
  #to: string | null = null

  constructor(socket: net.Socket, site: string) {
    this.#socket = socket
    this.#site = site
    this.#session = sessions += 1
    this.#input.listenTo(socket)
  }

  async run(): Promise<void> {
    this.#say('220 sink.torture.test ESMTP')
    for (;;) {
      const line = (await this.#input.upTo('\r\n')).toString('latin1')
      const verb = line.slice(0, 4).toUpperCase()
      if (verb === 'QUIT') {
        this.#socket.end('221 2.0.0 bye\r\n')
        return
      }
      await this.#obey(verb, line)
    }
  }

  async #obey(verb: string, line: string): Promise<void> {
    switch (verb) {
      case 'EHLO':
        this.#ehlo = line.slice(5)
        return this.#say(
          '250-sink.torture.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 104857600',
        )
      case 'MAIL':
        this.#from = addressIn(line)
        this.#to = null
        return this.#say('250 2.1.0 ok')
      case 'RCPT':
        return this.#recipient(addressIn(line))
      case 'DATA':
        return this.#to === null ? this.#say('503 5.5.1 no recipient') : this.#data(this.#to)
      case 'RSET':
        this.#to = null
        return this.#say('250 2.0.0 ok')
      default:
        return this.#say('500 5.5.2 unknown')
    }
  }

  async #recipient(to: string): Promise<void> {
    const fate = fateOf(to)
    if (fate === 'no') return this.#say('550 5.1.1 no such user')
    if (fate === 'later' && isFirst(to))
      return this.#say('451 4.3.0 something here does not work at the moment')
    if (fate === 'drip' && isFirst(to)) return this.#drip()
    if (fate === 'bye' && monotonicMs() - lastByeMs > byeEveryMs && isFirst(to)) {
      lastByeMs = monotonicMs()
      this.#socket.end('421 4.3.2 going down\r\n')
      throw new Over()
    }
    this.#to = to
    this.#say('250 2.1.5 ok')
  }

  async #data(to: string): Promise<void> {
    const isSlow = fateOf(to) === 'slow'
    if (isSlow) await delay(200 + Math.random() * 1_800)
    this.#say('354 go on')
    const bytes = await this.#input.body(() => undefined)
    const atMs = monotonicMs()
    if (isSlow) await delay(100 + Math.random() * 1_200)
    lastMailMs = monotonicMs()
    const answer = fateOf(to) === 'cut' && isFirst(to) ? this.#cut() : await this.#answerMail()
    ledger.add(this.#entry({ to, bytes, atMs, answer }))
    this.#to = null
    if (answer !== '250') throw new Over()
  }

  #entry({
    to,
    bytes,
    atMs,
    answer,
  }: {
    to: string
    bytes: Buffer
    atMs: number
    answer: SinkEntry['answer']
  }) {
    return {
      atMs,
      answeredMs: monotonicMs(),
      answer,
      site: this.#site,
      session: this.#session,
      ehlo: this.#ehlo,
      from: this.#from,
      to,
      messageId: fieldOf(bytes, 'Message-ID'),
      number: Number(fieldOf(bytes, numberField)),
      bytes: bytes.length,
      sha256: createHash('sha256').update(bytes).digest('hex'),
    }
  }

  /** The mail is kept, and its sender is never told. */
  #cut(): 'cut' {
    if (Math.random() < 0.5) this.#socket.resetAndDestroy()
    else this.#socket.end()
    return 'cut'
  }

  async #answerMail(): Promise<'250' | 'gone'> {
    if (!this.#socket.writable) return 'gone'
    // What is not written when the connection goes is told as an error.
    return new Promise((resolve) => {
      this.#socket.write('250 2.0.0 taken\r\n', (error) => resolve(error ? 'gone' : '250'))
    })
  }

  /** A reply without an end, a byte every two seconds. */
  async #drip(): Promise<never> {
    for (let count = 0; this.#socket.writable; count += 1) {
      this.#socket.write(count % 80 === 0 ? '\r\n250-' : 'x')
      await delay(dripEveryMs)
    }
    throw new Over()
  }

  #say(reply: string): void {
    this.#socket.write(`${reply}\r\n`)
  }
}

/** The address between the angle brackets. */
function addressIn(line: string): string {
  return /<([^>]*)>/.exec(line)?.[1] ?? ''
}

/** A header field's value as it stands, unfolded. */
function fieldOf(mail: Buffer, name: string): string {
  const end = mail.indexOf('\r\n\r\n')
  const head = mail.toString('latin1', 0, end < 0 ? mail.length : end)
  return new RegExp(`^${name}:[ \\t\\r\\n]*(.*)$`, 'im').exec(head)?.[1]?.trim() ?? ''
}

async function listen(site: string, address: string): Promise<void> {
  const server = net.createServer((socket) => {
    socket.setNoDelay(true)
    new Conversation(socket, site).run().catch((error: unknown) => {
      if (!(error instanceof Over)) throw error
      socket.destroySoon()
    })
  })
  const listening = Promise.withResolvers<void>()
  server.listen(Number(portText), address, listening.resolve).once('error', listening.reject)
  await listening.promise
}

const listening = Promise.all(
  siteArguments.map((argument) => {
    const [site = '', address = ''] = argument.split('=')
    return listen(site, address)
  }),
)
answerQuestions({
  ready: () => listening.then(() => undefined),
  lastMailMs: () => lastMailMs,
  sync: () => ledger.sync(),
})
