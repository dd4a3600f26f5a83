/**
 * Knocks at a mail server: connects, reads the greeting (RFC 5321 §3.1), says QUIT and nothing else. For finding out whether the way
 * to it is open, without sending anything.
 */
import type { Socket } from 'node:net'
import { parseSmtpReply, type SmtpReply } from '@valija/mail'
import { type ConnectFailure, connectTcp, type TcpTarget } from './connect.ts'
import type { NetworkGuard } from './network-guard.ts'
import { ReplyReader } from './reply-reader.ts'

export type GreetingResult =
  | { kind: 'greeted'; reply: SmtpReply; durationMs: number }
  /** Connected, and nothing came that is a greeting. */
  | { kind: 'mute'; detail: string }
  | { kind: 'unreachable'; failure: ConnectFailure['failure']; detail: string }

export interface GreetingLimits {
  connectMs: number
  greetingMs: number
}

/** Never rejects. */
export async function readGreeting(
  target: TcpTarget,
  guard: NetworkGuard,
  { connectMs, greetingMs }: GreetingLimits,
): Promise<GreetingResult> {
  const startedAt = performance.now()
  const connected = await connectTcp(target, guard, connectMs)
  if (!connected.ok) return { kind: 'unreachable', failure: connected.failure, detail: connected.detail }
  const { socket } = connected
  const heard = await hear(socket, greetingMs)
  // Whoever goes without a word is noted by some servers; whether the QUIT arrives is nobody's matter.
  if (!socket.destroyed) socket.end('QUIT\r\n')
  setTimeout(() => socket.destroy(), 1_000).unref()
  if ('reply' in heard)
    return { kind: 'greeted', reply: heard.reply, durationMs: performance.now() - startedAt }
  return { kind: 'mute', detail: heard.why }
}

function hear(socket: Socket, timeoutMs: number): Promise<{ reply: SmtpReply } | { why: string }> {
  const { promise, resolve } = Promise.withResolvers<{ reply: SmtpReply } | { why: string }>()
  const reader = new ReplyReader()
  const nonsense = 'what came is no greeting of a mail server'
  const timer = setTimeout(
    () => resolve({ why: `no greeting within ${Math.round(timeoutMs / 1000)} s` }),
    timeoutMs,
  )
  socket.on('data', (chunk: Buffer) => {
    const isGood = reader.read(chunk, (lines) => {
      const reply = parseSmtpReply(lines)
      resolve(reply === null ? { why: nonsense } : { reply })
    })
    if (!isGood) resolve({ why: nonsense })
  })
  socket.on('error', (error) => resolve({ why: `the connection was lost: ${error.message}` }))
  socket.on('close', () => resolve({ why: 'the connection was closed without a greeting' }))
  return promise.finally(() => clearTimeout(timer))
}
