import { Buffer } from 'node:buffer'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { createSealer } from './seal.ts'
import { streams } from './stream.ts'
import { createUnsubscribeTokens, type UnsubscribeClaim, unsubscribePurpose } from './unsubscribe-token.ts'

const key = Buffer.alloc(32, 1)
const other = Buffer.alloc(32, 2)
const tokens = createUnsubscribeTokens([key])
const claim: UnsubscribeClaim = {
  tenantId: '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b',
  messageId: '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5c',
  recipientId: '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5d',
  stream: 'bulk',
  email: 'Ann@example.test',
}

it('this is its form', () => {
  // A changed form would make dead links of all that were ever sent.
  expect(tokens.make(claim)).toMatchInlineSnapshot(
    `"IOS5NDRRS2RDk-0NGdOilkg3dBasKIKfW398DTZPAZIKxDvM5rMWMme_YfaenZlZeYbrEX7Jzpb9qMMkfmWvJsZpXEI8hRH1LEHeHUFaK3qblg"`,
  )
})

it('comes back as it was made, and is made alike every time', () => {
  const email = fc
    .string({ minLength: 1, maxLength: 120, unit: 'grapheme' })
    .filter((text) => text.isWellFormed())
  const claims = fc.record({
    tenantId: fc.uuid({ version: 7 }),
    messageId: fc.uuid({ version: 7 }),
    recipientId: fc.uuid({ version: 7 }),
    stream: fc.constantFrom(...streams),
    email: email.filter((text) => Buffer.byteLength(text) <= 254),
  })
  fc.assert(
    fc.property(claims, (made) => {
      const token = tokens.make(made)
      expect(token).toMatch(/^[\w-]{90,430}$/)
      expect(tokens.make(made)).toBe(token)
      expect(tokens.read(token)).toEqual(made)
    }),
  )
})

it('tells nothing of the address, nor of anybody, and no two have anything in common', () => {
  const token = tokens.make(claim)
  expect(Buffer.from(token, 'base64url').toString('latin1')).not.toContain('example')
  const another = tokens.make({ ...claim, email: 'Bob@example.test' })
  expect(another.slice(0, 20)).not.toBe(token.slice(0, 20))
})

it('with one character changed, missing or added it is nothing', () => {
  const token = tokens.make(claim)
  for (let i = 0; i < token.length; i++) {
    for (const char of 'Aa0-_=.%') {
      const changed = token.slice(0, i) + char + token.slice(i + 1)
      if (changed !== token) expect(tokens.read(changed)).toBeNull()
    }
    expect(tokens.read(token.slice(0, i) + token.slice(i + 1))).toBeNull()
    expect(tokens.read(`${token.slice(0, i)}A${token.slice(i)}`)).toBeNull()
  }
  for (const text of ['', token.repeat(9), `${token}=`, ` ${token}`, `${token}\n`])
    expect(tokens.read(text)).toBeNull()
})

it('has one spelling only, also in the bits that base64 leaves over', () => {
  const token = tokens.make({ ...claim, email: 'ann@a.test' })
  const spellings = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'].map(
    (char) => token.slice(0, -1) + char,
  )
  expect(spellings.filter((spelling) => tokens.read(spelling))).toEqual([token])
})

it('is read by the key that made it when that has become an older one, and by no other', () => {
  const purpose = unsubscribePurpose
  const token = createUnsubscribeTokens(createSealer(['old']).signingKeys(purpose)).make(claim)
  expect(createUnsubscribeTokens(createSealer(['new', 'old']).signingKeys(purpose)).read(token)).toEqual(
    claim,
  )
  expect(createUnsubscribeTokens(createSealer(['new']).signingKeys(purpose)).read(token)).toBeNull()
  expect(createUnsubscribeTokens(createSealer(['old']).signingKeys('return path')).read(token)).toBeNull()
  expect(createUnsubscribeTokens([other, key]).read(tokens.make(claim))).toEqual(claim)
  expect(() => createUnsubscribeTokens([])).toThrow(RangeError)
})
