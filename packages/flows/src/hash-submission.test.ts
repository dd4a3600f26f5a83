import { expect, test } from 'vitest'
import { hashOfSubmission } from './hash-submission.ts'
import { submitMessage } from './submit-message.ts'

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

test('what only looks like a boundary counts', () => {
  const link = (id: number) => mail('', `https://x.test/?boundary=${id}\r\n${id}\r\n`)
  expect(hash(link(111))).not.toBe(hash(link(222)))
  const named = (id: number) => mail(`Content-Type: text/plain; name="; boundary=${id}"\r\n`, `--${id}\r\n`)
  expect(hash(named(111))).not.toBe(hash(named(222)))
  const inText = (boundary: string, text: string) => {
    const { raw, ...rest } = parts(boundary)
    return { ...rest, raw: Buffer.from(`${raw.toString().replace('Hi', text)}`) }
  }
  expect(hash(inText('a', 'a-1'))).not.toBe(hash(inText('b', 'b-1')))
  expect(hash(inText('a', '--a-12'))).not.toBe(hash(inText('b', '--b-12')))
  expect(hash(inText('a', '--a-1'))).toBe(hash(inText('b', '--b-1')))
})

test('a boundary is what it is in any case of letters, folded, quoted or not', () => {
  const declared = (field: string, boundary: string) =>
    mail(`${field}\r\n`, `--${boundary} \n\nHi\n--${boundary}--`)
  const first = hash(declared('CONTENT-type:multipart/mixed;charset=x;\r\n\tBoundary = a--', 'a--'))
  expect(hash(declared('CONTENT-type:multipart/mixed;charset=x;\r\n\tBoundary = "b c "', 'b c'))).toBe(first)
})

const size = 40 * 1024 * 1024
const flood = (header: string, unit: string) => {
  const raw = Buffer.alloc(size, unit)
  raw.write(`${header}\r\n\r\n`)
  return { ...mail(''), raw }
}
const multipart = (boundary: string) => `Content-Type: multipart/mixed; boundary="${boundary}"`
const alike = Array.from({ length: 8 }, (_, i) => `${'a'.repeat(34)}${i}${'a'.repeat(35)}`)

test.each([
  ['the letter that is a boundary', flood('Subject: boundary=a', 'a')],
  ['declarations', flood('Subject: x', 'boundary=a ')],
  ['line ends', flood(multipart('a'), '\n')],
  ['parts', flood(multipart('a'), '--a\n')],
  ['parts with headers', flood(multipart('a'), `--a\n${multipart('b')}\n\n`)],
  ['parts of nearly the same names', flood(alike.map(multipart).join('\r\n'), `--${'a'.repeat(70)}\n`)],
  ['folded lines', flood(`${multipart('a')}\r\n\r\n--a`, '\n ')],
  ['spaces after a boundary', flood(`${multipart('a')}\r\n\r\n--a`, ' ')],
  ['dashes', flood(multipart('a'), '\n--')],
  ['a part’s header', flood(`${multipart('a')}\r\n\r\n--a`, 'a\n')],
])('40 MiB of %s take less than a second of the processor', (_what, submission) => {
  const before = process.threadCpuUsage()
  hashOfSubmission(submission)
  const { user, system } = process.threadCpuUsage(before)
  expect((user + system) / 1_000).toBeLessThan(1_000)
})

test('what is behind the last line that is looked at counts as it stands', () => {
  const dated = (date: string, lines: number) => mail(`${'a:b\n'.repeat(lines)}Date: ${date}\r\n`)
  expect(hash(dated('yesterday', 199_990))).toBe(hash(dated('today', 199_990)))
  expect(hash(dated('yesterday', 200_000))).not.toBe(hash(dated('today', 200_000)))
  const folded = (date: string) => mail(`Date: ${'\n '.repeat(200_000)}${date}\r\n`)
  expect(hash(folded('yesterday'))).not.toBe(hash(folded('today')))
})

test.each([
  ['fields of ours', 'X-Valija-Z:a\r\n', /more than 200 fields/],
  ['a header', 'a:b\r\n', /header is larger/],
])('40 MiB of %s are refused before they are read', async (_what, unit, message) => {
  const never = () => Promise.reject(new Error('It was not refused.'))
  const parts = { sendDesk: { send: never, check: never }, allowances: { countRequest: never } }
  const caller = {} as Parameters<typeof submitMessage>[1]
  const before = process.threadCpuUsage()
  const submission = { ...mail(''), raw: Buffer.alloc(size, unit) }
  const submitted = submitMessage(parts as never, caller, submission, () => undefined)
  await expect(submitted).rejects.toMatchObject({
    code: 'invalid_request',
    errors: [{ path: 'The mail', message: expect.stringMatching(message) }],
  })
  const { user, system } = process.threadCpuUsage(before)
  expect((user + system) / 1_000).toBeLessThan(1_000)
})
