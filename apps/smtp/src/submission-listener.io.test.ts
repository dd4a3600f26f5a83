/** The listener's times, bounds and end, which take too long to try with the real ones. What is said in a session is in tests/t-98. */
import { once } from 'node:events'
import net from 'node:net'
import { type Caller, createApiKey, noLimits, ProductError } from '@valija/core'
import type { Submission } from '@valija/flows'
import fc from 'fast-check'
import { afterEach, expect, test } from 'vitest'
import { certificate } from '../../../tests/support/certificate.ts'
import { scaled, timeFor } from '../../../tests/support/scale.ts'
import type { SmtpClient } from '../../../tests/support/smtp-client.ts'
import { connectSmtp } from '../../../tests/support/smtp-client.ts'
import { mailWith, openLoggedIn, openSecure } from '../../../tests/support/submission.ts'
import { until } from '../../../tests/support/until.ts'
import {
  createSubmissionRoom,
  type SubmissionListener,
  startSubmissionListener,
  submissionLimits,
} from './submission-listener.ts'
import { createLogins } from './submission-login.ts'

/** Of the right form; whether it is one says `authenticate`. */
const { key } = createApiKey()
const caller: Caller = {
  tenantId: '0192f0c1-a2b3-7c4d-8e5f-60718293a4b5',
  keyId: '0192f0c1-a2b3-7c4d-8e5f-60718293a4b6',
  scopes: new Set(['send']),
  domains: [],
  recipients: [],
  route: null,
  isOperator: false,
  isDefaultTenant: false,
  queuedLimit: null,
  limits: noLimits(),
}

let listener: SubmissionListener | undefined
afterEach(async () => {
  listener?.hurry()
  await listener?.close()
})

/** `submit` ends when the test says so. */
async function start(
  limits: Partial<typeof submissionLimits> = {},
  more: { maxSizeBytes?: number; isImplicitTls?: boolean } = {},
) {
  const { maxSizeBytes = 100_000, isImplicitTls = false } = more
  const submitted: { submission: Submission; commit: () => void; giveUp: () => void }[] = []
  const refused: string[] = []
  const options = {
    name: 'submission.example.test',
    certificate: await certificate(),
    maxSizeBytes,
    logins: createLogins({
      authenticate: async () => caller,
      onLogin: () => undefined,
      onSlowed: () => undefined,
    }),
    submit: (_caller: Caller, submission: Submission, hold: (work: Promise<unknown>) => void) => {
      const work = Promise.withResolvers<{ id: string; isReplay: boolean }>()
      const answer = Promise.withResolvers<{ id: string; isReplay: boolean }>()
      hold(work.promise)
      void work.promise.then(answer.resolve)
      submitted.push({
        submission,
        commit: () => work.resolve({ id: 'msg_1', isReplay: false }),
        giveUp: () => answer.reject(new ProductError('database_unavailable')),
      })
      return answer.promise
    },
    onRefused: (reason: string) => void refused.push(reason),
    onError: (error: Error) => {
      throw error
    },
    limits: { ...submissionLimits, ...limits },
  }
  const place = { host: '127.0.0.1', port: 0, takesAnyPort: false, isImplicitTls }
  listener = await startSubmissionListener(place, options, createSubmissionRoom(options))
  return { port: listener.port, submitted, refused, listener }
}

async function beginData(client: SmtpClient): Promise<void> {
  for (const line of ['MAIL FROM:<hi@acme.test>', 'RCPT TO:<ann@example.org>', 'DATA'])
    expect(await client.say(line)).toMatch(/^[23]/)
}

test('who does not log in in time is told so and let go, also where a handshake does not end', async () => {
  const { port } = await start({ loginMs: 2_000 })
  const client = await openSecure(port)
  expect(await client.reply()).toMatch(/^421 4\.4\.2 It took too long/)
  expect(await client.reply()).toBe('closed')
})

test('a connection that never begins TLS is closed', async () => {
  const { port } = await start({ handshakeMs: 200 }, { isImplicitTls: true })
  const socket = net.connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  await once(socket, 'close')
})

test('a mail that drips is cut off, and so is an envelope; a session that has taken its mail back is not', async () => {
  const { port } = await start({ dataMs: 1_000, envelopeMs: 1_000 })
  const [dripping, waiting, idle] = await Promise.all([1, 2, 3].map(() => openLoggedIn(port, key)))
  await idle!.say('MAIL FROM:<hi@acme.test>')
  await idle!.say('RSET')
  await waiting!.say('MAIL FROM:<hi@acme.test>')
  await beginData(dripping!)
  const drip = setInterval(() => dripping!.write('x'), 20)
  expect(await dripping!.reply()).toMatch(/^421 4\.4\.2/)
  clearInterval(drip)
  expect(await waiting!.reply()).toMatch(/^421 4\.4\.2/)
  expect(await idle!.say('NOOP')).toMatch(/^250/)
  idle!.end()
})

test('a mail that is here is never cut off, however long it takes to be committed', async () => {
  const { port, submitted } = await start({ dataMs: 1_000, envelopeMs: 1_000, closeMs: 200 })
  const client = await openLoggedIn(port, key)
  await beginData(client)
  client.write(`${mailWith()}\r\n.\r\n`)
  await until('it is being committed', () => submitted.length === 1)
  const other = await openLoggedIn(port, key)
  await beginData(other)
  const closed = listener!.close()
  listener!.hurry()
  expect(await other.reply()).toMatch(/^421 4\.3\.2 Shutting down/)
  submitted[0]!.commit()
  expect(await client.reply()).toBe('250 2.6.0 Accepted as msg_1')
  expect(await client.reply()).toMatch(/^421 4\.3\.2/)
  await closed
  listener = undefined
})

test('a peer has so many connections and no more', async () => {
  const { port, refused } = await start({ connectionsOfOnePeer: 2 })
  const clients = [await connectSmtp(port), await connectSmtp(port)]
  const third = await connectSmtp(port)
  expect(third.greeting).toMatch(/^421 4\.7\.0 Too many connections from your address/)
  expect(refused).toEqual(['connections'])
  clients[0]!.end()
  await until('there is room', async () => {
    const client = await connectSmtp(port)
    clients.push(client)
    return client.greeting.startsWith('220')
  })
  for (const client of clients) client.end()
})

test('mails beyond what all may have are told to come again, and those that are here are not', async () => {
  const { port, submitted, refused } = await start({}, { maxSizeBytes: 400_000 })
  const clients = await Promise.all([1, 2, 3, 4].map(() => openLoggedIn(port, key)))
  const line = `${'x'.repeat(76)}\r\n`
  const large = mailWith('', line.repeat(5_000))
  const replies = clients.map(async (client) => {
    await beginData(client)
    return client.say(`${large}\r\n.`)
  })
  await until('one is put off', () => refused.includes('room'))
  await until('three are here', () => submitted.length === 3)
  for (const { commit } of submitted) commit()
  const all = (await Promise.all(replies)).toSorted()
  expect(all.map((reply) => reply.slice(0, 9))).toEqual(['250 2.6.0', '250 2.6.0', '250 2.6.0', '452 4.3.1'])
  for (const client of clients) client.end()
})

test('a mail takes its room until the work on it has ended, also when its client was answered before', async () => {
  const { port, submitted } = await start({}, { maxSizeBytes: 400_000 })
  const client = await openLoggedIn(port, key)
  const large = mailWith('', `${'x'.repeat(76)}\r\n`.repeat(5_000))
  const handIn = async (then: 'giveUp' | 'commit') => {
    const before = submitted.length
    await beginData(client)
    const reply = client.say(`${large}\r\n.`)
    await Promise.race([reply, until('it is here', () => submitted.length > before)])
    if (submitted.length > before) submitted.at(-1)?.[then]()
    return (await reply).slice(0, 3)
  }
  for (let i = 0; i < 3; i++) expect(await handIn('giveUp')).toBe('451')
  expect(await handIn('commit')).toBe('452')
  submitted[0]?.commit()
  expect(await handIn('commit')).toBe('250')
  for (const { commit } of submitted) commit()
  client.end()
})

test(
  'whatever is said, in whatever order and pieces, the listener goes on, and nothing of it is a mail',
  async () => {
    const { port, submitted } = await start({ connectionsOfOnePeer: 1_000 })
    const word = fc.constantFrom(
      ...[
        'EHLO x',
        'HELO',
        'MAIL FROM:<hi@acme.test>',
        'MAIL FROM:<>',
        'MAIL',
        'RCPT TO:<a@b.test>',
        'RCPT TO:<',
        'RSET',
        'NOOP',
      ],
      ...[
        'VRFY a',
        'HELP',
        'STARTTLS',
        'AUTH PLAIN',
        'AUTH LOGIN',
        'AUTH X',
        '*',
        '=',
        'BDAT 5',
        'XCLIENT ADDR=1.2.3.4',
        'WIZ x',
      ],
      ...[
        'QUIT',
        '.',
        '..',
        '',
        '\0',
        '\r',
        'é',
        'x'.repeat(20_000),
        'MAIL FROM:<a@b.test> SIZE=99999999999999999999 BODY=X',
      ],
    )
    const line = fc.oneof(
      word,
      fc.string({ maxLength: 200 }),
      fc.tuple(word, fc.string({ maxLength: 20 })).map((two) => two.join(' ')),
    )
    const ending = fc.constantFrom('\r\n', '\n', '\r', '\r\n\r\n', '')
    const talk = fc.array(fc.tuple(line, ending), { minLength: 1, maxLength: 30 })
    const sessions = fc.sample(talk, scaled(10_000, 100))
    const speak = async (lines: [string, string][], i: number) => {
      const client = i % 2 === 0 ? await openLoggedIn(port, key) : await openSecure(port)
      for (const [text, end] of lines) client.write(`${text}${end}`)
      // A login that was begun takes one or two of them.
      client.write(`\r\n${'QUIT\r\n'.repeat(3)}`)
      for (let reply = ''; reply !== 'closed'; reply = await client.reply())
        expect(reply).toMatch(/^(?:[2345]\d\d(?:[ -]|$)|$)/)
    }
    for (let at = 0; at < sessions.length; at += 50)
      await Promise.all(sessions.slice(at, at + 50).map((lines, i) => speak(lines, i)))
    expect(submitted).toEqual([])
    ;(await openLoggedIn(port, key)).end()
  },
  timeFor(120_000),
)

test('the mail is handed on without the dots of SMTP, and without what stands behind its end', async () => {
  const { port, submitted } = await start()
  const client = await openLoggedIn(port, key)
  await beginData(client)
  client.write('Subject: s\r\n\r\n..a\r\n...\r\n.\r\nNOOP\r\n')
  await until('it is here', () => submitted.length === 1)
  expect(submitted[0]!.submission).toEqual({
    mailFrom: 'hi@acme.test',
    recipients: ['ann@example.org'],
    raw: Buffer.from('Subject: s\r\n\r\n.a\r\n..\r\n'),
    requireTls: false,
  })
  submitted[0]!.commit()
  expect(await client.reply()).toMatch(/^250 2\.6\.0/)
  expect(await client.reply()).toBe('250 2.0.0 OK')
  client.end()
})
