/** An SMTP server that measures large mails and keeps nothing of them: for whom, and how many octets between DATA and the dot. */
import { once } from 'node:events'
import net from 'node:net'

export type GaugedMail = { to: string; octets: number }

export type MailGauge = {
  host: string
  port: number
  mails: GaugedMail[]
  /** When a mail to this address comes, by `performance.now()`; to be asked before it is sent. */
  arrivalOf: (to: string) => Promise<number>
  /** Ends every session: the next mail needs a new one. */
  hangUp: () => void
  stop: () => Promise<void>
}

const END = '\r\n.\r\n'

function gauge(socket: net.Socket, onMail: (mail: GaugedMail) => void): void {
  let [line, to, tail, octets, isInData] = ['', '', '', 0, false]
  const obey = (command: string) => {
    const verb = command.slice(0, 4).toUpperCase()
    if (verb === 'RCPT') to = /<([^>]*)>/.exec(command)?.[1] ?? ''
    if (verb === 'DATA') [isInData, tail, octets] = [true, '\r\n', 0]
    const usual = verb === 'QUIT' ? '221 bye' : '250 ok'
    socket.write(`${verb === 'EHLO' ? '250-gauge.test\r\n250 8BITMIME' : isInData ? '354 go on' : usual}\r\n`)
  }
  socket.on('error', () => undefined)
  socket.on('data', (chunk: Buffer) => {
    if (isInData) {
      octets += chunk.length
      tail = (tail + chunk.toString('latin1', Math.max(0, chunk.length - END.length))).slice(-END.length)
      // The other side waits for this reply, so nothing comes behind the dot.
      if (tail !== END) return
      isInData = false
      onMail({ to, octets: octets - END.length })
      socket.write('250 taken\r\n')
      return
    }
    const lines = (line + chunk.toString('latin1')).split('\r\n')
    line = lines.pop() ?? ''
    for (const command of lines) obey(command)
  })
  socket.write('220 gauge.test ESMTP\r\n')
}

export async function startMailGauge(): Promise<MailGauge> {
  const mails: GaugedMail[] = []
  const awaited = new Map<string, (atMs: number) => void>()
  const onMail = (mail: GaugedMail) => {
    mails.push(mail)
    awaited.get(mail.to)?.(performance.now())
    awaited.delete(mail.to)
  }
  const sockets = new Set<net.Socket>()
  const server = net.createServer({ noDelay: true }, (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    gauge(socket, onMail)
  })
  const hangUp = () => {
    for (const socket of sockets) socket.destroy()
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    host: '127.0.0.1',
    port: (server.address() as net.AddressInfo).port,
    mails,
    arrivalOf: (to) => {
      const { promise, resolve } = Promise.withResolvers<number>()
      awaited.set(to, resolve)
      return promise
    },
    hangUp,
    stop: async () => {
      const closed = once(server, 'close')
      server.close()
      hangUp()
      await closed
    },
  }
}
