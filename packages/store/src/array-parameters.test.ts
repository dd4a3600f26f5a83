import type { Uuid } from '@valija/core'
import { expect, test } from 'vitest'
import { textArray, uuidArray } from './array-parameters.ts'

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

test('an array of nothing has no dimension', () => {
  expect(textArray([])).toEqual(octets('00000000 00000000 00000019'))
  expect(uuidArray([])).toEqual(octets('00000000 00000000 00000b86'))
})
