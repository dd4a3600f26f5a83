import { Buffer } from 'node:buffer'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { parseAddress } from './address.ts'
import {
  domainReportAddress,
  messageToken,
  readDomainReportAddress,
  readMessageToken,
} from './report-address.ts'
import { readReturnPath, returnPath } from './verp.ts'

const secret = Buffer.alloc(32, 1)
const other = Buffer.alloc(32, 2)
const id = '0190a1b2c3d47e5f8a9b0c1d2e3f4a5b'
const day = 20_780

it('these are their forms', () => {
  // A changed form would orphan the reports to every address in DNS, and the complaints about all mail on the way.
  expect(domainReportAddress(id, secret, 'a.test')).toMatchInlineSnapshot(
    `"r-agikdmwd2r7f7cu3bqos4p2klndhaa6boi5sziwmohbtaoqwoyma@a.test"`,
  )
  expect(messageToken({ messageId: id, day }, secret)).toMatchInlineSnapshot(
    `"c-agikdmwd2r7f7cu3bqos4p2klnisyilxaam2agbqbpmthyx55j3z6iy"`,
  )
})

it('come back as they were made, as valid addresses, in any case, with any of the secrets', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.nat(60_000), (octets, madeOn) => {
      const uuid = Buffer.from(octets).toString('hex')
      const address = domainReportAddress(uuid, secret, 'b.test')
      expect(parseAddress(address)).toMatchObject({ ok: true, value: { email: address } })
      expect(address.indexOf('@')).toBeLessThanOrEqual(64)
      expect(readDomainReportAddress(address.toUpperCase(), [other, secret])).toEqual({
        ok: true,
        value: { domainId: uuid },
      })
      const token = messageToken({ messageId: uuid, day: madeOn }, secret)
      const read = { ok: true, value: { messageId: uuid, day: madeOn } }
      expect(readMessageToken(token, [other, secret], madeOn)).toEqual(read)
      expect(readMessageToken(` ${token}@b.test `, [secret], madeOn + 60)).toEqual(read)
    }),
    { numRuns: 200 },
  )
})

/** The text with each character of the signed part changed in turn. */
const changedOnce = (text: string) =>
  [...text.split('@')[0]!]
    .map((char, at) => text.slice(0, at) + (char === 'a' ? 'b' : 'a') + text.slice(at + 1))
    .slice(2)

it('one changed character or another secret is refused', () => {
  const address = domainReportAddress(id, secret, 'a.test')
  const token = messageToken({ messageId: id, day }, secret)
  expect(changedOnce(token).filter((changed) => readMessageToken(changed, [secret], day).ok)).toEqual([])
  expect(changedOnce(address).filter((changed) => readDomainReportAddress(changed, [secret]).ok)).toEqual([])
  expect(readDomainReportAddress(address, [other]).ok).toBe(false)
  expect(readMessageToken(token, [other], day).ok).toBe(false)
})

it('a token is valid for 60 days; a report address has no end', () => {
  const token = messageToken({ messageId: id, day }, secret)
  const isValidOn = (today: number) => readMessageToken(token, [secret], today).ok
  expect([-2, -1, 60, 61].map((days) => isValidOn(day + days))).toEqual([false, true, true, false])
})

it('none passes for another kind, whatever its prefix says', () => {
  const path = returnPath({ messageId: id, ordinal: 0, day }, secret, 'a.test')
  const report = domainReportAddress(id, secret, 'a.test')
  const token = messageToken({ messageId: id, day }, secret)
  const asKind = (prefix: string) => [path, report, token].map((made) => prefix + made.slice(2))
  expect(asKind('b-').filter((made) => readReturnPath(made, [secret], day).ok)).toEqual([path])
  expect(asKind('r-').filter((made) => readDomainReportAddress(made, [secret]).ok)).toEqual([report])
  expect(asKind('c-').filter((made) => readMessageToken(made, [secret], day).ok)).toEqual([token])
})
