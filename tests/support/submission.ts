/** Programs that hand mail in over SMTP submission: a bare session, Python's smtplib, swaks, and a stand-in for those that know no TLS. */
import { once } from 'node:events'
import net from 'node:net'
import tls from 'node:tls'
import { startProcess } from './processes.ts'
import { connectSmtp, type SmtpClient } from './smtp-client.ts'

export const plainOf = (key: string): string => Buffer.from(`\0anything\0${key}`).toString('base64')

/** A session under TLS, before any login. */
export async function openSecure(port: number, from?: string): Promise<SmtpClient> {
  const client = await connectSmtp(port, '127.0.0.1', from)
  if (!client.greeting.startsWith('220')) throw new Error(client.greeting)
  await client.say('EHLO client.example.test')
  await client.say('STARTTLS')
  await client.encrypt()
  await client.say('EHLO client.example.test')
  return client
}

/** A session that is logged in. */
export async function openLoggedIn(port: number, key: string, from?: string): Promise<SmtpClient> {
  const client = await openSecure(port, from)
  const reply = await client.say(`AUTH PLAIN ${plainOf(key)}`)
  if (!reply.startsWith('235')) throw new Error(reply)
  return client
}

export type Envelope = { from?: string; to?: string | string[] }

/** Hands a mail in. Gives the reply that decided: the first refusal, or that to the final dot. */
export async function handOver(client: SmtpClient, raw: string, envelope: Envelope = {}): Promise<string> {
  const { from = 'hi@acme.test', to = 'ann@example.org' } = envelope
  for (const line of [`MAIL FROM:<${from}>`, ...[to].flat().map((email) => `RCPT TO:<${email}>`), 'DATA']) {
    const reply = await client.say(line)
    if (!/^[23]/.test(reply)) {
      await client.say('RSET')
      return reply
    }
  }
  return client.say(`${raw.replace(/^\./gm, '..')}\r\n.`)
}

/** A mail with such header fields. */
export const mailWith = (header = '', body = 'It works.'): string =>
  `From: Acme <hi@acme.test>\r\nTo: ann@example.org\r\nSubject: Hello\r\n${header}\r\n${body}`

/** The message that a 250 names. */
export const idIn = (reply: string): string => /msg_[0-9a-f]{32}/.exec(reply)?.[0] ?? `no id in: ${reply}`

/** Runs a program to its end. */
export async function runProgram(
  program: string,
  args: string[],
): Promise<{ code: number | null; output: string }> {
  const running = startProcess(program, args)
  const { code } = await running.ended
  return { code, output: running.lines.join('\n') }
}

/** swaks: its exit code tells where it was refused (24: at the recipients, 26: at the data, 28: no login …). */
export function swaks(port: number, args: string[]) {
  const usual = ['--server', `127.0.0.1:${port}`, '--from', 'hi@acme.test', '--to', 'ann@example.org']
  return runProgram('swaks', [...usual, '--header', 'From: hi@acme.test', ...args])
}

/**
 * What stands between a program that knows neither TLS nor logins (Postfix's smtp-source) and the listener with TLS from the first byte: each of
 * its connections is logged in here, and is its own from then on.
 */
export async function startLoginProxy(
  port: number,
  key: string,
): Promise<{ port: number; stop: () => void }> {
  const sockets = new Set<net.Socket>()
  const server = net.createServer((client) => {
    sockets.add(client)
    client.on('error', () => undefined)
    void logIn(client, port, key).catch((error: Error) => client.destroy(error))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const stop = () => {
    server.close()
    for (const socket of sockets) socket.destroy()
  }
  return { port: (server.address() as net.AddressInfo).port, stop }
}

async function logIn(client: net.Socket, port: number, key: string): Promise<void> {
  const secure = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
  secure.on('error', () => client.destroy())
  client.on('close', () => secure.destroy())
  await once(secure, 'secureConnect')
  const replyTo = async (line: string | null) => {
    if (line !== null) secure.write(`${line}\r\n`)
    for (let text = ''; ; ) {
      const [chunk] = (await once(secure, 'data')) as [Buffer]
      text += chunk.toString()
      if (/^\d{3} .*\r\n$/m.test(text)) return text
    }
  }
  const greeting = await replyTo(null)
  await replyTo('EHLO proxy.example.test')
  const reply = await replyTo(`AUTH PLAIN ${plainOf(key)}`)
  if (!reply.startsWith('235')) throw new Error(reply)
  client.write(greeting)
  client.pipe(secure).pipe(client)
}
