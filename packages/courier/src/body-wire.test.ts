import { describe, expect, test } from 'vitest'
import { toLines, toStuffedLines } from './body-wire.ts'

const wire = (text: string) => {
  const stuffed = toStuffedLines(Buffer.from(text, 'latin1')).toString('latin1')
  expect(toStuffedLines(Buffer.from(text, 'latin1'), '.\r\n').toString('latin1')).toBe(`${stuffed}.\r\n`)
  return stuffed
}

/** RFC 5321 §4.5.2, as the other side does it. */
const unstuff = (text: string) => text.replace(/(^|\r\n)\./g, '$1')

describe('octets on the wire', () => {
  test('what is well-formed is not copied', () => {
    const bytes = Buffer.from('Subject: x\r\n\r\na.b\r\n c\r\n')
    expect(toLines(bytes)).toBe(bytes)
    expect(toStuffedLines(bytes)).toBe(bytes)
  })

  test.each([
    ['', '\r\n'],
    ['a', 'a\r\n'],
    ['a\r', 'a\r\n'],
    ['a\n', 'a\r\n'],
    ['a\r\r\n', 'a\r\n\r\n'],
    ['a\n\r', 'a\r\n\r\n'],
    ['.', '..\r\n'],
    ['..\r\n.', '...\r\n..\r\n'],
    ['x\n.\r\n', 'x\r\n..\r\n'],
    ['x\r.\ry', 'x\r\n..\r\ny\r\n'],
    ['x\0.\0\xff', 'x\0.\0\xff\r\n'],
  ])('%j goes as %j', (text, expected) => {
    expect(wire(text)).toBe(expected)
  })

  test('every text of up to six octets that can mean something: one end of lines, one end of the mail', () => {
    const octets = ['\r', '\n', '.', 'x']
    let texts = ['']
    for (let length = 0; length < 6; length += 1) {
      texts = texts.flatMap((text) => octets.map((octet) => text + octet))
      for (const text of texts) {
        const sent = wire(text)
        expect(sent.replaceAll('\r\n', '')).not.toMatch(/[\r\n]/)
        expect(sent.endsWith('\r\n')).toBe(true)
        expect(`\r\n${sent}`).not.toContain('\r\n.\r\n')
        const lines = text.replace(/\r\n|\r|\n/g, '\r\n')
        expect(unstuff(sent)).toBe(lines.endsWith('\r\n') ? lines : `${lines}\r\n`)
      }
    }
  })
})
