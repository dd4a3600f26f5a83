/**
 * Mail goes where it was asked to go and nowhere else: the addresses that the other side is told are the canonical form of
 * those given, and no content, however it ends its lines, becomes a command or a second mail (SMTP smuggling).
 */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ByteSink, startByteSink } from './support/byte-sink.ts'
import type { Answer } from './support/http.ts'
import { readByPostalMime } from './support/mail-reader.ts'
import {
  type AcceptedMail,
  endOfMail,
  forEachOf,
  type ProblemBody,
  readAll,
  sendMail,
} from './support/messages.ts'
import { type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { expectStatus, startValija, type Valija } from './support/valija.ts'

/** Addresses in the property, and in one mail. */
const ADDRESSES = 2_400
const IN_ONE_MAIL = 60

/** What is given, and what the other side must be told if it is taken; null: it must not be taken. */
type Candidate = { given: string; canonical: string | null; isSure: boolean }

/** Pairs of a domain as somebody writes it and as it is sent. */
const SPELLINGS: [string, string][] = [
  ['example.org', 'example.org'],
  ['EXAMPLE.Org', 'example.org'],
  ['example.org.', 'example.org'],
  ['Sub.Example.ORG.', 'sub.example.org'],
  ['xn--mnchen-3ya.example', 'xn--mnchen-3ya.example'],
  ['XN--MNCHEN-3YA.example', 'xn--mnchen-3ya.example'],
  ['münchen.example', 'xn--mnchen-3ya.example'],
  ['MÜNCHEN.Example', 'xn--mnchen-3ya.example'],
  ['mu\u0308nchen.example', 'xn--mnchen-3ya.example'],
  ['例え.example', 'xn--r8jz45g.example'],
  ['пример.испытание', 'xn--e1afmkfd.xn--80akhbyknj4f'],
  ['a-b.c--d.example', 'a-b.c--d.example'],
  ['123.example', '123.example'],
]

/** Domains that must be refused: what they mean depends on who reads them, or they are none. */
const NO_DOMAINS = [
  'exam\u00adple.org',
  'example\u3002org',
  'example\uff0eorg',
  'example\uff61org',
  'ｅxample.org',
  '\u2170.example',
  'ex\u200dample.org',
  'exa\u200bmple.org',
  '\ufb03.example',
  'example.org\u2024',
  'xn--.example',
  'xn--a.example',
  'xn--exmple-.example',
  'example..org',
  '-example.org',
  'example-.org',
  'exa_mple.org',
  'localhost',
  '[127.0.0.1]',
  '127.0.0.1',
  '0x7f.1',
  'example.org:25',
  'example.org#x',
  'example.org/x',
  'example.org?x',
  'example%2eorg',
  'example.org>',
  'example.org\r\nRCPT TO:<victim@evil.test>',
  'example.org, victim@evil.test',
  'example.org(x)evil.test',
]

const ATEXT = "abcXYZ019!#$%&'*+-/=?^_`{|}~"
const atom = fc.string({ unit: fc.constantFrom(...ATEXT), minLength: 1, maxLength: 12 })
const utf8Atom = fc.string({
  unit: fc.constantFrom('ü', 'É', '例', 'я', 'ß', '🙂', 'a', 'é'),
  minLength: 1,
  maxLength: 6,
})
const dotAtom = fc.array(atom, { minLength: 1, maxLength: 3 }).map((atoms) => atoms.join('.'))

/** Local parts with a meaning to somebody: routes of old, lists, options of programs, encoded words. */
const CURIOUS = [
  'victim%evil.test',
  'evil.test!victim',
  'a!b!c',
  '-oQ/tmp',
  '-f',
  '|cat',
  '/etc/passwd',
  '=?utf-8?q?x?=',
  '=?UTF-8?B?QGV2aWwudGVzdD4=?=',
  '=?x?q?=40evil.test=3e?=',
  '+',
  '*',
  'postmaster',
  'a=b=c',
  '{a}',
  '~root',
  "'",
  '`id`',
  '$HOME',
]

const separator = fc.constantFrom(
  ...[
    ' ',
    '"',
    '(',
    ')',
    '<',
    '>',
    ',',
    ';',
    ':',
    '\\',
    '[',
    ']',
    '@',
    '\r',
    '\n',
    '\r\n',
    '\0',
    '\t',
    '\x7f',
    '\x01',
  ],
  ...[
    '\uff20',
    '\u200b',
    '\u00ad',
    '\u202e',
    '\u2028',
    '\ufeff',
    '\u00a0',
    '\u3000',
    '\u0300',
    '\uff0e',
    '\ue000',
  ],
)

const sure = (given: string, canonical: string | null): Candidate => ({ given, canonical, isSure: true })

const domainPair = fc.constantFrom(...SPELLINGS)

/** `n` makes every local part its own, so that no recipient counts as another one's double. */
const candidate = (n: number): fc.Arbitrary<Candidate> =>
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc
        .tuple(dotAtom, domainPair)
        .map(([local, [given, sent]]) => sure(`${local}.${n}@${given}`, `${local}.${n}@${sent}`)),
    },
    {
      weight: 2,
      arbitrary: fc
        .tuple(utf8Atom, domainPair)
        .map(([local, [given, sent]]) => sure(`${n}${local}@${given}`, `${n}${local}@${sent}`)),
    },
    {
      weight: 2,
      arbitrary: fc.tuple(fc.constantFrom(...CURIOUS), domainPair).map(([local, [given, sent]]) => {
        const isEncodedWord = /=\?[^?]*\?[bq]\?/i.test(local)
        return sure(`${local}${n}@${given}`, isEncodedWord ? null : `${local}${n}@${sent}`)
      }),
    },
    {
      weight: 2,
      arbitrary: fc
        .tuple(dotAtom, fc.constantFrom(...NO_DOMAINS))
        .map(([local, domain]) => sure(`${local}.${n}@${domain}`, null)),
    },
    {
      weight: 3,
      arbitrary: fc.tuple(atom, separator, atom).map(([a, bad, b]) => ({
        given: `${a}${bad}${b}${n}@example.org`,
        // A combining mark behind a letter is a letter; composed or not, it goes out as it came.
        canonical: bad === '\u0300' ? `${a}${bad}${b}${n}@example.org` : null,
        isSure: bad !== '\u0300',
      })),
    },
    {
      weight: 2,
      // Anything at all: when it is taken, then to the letter, but for the case of an ASCII domain and its final dot.
      arbitrary: fc.string({ unit: 'binary', minLength: 1, maxLength: 8 }).map((text) => {
        const given = `${n}${text}@example.org`
        return { given, canonical: given, isSure: false }
      }),
    },
  )

describe('the envelope', () => {
  let peer: SmtpPeer
  let valija: Valija

  beforeAll(async () => {
    peer = await startSmtpPeer()
    valija = await startValija({ queue: 'postgres', delivery: 'smarthost', smarthost: peer })
  })
  afterAll(async () => {
    await valija?.stop()
    await peer?.stop()
  })

  const post = (recipients: unknown[], i: number) =>
    valija.api<AcceptedMail & ProblemBody>(
      'POST',
      '/send',
      valija.mail({ to: [], [(['to', 'cc', 'bcc'] as const)[i % 3]!]: recipients }),
    )

  /** Posts a batch; what is refused is taken out by the places that the refusal names, and the rest posted again. */
  async function postWithoutRefused(batch: Candidate[], i: number) {
    const field = (['to', 'cc', 'bcc'] as const)[i % 3]!
    const refused = new Set<Candidate>()
    let left = batch
    for (let answer: Answer<AcceptedMail & ProblemBody>; left.length > 0; ) {
      answer = await post(
        left.map(({ given }, k) => (k % 2 === 0 || /[<>]/.test(given) ? { email: given } : given)),
        i,
      )
      if (answer.status === 202) return { accepted: left, refused, mail: answer.json }
      expectStatus(answer, 400)
      const places = new Set(
        answer.json.errors?.map((error) =>
          Number(new RegExp(`^/${field}/(\\d+)(?:/email)?$`).exec(error.path)?.[1]),
        ),
      )
      expect(places.has(Number.NaN), answer.text).toBe(false)
      for (const place of places) refused.add(left[place]!)
      left = left.filter((_, k) => !places.has(k))
    }
    return { accepted: [], refused, mail: null }
  }

  test(`is told ${ADDRESSES} generated addresses in canonical form, or the request was a 400 that names them`, async () => {
    const all = fc.sample(fc.tuple(...Array.from({ length: ADDRESSES }, (_, n) => candidate(n))), {
      numRuns: 1,
      seed: 20261123,
    })[0]!
    const batches = Array.from({ length: ADDRESSES / IN_ONE_MAIL }, (_, i) =>
      all.slice(i * IN_ONE_MAIL, (i + 1) * IN_ONE_MAIL),
    )
    const results = await forEachOf(batches, 4, postWithoutRefused)
    const expected: string[] = []
    for (const { accepted, refused, mail } of results) {
      const told = new Set(mail?.recipients.map(({ email }) => email))
      for (const { given, canonical } of accepted) {
        expect(canonical, `${JSON.stringify(given)} was taken`).not.toBeNull()
        // A string may have blanks around it; nothing else is forgiven.
        expect(told.has(canonical!), `${JSON.stringify(given)} became another`).toBe(true)
        expected.push(canonical!)
      }
      for (const { given, canonical, isSure } of refused) {
        expect(isSure && canonical !== null, `${JSON.stringify(given)} was refused`).toBe(false)
      }
      expect(told.size).toBe(accepted.length)
    }
    expect(expected.length).toBeGreaterThan(ADDRESSES / 3)
    const mails = await peer.received(expected.length, 40_000)
    expect(mails.flatMap((mail) => mail.to).sort()).toEqual(expected.sort())
    expect(peer.transcript.filter((line) => /^\d+< RCPT/i.test(line))).toHaveLength(expected.length)
  })

  test('bears nothing behind its addresses but parameters of SMTP', () => {
    for (const mail of peer.mails) {
      expect(mail.from).toBe('hi@acme.test')
      expect(`${mail.fromParameters} ${mail.toParameters.join(' ')}`).toMatch(
        /^(?:(?:SIZE=\d+|BODY=\w+|SMTPUTF8|RET=\w+|ENVID=[0-9a-f]+|\s)*)$/,
      )
    }
  })
})

/** What might end a mail for some server, each with a whole second mail behind it. */
const ENDINGS = [
  ...[
    '\n.\n',
    '\n.\r\n',
    '\r\n.\n',
    '\r.\r',
    '\r.\r\n',
    '\r\n.\r',
    '\n.\r',
    '\r.\n',
    '\r\n.\r\n',
    '\r\r\n.\r\r\n',
  ],
  ...[
    '\n\n.\n\n',
    '\r\n..\r\n',
    '\r\n.\r\r\n',
    '\r\n\r\n.\r\n\r\n',
    '\x0b.\x0b',
    '\x0c.\x0c',
    '\x85.\x85',
    '\u2028.\u2028',
  ],
]
const SECOND =
  'MAIL FROM:<a@evil.test>\r\nRCPT TO:<victim@evil.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\nQUIT\r\n'

describe('no content becomes a command or a second mail', () => {
  let sink: ByteSink
  let valija: Valija

  beforeAll(async () => {
    sink = await startByteSink()
    valija = await startValija({ queue: 'postgres', delivery: 'smarthost', smarthost: sink })
  })
  afterAll(async () => {
    await valija?.stop()
    await sink?.stop()
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
      const hostile = `.\r\nbegin${ending}${SECOND}${ending}end\n.`
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
      const raw = `${header}Message-ID: ${id}\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\nbegin${ending}${SECOND}end`
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

  test('from subjects, names, headers, file names or addresses: those are refused', async () => {
    await forEachOf(
      ENDINGS.filter((ending) => Array.from(ending).some((char) => char < ' ')),
      4,
      async (ending) => {
        const bad = `a${ending}${SECOND}`
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
    const ends = connections.reduce((sum, text) => sum + text.split('\r\n.\r\n').length - 1, 0)
    expect(ends).toBe(posted)
    for (const { commands, stuffed } of sink.mails) {
      expect(commands.map((line) => line.replace(/>.*/, '>'))).toEqual([
        'MAIL FROM:<hi@acme.test>',
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
