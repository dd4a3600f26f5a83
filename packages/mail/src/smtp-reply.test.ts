import { describe, expect, test } from 'vitest'
import { formatSmtpReply, parseSmtpReply } from './smtp-reply.ts'

describe('parseSmtpReply', () => {
  test.each([
    ['250 OK', { code: 250, enhanced: null, text: 'OK' }],
    ['250', { code: 250, enhanced: null, text: '' }],
    ['250 ', { code: 250, enhanced: null, text: '' }],
    ['250-', { code: 250, enhanced: null, text: '' }],
    ['550 5.1.1 No such user', { code: 550, enhanced: '5.1.1', text: 'No such user' }],
    ['550 5.1.1', { code: 550, enhanced: '5.1.1', text: '' }],
    ['550-5.1.1 No such\r\n550 5.1.1 user here', { code: 550, enhanced: '5.1.1', text: 'No such user here' }],
    ['550-No such\n550 user', { code: 550, enhanced: null, text: 'No such user' }],
    ['550 5.01.001 zeros', { code: 550, enhanced: '5.1.1', text: 'zeros' }],
    ['550 5.1.1.9 an address', { code: 550, enhanced: null, text: '5.1.1.9 an address' }],
    ['421\t', null],
    ['452 4.2.2 Full\x00\x1b[31m\u2028red', { code: 452, enhanced: '4.2.2', text: 'Full [31m red' }],
    ['550 Empfänger unbekannt 📭', { code: 550, enhanced: null, text: 'Empfänger unbekannt 📭' }],
  ])('reads %j', (line, expected) => {
    expect(parseSmtpReply(line)).toEqual(expected)
  })

  test.each([
    '',
    '\r\n',
    'hello',
    '25 OK',
    '2500 OK',
    '150 OK',
    '600 OK',
    '999 x',
    ' 250 OK',
    '250_OK',
    '250-a\r\nnonsense',
    'HTTP/1.1 400 Bad Request',
    '٢٥٠ OK',
  ])('takes %j for no reply', (line) => {
    expect(parseSmtpReply(line)).toBeNull()
  })

  test('takes lines as a list', () => {
    expect(parseSmtpReply(['250-mx.example', '250 SIZE 1000'])).toEqual({
      code: 250,
      enhanced: null,
      text: 'mx.example SIZE 1000',
    })
  })

  test('lets the last line decide when the codes differ', () => {
    expect(parseSmtpReply('250-2.0.0 fine\r\n550 No')).toEqual({ code: 550, enhanced: null, text: 'fine No' })
    expect(parseSmtpReply('550-5.1.1 no\r\n250 2.0.0 yes')).toEqual({
      code: 250,
      enhanced: '2.0.0',
      text: 'no yes',
    })
  })

  test('ignores a status whose class contradicts the code (RFC 2034 §4)', () => {
    expect(parseSmtpReply('550 4.1.1 odd')).toEqual({ code: 550, enhanced: null, text: '4.1.1 odd' })
  })

  test('bounds the text to 1,000 characters and splits no code point', () => {
    expect(parseSmtpReply(`550 ${'x'.repeat(5000)}`)?.text).toHaveLength(1000)
    const reply = parseSmtpReply(`550 ${'x'.repeat(999)}📭`)
    expect(reply?.text).toBe('x'.repeat(999))
  })
})

describe('formatSmtpReply', () => {
  test.each(['250 OK', '250', '550 5.1.1 No such user', '550 5.1.1'])('gives back %j', (line) => {
    const reply = parseSmtpReply(line)
    expect(reply && formatSmtpReply(reply)).toBe(line)
  })
})
