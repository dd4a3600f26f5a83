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
    const { headers, text, html, attachments } = await PostalMime.parse(mail)
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

test.each(['From', 'To', 'Cc', 'Return-Path', ' To', 'reply-to '])(
  'groups in groups of a group in %s cost no more than other octets',
  async (name) => {
    const cost = async (octets: string) => {
      const mail = Buffer.from(`${name}: ${octets}\r\n\r\nbody`)
      const before = process.cpuUsage()
      await parseMime(mail)
      const { user, system } = process.cpuUsage(before)
      return (user + system) / 1_000
    }
    await cost('x')
    expect(await cost('a:'.repeat(250_000))).toBeLessThan(300)
  },
)
