import { expect, test } from 'vitest'
import { hashOfSubmission } from './submit-message.ts'

const mail = (header: string, body = 'Hi\r\n') => ({
  mailFrom: 'a@acme.test',
  recipients: ['x@y.test', 'z@y.test'],
  raw: Buffer.from(`From: a@acme.test\r\nSubject: s\r\n${header}\r\n${body}`),
  requireTls: false,
})
const hash = (submission: ReturnType<typeof mail>) => hashOfSubmission(submission).toString('hex')
const parts = (boundary: string, more = '') =>
  mail(
    `Content-Type: multipart/mixed;\r\n boundary="${boundary}-1"\r\n`,
    `--${boundary}-1\r\nContent-Type: multipart/alternative; boundary=${boundary}-10\r\n\r\n--${boundary}-10\r\n\r\nHi${more}\r\n--${boundary}-10--\r\n--${boundary}-1--\r\n`,
  )

test('a mail that was composed anew is the same: date, id, traces and boundaries do not count', () => {
  const first = mail('Date: Mon, 1 Jan 2029 00:00:00 +0000\r\nMessage-ID: <1@a.test>\r\n')
  const again = mail(
    'Message-ID: <2@a.test>\r\nReceived: by b.test\r\nDate: Tue, 2 Jan 2029 00:00:00 +0000\r\n',
  )
  expect(hash(again)).toBe(hash(first))
  expect(hash(parts('----_NmP-abc-Part'))).toBe(hash(parts('===============123+?*')))
})

test.each([
  ['its text', mail('', 'Ho\r\n')],
  ['a header field', mail('X-Order: 1\r\n')],
  ['a tag', mail('X-Valija-Tag: a\r\n')],
  ['its sender', { ...mail(''), mailFrom: 'b@acme.test' }],
  ['a recipient', { ...mail(''), recipients: ['x@y.test'] }],
  ['a demand for TLS', { ...mail(''), requireTls: true }],
])('%s makes it another one', (_what, other) => {
  expect(hash(other)).not.toBe(hash(mail('')))
})

test('the order of the recipients does not count; a part’s text does', () => {
  expect(hash({ ...mail(''), recipients: ['z@y.test', 'x@y.test'] })).toBe(hash(mail('')))
  expect(hash(parts('a', '!'))).not.toBe(hash(parts('a')))
})
