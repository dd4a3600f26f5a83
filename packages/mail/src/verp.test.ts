import { Buffer } from 'node:buffer'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { parseAddress } from './address.ts'
import { readReturnPath, returnPath } from './verp.ts'

const secret = Buffer.alloc(32, 1)
const other = Buffer.alloc(32, 2)
const id = '0190a1b2c3d47e5f8a9b0c1d2e3f4a5b'
const path = { messageId: id, ordinal: 7, day: 20_780 }

it('this is its form', () => {
  expect(returnPath(path, secret, 'bounce.a.test')).toMatch(/^b-[a-z2-7]{58}@bounce\.a\.test$/)
  // A changed form would orphan the bounces of all mail on the way.
  expect(returnPath(path, secret, 'a.test')).toMatchInlineSnapshot(
    `"b-agikdmwd2r7f7cu3bqos4p2klmaaoujmwdqk44dojpvjxfu7nk53l3vh6y@a.test"`,
  )
})

it('comes back as it was made, as a valid address, in any case, with any of the secrets', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
      fc.nat(65_535),
      fc.nat(60_000),
      fc.nat(60),
      (messageId, ordinal, day, age) => {
        const address = returnPath({ messageId, ordinal, day }, secret, 'b.test')
        const expected = { messageId: Buffer.from(messageId).toString('hex'), ordinal, day }
        expect(address.indexOf('@')).toBeLessThanOrEqual(64)
        expect(parseAddress(address)).toMatchObject({ ok: true, value: { email: address } })
        expect(readReturnPath(address.toUpperCase(), [other, secret], day + age)).toEqual({
          ok: true,
          value: expected,
        })
      },
    ),
    { numRuns: 500 },
  )
})

it('takes the id with hyphens, without, or as octets', () => {
  const hyphened = '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b'
  const made = returnPath(path, secret, 'a.test')
  expect(returnPath({ ...path, messageId: hyphened }, secret, 'a.test')).toBe(made)
  expect(returnPath({ ...path, messageId: Buffer.from(id, 'hex') }, secret, 'a.test')).toBe(made)
})

it('one changed character, another secret or no secret is refused', () => {
  const made = returnPath(path, secret, 'a.test')
  for (let i = 2; i < made.indexOf('@'); i++) {
    for (const char of 'aq7') {
      if (made[i] === char) continue
      const changed = made.slice(0, i) + char + made.slice(i + 1)
      expect(readReturnPath(changed, [secret], path.day)).toMatchObject({ ok: false })
    }
  }
  expect(readReturnPath(made, [other], path.day)).toMatchObject({ ok: false })
  expect(readReturnPath(made, [], path.day)).toMatchObject({ ok: false })
})

it('has one spelling only, also in the bits that base32 leaves over', () => {
  const made = returnPath(path, secret, 'a.test')
  const last = made.indexOf('@') - 1
  const spellings = [...'abcdefghijklmnopqrstuvwxyz234567'].map(
    (char) => made.slice(0, last) + char + made.slice(last + 1),
  )
  expect(spellings.filter((spelling) => readReturnPath(spelling, [secret], path.day).ok)).toEqual([made])
})

it('is valid for 60 days, and a day early for clocks that differ', () => {
  const made = returnPath(path, secret, 'a.test')
  const isValidOn = (day: number) => readReturnPath(made, [secret], day).ok
  expect([-2, -1, 0, 60, 61].map((days) => isValidOn(path.day + days))).toEqual([
    false,
    true,
    true,
    true,
    false,
  ])
})

it.each([
  '',
  '@',
  'b-@a.test',
  'postmaster@a.test',
  `b-${'a'.repeat(57)}@a.test`,
  `b-${'a'.repeat(59)}@a.test`,
  `b-${'1'.repeat(58)}@a.test`,
])('refuses %j', (address) =>
  expect(readReturnPath(address, [secret], path.day)).toMatchObject({ ok: false }),
)

it('throws for what has no room', () => {
  expect(() => returnPath({ ...path, ordinal: 65_536 }, secret, 'a.test')).toThrow(RangeError)
  expect(() => returnPath({ ...path, day: -1 }, secret, 'a.test')).toThrow(RangeError)
  expect(() => returnPath({ ...path, messageId: 'ab' }, secret, 'a.test')).toThrow(TypeError)
  expect(() => returnPath({ ...path, messageId: 'zz'.repeat(16) }, secret, 'a.test')).toThrow(TypeError)
})
