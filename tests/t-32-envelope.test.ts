/**
 * Mail goes where it was asked to go and nowhere else: the addresses that the other side is told are the canonical form of
 * those given.
 */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Answer } from './support/http.ts'
import { type AcceptedMail, forEachOf, type ProblemBody } from './support/messages.ts'
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
    const mails = await peer.received(expected.length)
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
