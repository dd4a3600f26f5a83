import { once } from 'node:events'
import net from 'node:net'
import { hasUtf8LocalPart } from '@valija/mail'
import { afterEach, expect, test } from 'vitest'
import { type CapturedMail, type CaptureReceiver, startCaptureReceiver } from './capture-receiver.ts'
import { createNetworkGuard } from './network-guard.ts'
import { createOpenSession } from './open-first.ts'
import { captureTarget } from './routes.ts'
import { defaultDeadlines, type Session } from './session.ts'

let receiver: CaptureReceiver
let session: Session

afterEach(async () => {
  await session.close()
  await receiver.close()
})

async function begin(onMail: (mail: CapturedMail) => Promise<void>, maxSizeBytes = 1_000_000): Promise<void> {
  receiver = await startCaptureReceiver({ host: '127.0.0.1', maxSizeBytes, onMail })
  const open = createOpenSession({ guard: createNetworkGuard([]) })
  const opened = await open(captureTarget(receiver, 'us.example'), defaultDeadlines)
  if (!opened.ok) throw new Error(JSON.stringify(opened.report))
  session = opened.session
}

async function send(bytes: Buffer, address = 'ann@example.com') {
  const envelope = { from: '', to: address, needsSmtpUtf8: hasUtf8LocalPart(address), envid: 'msg_+=ü' }
  return await session.send(envelope, bytes, { isStillMine: () => true }, { route: 'capture' })
}

test('a mail is handed over whole, with its envelope and our id, and answered when it is kept', async () => {
  const mails: CapturedMail[] = []
  const kept = Promise.withResolvers<void>()
  const came = Promise.withResolvers<void>()
  await begin((mail) => {
    mails.push(mail)
    came.resolve()
    return kept.promise
  })
  const bytes = Buffer.from('Subject: x\r\n\r\n.dots\r\n..\r\nGrüße\r\n')
  let isAnswered = false
  const sending = send(bytes, 'jürgen@example.com').finally(() => {
    isAnswered = true
  })
  await came.promise
  expect(isAnswered).toBe(false)
  kept.resolve()
  expect(await sending).toMatchObject({
    phase: 'body',
    reply: { code: 250, enhanced: '2.6.0' },
    failure: null,
  })
  expect(mails).toEqual([
    {
      envelopeFrom: '',
      recipients: ['jürgen@example.com'],
      envid: 'msg_+=ü',
      bytes,
      receivedAt: expect.any(Date),
    },
  ])
})

test('a mail that could not be kept is answered with 451, and the session goes on', async () => {
  let calls = 0
  await begin(async () => {
    calls += 1
    if (calls === 1) throw new Error('disk full')
  })
  expect(await send(Buffer.from('one\r\n'))).toMatchObject({ phase: 'body', reply: { code: 451 } })
  expect(await send(Buffer.from('two\r\n'))).toMatchObject({ phase: 'body', reply: { code: 250 } })
})

test('many mails go over one session', async () => {
  const seen: string[] = []
  await begin(async (mail) => {
    seen.push(mail.bytes.toString())
  })
  for (let i = 0; i < 200; i += 1) expect((await send(Buffer.from(`mail ${i}\r\n`))).reply?.code).toBe(250)
  expect(seen).toEqual(Array.from({ length: 200 }, (_, i) => `mail ${i}\r\n`))
})

test('a mail that is too large is refused by its size', async () => {
  await begin(() => Promise.reject(new Error('must not be called')), 1_000)
  expect(await send(Buffer.alloc(2_000, 'x'))).toMatchObject({ phase: 'mail', failure: 'too_large' })
})

test('it says what it can do, and offers neither TLS nor a login', async () => {
  await begin(async () => {})
  const socket = net.connect(receiver.port, '127.0.0.1')
  socket.once('data', () => socket.write('EHLO x\r\nQUIT\r\n'))
  let said = ''
  socket.on('data', (chunk) => {
    said += chunk.toString()
  })
  await once(socket, 'close')
  for (const keyword of [
    'PIPELINING',
    '8BITMIME',
    'SMTPUTF8',
    'DSN',
    'SIZE 1000000',
    'ENHANCEDSTATUSCODES',
  ]) {
    expect(said).toContain(keyword)
  }
  expect(said).not.toMatch(/STARTTLS|AUTH/)
})

test('it listens below the ephemeral ports and on loopback only', async () => {
  await begin(async () => {})
  expect(receiver.port).toBeLessThan(32_768)
  const everywhere = startCaptureReceiver({ host: '0.0.0.0', maxSizeBytes: 1, onMail: async () => {} })
  await expect(everywhere).rejects.toThrow('loopback')
})

test('addresses keep their canonical form, in A-labels', async () => {
  const mails: CapturedMail[] = []
  await begin(async (mail) => {
    mails.push(mail)
  })
  await send(Buffer.from('Subject: x\r\n\r\nx\r\n'), 'Ann@MÜNCHEN.example')
  expect(mails.map((mail) => mail.recipients)).toEqual([['Ann@xn--mnchen-3ya.example']])
})
