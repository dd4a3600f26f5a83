/** GET /messages/:id, by status. */
import { redactOldMessages } from '@valija/store'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { attempt, lease } from '../../settle.test-support.ts'
import { erase, workOff } from '../erasures/erasures.test-support.ts'

let api: TestApi

beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api?.close())

const get = async (id: string) => (await api.ask('GET', `/messages/${id}`)).json()

describe('200', () => {
  test('a message is shown as the contract says, times in UTC with milliseconds', async () => {
    const { id, recipients } = await api.send({
      tags: ['receipt'],
      metadata: { order: '4711' },
      bcc: 'eve@example.test',
    })
    expect(await get(id)).toEqual({
      id,
      status: 'queued',
      from: 'Acme <hello@acme.test>',
      subject: 'Your receipt',
      content: { state: 'kept', since: null },
      stream: 'transactional',
      tags: ['receipt'],
      metadata: { order: '4711' },
      send_at: null,
      created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      expires_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      rfc_message_id: expect.stringMatching(/^<[^@<>]+@acme\.test>$/),
      size_bytes: null,
      recipients: [
        shownRecipient({ id: recipients[0]?.id, email: 'ann@example.test', type: 'to' }),
        shownRecipient({ id: recipients[1]?.id, email: 'eve@example.test', type: 'bcc' }),
      ],
    })
  })

  test('a recipient is sending exactly while a lease on it lasts', async () => {
    const { id, recipients } = await api.send()
    const delivery = await lease(api, recipients[0]?.id ?? '')
    expect(await get(id)).toMatchObject({ status: 'sending', recipients: [{ status: 'sending' }] })
    await api.foundation.database.engine.query(
      "UPDATE valija.deliveries SET leased_until = now() - interval '1 s' WHERE recipient_id = $1",
      [delivery.recipientId],
    )
    expect(await get(id)).toMatchObject({ status: 'queued', recipients: [{ status: 'queued' }] })
  })

  test('what became of each recipient is shown, and the status is the fold over them', async () => {
    const { id, recipients } = await api.send({ to: ['ann@example.test', 'bob@example.test'] })
    await attempt(api, recipients[0]?.id ?? '', 250, '2.0.0', 'Ok')
    expect(await get(id)).toMatchObject({ status: 'queued', size_bytes: 1234 })
    await attempt(api, recipients[1]?.id ?? '', 550, '5.1.1', 'No such user')
    expect(await get(id)).toMatchObject({
      status: 'partially_delivered',
      recipients: [
        {
          status: 'delivered',
          attempts: 1,
          reply: '250 2.0.0 Ok',
          delivered_at: expect.stringMatching(/Z$/),
          next_attempt_at: null,
        },
        {
          status: 'bounced',
          attempts: 1,
          enhanced_status: '5.1.1',
          reason: expect.any(String),
          delivered_at: null,
        },
      ],
    })
  })

  test('a message of the simulator says so', async () => {
    const { id } = await api.send({ to: 'delivered@simulator.valija.test' })
    expect(await get(id)).toMatchObject({ simulated: true })
  })

  test('a scheduled message shows its time', async () => {
    const sendAt = new Date(Date.now() + 3_600_000).toISOString()
    const { id } = await api.send({ send_at: sendAt })
    expect(await get(id)).toMatchObject({ status: 'scheduled', send_at: sendAt })
  })
})

describe('200 tells whether its content is kept, as the list does', () => {
  const time = expect.stringMatching(/Z$/)
  const contentOf = async (id: string) => {
    const list = (await api.ask('GET', '/messages?limit=100')).json() as {
      data: { id: string; content: object }[]
    }
    const { content } = await get(id)
    expect(list.data.find((message) => message.id === id)?.content).toEqual(content)
    return content
  }

  test('sensitive: since its last recipient has its end', async () => {
    const { id, recipients } = await api.send({
      to: ['one@secret.test', 'two@secret.test'],
      sensitive: true,
    })
    await attempt(api, recipients[0]!.id, 250, '2.0.0', 'Ok')
    expect(await contentOf(id)).toEqual({ state: 'kept', since: null })
    await attempt(api, recipients[1]!.id, 550, '5.1.1', 'No such user')
    const { data } = (await api.ask('GET', `/messages/${id}/events`)).json()
    const bounced = data.find((event: { type: string }) => event.type === 'message.bounced')
    expect(await contentOf(id)).toEqual({ state: 'sensitive', since: bounced.timestamp })
    // A bounce that comes late is no end of the mail.
    await api.foundation.database.engine.query(
      `INSERT INTO valija.events (id, tenant_id, type, message_id, created_at, data)
       SELECT overlay(id::text placing 'ffffffffffff' from 25)::uuid, tenant_id, 'message.bounced', message_id, created_at + interval '1 h', data
       FROM valija.events WHERE message_id = $1 AND type = 'message.delivered'`,
      [id.slice(4)],
    )
    expect(await contentOf(id)).toEqual({ state: 'sensitive', since: bounced.timestamp })
  })

  test('expired: its body was dropped with its day', async () => {
    const { id } = await api.send()
    const { engine } = api.foundation.database
    await engine.query('DELETE FROM valija.bodies WHERE message_id = $1', [id.slice(4)])
    expect(await contentOf(id)).toEqual({ state: 'expired', since: null })
    expect(await get(id)).toMatchObject({ subject: 'Your receipt' })
  })

  test('erased: all of its recipients were; of one that went to others it is kept', async () => {
    const both = await api.send({ to: ['gone@example.test', 'stays@example.test'] })
    const one = await api.send({ to: 'gone@example.test' })
    for (const { id } of [...both.recipients, ...one.recipients]) await attempt(api, id, 250, '2.0.0', 'Ok')
    await erase(api, 'gone@example.test')
    await workOff(api)
    expect(await contentOf(one.id)).toEqual({ state: 'erased', since: time })
    expect(await contentOf(both.id)).toEqual({ state: 'kept', since: null })
  })

  test('redacted: since the tenant’s redact_after_days took it', async () => {
    const { id, recipients } = await api.send({ to: 'old@example.test' })
    await attempt(api, recipients[0]!.id, 550, '5.1.1', 'No such user')
    await redactOldMessages(api.foundation.database, api.tenant.id, 0)
    expect(await contentOf(id)).toEqual({ state: 'redacted', since: time })
    expect(await get(id)).toMatchObject({ subject: '', metadata: {} })
    const { recipients: explained } = (await api.ask('GET', `/messages/${id}/explain`)).json()
    expect(explained[0].remedy).toContain('Its content is not kept any more')
  })
})

describe('400', () => {
  test('unknown query keys are refused', async () => {
    const { id } = await api.send()
    expect((await api.ask('GET', `/messages/${id}?expand=all`)).json()).toMatchObject({
      status: 400,
      errors: [{ path: 'expand' }],
    })
  })
})

describe('403', () => {
  test('a key without the scope read is refused', async () => {
    const { id } = await api.send()
    const key = await api.keyWith('send', 'read:content', 'manage')
    expect((await api.ask('GET', `/messages/${id}`, { key })).json()).toMatchObject({
      status: 403,
      code: 'insufficient_scope',
    })
  })
})

describe('404', () => {
  test('404 hides other tenants’ messages: their answer is that for an unknown id', async () => {
    const { id } = await api.send()
    const unknown = 'msg_0192f0c1a2b37c4d8e5f60718293a4b5'
    const foreign = await api.ask('GET', `/messages/${id}`, { key: api.stranger.key })
    const missing = await api.ask('GET', `/messages/${unknown}`, { key: api.stranger.key })
    expect(foreign.statusCode).toBe(404)
    const { request_id: _, ...problem } = foreign.json()
    const { request_id: __, ...other } = missing.json()
    expect(problem).toEqual(other)
  })

  test.each(['msg_', 'rcp_0192f0c1a2b37c4d8e5f60718293a4b5', 'x', "'; DROP TABLE messages", '%00'])(
    'what is no id of a message is not found: %s',
    async (id) => {
      const answer = await api.ask('GET', `/messages/${encodeURIComponent(id)}`)
      expect(answer.statusCode).toBe(404)
    },
  )
})

function shownRecipient(fields: object) {
  return {
    status: 'queued',
    reason: null,
    reply: null,
    enhanced_status: null,
    attempts: 0,
    next_attempt_at: null,
    delivered_at: null,
    ...fields,
  }
}
