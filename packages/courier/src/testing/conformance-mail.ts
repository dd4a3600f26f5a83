/** Session conformance: mails that arrive, refusals, leases, and bodies as they are. */

import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Phase, TransactionReport } from '@valija/core'
import { describe, expect, test } from 'vitest'
import { defaultFeatures, type PeerScript } from './scripted-peer.ts'
import {
  always,
  envelopeTo,
  expectReport,
  mail,
  makeCertificate,
  queued,
  type SessionBench,
} from './session-bench.ts'

/** What SMTP makes of a text: lines that end in CRLF, the last one too. */
function asLines(text: string): string {
  const lines = text.replace(/\r\n|\r|\n/g, '\r\n')
  return lines.endsWith('\r\n') ? lines : `${lines}\r\n`
}

export function describeSuccess(bench: SessionBench): void {
  describe('success', () => {
    test('a mail arrives, and the report says how', async () => {
      const report = await bench.attempt({}, { envelope: { envid: 'msg_1=x+y' } })
      expectReport(report, queued)
      expect(report).toMatchObject({
        route: 'mx',
        host: '127.0.0.1',
        ip: '127.0.0.1',
        port: bench.peer.port,
        sourceIp: '127.0.0.1',
        tls: null,
        sizeBytes: mail.length,
        isSimulated: false,
      })
      expect(bench.peer.mails).toEqual([
        {
          mailLine: `MAIL FROM:<b-1@us.example> SIZE=${mail.length} RET=HDRS ENVID=msg_1+3Dx+2By`,
          rcptLines: ['RCPT TO:<ann@example.com> NOTIFY=FAILURE'],
          body: mail.toString(),
        },
      ])
    })

    test('the transcript holds each command and reply, and nothing of the body', async () => {
      const report = await bench.attempt({ features: [] })
      expect(report.transcript.map(({ from, line }) => `${from}: ${line}`)).toEqual([
        'server: 220 peer.example ESMTP',
        'client: EHLO us.example',
        'server: 250 peer.example',
        'client: MAIL FROM:<b-1@us.example>',
        'server: 250 2.1.0 sender ok',
        'client: RCPT TO:<ann@example.com>',
        'server: 250 2.1.5 recipient ok',
        'client: DATA',
        'server: 354 go ahead',
        'client: .',
        'server: 250 2.0.0 queued as 42',
      ])
      const times = report.transcript.map(({ t_ms }) => t_ms)
      expect(times).toEqual(times.toSorted((a, b) => a - b))
    })

    test('a session carries many mails on one connection, each with its own transcript', async () => {
      const used = await bench.begin({})
      const reports: TransactionReport[] = []
      const warnings: Error[] = []
      const keep = (warning: Error) => warnings.push(warning)
      process.on('warning', keep)
      for (let i = 0; i < 50; i += 1) {
        reports.push(await used.send(envelopeTo(`r${i}@example.com`), mail, always, { route: 'mx' }))
      }
      expect(bench.peer.connections).toHaveLength(1)
      expect(bench.peer.mails.map(({ rcptLines }) => rcptLines[0])).toEqual(
        reports.map((_, i) => `RCPT TO:<r${i}@example.com> NOTIFY=FAILURE`),
      )
      expect(reports.every((report) => report.reply?.code === 250)).toBe(true)
      expect(reports[1]?.transcript).toHaveLength(8)
      expect(reports[1]?.timingsMs).toMatchObject({ dns: 0, connect: 0, tls: 0, ehlo: 0 })
      expect(used.sent).toBe(50)
      process.removeListener('warning', keep)
      expect(warnings).toEqual([])
    })

    test('close says QUIT', async () => {
      const used = await bench.begin({})
      await used.close()
      expect(bench.peer.connections[0]?.at(-1)).toBe('QUIT')
      expect(used.isUsable).toBe(false)
    })

    test('close ends although the peer ignores QUIT', async () => {
      const used = await bench.begin({ quit: 'SILENCE' })
      await used.close()
      expect(used.isUsable).toBe(false)
    })

    test('close in the middle of a mail ends it as lost', async () => {
      const used = await bench.begin({ features: [], rcpt: 'SILENCE' })
      const sending = used.send(envelopeTo('ann@example.com'), mail, always, { route: 'mx' })
      await expect.poll(() => bench.peer.connections[0]?.length).toBe(3)
      await used.close()
      expectReport(await sending, { phase: 'rcpt', failure: 'connection_lost' })
    })

    test('the attempt counts from when its caller says it began', async () => {
      const used = await bench.begin({})
      await used.send(envelopeTo('ann@example.com'), mail, always, { route: 'mx' })
      const startedAtMs = Date.now() - 5_000
      const report = await used.send(envelopeTo('ann@example.com'), mail, always, {
        route: 'mx',
        startedAtMs,
      })
      expect(Math.abs(report.startedAt.getTime() - startedAtMs)).toBeLessThan(50)
      expect(report.durationMs).toBeGreaterThanOrEqual(4_990)
      expect(report.transcript[0]?.t_ms).toBeGreaterThanOrEqual(4_990)
    })

    test('without EHLO, HELO does', async () => {
      let greetings = 0
      const report = await bench.attempt({
        get ehlo() {
          greetings += 1
          return greetings === 1 ? '502 5.5.1 what?' : '250 peer.example'
        },
      })
      expectReport(report, queued)
    })

    test.each(["o'hara+x=y@example.com", '!#$%&*-/?^_`{|}~@example.com', `${'l'.repeat(64)}@example.com`])(
      'the odd address %s is told to the peer as it is',
      async (address) => {
        expectReport(await bench.attempt({ features: [] }, { envelope: { to: address } }), queued)
        expect(bench.peer.mails[0]?.rcptLines).toEqual([`RCPT TO:<${address}>`])
      },
    )

    test('the null sender is an empty path', async () => {
      await bench.attempt({ features: [] }, { envelope: { from: '' } })
      expect(bench.peer.mails[0]?.mailLine).toBe('MAIL FROM:<>')
    })
  })
}

export function describeRefusals(bench: SessionBench): void {
  describe('refusals', () => {
    for (const features of [defaultFeatures, []]) {
      const how = features.length > 0 ? 'pipelined' : 'step by step'
      test.each<[keyof PeerScript & string, Phase]>([
        ['greeting', 'greeting'],
        ['mail', 'mail'],
        ['rcpt', 'rcpt'],
        ['data', 'data'],
        ['dot', 'body'],
      ])(`a 4xx or 5xx at %s decides, ${how}`, async (step, phase) => {
        for (const reply of ['451 4.3.0 Later', '554 5.7.1 Go away', '421 4.7.0 Too much']) {
          expectReport(await bench.attempt({ features, [step]: reply }), { phase, reply })
        }
      })

      test(`the session goes on after a refusal, ${how}`, async () => {
        let recipients = 0
        const used = await bench.begin({
          features,
          get rcpt() {
            recipients += 1
            return recipients === 1 ? '550 5.1.1 No such user' : '250 ok'
          },
          get data() {
            return recipients === 1 ? '503 5.5.1 no recipient' : '354 go'
          },
        })
        const first = await used.send(envelopeTo('gone@example.com'), mail, always, { route: 'mx' })
        expectReport(first, { phase: 'rcpt', reply: '550 5.1.1 No such user' })
        expect(used.isUsable).toBe(true)
        const second = await used.send(envelopeTo('here@example.com'), mail, always, { route: 'mx' })
        expectReport(second, queued)
        expect(bench.peer.connections).toHaveLength(1)
        expect(bench.peer.connections[0]).toContain('RSET')
        expect(bench.peer.mails).toHaveLength(1)
      })
    }

    test('a refused EHLO and HELO decide', async () => {
      expectReport(await bench.attempt({ ehlo: '550 5.7.1 not you' }), {
        phase: 'ehlo',
        reply: '550 5.7.1 not you',
      })
    })

    test('a peer that takes DATA for a refused recipient is given no word of the mail', async () => {
      const report = await bench.attempt({ rcpt: '550 5.1.1 No' })
      expectReport(report, { phase: 'rcpt', reply: '550 5.1.1 No' })
      expect(bench.peer.mails.map(({ body }) => body)).toEqual([''])
    })

    test('421 ends the session', async () => {
      await bench.attempt({ rcpt: '421 4.7.0 Enough' })
      expect(bench.session?.isUsable).toBe(false)
    })

    test('421 to an idle session ends it', async () => {
      const used = await bench.begin({ dot: { reply: '250 ok\r\n421 4.4.2 idle', thenClose: true } })
      await used.send(envelopeTo('ann@example.com'), mail, always, { route: 'mx' })
      expect(used.isUsable).toBe(false)
    })

    test('a mail larger than SIZE is not offered', async () => {
      const report = await bench.attempt({ features: ['SIZE 10'] })
      expectReport(report, { phase: 'mail', failure: 'too_large' })
      expect(report.detail).toContain('at most 10')
      expect(bench.peer.connections[0]).toEqual(['EHLO us.example'])
    })

    test('an address beyond ASCII needs SMTPUTF8', async () => {
      const to = 'jürgen@example.com'
      const report = await bench.attempt({ features: [] }, { envelope: { to, needsSmtpUtf8: true } })
      expectReport(report, { phase: 'mail', failure: 'capability' })
      expectReport(
        await bench.attempt({ features: ['SMTPUTF8', 'SIZE'] }, { envelope: { to, needsSmtpUtf8: true } }),
        queued,
      )
      expect(bench.peer.mails[0]).toMatchObject({
        mailLine: `MAIL FROM:<b-1@us.example> SMTPUTF8 SIZE=${mail.length}`,
        rcptLines: ['RCPT TO:<jürgen@example.com>'],
      })
    })

    test('a mail with 8-bit bytes needs 8BITMIME', async () => {
      const bytes = Buffer.from('Subject: x\r\n\r\nGrüße\r\n')
      const report = await bench.attempt({ features: ['SIZE'] }, { bytes })
      expectReport(report, { phase: 'mail', failure: 'capability' })
      expect(report.detail).toContain('8BITMIME')
      expect(bench.peer.connections[0]).toEqual(['EHLO us.example'])
    })

    test.each([
      'a@x.example>\r\nRCPT TO:<eve@x.example',
      'a b@x.example',
      'a@x.example\n',
      'a>@x.example',
      '"a"@x',
    ])('an envelope with %j at either place gets into no command', async (address) => {
      for (const envelope of [{ from: address }, { to: address }]) {
        expectReport(await bench.attempt({}, { envelope }), { phase: 'mail', failure: 'compose' })
        await bench.session?.close()
        expect(bench.peer.connections[0]).toEqual(['EHLO us.example', 'QUIT'])
      }
    })
  })
}

export function describeParameters(bench: SessionBench): void {
  describe('parameters of MAIL and RCPT', () => {
    test('DSN asks for the header only, of failures only, with our id and the original recipient', async () => {
      const envelope = { envid: 'msg_1=x', orcpt: 'a+b=c@example.com' }
      await bench.attempt({ features: ['DSN'] }, { envelope })
      expect(bench.peer.mails[0]).toMatchObject({
        mailLine: 'MAIL FROM:<b-1@us.example> RET=HDRS ENVID=msg_1+3Dx',
        rcptLines: ['RCPT TO:<ann@example.com> NOTIFY=FAILURE ORCPT=rfc822;a+2Bb+3Dc@example.com'],
      })
      await bench.attempt({ features: [] }, { envelope })
      expect(bench.peer.mails[0]).toMatchObject({
        mailLine: 'MAIL FROM:<b-1@us.example>',
        rcptLines: ['RCPT TO:<ann@example.com>'],
      })
    })

    test('the null sender is not notified, and an original recipient beyond ASCII is left out', async () => {
      const envelope = { from: '', orcpt: 'jürgen@example.com' }
      await bench.attempt({ features: ['DSN'] }, { envelope })
      expect(bench.peer.mails[0]).toMatchObject({
        mailLine: 'MAIL FROM:<> RET=HDRS',
        rcptLines: ['RCPT TO:<ann@example.com>'],
      })
    })

    test('REQUIRETLS is said where it is asked for and offered, on an encrypted connection', async () => {
      const tls = await makeCertificate('peer.example')
      const envelope = { requiresTls: true }
      const mailLine = () => bench.peer.mails[0]?.mailLine
      await bench.attempt({ features: ['STARTTLS', 'REQUIRETLS'], tls }, { envelope })
      expect(mailLine()).toBe('MAIL FROM:<b-1@us.example> REQUIRETLS')
      await bench.attempt({ features: ['STARTTLS', 'REQUIRETLS'], tls })
      expect(mailLine()).toBe('MAIL FROM:<b-1@us.example>')
      await bench.attempt({ features: ['REQUIRETLS'] }, { envelope })
      expect(mailLine()).toBe('MAIL FROM:<b-1@us.example>')
    })
  })
}

export function describeLease(bench: SessionBench): void {
  describe('a lease that is lost', () => {
    test.each([
      [0, 'mail', 'before MAIL'],
      [1, 'data', 'before the first byte'],
      [2, 'data', 'before the final dot'],
    ] as const)('after %i looks ends at %s, nothing uncertain', async (good, phase, when) => {
      let looks = 0
      const guard = { isStillMine: () => looks++ < good }
      const report = await bench.attempt({}, { guard })
      expectReport(report, { phase, failure: 'lease_lost' })
      expect(report.detail).toContain(when)
      expect(looks).toBe(good + 1)
      expect(bench.session?.isUsable).toBe(good === 0)
      await bench.session?.close()
      expect(bench.peer.mails).toHaveLength(0)
      if (good < 2) expect(bench.peer.bodyBytes).toBe(0)
    })
  })

  describe('what is waited for before the final dot', () => {
    const large = Buffer.from(`Subject: big\r\n\r\n${'x'.repeat(76).concat('\r\n').repeat(1_000)}`)
    test.each([
      ['a small mail', mail],
      ['a large one', large],
    ])('of %s, is over before the peer has the whole', async (_, bytes) => {
      let arrivedBefore = -1
      const beforeEnd = async () => {
        for (let turn = 0; turn < 1_000; turn += 1) await nextTurn()
        arrivedBefore = bench.peer.mails.length
      }
      const report = await bench.attempt({}, { bytes, guard: { isStillMine: () => true, beforeEnd } })
      expect(report).toMatchObject({ phase: 'body', failure: null })
      expect([arrivedBefore, bench.peer.mails.length]).toEqual([0, 1])
    })

    test('and the lease is looked at once more after it', async () => {
      let isMine = true
      const beforeEnd = async () => {
        isMine = false
      }
      const report = await bench.attempt({}, { guard: { isStillMine: () => isMine, beforeEnd } })
      expectReport(report, { phase: 'data', failure: 'lease_lost' })
      expect(bench.peer.mails).toHaveLength(0)
    })
  })
}

export function describeBody(bench: SessionBench): void {
  describe('the body', () => {
    const cases: [string, string][] = [
      ['a dot alone', '.\r\n'],
      ['dots at the beginning of lines', '.a\r\n..b\r\n.\r\n...\r\n'],
      ['no line end at the end', 'x'],
      ['a dot at the end', 'x\r\n.'],
      ['bare LF dot LF', 'x\n.\nMAIL FROM:<eve@x>\r\n'],
      ['bare LF dot CRLF', 'x\n.\r\nMAIL FROM:<eve@x>\r\n'],
      ['CRLF dot bare LF', 'x\r\n.\nMAIL FROM:<eve@x>\r\n'],
      ['bare CR dot CR', 'x\r.\rMAIL FROM:<eve@x>\r\n'],
      ['CR dot CRLF', 'x\r.\r\nMAIL FROM:<eve@x>\r\n'],
      ['CRLF dot CR', 'x\r\n.\rMAIL FROM:<eve@x>\r\n'],
      ['CR CRLF dot CRLF', 'x\r\r\n.\r\nMAIL FROM:<eve@x>\r\n'],
      ['NUL', 'x\r\n.\0\r\ny\r\n'],
      ['an empty body', ''],
      ['bytes beyond ASCII', 'Grüße 📭\r\n'],
      ['a lone CR at the end', 'x\r'],
    ]
    test.each(cases)('%s arrives as one mail with the same content', async (_, text) => {
      const bytes = Buffer.from(`Subject: x\r\n\r\n${text}`)
      const report = await bench.attempt({}, { bytes })
      expectReport(report, queued)
      await bench.session?.close()
      expect(bench.peer.mails).toHaveLength(1)
      expect(bench.peer.connections[0]).toHaveLength(5)
      const arrived = Buffer.from(bench.peer.mails[0]?.body ?? '', 'latin1').toString()
      expect(arrived).toBe(asLines(bytes.toString()))
    })

    test('a mail of 1 MB arrives whole', async () => {
      const lines = Array.from(
        { length: 20_000 },
        (_, i) => `${i % 7 === 0 ? '.' : ''}line ${i} ${'x'.repeat(40)}`,
      )
      const bytes = Buffer.from(`Subject: big\r\n\r\n${lines.join('\r\n')}\r\n`)
      const report = await bench.attempt({}, { bytes })
      expectReport(report, queued)
      expect(bench.peer.mails[0]?.body === bytes.toString()).toBe(true)
    })

    test('a dot that begins a line is stuffed wherever the mail is cut into pieces', async () => {
      for (const length of [262_142, 262_141, 262_143]) {
        const bytes = Buffer.from(`${'x'.repeat(length)}\r\n.dot\r\n${'y'.repeat(300_000)}\r\n`)
        await bench.attempt({}, { bytes })
        expect(bench.peer.mails[0]?.body === bytes.toString()).toBe(true)
      }
    })

    test('8BITMIME is said where it is true and offered', async () => {
      await bench.attempt({ features: ['8BITMIME'] }, { bytes: Buffer.from('Subject: x\r\n\r\nGrüße\r\n') })
      expect(bench.peer.mails[0]?.mailLine).toBe('MAIL FROM:<b-1@us.example> BODY=8BITMIME')
    })
  })
}
