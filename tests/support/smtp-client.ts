/** A bare SMTP client: says what it is told, line by line or octet by octet, and shows each reply. */
import { once } from 'node:events'
import net from 'node:net'
import tls from 'node:tls'
import { PATIENCE_MS } from './until.ts'

export type SmtpClient = {
  /** The greeting. */
  greeting: string
  /** Sends a line and gives the reply, all its lines. */
  say: (line: string) => Promise<string>
  /** Sends octets as they are. */
  write: (octets: string | Buffer) => void
  /** The next reply. `closed` when the server has ended the connection. */
  reply: () => Promise<string>
  /** Begins TLS after STARTTLS; takes any certificate. */
  encrypt: () => Promise<tls.TLSSocket>
  end: () => void
}

/** Replies out of what has come so far. */
class Replies {
  private text = ''
  private isClosed = false
  private waiting: (() => void)[] = []

  attach(socket: net.Socket): void {
    socket.on('data', (chunk) => {
      this.text += chunk.toString('latin1')
      this.wake()
    })
    socket.on('close', () => {
      this.isClosed = true
      this.wake()
    })
    socket.on('error', () => undefined)
  }

  async next(): Promise<string> {
    const signal = AbortSignal.timeout(PATIENCE_MS)
    for (;;) {
      const match = /^(?:\d{3}-[^\n]*\n)*\d{3}(?: [^\n]*)?\n/.exec(this.text)
      if (match) {
        this.text = this.text.slice(match[0].length)
        return match[0].trim()
      }
      if (this.isClosed) return 'closed'
      if (signal.aborted) throw new Error(`no reply within ${PATIENCE_MS} ms`)
      const { promise, resolve } = Promise.withResolvers<void>()
      this.waiting.push(resolve)
      signal.addEventListener('abort', () => resolve(), { once: true })
      await promise
    }
  }

  private wake(): void {
    for (const resolve of this.waiting.splice(0)) resolve()
  }
}

/** @param from our own address, where the server goes by it */
export async function connectSmtp(port: number, host = '127.0.0.1', from?: string): Promise<SmtpClient> {
  let socket: net.Socket = net.connect({ port, host, ...(from !== undefined && { localAddress: from }) })
  const replies = new Replies()
  replies.attach(socket)
  await once(socket, 'connect')
  const greeting = await replies.next()
  return {
    greeting,
    say: (line) => {
      socket.write(`${line}\r\n`)
      return replies.next()
    },
    write: (octets) => void socket.write(octets),
    reply: () => replies.next(),
    encrypt: async () => {
      socket.removeAllListeners('data')
      const secure = tls.connect({ socket, rejectUnauthorized: false })
      await once(secure, 'secureConnect')
      replies.attach(secure)
      socket = secure
      return secure
    },
    end: () => void socket.destroy(),
  }
}

/** Hands one mail in. Gives the reply that decided: the refusal, or that to the final dot. */
export async function handIn(port: number, to: string, raw: string, from = ''): Promise<string> {
  const client = await connectSmtp(port)
  try {
    if (!client.greeting.startsWith('220')) return client.greeting
    await client.say('EHLO relay.example.test')
    for (const line of [`MAIL FROM:<${from}>`, `RCPT TO:<${to}>`, 'DATA']) {
      const reply = await client.say(line)
      if (!/^[23]/.test(reply)) return reply
    }
    return await client.say(`${raw.replace(/^\./gm, '..')}\r\n.`)
  } finally {
    client.end()
  }
}
