/**
 * Real receivers: Postfix, with OpenDKIM as its filter, and Exim, both from Debian, both over STARTTLS. What we send arrives there
 * once, octet by octet, with signatures that hold; nothing in it becomes a second mail; and each of SMTP's extensions is used
 * where it is offered, and done without where it is not.
 *
 * The Postfix is as lenient with line ends as Postfix was before SMTP smuggling was known, and shown to be so.
 */
import net from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bothPass, type DkimRecords, verifyByDkimpy, verifyByMailauth } from './support/dkim-verifiers.ts'
import { startExim } from './support/exim.ts'
import { type Internet, startInternet } from './support/internet.ts'
import type { MailServer, StoredMail } from './support/mail-server.ts'
import { countEach, inParallel, post, readAttempts, untilEnded } from './support/message-life.ts'
import { type Milter, startOpendkimMilter } from './support/opendkim-milter.ts'
import { startPostfix } from './support/postfix.ts'
import { ENDINGS, SECOND_MAIL } from './support/smuggling.ts'
import { needsProgram, needsRoot, until } from './support/until.ts'
import { expectStatus, startValija, type Valija } from './support/valija.ts'

/** Half of them to each server. */
const MAILS = 1_000
const RECIPIENTS_EACH = 20
const MAX_MAIL_BYTES = 5_000_000

const isAbsent =
  ['postfix', 'exim4', 'opendkim', 'dkimverify'].map(needsProgram).includes(true) ||
  needsRoot('a mail server')

describe.skipIf(isAbsent)('real receivers', () => {
  let internet: Internet
  let valija: Valija
  let milter: Milter
  let postfix: MailServer
  let exim: MailServer
  let records: DkimRecords
  /** Recipients of every mail that a server was to get. */
  const expected: string[] = []

  beforeAll(async () => {
    internet = await startInternet()
    const env = { VALIJA_RETRY_SCHEDULE: '1s' }
    valija = await startValija({ queue: 'postgres', delivery: 'mx', internet, env })
    records = await signFor('signed.test')
    milter = await startOpendkimMilter('mx.postfix.test', records)
    const place = () => ({ host: internet.address(), port: internet.port, maxMailBytes: MAX_MAIL_BYTES })
    // At another address the same server knows nothing but the SMTP of 1982 and STARTTLS.
    const old = internet.address()
    const withoutKeywords = {
      [old]: 'pipelining, size, 8bitmime, smtputf8, chunking, dsn, enhancedstatuscodes',
    }
    const filter = milter.address
    postfix = await startPostfix({
      ...place(),
      hostName: 'mx.postfix.test',
      milter: filter,
      withoutKeywords,
    })
    exim = await startExim({ ...place(), hostName: 'mx.exim.test' })
    const hosts = { 'postfix.test': postfix.host, 'exim.test': exim.host, 'old.test': old }
    for (const [domain, host] of Object.entries(hosts)) {
      internet.dns.set(`mx.${domain}`, 'A', [host])
      internet.dns.set(domain, 'MX', [`10 mx.${domain}`])
    }
  })
  afterAll(async () => {
    await valija?.stop()
    await Promise.all([postfix?.stop(), exim?.stop()])
    await milter?.stop()
    await internet?.stop()
  })

  /** Makes keys for a domain of the tenant; gives what would be in the DNS. */
  async function signFor(name: string): Promise<DkimRecords> {
    type View = { records: { purpose: string; name: string; value: string }[] }
    const as = { 'valija-tenant': valija.tenantId }
    const made = await valija.admin<View>('POST', '/domains', { name, vouched: true, dkim: true }, as)
    const dkim = expectStatus(made, 201).json.records.filter(({ purpose }) => purpose === 'dkim')
    return Object.fromEntries(dkim.map(({ name: host, value }) => [host, value]))
  }

  const mail = (fields: Record<string, unknown>) => valija.mail({ from: 'Acme <hi@signed.test>', ...fields })
  const base64 = (text: string | Buffer) => Buffer.from(text).toString('base64')
  const stored = async () => (await Promise.all([postfix.mails(), exim.mails()])).flat()
  /** What is in both queues once nothing is: a mail is in its Maildir before its file leaves the queue. */
  const queuesEmptied = async () => {
    const queued = async () => [await postfix.queued(), await exim.queued()]
    await until('the queues are empty', async () => (await queued()).every((count) => count === 0))
    return queued()
  }
  /** What is sent, as it has to arrive. */
  const rawOf = async (id: string) => {
    const answer = await fetch(`${valija.url}/messages/${id}/raw`, {
      headers: { authorization: `Bearer ${valija.tenantKey}` },
    })
    const raw = Buffer.from(await answer.arrayBuffer())
    // DATA ends every last line (RFC 5321 §4.1.1.4).
    return raw.at(-1) === 0x0a ? raw : Buffer.concat([raw, Buffer.from('\r\n')])
  }

  /** The mail that was stored for this address, and is the only one. */
  async function arrived(to: string): Promise<StoredMail> {
    const mine = await until(`a mail for ${to}`, async () => {
      const found = (await stored()).filter((one) => one.to === to)
      return found.length > 0 && found
    })
    expect(mine).toHaveLength(1)
    return mine[0]!
  }

  /** Sends to one recipient, waits for the end, and gives what there is to see of it. */
  async function send(body: Record<string, unknown>) {
    const id = await post(valija.api, body)
    const { status, recipients } = await untilEnded(valija.api, id, 60_000)
    const attempts = await readAttempts(valija.api, id)
    if (status === 'delivered') expected.push(...recipients.map(({ email }) => email))
    const said = attempts.flatMap(({ transcript }) =>
      transcript.filter(({ from }) => from === 'client').map(({ line }) => line),
    )
    return { id, status, recipient: recipients[0]!, attempts, said }
  }

  test(`of ${MAILS} mails each arrives once, over TLS, octet by octet, and every signature holds`, async () => {
    const contents = [
      { text: 'Plain.\n.\n..\nFrom here\n' },
      { text: 'Grüße\r\n', html: `<p>${'ä'.repeat(2_000)}</p>` },
      { attachments: [{ filename: 'ü.bin', content: base64(Buffer.alloc(60_000, 'valija')) }] },
      { headers: { 'List-Unsubscribe': '<https://a.test/u>' }, subject: `Größe ${'x'.repeat(200)}` },
    ]
    const ids = await inParallel(MAILS / RECIPIENTS_EACH, 8, async (i) => {
      const to = Array.from({ length: RECIPIENTS_EACH }, (_, n) =>
        n % 2 === 0 ? `m${i}.${n}@postfix.test` : `m${i}.${n}@exim.test`,
      )
      expected.push(...to)
      return await post(valija.api, mail({ to, ...contents[i % contents.length] }))
    })
    for (const id of ids)
      expect(await untilEnded(valija.api, id, 120_000)).toMatchObject({ status: 'delivered' })
    const mails = [...(await postfix.stored(MAILS / 2)), ...(await exim.stored(MAILS / 2))]

    expect([...countEach(mails.map(({ to }) => to))].filter(([, count]) => count !== 1)).toEqual([])
    expect(mails.map(({ to }) => to).sort()).toEqual([...expected].sort())
    expect(mails.filter((one) => !isOverTls(one)).map(({ trace }) => trace)).toEqual([])
    const sent = new Map<string, Buffer>()
    for (const id of ids) {
      const raw = await rawOf(id)
      sent.set(messageIdOf(raw), raw)
    }
    expect(mails.filter(({ raw }) => !sent.get(messageIdOf(raw))?.equals(raw)).map(({ to }) => to)).toEqual(
      [],
    )

    const texts = [...sent.values()]
    for (const verdicts of [await verifyByMailauth(texts, records), await verifyByDkimpy(texts, records)]) {
      expect(verdicts).toEqual(texts.map(() => bothPass))
    }
    const filtered = mails.filter(({ to }) => to.endsWith('@postfix.test'))
    expect(filtered.map(opendkimVerdicts)).toEqual(filtered.map(() => ['pass', 'pass']))
    expect(await queuesEmptied()).toEqual([0, 0])
  }, 300_000)

  test('one connection carries many of them', async () => {
    const connections = (await postfix.log()).filter((line) => /postfix\/smtpd.* connect from /.test(line))
    expect(connections.length).toBeGreaterThan(0)
    // At most 20 at a time to a private site; a few that ended early come on top.
    expect(connections.length).toBeLessThanOrEqual(40)
  })

  describe('nothing that is sent becomes a second mail', () => {
    const header = (id: string) =>
      `From: hi@signed.test\r\nSubject: =?utf-8?b?DQouDQo=?=\r\nMessage-ID: <${id}@signed.test>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\n`
    const both = (name: string) => [`${name}@postfix.test`, `${name}@exim.test`]

    /** Sends to one recipient at each server, and sees it there as it was sent. */
    async function sendToBoth(name: string, fields: Record<string, unknown>) {
      const sent = await send({ from: 'hi@signed.test', to: both(name), ...fields })
      expect(sent.status).toBe('delivered')
      const raw = await rawOf(sent.id)
      for (const to of both(name)) expect((await arrived(to)).raw.equals(raw)).toBe(true)
      return { ...sent, raw }
    }

    test('octets that nobody tidied up do, with this Postfix', async () => {
      const to = 'control@postfix.test'
      const lines = ['EHLO a.test', 'MAIL FROM:<a@a.test>', `RCPT TO:<${to}>`, 'DATA']
      const smuggled = `MAIL FROM:<b@evil.test>\r\nRCPT TO:<${to}>\r\nDATA\r\nSubject: second\r\n\r\nx`
      const socket = net.connect(postfix.port, postfix.host)
      socket
        .resume()
        .write(`${lines.join('\r\n')}\r\nSubject: first\r\n\r\nx\n.\r\n${smuggled}\r\n.\r\nQUIT\r\n`)
      const mails = await until('both mails', async () => {
        const mine = (await postfix.mails()).filter((one) => one.to === to)
        return mine.length === 2 && mine
      })
      expect(mails.map(({ from }) => from).sort()).toEqual(['a@a.test', 'b@evil.test'])
      expected.push(to, to)
      socket.destroy()
    })

    test('from text, html and attachments', async () => {
      await inParallel(ENDINGS.length, 4, async (i) => {
        const hostile = `.\r\nbegin${ENDINGS[i]}${SECOND_MAIL}${ENDINGS[i]}end\n.`
        const file = { filename: 'a.txt', content: base64(hostile), content_type: 'text/plain' }
        const fields = { subject: 'x', text: hostile, html: hostile, attachments: [file] }
        await sendToBoth(`content${i}`, fields)
        await sendToBoth(`plain${i}`, { subject: 'x', text: hostile })
      })
    })

    test('from a raw mail, by DATA', async () => {
      const taken = await inParallel(ENDINGS.length, 4, async (i) => {
        const raw = `${header(`raw${i}`)}begin${ENDINGS[i]}${SECOND_MAIL}${ENDINGS[i]}end`
        const body = { from: 'hi@signed.test', to: both(`raw${i}`), raw: base64(raw) }
        // A carriage return alone means something else to everybody: the mail is refused.
        if (/\r(?!\n)/.test(raw)) return expectStatus(await valija.api('POST', '/send', body), 400) && false
        await sendToBoth(`raw${i}`, { raw: base64(raw) })
        return true
      })
      expect(taken.filter(Boolean).length).toBeGreaterThan(5)
    })

    test('from a raw mail with an end at every place where our writes may be cut', async () => {
      const unit = '\r\n.\r\nMAIL FROM:<a@evil.test>\r\nRCPT TO:<victim@evil.test>\r\nDATA\r\n\r\n.\r\n.\r\n'
      for (const [i, shift] of [0, 1, 2, 3].entries()) {
        const raw = `${header(`cut${i}`)}${'x'.repeat(shift)}${unit.repeat(8_000)}`
        const { said } = await sendToBoth(`cut${i}`, { raw: base64(raw) })
        expect(said.filter((line) => line === '.')).toHaveLength(2)
      }
    })

    test('from a raw mail in chunks, which are no lines', async () => {
      const hostile = ENDINGS.filter((ending) => !/\r(?!\n)/.test(ending)).map((end) => end + SECOND_MAIL)
      const raw = `${header('chunks')}${`${'x'.repeat(900)}\r\n${hostile.join('')}`.repeat(1_100)}`
      const { said } = await sendToBoth('chunks', { raw: base64(raw) })
      expect(said.filter((line) => /^BDAT \d+ LAST$/.test(line))).toHaveLength(2)
    })

    test('from subjects, names, header fields and file names: they are refused', async () => {
      const endings = ENDINGS.filter((ending) => [...ending].some((character) => character < ' '))
      await inParallel(endings.length, 4, async (i) => {
        const bad = `a${endings[i]}${SECOND_MAIL}`
        for (const fields of [
          { subject: bad },
          { from: { email: 'hi@signed.test', name: bad } },
          { headers: { 'X-A': bad } },
          { attachments: [{ filename: bad, content: 'eA==' }] },
          { attachments: [{ filename: 'a', content: 'eA==', content_id: bad }] },
          { to: `a@postfix.test>${bad}` },
        ]) {
          expectStatus(await valija.api('POST', '/send', mail({ to: 'a@postfix.test', ...fields })), 400)
        }
      })
    })
  })

  describe('extensions of SMTP', () => {
    test('PIPELINING: the envelope goes in one piece, and line by line where it is not offered', async () => {
      const linesOf = async (to: string) => {
        const { status, attempts } = await send(mail({ to }))
        expect(status).toBe('delivered')
        const from = attempts[0]!.transcript.findIndex(({ line }) => line.startsWith('MAIL'))
        return attempts[0]!.transcript.slice(from, from + 6).map(({ from: who }) => who)
      }
      for (const to of ['piped@postfix.test', 'piped@exim.test']) {
        expect(await linesOf(to)).toEqual(['client', 'client', 'client', 'server', 'server', 'server'])
      }
      expect(await linesOf('inturn@old.test')).toEqual([
        'client',
        'server',
        'client',
        'server',
        'client',
        'server',
      ])
    })

    test.each(['postfix.test', 'exim.test'])(
      'CHUNKING: %s takes a mail of 3 MB in pieces',
      async (domain) => {
        const content = Buffer.from(Array.from({ length: 2_200_000 }, (_, i) => (i * 31) % 251))
        const to = `large@${domain}`
        const { id, status, said } = await send(
          mail({ to, attachments: [{ filename: 'a.bin', content: base64(content) }] }),
        )
        expect(status).toBe('delivered')
        expect(said.filter((line) => line.startsWith('BDAT')).length).toBeGreaterThan(2)
        const { raw } = await arrived(to)
        expect(raw.equals(await rawOf(id))).toBe(true)
        expect((await verifyByMailauth([raw], records))[0]).toEqual(bothPass)
      },
    )

    test('without CHUNKING the same goes by DATA', async () => {
      const content = base64(Buffer.alloc(2_200_000, 'valija.\r\n.\r\n'))
      const { id, status, said } = await send(
        mail({ to: 'large@old.test', attachments: [{ filename: 'a.bin', content }] }),
      )
      expect([status, said.at(-1)]).toEqual(['delivered', '.'])
      expect((await arrived('large@old.test')).raw.equals(await rawOf(id))).toBe(true)
    })

    describe('SIZE', () => {
      const tooLarge = { attachments: [{ filename: 'a.bin', content: base64(Buffer.alloc(MAX_MAIL_BYTES)) }] }

      test.each(['postfix.test', 'exim.test'])('%s is not offered what it does not take', async (domain) => {
        const { status, recipient, said } = await send(mail({ to: `huge@${domain}`, ...tooLarge }))
        expect([status, recipient.reason]).toEqual(['failed', 'size'])
        expect(said.filter((line) => /^(?:MAIL|RCPT|DATA|BDAT)/.test(line))).toEqual([])
      })

      test('a server that does not say so refuses at the end, with the same result', async () => {
        const { status, recipient } = await send(mail({ to: 'huge@old.test', ...tooLarge }))
        expect([status, recipient.reason, recipient.enhanced_status]).toEqual(['bounced', 'size', '5.3.4'])
      })
    })

    describe('8BITMIME', () => {
      const raw = (id: string) =>
        base64(`From: hi@signed.test\r\nSubject: x\r\nMessage-ID: <${id}@signed.test>\r\n\r\nGrüße, ÿ\r\n`)

      test.each(['postfix.test', 'exim.test'])('%s gets 8-bit text as it is', async (domain) => {
        const to = `eight@${domain}`
        const { id, status, said } = await send({ from: 'hi@signed.test', to, raw: raw(domain) })
        expect([status, said.some((line) => / BODY=8BITMIME/.test(line))]).toEqual(['delivered', true])
        const stored = await arrived(to)
        expect(stored.raw.equals(await rawOf(id))).toBe(true)
        expect((await verifyByMailauth([stored.raw], records))[0]).toEqual(bothPass)
      })

      test('a server without it gets none, and the reason is told', async () => {
        const { status, recipient } = await send({
          from: 'hi@signed.test',
          to: 'eight@old.test',
          raw: raw('old'),
        })
        expect([status, recipient.reason]).toEqual(['failed', 'protocol'])
        expect(recipient.reply).toMatch(/8BITMIME/)
      })
    })

    describe('SMTPUTF8', () => {
      test.each(['jörg@postfix.test', '用户@exim.test'])('%s gets mail', async (to) => {
        const { id, status, said } = await send(mail({ to }))
        expect(status).toBe('delivered')
        expect(said.find((line) => line.startsWith('MAIL'))).toContain(' SMTPUTF8')
        const stored = await arrived(to)
        expect(stored.raw.equals(await rawOf(id))).toBe(true)
        expect((await verifyByMailauth([stored.raw], records))[0]).toEqual(bothPass)
      })

      test('a server without it gets none, and the reason is told', async () => {
        const { status, recipient, said } = await send(mail({ to: 'jörg@old.test' }))
        expect([status, recipient.reason]).toEqual(['failed', 'protocol'])
        expect(recipient.reply).toMatch(/SMTPUTF8/)
        expect(said.some((line) => line.startsWith('MAIL'))).toBe(false)
      })
    })

    test('DSN: what a bounce would say is that it is ours, and only a failure is told', async () => {
      const { id, said } = await send(mail({ to: 'dsn@postfix.test' }))
      expect(said.find((line) => line.startsWith('MAIL'))).toContain(` RET=HDRS ENVID=${id.slice(4)}`)
      expect(said.find((line) => line.startsWith('RCPT'))).toContain(
        ' NOTIFY=FAILURE ORCPT=rfc822;dsn@postfix.test',
      )
      await arrived('dsn@postfix.test')
    })
  })

  test('counts as many mails there as were sent, and knows of no other', async () => {
    const mails = await until('all', async () => {
      const all = await stored()
      return all.length >= expected.length && all
    })
    expect(mails.map(({ to }) => to).sort()).toEqual([...expected].sort())
    expect(await queuesEmptied()).toEqual([0, 0])
    const logs = [...(await postfix.log()), ...(await exim.log())]
    const faults = logs.filter((line) => /victim|evil\.test|warning|panic/i.test(line))
    // The control, and how Postfix tells of a mail that grew too large.
    const known = /b@evil\.test|queue file size limit|mail_stream_cleanup/
    expect(faults.filter((line) => !known.test(line))).toEqual([])
  })
})

const messageIdOf = (raw: Buffer) => /^Message-ID: (\S+)/m.exec(raw.toString('latin1'))?.[1] ?? ''

/** RFC 3848: received by ESMTPS; Postfix says so in a comment besides. */
function isOverTls({ trace }: StoredMail): boolean {
  const [, received = ''] = trace.find(([name]) => name === 'received') ?? []
  return /with (?:UTF8SMTPS|ESMTPS|esmtps|utf8esmtps)\b/.test(received)
}

/** What OpenDKIM said of each signature. */
function opendkimVerdicts({ trace }: StoredMail): string[] {
  const [, results = ''] = trace.find(([name]) => name === 'authentication-results') ?? []
  return [...results.matchAll(/\bdkim=(\w+)/g)].map(([, verdict]) => verdict!)
}
