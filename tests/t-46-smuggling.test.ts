/**
 * No content that is sent becomes a command or a second mail at the other side (SMTP smuggling), however it ends its lines: over
 * a relay and straight to an exchanger, whole and in chunks. Whoever reads more loosely than SMTP allows finds nothing to
 * read loosely.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ByteSink, startByteSink } from './support/byte-sink.ts'
import { type Internet, startInternet } from './support/internet.ts'
import { readByPostalMime } from './support/mail-reader.ts'
import { type AcceptedMail, endOfMail, forEachOf, readAll, sendMail } from './support/messages.ts'
import { ENDINGS, SECOND_MAIL } from './support/smuggling.ts'
import { expectStatus, startValija, type Valija } from './support/valija.ts'

/** To a relay; and straight to exchangers, with what they take offered and with the least. */
const WAYS: [way: string, isDirect: boolean, extensions: string[]][] = [
  ['a relay', false, ['PIPELINING', '8BITMIME', 'SMTPUTF8']],
  ['an exchanger', true, ['PIPELINING', '8BITMIME', 'SMTPUTF8', 'SIZE 50000000', 'DSN', 'CHUNKING']],
  ['an exchanger that offers little', true, ['8BITMIME']],
]

const countEnds = (text: string) => text.split('\r\n.\r\n').length - 1

describe.each(WAYS)('to %s no content becomes a command or a second mail', (_, isDirect, extensions) => {
  let internet: Internet
  let sink: ByteSink
  let valija: Valija

  beforeAll(async () => {
    internet = await startInternet()
    sink = await startByteSink({ port: internet.port, extensions })
    internet.dns.set('example.org', 'A', [sink.host])
    valija = await startValija({
      queue: 'postgres',
      ...(isDirect ? { delivery: 'mx', internet } : { delivery: 'smarthost', smarthost: sink }),
    })
  })
  afterAll(async () => {
    await valija?.stop()
    await sink?.stop()
    await internet?.stop()
  })

  const plain = (text: string | null): string => (text ?? '').replace(/\r\n?/g, '\n').trimEnd()
  const b64 = (text: string): string => Buffer.from(text).toString('base64')
  let posted = 0

  async function send(body: Record<string, unknown>) {
    posted += 1
    const { id } = await sendMail(valija.api, valija.mail(body))
    const message = await endOfMail(valija.api, id)
    expect(message.status).toBe('delivered')
    const mine = sink.mails.filter((mail) => mail.raw.includes(`Message-ID: ${message.rfc_message_id}\r\n`))
    expect(mine).toHaveLength(1)
    return mine[0]!
  }

  test('from text, html or attachments, and what arrives has equal content', async () => {
    await forEachOf(ENDINGS, 4, async (ending) => {
      const hostile = `.\r\nbegin${ending}${SECOND_MAIL}${ending}end\n.`
      const file = { filename: 'a.txt', content: b64(hostile), content_type: 'text/plain' }
      const mail = await send({ text: hostile, html: hostile, attachments: [file] })
      const read = await readByPostalMime(mail.raw)
      expect(plain(read.text)).toBe(plain(hostile))
      expect(plain(read.html)).toBe(plain(hostile))
      expect(read.attachments[0]).toMatchObject({ filename: 'a.txt', size: Buffer.byteLength(hostile) })
    })
  })

  test('from a body that is dots, or begins or ends like the end', async () => {
    for (const text of ['.', '.\r\n', '..', '\r\n.\r\n', '\n.', '.\r', '\r', '\n', '']) {
      const { text: read } = await readByPostalMime((await send({ text })).raw)
      expect(plain(read)).toBe(plain(text))
    }
  })

  test('from a raw mail: bare LF becomes CRLF, bare CR is refused, the rest is kept octet by octet', async () => {
    const header = 'From: hi@acme.test\r\nSubject: =?utf-8?b?DQouDQo=?=\r\n'
    const results = await forEachOf(ENDINGS, 4, async (ending, i) => {
      const id = `<raw-${i}@acme.test>`
      const raw = `${header}Message-ID: ${id}\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\nbegin${ending}${SECOND_MAIL}end`
      const answer = await valija.api<AcceptedMail>('POST', '/send', {
        from: 'hi@acme.test',
        to: 'a@example.org',
        raw: b64(raw),
      })
      if (/\r(?!\n)/.test(raw)) return expectStatus(answer, 400) && false
      posted += 1
      const message = await endOfMail(valija.api, expectStatus(answer, 202).json.id)
      expect(message.status).toBe('delivered')
      const mine = sink.mails.filter((mail) => mail.raw.includes(id))
      expect(mine).toHaveLength(1)
      const sent = `${raw.replace(/\r?\n/g, '\r\n')}\r\n`
      expect(mine[0]!.raw.toString('utf8')).toBe(sent)
      return true
    })
    expect(results.filter(Boolean).length).toBeGreaterThan(5)
  })

  test('from a raw mail of over a megabyte, whose lines end in every way at the places where it could be cut', async () => {
    const id = '<raw-large@acme.test>'
    const header = `From: hi@acme.test\r\nSubject: x\r\nMessage-ID: ${id}\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\n`
    const ends = ENDINGS.filter((ending) => !/\r(?!\n)/.test(ending)).map(
      (ending) => `begin${ending}${SECOND_MAIL}`,
    )
    const unit = `${ends.join('')}\r\n`
    const raw = header + unit.repeat(Math.ceil(1_300_000 / Buffer.byteLength(unit)))
    const answer = await valija.api<AcceptedMail>('POST', '/send', {
      from: 'hi@acme.test',
      to: 'a@example.org',
      raw: b64(raw),
    })
    posted += 1
    const message = await endOfMail(valija.api, expectStatus(answer, 202).json.id)
    expect(message.status).toBe('delivered')
    const mine = sink.mails.filter((mail) => mail.raw.includes(id))
    expect(mine).toHaveLength(1)
    expect(mine[0]!.isChunked).toBe(extensions.includes('CHUNKING'))
    expect(mine[0]!.raw.toString('utf8') === raw.replace(/\r?\n/g, '\r\n')).toBe(true)
  })

  test('from subjects, names, headers, file names or addresses: those are refused', async () => {
    await forEachOf(
      ENDINGS.filter((ending) => Array.from(ending).some((char) => char < ' ')),
      4,
      async (ending) => {
        const bad = `a${ending}${SECOND_MAIL}`
        for (const body of [
          { subject: bad },
          { from: { email: 'hi@acme.test', name: bad } },
          { to: `a@example.org>${bad}` },
          { headers: { 'X-A': bad } },
          { attachments: [{ filename: bad, content: 'eA==' }] },
          { attachments: [{ filename: 'a', content: 'eA==', content_id: bad }] },
        ]) {
          expectStatus(await valija.api('POST', '/send', valija.mail(body)), 400)
        }
      },
    )
  })

  test('counts as many mails out as in, and no octet that a lenient server would read otherwise', async () => {
    expect(await readAll(valija.api, '/messages')).toHaveLength(posted)
    expect(sink.mails).toHaveLength(posted)
    expect(sink.strangers).toEqual([])
    const connections = sink.octets().map((octets) => octets.toString('latin1'))
    for (const text of connections) expect(/\r(?!\n)|(?<!\r)\n|\0/.exec(text)).toBeNull()
    // In a chunk a dot on a line of its own is content: who reads a chunk counts octets, and no dots (RFC 3030 §2).
    const chunks = sink.mails.filter(({ isChunked }) => isChunked)
    expect(chunks).toHaveLength(extensions.includes('CHUNKING') ? 1 : 0)
    const inChunks = chunks.reduce((sum, { raw }) => sum + countEnds(raw.toString('latin1')), 0)
    const ends = connections.reduce((sum, text) => sum + countEnds(text), 0)
    expect(ends - inChunks).toBe(posted - chunks.length)
    for (const { commands, stuffed } of sink.mails) {
      expect(commands.map((line) => line.replace(/>.*/, '>'))).toEqual([
        expect.stringMatching(
          isDirect ? /^MAIL FROM:<b-[a-z2-7]+@bounce\.example\.test>$/ : /^MAIL FROM:<hi@acme\.test>$/,
        ),
        expect.stringMatching(/^RCPT TO:<a(?:nn)?@example\.org>$/),
      ])
      expect(
        stuffed
          .toString('latin1')
          .split('\r\n')
          .every((line) => line.length <= 999),
      ).toBe(true)
    }
  })
})
