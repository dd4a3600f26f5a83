/** One Idempotency-Key, many requests, several API processes: one message. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Answer, client } from './support/http.ts'
import { type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { startValija, type Valija } from './support/valija.ts'

let peer: SmtpPeer
let valija: Valija

beforeAll(async () => {
  peer = await startSmtpPeer()
  valija = await startValija({ apis: 2, queue: 'postgres', delivery: 'smarthost', smarthost: peer })
})
afterAll(async () => {
  await valija?.stop()
  await peer?.stop()
})

/** The same bytes, or not, at every API process in turn. */
function postAll(count: number, key: string, bodyOf: (index: number) => string) {
  const calls = valija.urls.map((url) => client(url, valija.tenantKey))
  const headers = { 'idempotency-key': key, 'content-type': 'application/json' }
  return Promise.all(
    Array.from({ length: count }, (_, index) =>
      calls[index % calls.length]!<{ code?: string }>('POST', '/send', bodyOf(index), headers),
    ),
  )
}

const countMessages = async () =>
  (await valija.sql<{ count: number }>('SELECT count(*)::int AS count FROM valija.messages'))[0]!.count

test('100 concurrent posts with one key at two API processes make one message and one answer', async () => {
  const body = JSON.stringify(valija.mail())
  const answers = await postAll(100, 'one-key', () => body)

  const accepted = answers.filter(({ status }) => status === 202)
  const others = answers.filter(({ status }) => status !== 202)
  expect(accepted.length).toBeGreaterThan(0)
  expect(new Set(accepted.map(({ text }) => text)).size).toBe(1)
  expect(accepted.filter(({ headers }) => headers.get('idempotency-replayed') === null)).toHaveLength(1)
  // Who waited for 2 s in vain is told to come again.
  for (const answer of others)
    expect(answer).toMatchObject({ status: 409, json: { code: 'idempotency_in_progress' } })
  for (const answer of others) expect(answer.headers.get('retry-after')).toMatch(/^\d+$/)
  expect(await countMessages()).toBe(1)

  const [late] = await postAll(1, 'one-key', () => body)
  expect(late).toMatchObject({ status: 202, text: accepted[0]!.text })
  expect(late!.headers.get('idempotency-replayed')).toBe('true')
  await peer.received(1)
  expect(peer.mails).toHaveLength(1)
})

test('other bytes under a used key are refused, at every API process', async () => {
  const before = await countMessages()
  const answers = await postAll(4, 'one-key', () => JSON.stringify(valija.mail({ subject: 'Other' })))
  expect(answers.map(summary)).toEqual(Array(4).fill('409 idempotency_key_reused'))
  expect(await countMessages()).toBe(before)
})

test('different bodies that race for one key: one wins, the others get 409', async () => {
  const before = await countMessages()
  const answers = await postAll(20, 'raced', (index) =>
    JSON.stringify(valija.mail({ subject: `No ${index}` })),
  )
  expect(answers.filter(({ status }) => status === 202)).toHaveLength(1)
  const refused = answers.filter(({ status }) => status !== 202).map(summary)
  for (const line of refused) expect(line).toMatch(/^409 idempotency_(?:key_reused|in_progress)$/)
  expect(await countMessages()).toBe(before + 1)
})

test("a tenant's key says nothing about another tenant's", async () => {
  const other = await valija.addTenant('other', 'other.test')
  const before = await countMessages()
  const body = valija.mail({ from: 'hi@other.test' })
  const answer = await other.call('POST', '/send', body, { 'idempotency-key': 'one-key' })
  expect(answer.status).toBe(202)
  expect(answer.headers.get('idempotency-replayed')).toBeNull()
  expect(await countMessages()).toBe(before + 1)
})

function summary({ status, json }: Answer<{ code?: string }>): string {
  return `${status} ${json.code}`
}
