/** The MIME library told nothing of addresses: it tells the same of all else, and no header costs much. */
import { Buffer } from 'node:buffer'
import { readdirSync, readFileSync } from 'node:fs'
import PostalMime from 'postal-mime'
import { expect, test } from 'vitest'
import { parseMime } from './parse-mime.ts'

const folder = new URL('incoming/samples/mail/', import.meta.url)
const samples = readdirSync(folder).map((name) => [name, readFileSync(new URL(name, folder))] as const)
const odd = {
  'folded first': ' To: a@example.com\r\nSubject: x\r\n\r\nbody',
  'marks of its own': '=Content-Type: text/html\n==x: y\n=: z\nContent-Type: text/plain\n\nbody',
  'no colon, no body': 'From someone Mon Jan 1\nTo\n',
  'lone CR': 'From: a@example.com\rTo: b@example.com\r\rbody',
  'content in odd letters': 'cOnTenT-tYpe: text/html\r\nSubject:\r\n folded\r\n\tagain\r\n\r\n<p>x</p>',
  empty: '',
  'body only': '\nbody',
}

test.each([...samples, ...Object.entries(odd).map(([name, mail]) => [name, Buffer.from(mail)] as const)])(
  '%s: fields, texts and parts are those that the library tells of',
  async (_, mail) => {
    const { headers, text, html, attachments } = await PostalMime.parse(mail, {
      forceRfc822Attachments: true,
    })
    const mine = await parseMime(mail)
    expect(mine).toEqual({
      headers,
      attachments,
      ...(text !== undefined && { text }),
      ...(html !== undefined && { html }),
    })
  },
)

test('a header as large as it may be is read, whatever number of fields it has', async () => {
  const header = 'X-Y: z\n'.repeat(1_000)
  const maxHeadersSize = header.length - 1_000
  expect((await parseMime(Buffer.from(`${header}\nbody`), { maxHeadersSize })).headers).toHaveLength(1_000)
  await expect(
    parseMime(Buffer.from(`${header}\nbody`), { maxHeadersSize: maxHeadersSize - 1 }),
  ).rejects.toThrow(/header/i)
})

/** What taking it apart costs, in milliseconds of processor time. */
async function costOf(mail: string): Promise<number> {
  const octets = Buffer.from(mail)
  const before = process.threadCpuUsage()
  await parseMime(octets)
  const { user, system } = process.threadCpuUsage(before)
  return (user + system) / 1_000
}
const groups = 'a:'.repeat(250_000)

test.each(['From', 'To', 'Cc', 'Return-Path', ' To', 'reply-to '])(
  'groups in groups of a group in %s cost no more than other octets',
  async (name) => {
    const mail = (octets: string) => `${name}: ${octets}\r\n\r\nbody`
    await costOf(mail('x'))
    expect(await costOf(mail(groups))).toBeLessThan(300)
  },
)

const inner = (octets: string) => `Subject: within\r\nTo: ${octets}\r\n\r\nbody\r\n`
const multipart = (kind: string, ...parts: string[]) =>
  `Content-Type: multipart/${kind}; boundary=b\r\n\r\n${parts.map((part) => `--b\r\n${part}\r\n`).join('')}--b--\r\n`
const asMail = 'Content-Type: message/rfc822\r\n'
const nested: Record<string, (octets: string) => string> = {
  'a mail in a mail': (octets) => `${asMail}\r\n${inner(octets)}`,
  'two in a multipart': (octets) =>
    multipart('mixed', `${asMail}\r\n${inner(octets)}`, `${asMail}\r\n${inner(octets)}`),
  'a digest, whose parts are mails unless they say otherwise': (octets) =>
    multipart('digest', `\r\n${inner(octets)}`),
  'a mail that is said to be shown': (octets) =>
    multipart('mixed', `${asMail}Content-Disposition: inline\r\n\r\n${inner(octets)}`),
  'a mail in base64': (octets) =>
    multipart(
      'mixed',
      `${asMail}Content-Transfer-Encoding: base64\r\n\r\n${Buffer.from(inner(octets)).toString('base64')}`,
    ),
  'a mail in a mail in a mail': (octets) => `${asMail}\r\n${asMail}\r\n${asMail}\r\n${inner(octets)}`,
}

test.each(Object.entries(nested))('groups in groups cost no more in %s', async (_, mail) => {
  await costOf(mail('x'))
  expect(await costOf(mail(groups))).toBeLessThan(300)
})

test('a mail within a mail is an attachment, whole as it stands', async () => {
  const text = 'Content-Type: text/plain\r\n\r\nsee below\r\n'
  const mail = await parseMime(
    Buffer.from(multipart('mixed', text, `${asMail}\r\n${inner('ann@example.org')}`)),
  )
  expect(mail.text?.trim()).toBe('see below')
  expect(mail.attachments.map(({ mimeType, filename }) => [mimeType, filename])).toEqual([
    ['message/rfc822', null],
  ])
  const content = Buffer.from(mail.attachments[0]?.content as ArrayBuffer).toString()
  expect(content.trim()).toBe(inner('ann@example.org').trim().replaceAll('\r\n', '\n'))
})
