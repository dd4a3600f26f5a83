/** Mails made to cost much: none takes a second of CPU, whatever is repeated in it, and none is refused by an error. */
import { Buffer } from 'node:buffer'
import { describe, expect, test } from 'vitest'
import { readIncoming } from './read-incoming.ts'

const header = 'From: MAILER-DAEMON@mx.example.net\nSubject: Undeliverable\nMIME-Version: 1.0\n'
const report = `${header}Content-Type: multipart/report; boundary=b\n\n`
const OCTETS = 1_100_000

const fill = (text: string) => text.repeat(Math.ceil(OCTETS / text.length))
const numbered = (line: (n: number) => string) => Array.from({ length: 40_000 }, (_, n) => line(n)).join('')
const nested = (depth: number) =>
  Array.from({ length: depth }, (_, n) => `Content-Type: multipart/mixed; boundary=b${n}\n\n--b${n}\n`).join(
    '',
  )

async function cpuMsOf(mail: string): Promise<number> {
  const raw = Buffer.from(mail)
  await readIncoming(raw.subarray(0, 10_000)) // compiles
  const before = process.threadCpuUsage()
  await readIncoming(raw)
  const { user, system } = process.threadCpuUsage(before)
  return (user + system) / 1_000
}

describe('a mail of a megabyte', () => {
  test.each([
    ['empty lines', `${header}\n${fill('\n')}`],
    ['at signs', `${header}\n${fill('@')}`],
    ['addresses in long lines', `${header}\n${fill(`${'<a@b.example>: '.repeat(60)}\n`)}`],
    ['other addresses in a list', `${header}\n${numbered((n) => `<a${n}@b.example>\n`)}`],
    [
      'other addresses in sentences',
      `${header}\n${numbered((n) => `cannot deliver to recipient: a${n}@b.example\n`)}`,
    ],
    ['boundaries', `${report}${fill('--b\nContent-Transfer-Encoding: quoted-printable\n\nx\n')}`],
    ['parts in parts', `${header}${nested(400)}`],
    [
      'recipients',
      `${report}--b\nContent-Type: message/delivery-status\n\n${fill('Final-Recipient: rfc822; a@b.example\n')}`,
    ],
    [
      'one diagnostic',
      `${report}--b\nContent-Type: message/delivery-status\n\nFinal-Recipient: rfc822; a@b.example\nDiagnostic-Code: smtp; ${fill('550 5.1.1 user ')}`,
    ],
    [
      'a subject',
      `From: MAILER-DAEMON@mx.example.net\nSubject: ${fill('not deliver ').slice(0, 500_000)}\n\nx`,
    ],
    ['tags', `${header}Content-Type: text/html\n\n${fill('<style>')}`],
    [
      'a field of the returned mail',
      `${report}--b\nContent-Type: message/rfc822\n\nTo: ${fill('a@b.example, ')}`,
    ],
  ])('of %s is read in under a second', async (_, mail) => {
    expect(await cpuMsOf(mail)).toBeLessThan(1_000)
  })
})

test('octets that are no mail are no error', async () => {
  for (const octets of [
    Buffer.alloc(0),
    Buffer.alloc(100_000, 0),
    Buffer.from(Array.from({ length: 50_000 }, (_, n) => (n * n) % 256)),
  ])
    expect(await readIncoming(octets)).toEqual({ kind: 'other' })
})
