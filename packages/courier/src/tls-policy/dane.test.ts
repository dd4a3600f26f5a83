import { createHash, type X509Certificate } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { type Issued, issueAuthority, issueServer } from '../../../../tests/support/issue-certificate.ts'
import type { TlsaRecord } from '../dns/dns-answer.ts'
import { matchesTlsa, usableTlsa } from './dane.ts'

const day = 86_400_000
const names = ['mx.example.com', 'example.com']

let root: Issued
let intermediate: Issued
let leaf: Issued
let stranger: Issued

beforeAll(async () => {
  root = await issueAuthority('Root')
  intermediate = await issueAuthority('Intermediate', { issuer: root })
  leaf = await issueServer(['mx.example.com'], { issuer: intermediate })
  stranger = await issueAuthority('Stranger')
})

/** The TLSA record that a publisher would make for a certificate. */
function tlsaOf(usage: number, selector: number, matchingType: number, of: Issued): TlsaRecord {
  const { raw, publicKey } = of.certificate
  const bytes = selector === 0 ? raw : publicKey.export({ type: 'spki', format: 'der' })
  const algorithm = [null, 'sha256', 'sha512'][matchingType]
  const data = algorithm ? createHash(algorithm).update(bytes).digest() : bytes
  return { usage, selector, matchingType, data }
}

const chainOf = (...issued: Issued[]): X509Certificate[] => issued.map(({ certificate }) => certificate)

const forms = [0, 1].flatMap((selector) => [0, 1, 2].map((matchingType) => [selector, matchingType] as const))

describe('usage 3, the server’s own certificate', () => {
  test.each(forms)('3 %i %i matches it and no other', (selector, matchingType) => {
    const record = tlsaOf(3, selector, matchingType, leaf)
    expect(matchesTlsa(chainOf(leaf), [record], names)).toEqual({ ok: true })
    expect(matchesTlsa(chainOf(intermediate, leaf), [record], names)).toMatchObject({ fault: 'mismatch' })
  })

  test('names and dates do not count (RFC 7672 §3.1.1)', async () => {
    const expired = await issueServer(['elsewhere.example'], {
      notBefore: new Date(0),
      notAfter: new Date(day),
    })
    expect(matchesTlsa(chainOf(expired), [tlsaOf(3, 1, 1, expired)], names)).toEqual({ ok: true })
  })

  test('one of several records is enough, as during a change of keys', () => {
    const records = [tlsaOf(3, 1, 1, stranger), tlsaOf(3, 1, 1, leaf)]
    expect(matchesTlsa(chainOf(leaf), records, names)).toEqual({ ok: true })
  })

  test('what does not match says the key that was shown and the kinds of records', () => {
    const match = matchesTlsa(chainOf(leaf), [tlsaOf(3, 1, 1, stranger)], names)
    expect(match).toMatchObject({ ok: false, fault: 'mismatch' })
    expect(match).toHaveProperty(
      'detail',
      expect.stringContaining(tlsaOf(3, 1, 1, leaf).data.toString('hex')),
    )
    expect(match).toHaveProperty('detail', expect.stringContaining('(3 1 1)'))
  })

  test('no certificate matches nothing', () => {
    expect(matchesTlsa([], [tlsaOf(3, 1, 1, leaf)], names)).toMatchObject({ ok: false })
  })
})

describe('usage 2, an authority above it', () => {
  test.each(forms)('2 %i %i is found at the end of the chain', (selector, matchingType) => {
    const record = tlsaOf(2, selector, matchingType, root)
    expect(matchesTlsa(chainOf(leaf, intermediate, root), [record], names)).toEqual({ ok: true })
  })

  test.each(forms)('2 %i %i is found in the middle, whatever is above', (selector, matchingType) => {
    const record = tlsaOf(2, selector, matchingType, intermediate)
    expect(matchesTlsa(chainOf(leaf, intermediate), [record], names)).toEqual({ ok: true })
    expect(matchesTlsa(chainOf(leaf, root, intermediate), [record], names)).toEqual({ ok: true })
  })

  test.each([0, 1])('with the whole of it in the record (2 %i 0) the server need not send it', (selector) => {
    const record = tlsaOf(2, selector, 0, root)
    expect(matchesTlsa(chainOf(leaf, intermediate), [record], names)).toEqual({ ok: true })
    expect(matchesTlsa(chainOf(leaf, intermediate), [tlsaOf(2, selector, 0, stranger)], names)).toMatchObject(
      {
        fault: 'not-trusted',
      },
    )
  })

  test('a digest alone does not, when the server keeps the authority to itself', () => {
    expect(matchesTlsa(chainOf(leaf, intermediate), [tlsaOf(2, 0, 1, root)], names)).toMatchObject({
      fault: 'not-trusted',
    })
  })

  test('an authority that stands in the chain and signed nothing of it does not count', () => {
    const match = matchesTlsa(chainOf(leaf, intermediate, stranger), [tlsaOf(2, 1, 1, stranger)], names)
    expect(match).toMatchObject({ ok: false, fault: 'not-trusted' })
  })

  test('one of the same name and another key does not count', async () => {
    const impostor = await issueAuthority('Intermediate', { issuer: root })
    const record = tlsaOf(2, 1, 1, impostor)
    expect(matchesTlsa(chainOf(leaf, impostor), [record], names)).toMatchObject({ fault: 'not-trusted' })
  })

  test('the server’s own certificate is no authority', async () => {
    const own = await issueServer(['mx.example.com'])
    expect(matchesTlsa(chainOf(own), [tlsaOf(2, 0, 1, own)], names)).toMatchObject({ fault: 'not-trusted' })
    expect(matchesTlsa(chainOf(own, own), [tlsaOf(2, 0, 1, own)], names)).toMatchObject({
      fault: 'not-trusted',
    })
  })

  test('a server certificate that signs another is no authority', async () => {
    const below = await issueServer(['mx.example.com'], { issuer: leaf })
    const match = matchesTlsa(chainOf(below, leaf, intermediate), [tlsaOf(2, 1, 1, intermediate)], names)
    expect(match).toMatchObject({ ok: false, fault: 'not-trusted' })
  })

  test('more authorities below one than it allows are too many', async () => {
    const strict = await issueAuthority('Strict', { pathLength: 0 })
    const middle = await issueAuthority('Middle', { issuer: strict })
    const direct = await issueServer(['mx.example.com'], { issuer: strict })
    const below = await issueServer(['mx.example.com'], { issuer: middle })
    const record = tlsaOf(2, 1, 1, strict)
    expect(matchesTlsa(chainOf(direct, strict), [record], names)).toEqual({ ok: true })
    expect(matchesTlsa(chainOf(below, middle, strict), [record], names)).toMatchObject({
      fault: 'not-trusted',
      detail: expect.stringContaining('allows 0'),
    })
  })

  test('a signature by SHA-1 proves nothing', async () => {
    const forgeable = await issueServer(['mx.example.com'], { issuer: root, algorithm: 'sha1' })
    expect(matchesTlsa(chainOf(forgeable, root), [tlsaOf(2, 1, 1, root)], names)).toMatchObject({
      fault: 'not-trusted',
    })
  })

  test('a certificate that is not for servers does not count', async () => {
    const altNames = [{ type: 2 as const, value: 'mx.example.com' }]
    const extensions = [
      { name: 'extKeyUsage' as const, emailProtection: true },
      { name: 'subjectAltName' as const, altNames },
    ]
    const signer = await issueServer([], { issuer: root, extensions })
    expect(matchesTlsa(chainOf(signer, root), [tlsaOf(2, 1, 1, root)], names)).toMatchObject({
      detail: expect.stringContaining('not for servers'),
    })
  })

  describe('names (RFC 7672 §3.2.2)', () => {
    test.each([
      ['the host', 'mx.example.com', true],
      ['the domain of the mail', 'example.com', true],
      ['a wildcard for the whole first label', '*.example.com', true],
      ['another host of the domain', 'mx2.example.com', false],
      ['a wildcard for a part of a label', 'm*.example.com', false],
      ['a wildcard one level higher', '*.com', false],
    ])('%s: %s → %s', async (_, name, ok) => {
      const server = await issueServer([name], { issuer: root })
      const match = matchesTlsa(chainOf(server, root), [tlsaOf(2, 1, 1, root)], names)
      expect(match).toMatchObject(ok ? { ok } : { ok, fault: 'host-mismatch' })
    })
  })

  describe('dates', () => {
    const past = { notBefore: new Date(0), notAfter: new Date(day) }
    const future = { notBefore: new Date(Date.now() + day), notAfter: new Date(Date.now() + 2 * day) }

    test.each([
      ['has expired', past],
      ['is not valid before', future],
    ])('a server certificate that %s', async (words, dates) => {
      const server = await issueServer(['mx.example.com'], { issuer: root, ...dates })
      expect(matchesTlsa(chainOf(server, root), [tlsaOf(2, 1, 1, root)], names)).toMatchObject({
        fault: 'expired',
        detail: expect.stringContaining(words),
      })
    })

    test('an authority that has expired', async () => {
      const old = await issueAuthority('Old', past)
      const server = await issueServer(['mx.example.com'], { issuer: old })
      expect(matchesTlsa(chainOf(server, old), [tlsaOf(2, 1, 1, old)], names)).toMatchObject({
        fault: 'expired',
      })
    })

    test('are judged at the time that is given', async () => {
      const server = await issueServer(['mx.example.com'], { issuer: root, ...future })
      const records = [tlsaOf(2, 1, 1, root)]
      const at = new Date(Date.now() + 1.5 * day)
      expect(matchesTlsa(chainOf(server, root), records, names, at)).toEqual({ ok: true })
    })
  })

  test('an authority behind ten certificates is not looked for', () => {
    const filler = Array<Issued>(9).fill(stranger)
    const record = tlsaOf(2, 1, 1, intermediate)
    expect(matchesTlsa(chainOf(leaf, ...filler.slice(1), intermediate), [record], names)).toEqual({
      ok: true,
    })
    expect(matchesTlsa(chainOf(leaf, ...filler, intermediate), [record], names)).toMatchObject({ ok: false })
  })

  test('a long chain in which everybody signed everybody is judged at once', async () => {
    const crowd = await Promise.all(
      Array.from({ length: 30 }, () => issueAuthority('Crowd', { issuer: root })),
    )
    const startedAt = performance.now()
    expect(matchesTlsa(chainOf(leaf, ...crowd), [tlsaOf(2, 1, 1, stranger)], names)).toMatchObject({
      ok: false,
    })
    expect(performance.now() - startedAt).toBeLessThan(2_000)
  })
})

describe('records that can be used', () => {
  const digest = Buffer.alloc(32)
  test.each<[string, TlsaRecord, boolean]>([
    ['3 1 1', { usage: 3, selector: 1, matchingType: 1, data: digest }, true],
    ['2 0 2', { usage: 2, selector: 0, matchingType: 2, data: Buffer.alloc(64) }, true],
    ['usage 0 (RFC 7672 §3.1.3)', { usage: 0, selector: 0, matchingType: 1, data: digest }, false],
    ['usage 1 (RFC 7672 §3.1.3)', { usage: 1, selector: 1, matchingType: 1, data: digest }, false],
    ['an unknown usage', { usage: 4, selector: 1, matchingType: 1, data: digest }, false],
    ['an unknown selector', { usage: 3, selector: 2, matchingType: 1, data: digest }, false],
    ['an unknown matching type', { usage: 3, selector: 1, matchingType: 3, data: digest }, false],
    ['a digest that is too short', { usage: 3, selector: 1, matchingType: 1, data: Buffer.alloc(31) }, false],
    ['SHA-256 where SHA-512 is said', { usage: 3, selector: 1, matchingType: 2, data: digest }, false],
    ['no data', { usage: 3, selector: 1, matchingType: 1, data: Buffer.alloc(0) }, false],
    ['a certificate that is none', { usage: 2, selector: 0, matchingType: 0, data: digest }, false],
    ['a key that is none', { usage: 3, selector: 1, matchingType: 0, data: digest }, false],
  ])('%s', (_, record, isUsable) => {
    expect(usableTlsa([record])).toEqual(isUsable ? [record] : [])
    if (!isUsable) expect(matchesTlsa(chainOf(leaf), [record], names).ok).toBe(false)
  })

  test('the strongest digest of each usage and selector counts alone (RFC 7671 §9)', () => {
    const kept = [
      tlsaOf(3, 1, 2, stranger),
      tlsaOf(3, 0, 1, leaf),
      tlsaOf(2, 1, 1, root),
      tlsaOf(3, 1, 0, root),
    ]
    expect(usableTlsa([tlsaOf(3, 1, 1, leaf), ...kept])).toEqual(kept)
    const match = matchesTlsa(chainOf(leaf), [tlsaOf(3, 1, 1, leaf), tlsaOf(3, 1, 2, stranger)], names)
    expect(match).toMatchObject({ ok: false, fault: 'mismatch' })
  })

  test('a strong one that is malformed takes no weaker one’s place', () => {
    const malformed = { usage: 3, selector: 1, matchingType: 2, data: digest }
    expect(matchesTlsa(chainOf(leaf), [malformed, tlsaOf(3, 1, 1, leaf)], names)).toEqual({ ok: true })
  })
})
