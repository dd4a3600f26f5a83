/**
 * Our own session against peers that answer too much, too little, too early or nonsense, in any mixture.
 *
 * What must hold whatever they say: a mail always comes to an end, and it is only ever taken for delivered if the peer had
 * the whole of it when it said so.
 */
import net from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createNetworkGuard } from './network-guard.ts'
import { createOpenSession } from './open-first.ts'
import type { SessionTarget } from './session.ts'
import { createRandom, type Random } from './testing/random.ts'
import { always, deadlines, envelopeTo } from './testing/session-bench.ts'

const sessions = 600
const atOnce = 40
const bytes = Buffer.from(`Subject: x\r\n\r\n${'.a line\r\n'.repeat(20)}`)

const odd = [
  '250 ok',
  '354 go',
  '550 no',
  '421 bye',
  '250-more',
  '250',
  'x',
  '',
  '500-a\r\n250 b',
  '250 \xff\0',
] as const

let server: net.Server
/** Mails that came whole, by the name that was said in EHLO. */
const arrived = new Map<string, number>()
let share = 0
let seed = 0

/** Answers each segment with one write: what it must, changed here and there. */
function converse(socket: net.Socket, random: Random): void {
  let isInBody = false
  let name = ''
  const answersTo = (text: string): string[] => {
    const answers: string[] = []
    for (const line of text.split('\r\n').slice(0, -1)) {
      if (isInBody && line !== '.') continue
      if (line === 'DATA') answers.push('354 go')
      else if (line.startsWith('EHLO')) answers.push('250-peer\r\n250 PIPELINING')
      else answers.push('250 ok')
      if (line.startsWith('EHLO')) name = line.slice(5)
      if (line === '.' && isInBody) arrived.set(name, (arrived.get(name) ?? 0) + 1)
      isInBody = line === 'DATA'
    }
    return answers
  }
  socket.on('error', () => {})
  socket.write('220 peer\r\n')
  socket.on('data', (chunk) => {
    const answers = answersTo(chunk.toString('latin1'))
    if (random.chance(share)) {
      const at = random.below(answers.length + 1)
      answers.splice(at, random.below(2), ...Array.from({ length: random.below(3) }, () => random.pick(odd)))
    }
    let reply = answers.map((answer) => `${answer}\r\n`).join('')
    if (random.chance(share / 3)) reply = reply.slice(0, random.below(reply.length + 1))
    // Whoever was not told to go ahead is not listening to a mail.
    if (isInBody && !reply.includes('354')) isInBody = false
    if (reply !== '') socket.write(reply, 'latin1')
    if (random.chance(share / 10)) socket.end()
  })
}

beforeAll(async () => {
  server = net.createServer((socket) => {
    seed += 1
    converse(socket, createRandom(seed))
  })
  await new Promise<void>((resolve) => server.listen({ port: 0, host: '127.0.0.1' }, resolve))
})
afterAll(() => server.close())

async function attempt(
  port: number,
  ehloName: string,
  phaseMs: number,
): Promise<{ delivered: number; sent: number }> {
  const target: SessionTarget = {
    route: 'mx',
    host: '127.0.0.1',
    port,
    secure: false,
    tls: 'opportunistic',
    auth: null,
    ehloName,
    localAddress: null,
    isExemptFromGuard: true,
  }
  const phases = ['greetingMs', 'ehloMs', 'mailMs', 'rcptMs', 'dataMs', 'bodyMs', 'dotMs', 'quitMs'] as const
  const short = { ...deadlines, ...Object.fromEntries(phases.map((phase) => [phase, phaseMs])) }
  const opened = await createOpenSession({ guard: createNetworkGuard([]) })(target, short)
  if (!opened.ok) return { delivered: 0, sent: 0 }
  let delivered = 0
  while (opened.session.isUsable && opened.session.sent < 3) {
    const report = await opened.session.send(envelopeTo('ann@example.com'), bytes, always, { route: 'mx' })
    if (report.failure === null && report.phase === 'body' && (report.reply?.code ?? 500) < 300)
      delivered += 1
  }
  await opened.session.close()
  expect(delivered, ehloName).toBeLessThanOrEqual(arrived.get(ehloName) ?? 0)
  return { delivered, sent: opened.session.sent }
}

test.each([0, 0.1, 0.4])('peers that go wrong at %d of their answers', { timeout: 60_000 }, async (wrong) => {
  share = wrong
  const { port } = server.address() as net.AddressInfo
  const total = { delivered: 0, sent: 0 }
  // Those that go wrong fall silent, which must not take long; of the others a busy machine may ask for patience.
  const phaseMs = wrong === 0 ? 30_000 : 300
  for (let begun = 0; begun < sessions / 3; begun += atOnce) {
    const names = Array.from({ length: atOnce }, (_, i) => `n${begun + i}.wrong-${wrong}.example`)
    for (const { delivered, sent } of await Promise.all(names.map((name) => attempt(port, name, phaseMs)))) {
      total.delivered += delivered
      total.sent += sent
    }
  }
  expect(total.delivered).toBeGreaterThan(0)
  if (wrong === 0) expect(total).toEqual({ delivered: sessions, sent: sessions })
})
