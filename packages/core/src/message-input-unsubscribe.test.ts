import { Buffer } from 'node:buffer'
import { expect, it } from 'vitest'
import { type MessageInput, validateMessage } from './message-input.ts'

const limits = { maxMessageSizeBytes: 10_000, now: new Date('2026-11-23T10:00:00Z') }
const bulk = { from: 'a@a.test', to: 'b@b.test', subject: 'Hi', text: 'Hello', stream: 'bulk' } as const

const wayOf = (unsubscribe: MessageInput['unsubscribe']) => {
  const result = validateMessage({ ...bulk, ...(unsubscribe && { unsubscribe }) }, limits)
  if (!result.ok) throw new Error(JSON.stringify(result.errors))
  return result.value.unsubscribe
}
const pathsOf = (change: Partial<MessageInput>) => {
  const result = validateMessage({ ...bulk, ...change }, limits)
  return result.ok ? [] : result.errors.map(({ path }) => path)
}

it('nothing is added unasked, true means links of ours', () => {
  expect(wayOf(undefined)).toBeNull()
  expect(wayOf(true)).toEqual({ kind: 'ours' })
})

it.each([
  [{ url: 'https://a.test/u?x=%C3%BC&y=1,2' }, 'https://a.test/u?x=%C3%BC&y=1,2', null],
  [{ mailto: 'stop@A.test.' }, null, 'mailto:stop@a.test'],
  [{ mailto: 'Grüße+1&x@a.test' }, null, 'mailto:Gr%C3%BC%C3%9Fe+1%26x@a.test'],
  [{ mailto: 'MAILTO:stop%2B1@a.test?subject=stop%201' }, null, 'mailto:stop+1@a.test?subject=stop%201'],
  [{ mailto: 's@a.test', url: 'https://a.test/' }, 'https://a.test/', 'mailto:s@a.test'],
])('the sender’s own way: %j', (given, url, mailto) => {
  expect(wayOf(given)).toEqual({ kind: 'own', url, mailto })
})

it.each([
  [{ url: 'http://a.test/u' }, '/unsubscribe/url'],
  [{ url: 'a.test/u' }, '/unsubscribe/url'],
  [{ url: 'https://a.test/>, <mailto:x@b.test' }, '/unsubscribe/url'],
  [{ url: 'https://a.test/\r\nBcc: x@b.test' }, '/unsubscribe/url'],
  [{ url: 'https://a.test/ü' }, '/unsubscribe/url'],
  [{ url: `https://a.test/${'x'.repeat(900)}` }, '/unsubscribe/url'],
  [{ mailto: 'Ann <ann@a.test>' }, '/unsubscribe/mailto'],
  [{ mailto: 'mailto:ann' }, '/unsubscribe/mailto'],
  [{ mailto: 'mailto:ann@a.test?subject=a b' }, '/unsubscribe/mailto'],
  [{}, '/unsubscribe'],
])('%j is refused', (unsubscribe, path) => {
  expect(pathsOf({ unsubscribe })).toContain(path)
})

it('is for bulk mail only', () => {
  for (const unsubscribe of [true, { mailto: 'stop@a.test' }] as const) {
    expect(pathsOf({ unsubscribe, stream: 'transactional' })).toEqual(['/unsubscribe'])
    expect(pathsOf({ unsubscribe })).toEqual([])
  }
})

it('does not stand beside fields of the same name, which a raw mail may have too', () => {
  const headers = {
    'list-unsubscribe': '<https://a.test/>',
    'List-Unsubscribe-Post': 'List-Unsubscribe=One-Click',
  }
  expect(pathsOf({ headers })).toEqual([])
  expect(pathsOf({ headers, unsubscribe: true })).toEqual([
    '/headers/list-unsubscribe',
    '/headers/List-Unsubscribe-Post',
  ])
  const rawMail = (field: string) => {
    const { subject: _, text: __, ...rest } = bulk
    const raw = Buffer.from(`From: a@a.test\r\n${field}Subject: x\r\n\r\nx\r\n`).toString('base64')
    const result = validateMessage({ ...rest, raw, unsubscribe: true }, limits)
    return result.ok ? [] : result.errors.map(({ path }) => path)
  }
  expect(rawMail('')).toEqual([])
  expect(rawMail('LIST-unsubscribe: <https://a.test/>\r\n')).toEqual(['/raw'])
})
