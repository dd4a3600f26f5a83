/**
 * Limits over several processes, and what the operator and a staging key hold back: a quota is exact whoever asks whichever process, with Redis
 * away; a suspended tenant's mail waits and then goes; a key for staging sends nothing outside.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Answer, client } from './support/http.ts'
import { sendMail } from './support/messages.ts'
import { type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { needsProgram, until } from './support/until.ts'
import { expectStatus, startValija, type TestTenant, type Valija } from './support/valija.ts'

const hasRedis = !needsProgram('redis-server')
let peer: SmtpPeer
let valija: Valija
let other: TestTenant

beforeAll(async () => {
  peer = await startSmtpPeer()
  valija = await startValija({
    apis: 2,
    queue: hasRedis ? 'redis' : 'postgres',
    delivery: 'smarthost',
    smarthost: peer,
  })
  other = await valija.addTenant('other', 'other.test')
})
afterAll(async () => {
  await valija?.stop()
  await peer?.stop()
})

const change = async (tenantId: string, fields: object) =>
  expectStatus(await valija.admin('PATCH', `/tenants/${tenantId}`, fields), 200)

const DAY_MS = 86_400_000

/** A quota of a day is a new one at midnight, in UTC: what counts it to the end does not begin shortly before. */
async function awayFromMidnight(): Promise<void> {
  const leftMs = DAY_MS - (Date.now() % DAY_MS)
  if (leftMs < 60_000) await delay(leftMs + 1_000)
}

type Refusal = { code?: string; limit?: { name: string; left: number } }

test('of a quota of 300 exactly 300 are accepted, by two processes from 60 clients, with Redis away for a while', async () => {
  await awayFromMidnight()
  await change(other.id, { limits: { recipients_per_day: 300 } })
  const calls = valija.urls.map((url) => client(url, other.key))
  const accepted: Answer<Refusal>[] = []
  const refused: Answer<Refusal>[] = []
  let isRedisGone = !hasRedis
  await Promise.all(
    Array.from({ length: 60 }, async (_, index) => {
      // Each goes on until it is refused for good: two at a time of a message fit, or one.
      for (let turn = 0; ; turn++) {
        const to = turn % 3 === 0 ? ['a@example.org', 'b@example.org'] : ['a@example.org']
        const answer = await calls[index % 2]!<Refusal>('POST', '/send', {
          ...valija.mail({ from: 'a@other.test' }),
          to,
        })
        // On a machine that is busy with more than this a lock may take too long to come: nothing was kept, and a client repeats.
        if (answer.status === 503 && answer.json.code === 'overloaded') continue
        if (answer.status === 202) accepted.push(answer)
        else refused.push(answer)
        if (accepted.length > 50 && !isRedisGone) {
          isRedisGone = true
          await valija.redis?.stop()
        }
        if (answer.status !== 202 && to.length === 1) return
      }
    }),
  )
  const [sum] = await valija.sql<{ count: number }>(
    `SELECT sum(recipient_count)::int AS count FROM valija.messages WHERE from_domain = 'other.test'`,
  )
  expect(sum!.count).toBe(300)
  for (const { status, json } of refused)
    expect([status, json.code, json.limit?.name]).toEqual([429, 'quota_exceeded', 'recipients_per_day'])
  await valija.redis?.restart()
  const told = await valija.sql(`SELECT data FROM valija.events WHERE type = 'quota.reached'`)
  expect(told).toHaveLength(1)
  await change(other.id, { limits: { recipients_per_day: null } })
}, 240_000)

/** The time of every mail of the first tenant has come, and the dispatcher knows. */
async function makeDue(): Promise<void> {
  const tenant = [valija.tenantId.replace('ten_', '')]
  const set = (table: string, columns: string) =>
    valija.sql(`UPDATE valija.${table} SET ${columns} WHERE tenant_id = $1::uuid`, tenant)
  await set('messages', 'send_at = now()')
  await set('recipients', 'next_attempt_at = now()')
  await set('deliveries', 'due_at = now(), starts_at = now()')
  await valija.sql(`SELECT pg_notify('valija_wake', 'dispatch:')`)
}

test('what a suspended tenant has waiting stays while others send, and goes when it is lifted', async () => {
  const marks = Array.from({ length: 20 }, (_, index) => `held-${index}`)
  // An hour ahead: none of them is due before the tenant is suspended, however slow this machine is.
  const sendAt = new Date(Date.now() + 3_600_000).toISOString()
  for (const subject of marks) await sendMail(valija.api, valija.mail({ subject, send_at: sendAt }))
  await change(valija.tenantId, { status: 'suspended' })
  const has = (subject: string) => peer.mails.some(({ text }) => text.includes(subject))
  await makeDue()
  await delay(500)
  await sendMail(other.call, valija.mail({ from: 'a@other.test', subject: 'not-held' }))
  await until('another tenant’s mail', () => has('not-held'))
  expect(marks.filter(has)).toEqual([])
  await change(valija.tenantId, { status: 'active' })
  await until('all that was held', () => marks.every(has))
  expect(peer.mails.filter(({ text }) => text.includes('held-7'))).toHaveLength(1)
})

describe('a key for staging, with a route and a list of recipients', () => {
  let staging: ReturnType<typeof client>
  beforeAll(async () => {
    const grant = { name: 'staging', scopes: ['send', 'read', 'read:content'], route: 'capture' }
    const limits = { recipients_per_day: 100 }
    const body = { ...grant, recipients: ['@staff.test'], limits }
    const { json } = expectStatus(await valija.api<{ key: string }>('POST', '/keys', body), 201)
    staging = client(valija.urls[1]!, json.key)
  })
  const mailTo = (to: string, subject: string) => valija.mail({ to: [to], subject })
  const inboxHas = (subject: string) =>
    until(`${subject} in the inbox`, async () => {
      const { json } = await staging<{ data: { subject: string }[] }>('GET', '/inbox?to=qa@staff.test')
      return json.data.some((mail) => mail.subject === subject)
    })

  test('has every mail in the inbox and none outside, by /send, /send/batch and resend', async () => {
    const sent = expectStatus(
      await staging<{ id: string; delivery: string }>('POST', '/send', mailTo('qa@staff.test', 'staged-1')),
      202,
    )
    expect(sent.json.delivery).toBe('capture')
    const batch = { messages: [mailTo('qa@staff.test', 'staged-2')] }
    expectStatus(await staging('POST', '/send/batch', batch), 202)
    const real = await sendMail(valija.api, mailTo('qa@staff.test', 'once-real'))
    await until('the real one', () => peer.mails.some(({ text }) => text.includes('once-real')))
    expectStatus(await staging('POST', `/messages/${real.id}/resend`), 202)
    for (const subject of ['staged-1', 'staged-2', 'once-real']) await inboxHas(subject)
    expect(peer.mails.filter(({ text }) => /staged-\d/.test(text))).toEqual([])
    expect(peer.mails.filter(({ text }) => text.includes('once-real'))).toHaveLength(1)
  })

  test('is refused for others, and for another route, everywhere', async () => {
    const outside = mailTo('ann@example.org', 'outside')
    const real = await sendMail(valija.api, outside)
    const batch = { messages: [mailTo('qa@staff.test', 'inside'), outside] }
    const refusals = [
      await staging<Refusal>('POST', '/send', outside),
      await staging<Refusal>('POST', '/send', { ...mailTo('qa@staff.test', 'x'), route: 'smarthost' }),
      await staging<Refusal>('POST', '/send/batch', batch),
      await staging<Refusal>('POST', `/messages/${real.id}/resend`),
    ]
    for (const { status, json } of refusals) expect([status, json.code]).toEqual([403, 'key_restricted'])
  })
})
