import { ProductError } from '@valija/core'
import { describe, expect, test } from 'vitest'
import { parseJson } from './json-body.ts'

const parse = (text: string) => parseJson(Buffer.from(text))
const pathOf = (text: string) => {
  try {
    parse(text)
  } catch (error) {
    if (error instanceof ProductError) return error.errors?.[0]?.path
    throw error
  }
  return 'taken'
}

describe('parseJson', () => {
  test.each(['{"a":"\\u0000b"}', '{"a":"\\ud800"}', '{"a":"\\uDFFF"}', '{"a":"\\ud83dx"}'])(
    '%s is refused at /a',
    (text) => {
      expect(pathOf(text)).toBe('/a')
    },
  )

  test.each(['{"\\u0000":1}', '{"x\\ud800":1}'])('a name is judged like a value: %s', (text) => {
    expect(pathOf(text)).not.toBe('taken')
  })

  test('whole surrogate pairs, escaped or not, are taken', () => {
    expect(parse('{"a":"\\ud83d\\ude00 😀"}')).toEqual({ a: '😀 😀' })
  })

  test('an escaped backslash before u0000 is no U+0000', () => {
    expect(parse('{"a":"\\\\u0000"}')).toEqual({ a: '\\u0000' })
  })

  test('__proto__ is refused at any depth and in any spelling, as a name only', () => {
    expect(pathOf('{"a":[{"__proto__":1}]}')).toBe('/a/0/__proto__')
    expect(pathOf('{"\\u005f_proto__":1}')).toBe('/__proto__')
    expect(pathOf('{"__prot\\u006f__":1}')).toBe('/__proto__')
    expect(pathOf('{"a":"__proto__"}')).toBe('taken')
  })

  test('paths are JSON pointers', () => {
    expect(pathOf('{"a/b~c":"\\u0000"}')).toBe('/a~1b~0c')
  })
})
