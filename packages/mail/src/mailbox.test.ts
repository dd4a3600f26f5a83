import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatMailbox, parseDisplayName, parseMailbox } from './mailbox.ts'

const read = (input: string) => {
  const result = parseMailbox(input)
  return result.ok ? [result.value.name, result.value.address.email] : result.message
}

describe('parseMailbox', () => {
  it.each([
    ['a@b.test', null, 'a@b.test'],
    [' a@B.test ', null, 'a@b.test'],
    ['<a@b.test>', null, 'a@b.test'],
    ['"" <a@b.test>', null, 'a@b.test'],
    ['Ann Lee <a@b.test>', 'Ann Lee', 'a@b.test'],
    ['Ann<a@b.test>', 'Ann', 'a@b.test'],
    ['J. R. Õun <a@b.test>', 'J. R. Õun', 'a@b.test'],
    ['"Doe, J." <a@b.test>', 'Doe, J.', 'a@b.test'],
    ['"a \\"b\\" \\\\ <x@y.test>" <a@b.test>', 'a "b" \\ <x@y.test>', 'a@b.test'],
  ])('%s', (input, name, email) => expect(read(input)).toEqual([name, email]))

  it.each([
    ['Doe, J. <a@b.test>', /double quotes/],
    ['a@x.test, b <a@b.test>', /double quotes/],
    ['Ann (work) <a@b.test>', /double quotes/],
    ['<a@x.test> <a@b.test>', /double quotes/],
    ['"Ann" Lee <a@b.test>', /between/],
    ['"Ann <a@b.test>', /never closed/],
    ['"Ann\\" <a@b.test>', /never closed/],
    ['Ann\r\nBcc: v@evil.test <a@b.test>', /double quotes/],
    ['Ann\nLee <a@b.test>', /control character/],
    ['Ann\ud800 <a@b.test>', /surrogate/],
    ['Ann a@b.test>', /without a "<"/],
    ['Ann < a@b.test>', /space/],
    ['Ann a@b.test', /display name goes in front/],
    ['Ann <>', /empty/],
  ])('refuses %j', (input, advice) => expect(read(input)).toMatch(advice))
})

it('parseDisplayName trims white space and makes null of a blank name', () => {
  expect(parseDisplayName(' Ann\u00a0')).toEqual({ ok: true, value: 'Ann' })
  expect(parseDisplayName('  ')).toEqual({ ok: true, value: null })
  expect(parseDisplayName('a\x7f')).toMatchObject({ ok: false })
})

it('formatMailbox quotes only what has to be quoted', () => {
  const shown = (input: string) => {
    const result = parseMailbox(input)
    return result.ok ? formatMailbox(result.value) : result.message
  }
  expect(shown('<a@B.test>')).toBe('a@b.test')
  expect(shown('"Ann Lee" <a@b.test>')).toBe('Ann Lee <a@b.test>')
  expect(shown('"Doe, \\"J\\"" <a@b.test>')).toBe('"Doe, \\"J\\"" <a@b.test>')
})

it('any display name comes back from its shown form', () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string(), fc.string({ unit: 'grapheme' }), fc.string({ unit: 'binary' })),
      (text) => {
        const name = parseDisplayName(text)
        if (!name.ok) return
        const address = { local: 'a', domain: 'b.test', email: 'a@b.test', key: 'a', needsSmtpUtf8: false }
        const mailbox = { name: name.value, address }
        expect(parseMailbox(formatMailbox(mailbox))).toEqual({ ok: true, value: mailbox })
      },
    ),
    { numRuns: 5_000 },
  )
})
