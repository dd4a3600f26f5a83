/**
 * An SMTP server that forgives nothing and keeps every octet: lines end in CRLF, a mail ends in CRLF.CRLF, and what lies
 * between is kept as it came, dots and all. What a lenient server would make of the octets is for the test to ask.
 */
import { once } from 'node:events'
import net from 'node:net'
import { PATIENCE_MS, until } from './until.ts'

export type SunkMail = {
  /** Of the only transaction's MAIL and RCPT commands, whole lines. */
  commands: string[]
  /** Between DATA's CRLF and the final CRLF.CRLF, the CRLF before the dot included, dots still stuffed; of BDAT, all chunks. */
  stuffed: Buffer
  isChunked: boolean
  /** What was sent: dots unstuffed (RFC 5321 section 4.5.2). */
  raw: Buffer
}

export type ByteSink = {
  host: string
  port: number
  mails: SunkMail[]
  /** Lines that were no command of a well-behaved client. */
  strangers: string[]
  /** Everything that each connection sent, from its first octet. */
  octets: () => Buffer[]
  received: (count: number, timeoutMs?: number) => Promise<SunkMail[]>
  stop: () => Promise<void>
}

const END = Buffer.from('\r\n.\r\n')
const KNOWN = /^(?:EHLO|HELO|MAIL|RCPT|DATA|BDAT|RSET|NOOP|QUIT)\b/i

function unstuff(stuffed: Buffer): Buffer {
  const text = stuffed.toString('latin1')
  return Buffer.from(text.replace(/^\./, '').replaceAll('\r\n.', '\r\n'), 'latin1')
}

/** One connection's reader: takes whole commands and whole mails off the octets as they come. */
function createReader(sink: ByteSink, extensions: readonly string[], write: (reply: string) => void) {
  let held: Buffer = Buffer.alloc(0)
  let commands: string[] = []
  let isInData = false
  let chunk: { sizeBytes: number; isLast: boolean } | null = null
  let chunks: Buffer[] = []
  const offer = ['sink.test', ...extensions].map(
    (text, i) => `250${i < extensions.length ? '-' : ' '}${text}`,
  )
  const keep = (mail: Pick<SunkMail, 'stuffed' | 'raw' | 'isChunked'>) => {
    sink.mails.push({ commands, ...mail })
    commands = []
    write('250 taken')
  }
  const obey = (line: string) => {
    if (!KNOWN.test(line)) sink.strangers.push(line)
    if (/^EHLO/i.test(line)) return write(offer.join('\r\n'))
    const [, size, last] = /^BDAT (\d+)( LAST)?$/i.exec(line) ?? []
    if (size !== undefined) {
      chunk = { sizeBytes: Number(size), isLast: last !== undefined }
      return
    }
    if (/^(?:MAIL|RCPT)/i.test(line)) commands.push(line)
    isInData = /^DATA$/i.test(line)
    write(isInData ? '354 go on' : '250 ok')
  }
  const takeMail = (): boolean => {
    // The CRLF behind DATA counts as the first of CRLF.CRLF when the mail is empty.
    const end = held.subarray(0, 3).toString('latin1') === '.\r\n' ? -2 : held.indexOf(END)
    if (end === -1) return false
    const stuffed = held.subarray(0, Math.max(0, end + 2))
    held = held.subarray(end + END.length)
    isInData = false
    keep({ stuffed, raw: unstuff(stuffed), isChunked: false })
    return true
  }
  const takeChunk = ({ sizeBytes, isLast }: { sizeBytes: number; isLast: boolean }): boolean => {
    if (held.length < sizeBytes) return false
    chunks.push(held.subarray(0, sizeBytes))
    held = held.subarray(sizeBytes)
    chunk = null
    if (!isLast) write('250 more')
    if (!isLast) return true
    const raw = Buffer.concat(chunks)
    chunks = []
    keep({ stuffed: raw, raw, isChunked: true })
    return true
  }
  const takeLine = (): boolean => {
    const end = held.indexOf('\r\n')
    if (end === -1) return false
    const line = held.toString('utf8', 0, end)
    held = held.subarray(end + 2)
    obey(line)
    return true
  }
  const takeNext = () => (chunk !== null ? takeChunk(chunk) : isInData ? takeMail() : takeLine())
  return (octets: Buffer) => {
    held = Buffer.concat([held, octets])
    while (takeNext());
  }
}

export type ByteSinkOptions = {
  host?: string
  /** 0 or absent: any free port. */
  port?: number
  /** EHLO keywords, instead of PIPELINING, 8BITMIME and SMTPUTF8. */
  extensions?: readonly string[]
}

/** Starts a sink on loopback. */
export async function startByteSink(options: ByteSinkOptions = {}): Promise<ByteSink> {
  const { host = '127.0.0.1', port = 0, extensions = ['PIPELINING', '8BITMIME', 'SMTPUTF8'] } = options
  const connections: Buffer[][] = []
  const sockets = new Set<net.Socket>()
  const server = net.createServer({ noDelay: true }, (socket) => {
    const chunks: Buffer[] = []
    connections.push(chunks)
    sockets.add(socket)
    const read = createReader(sink, extensions, (reply) => socket.write(`${reply}\r\n`))
    socket.on('error', () => undefined)
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      read(chunk)
    })
    socket.write('220 sink.test ESMTP\r\n')
  })
  server.listen(port, host)
  await once(server, 'listening')
  const sink: ByteSink = {
    host,
    port: (server.address() as net.AddressInfo).port,
    mails: [],
    strangers: [],
    octets: () => connections.map((chunks) => Buffer.concat(chunks)),
    received: (count, timeoutMs = PATIENCE_MS) =>
      until(`${count} mails in the sink`, () => (sink.mails.length >= count ? sink.mails : null), timeoutMs),
    stop: async () => {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
  return sink
}
