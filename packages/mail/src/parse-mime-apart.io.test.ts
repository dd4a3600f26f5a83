/** Large mails are taken apart beside the event loop, as small ones are in it, and those that take too long are given up. */
import { Buffer } from 'node:buffer'
import { expect, test } from 'vitest'
import { parseMime } from './parse-mime.ts'
import { parseMimeApart } from './parse-mime-apart.ts'

const attachment = Buffer.alloc(1_500_000, 'octets ').toString('base64').replace(/.{76}/g, '$&\r\n')
const large = Buffer.from(
  [
    'From: a@example.com',
    'Subject: large',
    'Content-Type: multipart/mixed; boundary=b',
    '',
    '--b',
    'Content-Type: text/html; charset=utf-8',
    '',
    '<p>ä</p>',
    '--b',
    'Content-Type: application/pdf; name=a.pdf',
    'Content-Transfer-Encoding: base64',
    '',
    attachment,
    '--b--',
  ].join('\r\n'),
)
const costly = (octets: number) => Buffer.from(`Subject: x\r\n\r\n${'\r\n'.repeat(octets / 2)}`)

test('a large mail is made of the same as when it is read in place', async () => {
  const [mine, own] = await Promise.all([parseMimeApart(large), parseMime(large)])
  expect(own.attachments[0]?.content).toHaveProperty('byteLength', 1_500_000)
  expect(mine).toEqual(own)
})

test('what the library refuses is refused', async () => {
  const header = Buffer.from(`${'X: y\r\n'.repeat(600_000)}\r\nbody`)
  await expect(parseMimeApart(header)).rejects.toThrow(/header/i)
})

test('nothing waits for it, and it ends when it takes too long; then the next one is read', async () => {
  const before = process.threadCpuUsage()
  const next = expect(parseMimeApart(costly(4_000_000), 500)).rejects.toThrow('takes over 500 ms')
  const { text } = await parseMimeApart(costly(20_000))
  await next
  expect(text?.trim()).toBe('')
  // What this thread did itself: in place the first one alone would take seconds.
  const { user, system } = process.threadCpuUsage(before)
  expect((user + system) / 1_000).toBeLessThan(400)
})
