import { type ErrorCode, errorCatalogue, invalidRequest, ProductError } from '@valija/core'
import { describe, expect, test } from 'vitest'
import { loginRefusalOf, refusal, refusalOf } from './submission-replies.ts'

const codes = Object.keys(errorCatalogue) as ErrorCode[]

describe.each(codes)('%s', (code) => {
  test('has the reply of the catalogue, in ASCII, within a line', () => {
    const { responseCode, message } = refusalOf(new ProductError(code, { detail: `„${'ü'.repeat(600)}“` }))
    const [replyCode, enhanced] = errorCatalogue[code].smtp.split(' ')
    expect([`${responseCode}`, message.split(' ')[0]]).toEqual([replyCode, enhanced])
    expect(`${responseCode} ${message}\r\n`.length).toBeLessThanOrEqual(512)
    expect(message).toMatch(/^[\x20-\x7e]+$/)
  })

  test('passes where it can pass, and stays where it stays', () => {
    expect(refusalOf(new ProductError(code)).responseCode < 500).toBe(errorCatalogue[code].isRetryable)
  })

  test('speaks of nothing that only HTTP has', () => {
    expect(refusalOf(new ProductError(code)).message).not.toMatch(/Retry-After|Authorization|request_id/)
  })
})

test('a faulty field is named, with what is wrong with it', () => {
  const error = invalidRequest([
    { path: 'X-Valija-Send-At', message: 'Is in the past. Give a time to come.' },
  ])
  expect(refusalOf(error)).toMatchObject({
    responseCode: 550,
    message: '5.6.0 X-Valija-Send-At: Is in the past. Give a time to come.',
  })
})

test('a client is told when to come again', () => {
  const error = new ProductError('queue_full', { detail: 'Too much waits.', retryAfterS: 30 })
  expect(refusalOf(error).message).toBe('4.3.2 Too much waits. Try again in 30 s.')
})

test('of trouble of ours nothing is told', () => {
  expect(refusalOf(new Error('secret'))).toMatchObject({
    responseCode: 451,
    message: expect.not.stringContaining('secret'),
  })
})

test('a login is refused by the codes of RFC 4954: 535 for what stays wrong, 454 for what passes', () => {
  expect(loginRefusalOf(new ProductError('key_restricted'))).toMatchObject({
    responseCode: 535,
    message: expect.stringMatching(/^5\.7\.1 /),
  })
  expect(loginRefusalOf(new ProductError('database_unavailable'))).toMatchObject({ responseCode: 454 })
})

test('what is too long is cut between words', () => {
  expect(refusal(550, '5.1.3', ['word '.repeat(200)]).message).toMatch(/word\.\.\.$/)
})
