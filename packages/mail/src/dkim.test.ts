import { Buffer } from 'node:buffer'
import { createHash, generateKeyPairSync } from 'node:crypto'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { bothPass, verifyByMailauth } from '../../../tests/support/dkim-verifiers.ts'
import { oddRawMail } from '../../../tests/support/odd-mails.ts'
import { type DkimKey, type DkimOptions, signMail } from './dkim.ts'
import { dkimRecordText, generateDkimKey } from './dkim-record.ts'

const signedAt = new Date('2026-11-23T10:00:00.900Z')
const keys: DkimKey[] = []
const records: Record<string, string> = {}

beforeAll(async () => {
  for (const algorithm of ['rsa', 'ed25519'] as const) {
    const { privateKey, publicKey } = await generateDkimKey(algorithm)
    const selector = `vlj${algorithm}`
    keys.push({ domain: 'acme.test', selector, algorithm, privateKey })
    records[`${selector}._domainkey.acme.test`] = dkimRecordText({ algorithm, publicKey })
  }
})

const mail = (...lines: string[]) => Buffer.from(lines.join('\r\n'))
const plain = mail(
  'From: Ann <ann@acme.test>',
  'To: bob@b.test',
  'Subject: Hello',
  'Date: Mon, 23 Nov 2026 10:00:00 +0000',
  'Message-ID: <1@acme.test>',
  'X-Unsigned: 1',
  'MIME-Version: 1.0',
  'Content-Type: text/plain',
  '',
  'Hi Bob',
  '',
)
const sign = async (bytes: Buffer, options: Partial<DkimOptions> = {}) =>
  Buffer.concat([await signMail(bytes, keys, { signedAt, ...options }), bytes])
const verify = async (bytes: Buffer) => (await verifyByMailauth([bytes], records))[0]
const tagsOf = (signed: Buffer) => {
  const [field = ''] = signed.toString('latin1').split(/\r\n(?![ \t])/)
  const value = field.slice('DKIM-Signature:'.length).replace(/\s+/g, '')
  return Object.fromEntries(
    value.split(';').map((tag) => [tag.slice(0, tag.indexOf('=')), tag.slice(tag.indexOf('=') + 1)]),
  )
}
const namesOf = (signed: Buffer) => (tagsOf(signed).h ?? '').split(':')

describe('the field', () => {
  it('is these octets but for the signature, RSA above Ed25519, folded', async () => {
    const text = (await signMail(plain, keys, { signedAt })).toString()
    const field = (algorithm: string, selector: string) =>
      [
        `DKIM-Signature: v=1; a=${algorithm}-sha256; c=relaxed/relaxed;`,
        ` d=acme.test; s=${selector}; t=1795428000;`,
        ' bh=7Eikc6IgrjBVN+g5rcc6hMBFB7RSedU5xHi4x80CyOU=;',
        ' h=From:From:To:To:Cc:Subject:Subject:Reply-To:List-Unsubscribe:',
        ' List-Unsubscribe-Post:Feedback-ID:Date:Date:Message-ID:Message-ID:',
        ' MIME-Version:MIME-Version:Content-Type:Content-Type;',
        ' b=',
      ].join('\r\n')
    const shown = text.replace(/ b=[^;:]+?\r\n(?=DKIM|$)/g, ' b=\r\n')
    expect(shown.split('\r\n')).toEqual(
      `${field('rsa', 'vljrsa')}\r\n${field('ed25519', 'vljed25519')}\r\n`.split('\r\n'),
    )
    expect(Math.max(...text.split('\r\n').map((line) => line.length))).toBeLessThanOrEqual(76)
  })

  it('is the same for the same mail, key and time: a retry sends the same octets', async () => {
    expect(await sign(plain)).toEqual(await sign(plain))
  })

  it('names what it closes once more than it occurs, and leaves out what it is told to', async () => {
    const listed = namesOf(await sign(plain, { leaveOut: ['date', 'message-id'] }))
    expect(listed).not.toContain('Date')
    expect(listed).not.toContain('Message-ID')
    expect(listed.filter((name) => name === 'From')).toHaveLength(2)
    expect(listed.filter((name) => name === 'Feedback-ID')).toHaveLength(1)
    expect(listed).not.toContain('X-Unsigned')
  })

  it('is not made by a key of another kind', async () => {
    const { privateKey } = generateKeyPairSync('ed25519')
    const wrong: DkimKey = { domain: 'acme.test', selector: 's', algorithm: 'rsa', privateKey }
    await expect(signMail(plain, [wrong], { signedAt })).rejects.toThrow(TypeError)
  })
})

describe('the body’s hash', () => {
  const hash = (text: string) => createHash('sha256').update(text).digest('base64')
  it.each([
    ['an empty body', '', ''],
    ['a lone line end', '\r\n', ''],
    ['white space alone', ' \t\r\n \r\n', ''],
    ['no last line end', 'a', 'a\r\n'],
    ['empty lines at the end', 'a\r\n\r\n\r\n', 'a\r\n'],
    ['lines of white space at the end', 'a\r\n \t\r\n ', 'a\r\n'],
    ['white space in and behind lines', ' a \t b \t\r\n\r\n\tc', ' a b\r\n\r\n c\r\n'],
    ['8-bit text', 'é\r\n', 'é\r\n'],
    ['control characters', 'a\x01 \x0b\r\n', 'a\x01 \x0b\r\n'],
  ])('of %s', async (_, body, canonical) => {
    const signed = await sign(Buffer.concat([mail('From: a@acme.test', '', ''), Buffer.from(body)]))
    expect(tagsOf(signed).bh).toBe(hash(canonical))
    expect(await verify(signed)).toEqual(bothPass)
  })

  it('of a body over several slices, with a run of empty lines and of spaces across their borders', async () => {
    const body = `${'x'.repeat(1_048_575)}\r\n${'\r\n'.repeat(80_000)}y${' '.repeat(1_200_000)}z`
    const signed = await sign(Buffer.concat([mail('From: a@acme.test', '', ''), Buffer.from(body)]))
    const canonical = `${'x'.repeat(1_048_575)}\r\n${'\r\n'.repeat(80_000)}y z\r\n`
    expect(tagsOf(signed).bh).toBe(hash(canonical))
  })

  it('of a mail without a body, with and without the empty line', async () => {
    for (const text of ['From: a@acme.test\r\n', 'From: a@acme.test\r\n\r\n']) {
      expect(tagsOf(await sign(Buffer.from(text))).bh).toBe(hash(''))
    }
  })

  it('lets others have their turn while a large one is read', async () => {
    const body = Buffer.alloc(16 * 1_048_576, 'words of a large body ')
    let turns = 0
    const timer = setInterval(() => turns++, 1)
    await sign(Buffer.concat([mail('From: a@acme.test', '', ''), body]))
    clearInterval(timer)
    expect(turns).toBeGreaterThan(4)
  })
})

describe('verified by mailauth', () => {
  it('a field that comes twice, below and above others, is taken from the last upwards', async () => {
    const signed = await sign(
      mail(
        'List-Id: <1>',
        'From: a@acme.test',
        'Resent-To: b@b.test',
        'list-id: <2>',
        'Resent-To: c@c.test',
        '',
        'x',
      ),
    )
    expect(namesOf(signed).filter((name) => name === 'list-id')).toHaveLength(2)
    expect(await verify(signed)).toEqual(bothPass)
    expect(await verify(Buffer.from(signed.toString().replace('<1>', '<3>')))).not.toEqual(bothPass)
  })

  it('UTF-8 in the header passes as it is (RFC 8616), beside a domain in A-labels', async () => {
    expect(
      await verify(await sign(mail('From: "é\u00a0" <é@acme.test>', 'Subject: \u00a0ü\u00a0 ', '', 'x'))),
    ).toEqual(bothPass)
  })

  it.each([
    ...[
      'From',
      'To',
      'Cc',
      'Subject',
      'Reply-To',
      'List-Unsubscribe',
      'List-Unsubscribe-Post',
      'Feedback-ID',
    ],
    ...['Date', 'Message-ID', 'MIME-Version', 'Content-Type'],
  ])('an added %s breaks it, above and below', async (name) => {
    const signed = await sign(plain)
    expect(await verify(signed)).toEqual(bothPass)
    const field = Buffer.from(`${name}: x@evil.test\r\n`)
    const blank = signed.indexOf('\r\n\r\n') + 2
    for (const added of [
      Buffer.concat([field, signed]),
      Buffer.concat([signed.subarray(0, blank), field, signed.subarray(blank)]),
    ]) {
      expect(await verify(added)).not.toContainEqual(expect.stringContaining('pass'))
    }
  })

  it('hundreds of made-up mails pass, and none of them with another octet in body or signed fields', {
    timeout: 120_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(oddRawMail, fc.nat(), async ({ bytes }, where) => {
        const signed = await sign(bytes)
        expect(await verify(signed)).toEqual(bothPass)
        const altered = alter(signed, where)
        expect(await verify(altered)).not.toContainEqual(expect.stringContaining('pass'))
      }),
      { numRuns: 400 },
    )
  })
})

/** Another visible octet in place of one of the body or of the value of a signed field. */
function alter(signed: Buffer, where: number): Buffer {
  const names = new Set(namesOf(signed).map((name) => name.toLowerCase()))
  const places: number[] = []
  const blank = signed.indexOf('\r\n\r\n')
  let at = 0
  for (const field of signed.toString('latin1', 0, blank + 2).split(/(?<=\r\n)(?![ \t])/)) {
    const colon = field.indexOf(':')
    if (names.has(field.slice(0, colon).toLowerCase())) {
      for (let i = colon + 1; i < field.length; i++) if (signed[at + i]! > 0x20) places.push(at + i)
    }
    at += field.length
  }
  for (let i = blank + 4; i < signed.length; i++) if (signed[i]! > 0x20) places.push(i)
  const copy = Buffer.from(signed)
  const place = places[where % places.length]!
  copy[place] = copy[place] === 0x7a ? 0x79 : 0x7a
  return copy
}
