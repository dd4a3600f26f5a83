import type { Uuid } from '@valija/core'
import { expect, test } from 'vitest'
import { booleanArray, integerArray, textArray, timeArray, uuidArray } from './array-parameters.ts'

const octets = (...parts: string[]) => Buffer.from(parts.join('').replaceAll(' ', ''), 'hex')

test('text goes as UTF-8 behind its length in octets, and null is the length -1', () => {
  expect(textArray(['a"\\', null, 'é', ''])).toEqual(
    octets(
      '00000001 00000001 00000019 00000004 00000001',
      '00000003 61225c',
      'ffffffff',
      '00000002 c3a9',
      '00000000',
    ),
  )
})

test('a UUID goes as sixteen octets', () => {
  const id = '0192f3a4-5b6c-7d8e-9fa0-b1c2d3e4f506' as Uuid
  expect(uuidArray([id, null])).toEqual(
    octets(
      '00000001 00000001 00000b86 00000002 00000001',
      '00000010 0192f3a45b6c7d8e9fa0b1c2d3e4f506',
      'ffffffff',
    ),
  )
})

test('a boolean goes as an octet, an integer as four', () => {
  expect(booleanArray([true, false])).toEqual(
    octets('00000001 00000000 00000010 00000002 00000001', '00000001 01', '00000001 00'),
  )
  expect(integerArray([1, null, -2])).toEqual(
    octets(
      '00000001 00000001 00000017 00000003 00000001',
      '00000004 00000001',
      'ffffffff',
      '00000004 fffffffe',
    ),
  )
})

test('a time goes as microseconds since 2000, before it and after it', () => {
  const at = (text: string) => Date.parse(text)
  const times = [at('2000-01-01T00:00:00.001Z'), null, at('1999-12-31T23:59:59.999Z')]
  expect(timeArray(times)).toEqual(
    octets(
      '00000001 00000001 000004a0 00000003 00000001',
      '00000008 00000000000003e8',
      'ffffffff',
      '00000008 fffffffffffffc18',
    ),
  )
  const microseconds = (text: string) => Number(timeArray([at(text)]).readBigInt64BE(24))
  expect(microseconds('2026-11-27T10:55:32.123Z')).toBe(
    at('2026-11-27T10:55:32.123Z') * 1_000 - 946_684_800_000_000,
  )
  for (const wrong of [Number.NaN, Number.POSITIVE_INFINITY, 1e15])
    expect(() => timeArray([wrong])).toThrow(RangeError)
  // A clock's part of a millisecond is none of a stored time.
  expect(timeArray([946_684_800_000.9]).readBigInt64BE(24)).toBe(0n)
})

test('an array of nothing has no dimension', () => {
  expect(textArray([])).toEqual(octets('00000000 00000000 00000019'))
  expect(uuidArray([])).toEqual(octets('00000000 00000000 00000b86'))
})
