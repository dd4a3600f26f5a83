/**
 * Mail that programs hand in over SMTP: by the rules of POST /send, accepted once and for good where it is answered 250, and by nobody
 * without a key.
 */
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startDatabaseProxy } from './support/database-proxy.ts'
import { issueServer } from './support/issue-certificate.ts'
import { eventTypes, readMessage, untilEnded } from './support/message-life.ts'
import { freePort } from './support/ports.ts'
import { startPostfix } from './support/postfix.ts'
import { scaled } from './support/scale.ts'
import { connectSmtp } from './support/smtp-client.ts'
import { ENDINGS, SECOND_MAIL } from './support/smuggling.ts'
import {
  handOver,
  idIn,
  mailWith,
  openLoggedIn,
  openSecure,
  plainOf,
  runProgram,
  startLoginProxy,
  swaks,
} from './support/submission.ts'
import { MAX_SIZE, type SubmissionWorld, startSubmissionWorld } from './support/submission-world.ts'
import { needsProgram, needsRoot, needsSaslPlain, until } from './support/until.ts'
import { expectStatus, type Smtp, type Valija } from './support/valija.ts'

let world: SubmissionWorld
let valija: Valija
let smtp: Smtp
let submissions: number

beforeAll(async () => {
  world = await startSubmissionWorld()
  ;({ valija, smtp, submissions } = world)
})
afterAll(() => world?.stop())

describe('a mail', () => {
  test.concurrent('of nodemailer is delivered to the recipients of its envelope, with its tags and metadata, and without what was for us', async () => {
    const { response } = await world.mailer.sendMail({
      from: 'Acme <hi@acme.test>',
      to: 'nm@example.org',
      bcc: 'hidden@example.org',
      subject: 'Grüße ✓',
      text: 'It works.',
      html: '<p>It works.</p>',
      headers: {
        'X-Valija-Tag': ['a', 'zwölf'],
        'X-Valija-Metadata-Order': '42',
        'X-Order': '42',
        Bcc: 'hidden@example.org',
      },
    })
    expect(response).toMatch(/^250 2\.6\.0 Accepted as msg_[0-9a-f]{32}$/)
    expect(await untilEnded(valija.api, idIn(response))).toMatchObject({
      status: 'delivered',
      subject: 'Grüße ✓',
      tags: ['a', 'zwölf'],
      metadata: { order: '42' },
      recipients: expect.toSatisfy((all: { email: string }[]) =>
        ['hidden@example.org', 'nm@example.org'].every(
          (email, i) => all.map((one) => one.email).toSorted()[i] === email,
        ),
      ),
    })
    const raw = await world.rawInInbox('hidden@example.org')
    expect(raw).toMatch(/^X-Order: 42\r$/m)
    expect(raw).not.toMatch(/x-valija-(tag|metadata)|hidden@|^bcc/im)
  })

  test.concurrent('of Python’s smtplib comes by both ports, and gets the Date and Message-ID that it lacks', async () => {
    const args = [
      path.join(import.meta.dirname, 'support/submit-mail.py'),
      '127.0.0.1',
      `${smtp.submission}`,
      `${submissions}`,
      valija.tenantKey,
    ]
    const { output } = await runProgram('python3', args)
    expect(output).toMatch(/^\{\}\n\{\}\n535 5\.7\.8 The password is not an API key of this installation/)
    for (const to of ['py1@example.org', 'py2@example.org']) {
      const raw = await world.rawInInbox(to)
      expect(raw).toMatch(/^Message-ID: <[0-9a-f-]{36}@acme\.test>\r$/m)
      expect(raw).toMatch(/^Date: .* \+0000\r$/m)
    }
  })

  test.concurrent('with an address in UTF-8, and 8-bit octets, arrives as it is', async () => {
    const client = await openLoggedIn(smtp.submission, valija.tenantKey)
    expect(await client.say('MAIL FROM:<hi@acme.test> BODY=8BITMIME SMTPUTF8')).toMatch(/^250/)
    client.write(Buffer.from('RCPT TO:<grüße@example.org>\r\n'))
    expect(await client.reply()).toMatch(/^250/)
    expect(await client.say('DATA')).toMatch(/^354/)
    client.write(Buffer.from(`${mailWith('', 'Grüße')}\r\n.\r\n`))
    expect(await client.reply()).toMatch(/^250 2\.6\.0/)
    client.end()
    expect(await world.rawInInbox('grüße@example.org')).toContain('\r\n\r\nGrüße\r\n')
  })

  test.concurrent('waits until its X-Valija-Send-At, and walks the simulator’s way in the sandbox', async () => {
    const client = await openLoggedIn(smtp.submission, valija.tenantKey)
    const later = new Date(Date.now() + 3_600_000).toISOString()
    const scheduled = await handOver(
      client,
      mailWith(`X-Valija-Send-At: ${later}\r\nX-Valija-Stream: bulk\r\n`),
    )
    expect(await readMessage(valija.api, idIn(scheduled))).toMatchObject({
      status: 'scheduled',
      send_at: later,
      stream: 'bulk',
    })
    const simulated = await handOver(client, mailWith('X-Valija-Sandbox: true\r\n'))
    expect(await untilEnded(valija.api, idIn(simulated))).toMatchObject({
      status: 'delivered',
      simulated: true,
    })
    client.end()
  })

  test.concurrent('without an idempotency key, handed in twice, is two mails; with one it is one, also when it was composed anew in between', async () => {
    const send = (headers: Record<string, string>, text: string) =>
      world.mailer.sendMail({
        from: 'hi@acme.test',
        to: 'once@example.org',
        subject: 'Once',
        ...{ text, html: `<p>${text}</p>`, headers },
      })
    const key = { 'X-Valija-Idempotency-Key': 'submission-1' }
    const first = await send(key, 'a')
    const again = await send(key, 'a')
    expect(again.messageId).not.toBe(first.messageId)
    expect(again.response).toBe(`250 2.6.0 Accepted before as ${idIn(first.response)}, and not sent again`)
    await expect(send(key, 'b')).rejects.toMatchObject({ response: expect.stringMatching(/^550 5\.5\.0 /) })
    expect(idIn((await send({}, 'a')).response)).not.toBe(idIn((await send({}, 'a')).response))
    expect(await world.countMessages('Once')).toBe(3)
  })

  test.concurrent('whose client goes away between the dot and the 250 is sent once, when it is handed in again with its key', async () => {
    const raw = mailWith('X-Valija-Idempotency-Key: gone-1\r\n').replace('Hello', 'Gone')
    const client = await openLoggedIn(smtp.submission, valija.tenantKey)
    for (const line of ['MAIL FROM:<hi@acme.test>', 'RCPT TO:<gone@example.org>', 'DATA'])
      await client.say(line)
    client.write(`${raw}\r\n.\r\n`)
    client.end()
    const second = await openLoggedIn(smtp.submission, valija.tenantKey)
    expect(await handOver(second, raw, { to: 'gone@example.org' })).toMatch(/^250 2\.6\.0 Accepted/)
    second.end()
    expect(await world.countMessages('Gone')).toBe(1)
  })

  test.concurrent.each(ENDINGS.map((ending) => [JSON.stringify(ending), ending]))(
    'with what lenient servers take for its end, %s, is one mail or none, and nobody gets another',
    async (name, ending) => {
      const client = await openLoggedIn(smtp.submission, valija.tenantKey)
      for (const line of ['MAIL FROM:<hi@acme.test>', 'RCPT TO:<ann@example.org>', 'DATA'])
        await client.say(line)
      const subject = `Ending ${ENDINGS.indexOf(ending)}`
      client.write(
        Buffer.from(
          `From: hi@acme.test\r\nSubject: ${subject}\r\n\r\nx${ending}${SECOND_MAIL}\r\n.\r\nQUIT\r\n`,
        ),
      )
      const replies: string[] = []
      for (let reply = await client.reply(); reply !== 'closed'; reply = await client.reply())
        replies.push(reply)
      expect(replies[0]).toMatch(/^(250 2\.6\.0|550 5\.6\.0)/)
      expect(await world.countMessages(subject)).toBe(replies[0]!.startsWith('250') ? 1 : 0)
      // Behind the true end stands another mail of the same client, which has no From; else there is no other mail.
      const later = replies.slice(1).filter((reply) => !/^(250 2\.1|500|503)/.test(reply))
      const isTrueEnd = ending.includes('\r\n.\r\n')
      const ofSecond = isTrueEnd ? [/^354/, /^550 5\.6\.0 The mail: .* no From/] : []
      expect(later).toEqual([...ofSecond, /^221/].map((pattern) => expect.stringMatching(pattern)))
      expect(await world.countMessages('smuggled'), name).toBe(0)
    },
  )
})

describe('without a login', () => {
  test.concurrent('AUTH is offered under TLS only, with what the server can do', async () => {
    const client = await connectSmtp(smtp.submission)
    expect(client.greeting).toMatch(/^220 \S+ ESMTP valija: submission$/)
    const before = await client.say('EHLO c.example.test')
    expect(before).not.toMatch(/AUTH/)
    expect(before).toMatch(/STARTTLS/)
    expect(await client.say(`AUTH PLAIN ${plainOf(valija.tenantKey)}`)).toMatch(/^538 5\.7\.0/)
    expect(await client.say('MAIL FROM:<hi@acme.test>')).toMatch(/^530 5\.7\.0 Log in first/)
    await client.say('STARTTLS')
    await client.encrypt()
    const after = await client.say('EHLO c.example.test')
    const keywords = after
      .split(/\r?\n/)
      .slice(1)
      .map((line) => line.slice(4))
    expect(keywords.toSorted()).toEqual([
      '8BITMIME',
      'AUTH PLAIN LOGIN',
      'ENHANCEDSTATUSCODES',
      'PIPELINING',
      'REQUIRETLS',
      `SIZE ${MAX_SIZE}`,
      'SMTPUTF8',
    ])
    expect(await client.say('MAIL FROM:<hi@acme.test>')).toMatch(/^530 5\.7\.0/)
    client.end()
  })

  test.concurrent('where no certificate is set nobody can log in, and the reply to EHLO, the log and MAIL say why', async () => {
    const client = await connectSmtp(world.bare.submission)
    const reply = await client.say('EHLO c.example.test')
    expect(reply).toContain('Nobody can log in here: VALIJA_TLS_CERT and VALIJA_TLS_KEY are not set')
    expect(reply).not.toMatch(/^250.(AUTH|STARTTLS)/m)
    expect(await client.say('MAIL FROM:<hi@acme.test>')).toMatch(/^530 5\.7\.0 Nobody can log in here/)
    client.end()
    await world.bare.process.line('submission takes no logins')
  })

  test.concurrent('a wrong password is refused with what to do, three of them end the session; a right one beside them logs in at once', async () => {
    const from = '127.0.0.50'
    const client = await openSecure(smtp.submission, from)
    expect(await client.say(`AUTH PLAIN ${plainOf('letmein')}`)).toMatch(
      /^535 5\.7\.8 The password is not an API key .*scope send/,
    )
    expect(await client.say('AUTH LOGIN')).toBe('334 VXNlcm5hbWU6')
    expect(await client.say('YQ==')).toBe('334 UGFzc3dvcmQ6')
    expect(await client.say('YQ==')).toMatch(/^535/)
    expect(await client.say(`AUTH PLAIN ${plainOf(valija.adminKey)}`)).toMatch(
      /^421 4\.7\.0 Too many logins failed/,
    )
    expect(await client.reply()).toBe('closed')
    ;(await openLoggedIn(smtp.submission, valija.tenantKey, from)).end()
  })

  test.concurrent('who tries on is turned away unheard, and others are not', async () => {
    const from = '127.0.0.51'
    const tryOnce = async () => {
      const client = await openSecure(smtp.submission, from)
      const reply = await client.say(`AUTH PLAIN ${plainOf('letmein')}`)
      client.end()
      return reply
    }
    const replies = await Promise.all(Array.from({ length: 20 }, tryOnce))
    const away = replies.filter((reply) =>
      /^421 4\.7\.0 Too many logins failed\. Try again in \d+ s\.$/.test(reply),
    )
    expect(away.length).toBeGreaterThanOrEqual(11)
    expect(replies.filter((reply) => reply.startsWith('535'))).toHaveLength(20 - away.length)
    ;(await openLoggedIn(smtp.submission, valija.tenantKey, '127.0.0.52')).end()
    ;(await openLoggedIn(smtp.submission, valija.tenantKey, from)).end()
  })
})

describe('what a key may not do', () => {
  test.concurrent('is refused: to log in without the scope or from elsewhere, to send for others and to others', async () => {
    const from = '127.0.0.60'
    const reader = await world.makeKey({ scopes: ['read'] })
    const elsewhere = await world.makeKey({ networks: ['192.0.2.0/24'] })
    const client = await openSecure(smtp.submission, from)
    expect(await client.say(`AUTH PLAIN ${plainOf(reader.key)}`)).toMatch(
      /^535 5\.7\.1 The key lacks the scope send\./,
    )
    expect(await client.say(`AUTH PLAIN ${plainOf(elsewhere.key)}`)).toMatch(
      /^535 5\.7\.1 The key may not be used from 127\.0\.0\.60\./,
    )
    client.end()
    const bound = await world.makeKey({ recipients: ['@example.org'] })
    const session = await openLoggedIn(smtp.submission, bound.key, '127.0.0.61')
    const refused = await handOver(session, mailWith(), { to: ['ann@example.org', 'bob@example.com'] })
    expect(refused).toMatch(/^550 5\.7\.1 This key may not send to bob@example\.com\./)
    expect(await handOver(session, mailWith(), { from: 'hi@other.test' })).toMatch(
      /^550 5\.7\.1 .*other\.test/,
    )
    const foreign = mailWith().replace('hi@acme.test', 'hi@other.test')
    expect(await handOver(session, foreign)).toMatch(/^550 5\.7\.1 .*other\.test/)
    expect(await handOver(session, mailWith())).toMatch(/^250 2\.6\.0/)
    session.end()
  })

  test.concurrent('holds within an open session: a revoked key is refused at the next mail', async () => {
    const { id, key } = await world.makeKey()
    const session = await openLoggedIn(smtp.submission, key, '127.0.0.62')
    expect(await handOver(session, mailWith())).toMatch(/^250/)
    expectStatus(await valija.api('DELETE', `/keys/${id}`), 204)
    await until('it is refused', async () => {
      const reply = await session.say('MAIL FROM:<hi@acme.test>')
      if (!reply.startsWith('250')) return /^535 5\.7\.8 The key is unknown or was revoked\./.test(reply)
      await session.say('RSET')
      return false
    })
    session.end()
  })

  test.concurrent('a tenant’s key sends for that tenant alone', async () => {
    const session = await openLoggedIn(smtp.submission, world.other.key, '127.0.0.63')
    expect(await handOver(session, mailWith())).toMatch(/^550 5\.7\.1/)
    const raw = mailWith().replace('hi@acme.test', 'hi@other.test')
    const id = idIn(await handOver(session, raw, { from: 'hi@other.test' }))
    session.end()
    expect((await valija.api('GET', `/messages/${id}`)).status).toBe(404)
    expect((await readMessage(world.other.call, id)).id).toBe(id)
  })
})

test.concurrent('a mail is a request: whose key may make no more of them is told when to come again', async () => {
  const { key } = await world.makeKey({ limits: { requests_per_minute: 2 } })
  const session = await openLoggedIn(smtp.submission, key, '127.0.0.64')
  for (const _ of [1, 2]) expect(await handOver(session, mailWith())).toMatch(/^250/)
  expect(await handOver(session, mailWith())).toMatch(
    /^450 4\.7\.0 limits\.requests_per_minute .* Try again in \d+ s\.$/,
  )
  session.end()
})

describe('what cannot be accepted', () => {
  test.concurrent.each([
    ['X-Valija-Send-At: tomorrow\r\n', /^550 5\.6\.0 X-Valija-Send-At: Is not an RFC 3339 time/],
    ['X-Valija-Tag: \r\n', /^550 5\.6\.0 X-Valija-Tag: /],
    [`X-Valija-Metadata-A: ${'x'.repeat(513)}\r\n`, /^550 5\.6\.0 X-Valija-Metadata-A: /],
    ['X-Valija-Route: nowhere\r\n', /^550 5\.6\.0 X-Valija-Route: There is no route/],
    ['X-Valija-Colour: red\r\n', /^550 5\.6\.0 X-Valija-Colour: Is no field of ours/],
    ['X-Valija-TTL-Seconds: 1\r\n', /^550 5\.6\.0 X-Valija-TTL-Seconds: /],
    ['X-Valija-Unsubscribe: true\r\n', /^550 5\.6\.0 X-Valija-Unsubscribe: /],
    ['X-Valija-Idempotency-Key: a b\r\n', /^550 5\.6\.0 X-Valija-Idempotency-Key: /],
    ['Subject: twice\r\n', /^550 5\.6\.0 The mail: The header field "subject" occurs more than once/],
    ['From: b@acme.test\r\n', /^550 5\.6\.0 The mail: The header field "from"/],
    [`X-Long: ${'x'.repeat(1_000)}\r\n`, /^550 5\.6\.0 The mail: Line 4 is 1008 octets long/],
    ['X-Odd: a\0b\r\n', /^550 5\.6\.0 The mail: Line 4 holds a NUL/],
  ])('by its header %j is told so', async (header, reply) => {
    const client = await openLoggedIn(smtp.submission, valija.tenantKey)
    expect(await handOver(client, mailWith(header))).toMatch(reply)
    client.end()
  })

  test.concurrent('by its envelope is refused as early as that comes', async () => {
    const client = await openLoggedIn(smtp.submission, valija.tenantKey)
    const said = async (...lines: string[]) => {
      let reply = ''
      for (const line of lines) reply = await client.say(line)
      await client.say('RSET')
      return reply
    }
    const from = 'MAIL FROM:<hi@acme.test>'
    expect(await said('MAIL FROM:<>')).toMatch(/^550 5\.1\.7 The sender is empty/)
    expect(await said('MAIL FROM:<a"b@acme.test>')).toMatch(/^550 5\.1\.7 /)
    expect(await said(`${from} RET=HDRS`)).toMatch(/^555 5\.5\.4 The parameter RET/)
    expect(await said(`${from} SIZE=${MAX_SIZE + 1}`)).toMatch(/^552 5\.3\.4 /)
    expect(await said(from, 'RCPT TO:<a..b@example.org>')).toMatch(/^501 5\.1\.3/)
    expect(await said(from, 'RCPT TO:<a@example>')).toMatch(/^550 5\.1\.3 /)
    expect(await said(from, 'RCPT TO:<ann@example.org> NOTIFY=NEVER')).toMatch(
      /^555 5\.5\.4 The parameter NOTIFY/,
    )
    client.end()
  })

  test.concurrent('by its size is refused when all of it has come, without being kept', async () => {
    const client = await openLoggedIn(smtp.submission, valija.tenantKey)
    const line = `${'x'.repeat(76)}\r\n`
    const large = mailWith('', line.repeat(MAX_SIZE / line.length + 1))
    expect(await handOver(client, large)).toMatch(/^552 5\.3\.4 /)
    const fits = mailWith('', line.repeat(MAX_SIZE / line.length - 10))
    expect(await handOver(client, fits)).toMatch(/^250 2\.6\.0/)
    client.end()
  })

  test.concurrent('by the number of its recipients is told to come again with the rest', async () => {
    const client = await openLoggedIn(smtp.submission, valija.tenantKey)
    await client.say('MAIL FROM:<hi@acme.test>')
    const names = Array.from({ length: 1_001 }, (_, i) => `RCPT TO:<u${i}@example.org>\r\n`)
    client.write(names.join(''))
    const replies: string[] = []
    for (const _ of names) replies.push(await client.reply())
    expect(replies.slice(0, 1_000).every((reply) => reply.startsWith('250 2.1.5'))).toBe(true)
    expect(replies[1_000]).toMatch(/^452 4\.5\.3/)
    expect(await client.say('DATA')).toMatch(/^354/)
    const id = idIn(await client.say(`${mailWith('X-Valija-Sandbox: true\r\n')}\r\n.`))
    expect((await readMessage(valija.api, id)).recipients).toHaveLength(1_000)
    client.end()
  })
})

test.concurrent('while PostgreSQL is away mail and logins are put off, nothing is answered 250 that is not committed, and what was committed without a reply is not sent twice', async () => {
  const proxy = await startDatabaseProxy(valija.databaseUrl)
  const away = await valija.addSmtp({ ...world.tls, DATABASE_URL: proxy.urlFor(valija.databaseUrl) })
  const raw = mailWith('X-Valija-Idempotency-Key: away-1\r\n').replace('Hello', 'Away')
  const client = await openLoggedIn(away.submission, valija.tenantKey)
  const committed = proxy.cutAfter('accept-messages', 'COMMIT')
  const unsure = await handOver(client, raw)
  await committed
  expect(unsure).toMatch(/^451 4\.3\.0 /)
  proxy.refuse()
  await until('keys are forgotten', async () => {
    const reply = await client.say('MAIL FROM:<hi@acme.test>')
    if (reply.startsWith('250')) await client.say('RSET')
    return /^451 4\.3\.0 .*Try again/.test(reply)
  })
  const second = await openSecure(away.submission)
  expect(await second.say(`AUTH PLAIN ${plainOf(valija.tenantKey)}`)).toMatch(/^454 4\.3\.0 /)
  second.end()
  proxy.mend()
  const again = await until('it is taken', async () => {
    const reply = await handOver(client, raw)
    return reply.startsWith('250') && reply
  })
  expect(await world.countMessages('Away')).toBe(1)
  expect((await readMessage(valija.api, idIn(again))).id).toBe(idIn(again))
  // Killed between the commit and the reply.
  const last = raw.replace('away-1', 'away-2').replace('Away', 'Killed')
  const isCommitted = proxy.holdAfter('accept-messages', 'COMMIT')
  const reply = handOver(client, last)
  await isCommitted
  await away.process.kill()
  expect(await reply).toBe('closed')
  const elsewhere = await openLoggedIn(smtp.submission, valija.tenantKey)
  expect(await handOver(elsewhere, last)).toMatch(/^250 2\.6\.0 Accepted before as msg_/)
  expect(await world.countMessages('Killed')).toBe(1)
  elsewhere.end()
  await proxy.stop()
})

describe.skipIf(needsProgram('swaks'))('swaks', () => {
  test.concurrent.each([
    ['PLAIN', []],
    ['LOGIN', []],
    ['PLAIN', ['--tlsc']],
  ])('hands mail in with AUTH %s %j', async (method, more) => {
    const port = more.length > 0 ? submissions : smtp.submission
    const secure = more.length > 0 ? more : ['--tls']
    const { code, output } = await swaks(port, [
      ...secure,
      '--auth',
      method,
      '-au',
      'anything',
      '-ap',
      valija.tenantKey,
    ])
    expect(output).toMatch(/250 2\.6\.0 Accepted as msg_/)
    expect(code).toBe(0)
  })

  test.concurrent('without a login, or before TLS, is refused', async () => {
    expect((await swaks(smtp.submission, [])).output).toMatch(/530 5\.7\.0/)
    expect((await swaks(smtp.submission, ['--tls'])).output).toMatch(/530 5\.7\.0/)
    const plain = await swaks(smtp.submission, ['--auth', 'PLAIN', '-au', 'a', '-ap', valija.tenantKey])
    expect(plain.code).not.toBe(0)
    expect(plain.output).not.toContain(Buffer.from(valija.tenantKey).toString('base64').slice(0, 20))
  })
})

describe.skipIf(needsProgram('postfix') || needsRoot('Postfix') || needsSaslPlain())('Postfix', () => {
  test.concurrent('hands on what it is given, as one transaction for all recipients', async () => {
    const port = await freePort()
    const login = { user: 'anything', password: valija.tenantKey }
    const relay = { host: '127.0.0.1', port: smtp.submission, login }
    const postfix = await startPostfix({ host: '127.0.0.1', port, hostName: 'postfix.acme.test', relay })
    const client = await connectSmtp(port)
    await client.say('EHLO c.example.test')
    const to = ['pf1@example.org', 'pf2@example.org']
    expect(await handOver(client, mailWith('X-Valija-Tag: postfix\r\n'), { to })).toMatch(/^250/)
    client.end()
    const line = await until('it is handed on', async () =>
      (await postfix.log()).find((one) => one.includes('status=sent')),
    )
    expect(line).toMatch(/250 2\.6\.0 Accepted as msg_/)
    const message = await untilEnded(valija.api, idIn(line))
    expect(message).toMatchObject({ status: 'delivered', tags: ['postfix'], recipients: [{}, {}] })
    await postfix.stop()
  })
})

describe.skipIf(needsProgram('smtp-source'))('smtp-source', () => {
  test.concurrent('hands in many mails over 20 sessions at once, and each is accepted once and delivered', async () => {
    const count = scaled(20_000, 200)
    const proxy = await startLoginProxy(submissions, valija.tenantKey)
    const mail = '-l 2048 -f hi@acme.test -t load@example.org -S Load'
    const args = [...`-s 20 -d -m ${count} ${mail}`.split(' '), `127.0.0.1:${proxy.port}`]
    const began = performance.now()
    const { code, output } = await runProgram('smtp-source', args)
    const ms = performance.now() - began
    proxy.stop()
    expect({ code, output: output.slice(-300) }).toMatchObject({ code: 0 })
    if (count > 200)
      process.stdout.write(
        `${count} mails of 2 KB over 20 sessions: ${Math.round(count / (ms / 1_000))} a second\n`,
      )
    expect(await world.countMessages('Load')).toBe(count)
    await until('all are delivered', async () => {
      const [row] = await valija.sql<{ n: string }>(
        `SELECT count(*) AS n FROM valija.recipients WHERE email = 'load@example.org' AND status = 'delivered'`,
      )
      return Number(row?.n) === count
    })
  })
})

test.concurrent('a renewed certificate is taken without a restart, and one that cannot be used is not', async () => {
  const nameOf = async () => {
    const client = await connectSmtp(smtp.submission)
    await client.say('EHLO c.example.test')
    await client.say('STARTTLS')
    const secure = await client.encrypt()
    const { subjectaltname } = secure.getPeerCertificate()
    client.end()
    return subjectaltname ?? ''
  }
  expect(await nameOf()).toContain('mx.example.test')
  await writeFile(world.renewed.VALIJA_TLS_CERT, 'half a certific')
  await smtp.process.line('the certificate has changed and cannot be used')
  expect(await nameOf()).toContain('mx.example.test')
  await world.writeCertificate('renewed', await issueServer(['renewed.example.test']))
  await smtp.process.line('the certificate was renewed')
  expect(await nameOf()).toBe('DNS:renewed.example.test')
})

// Last, and by itself: it ends what the others use.
test('a stop lets the mail that is under way come to its end, tells all others to come again, and loses no 250', async () => {
  const [idle, begun, sending] = [
    await openLoggedIn(smtp.submission, valija.tenantKey),
    await openLoggedIn(smtp.submission, valija.tenantKey),
    await openLoggedIn(smtp.submission, valija.tenantKey),
  ]
  await begun.say('MAIL FROM:<hi@acme.test>')
  for (const line of ['MAIL FROM:<hi@acme.test>', 'RCPT TO:<stop@example.org>', 'DATA'])
    await sending.say(line)
  sending.write(mailWith())
  smtp.process.signal('SIGTERM')
  expect(await idle.reply()).toMatch(/^421 4\.3\.2 Shutting down/)
  expect(await begun.reply()).toMatch(/^421 4\.3\.2 Shutting down/)
  sending.write('\r\n.\r\n')
  const reply = await sending.reply()
  expect(reply).toMatch(/^250 2\.6\.0 Accepted/)
  expect(await sending.reply()).toMatch(/^421 4\.3\.2/)
  expect(await smtp.process.ended).toEqual({ code: 0, signal: null })
  expect(await eventTypes(valija.api, idIn(reply))).toContain('accepted')
  expect(smtp.process.lines.join('\n')).not.toContain(valija.tenantKey)
})
