import { describe, expect, test } from 'vitest'
import { ReplyReader } from './reply-reader.ts'

function readAll(...chunks: (string | Buffer)[]) {
  const reader = new ReplyReader()
  const replies: string[][] = []
  const isBounded = chunks.every((chunk) => reader.read(Buffer.from(chunk), (lines) => replies.push(lines)))
  return { replies, isBounded, isEmpty: reader.isEmpty }
}

describe('replies', () => {
  test('are the same however the octets are cut', () => {
    const text = '220 a\r\n250-b\r\n250-c\n250 grüße\r\n354\r\nwhat is this\r\n'
    const whole = readAll(text)
    expect(whole.replies).toEqual([['220 a'], ['250-b', '250-c', '250 grüße'], ['354'], ['what is this']])
    const octets = Buffer.from(text)
    expect(readAll(...Array.from(octets, (octet) => Buffer.of(octet)))).toEqual(whole)
    for (let at = 1; at < octets.length; at += 1) {
      expect(readAll(octets.subarray(0, at), octets.subarray(at))).toEqual(whole)
    }
    expect(whole.isEmpty).toBe(true)
  })

  test.each(['2', '250 ok', '250-a\r\n', '250-a\r\n25'])('%j is not complete', (text) => {
    expect(readAll(text)).toEqual({ replies: [], isBounded: true, isEmpty: false })
  })

  test('that are not UTF-8 are kept octet by octet', () => {
    expect(readAll(Buffer.from('550 gr\xfc\xdfe\r\n', 'latin1')).replies).toEqual([['550 gr\xfc\xdfe']])
  })

  test('empty lines between them are nothing', () => {
    expect(readAll('\r\n\n250 ok\r\n').replies).toEqual([['250 ok']])
  })

  test.each([
    ['a line', `250 ${'x'.repeat(3_000)}`],
    ['a line that ends', `250 ${'x'.repeat(3_000)}\r\n`],
    ['a reply in octets', `250-${'x'.repeat(1_000)}\r\n`.repeat(70)],
    ['a reply in lines', '250-x\r\n'.repeat(600)],
    ['empty lines', '\r\n'.repeat(70_000)],
    ['empty lines within a reply', `250-x${'\n'.repeat(70_000)}`],
  ])('that are too long end it: %s', (_, text) => {
    expect(readAll(text)).toMatchObject({ replies: [], isBounded: false })
  })

  test('of the longest kind that real servers give are taken', () => {
    const text = `550-5.7.1 ${'x'.repeat(2_000)}\r\n`.repeat(30)
    expect(readAll(`${text}550 end\r\n`)).toMatchObject({ isBounded: true, isEmpty: true })
  })
})
