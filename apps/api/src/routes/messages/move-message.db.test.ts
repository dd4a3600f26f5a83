/** PATCH /messages/:id, by status. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../../../../../tests/support/until.ts'
import { message, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { attempt, lease } from '../../settle.test-support.ts'

let api: TestApi

beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api?.close())

const hours = (count: number) => new Date(Date.now() + count * 3_600_000).toISOString()
const move = (id: string, sendAt: string | null, ask: object = {}) =>
  api.ask('PATCH', `/messages/${id}`, { body: { send_at: sendAt }, ...ask })
const shownOf = async (id: string) => (await api.ask('GET', `/messages/${id}`)).json()

const scheduledEvents = async (id: string) =>
  (await api.events('?type=message.scheduled')).data.filter(
    ({ data }) => (data as { message_id: string }).message_id === id,
  )
const rawOf = async (id: string) => (await api.ask('GET', `/messages/${id}/raw`)).body
const dueAt = async (recipientId: string) => {
  const { rows } = await api.foundation.database.engine.query(
    `SELECT state, due_at, expires_at, late_at FROM valija.deliveries WHERE recipient_id = $1`,
    [recipientId.replace('rcp_', '')],
  )
  return rows[0]
}

describe('200', () => {
  test('a scheduled message is moved forward and back, with its expiry, its date and an event each time', async () => {
    const { id, recipients } = await api.send({ send_at: hours(2), ttl_seconds: 600 })
    for (const [turn, sendAt] of [hours(300), hours(1)].entries()) {
      const answer = await move(id, sendAt)
      expect(answer.statusCode).toBe(200)
      const shown = answer.json()
      expect(shown).toEqual(await shownOf(id))
      expect(shown).toMatchObject({
        status: 'scheduled',
        send_at: sendAt,
        expires_at: new Date(Date.parse(sendAt) + 600_000).toISOString(),
        recipients: [{ status: 'scheduled', next_attempt_at: sendAt }],
      })
      expect(await dueAt(recipients[0]!.id)).toEqual({
        state: 'waiting',
        due_at: new Date(sendAt),
        expires_at: new Date(shown.expires_at),
        late_at: null,
      })
      const told = (await scheduledEvents(id)).at(-1)
      expect(told?.data).toMatchObject({ seq: 3 + turn, send_at: sendAt })
      expect(await rawOf(id)).toContain(`Date: ${new Date(sendAt).toUTCString().replace('GMT', '+0000')}\r\n`)
    }
  })

  test('null is at once: the message is queued, due, and its time counts from now', async () => {
    const { id, recipients } = await api.send({ send_at: hours(500) })
    const before = Date.now() - 1_000
    const shown = (await move(id, null)).json()
    expect(shown).toMatchObject({
      status: 'queued',
      recipients: [{ status: 'queued', next_attempt_at: null }],
    })
    expect(Date.parse(shown.send_at)).toBeGreaterThan(before)
    expect(Date.parse(shown.expires_at) - Date.parse(shown.send_at)).toBe(86_400_000)
    expect((await dueAt(recipients[0]!.id)).due_at.getTime()).toBeLessThanOrEqual(Date.now() + 1_000)
    expect(await scheduledEvents(id)).toHaveLength(2)
  })

  test('a time that has just passed is at once as well', async () => {
    const { id } = await api.send({ send_at: hours(1) })
    expect((await move(id, new Date(Date.now() - 60_000).toISOString())).json().status).toBe('queued')
  })

  test('what was to go at once is put off, and what was deferred is; its date stays once it was tried', async () => {
    const { id, recipients } = await api.send({ to: ['ann@example.test', 'bob@example.test'] })
    await attempt(api, recipients[0]!.id, 451, '4.7.1', 'Try again later')
    const date = /^Date: .*$/m.exec(await rawOf(id))?.[0]
    const sendAt = hours(48)
    const shown = (await move(id, sendAt)).json()
    expect([shown.status, ...shown.recipients.map(({ status }: { status: string }) => status)]).toEqual(
      Array(3).fill('scheduled'),
    )
    expect(await rawOf(id)).toContain(date)
    expect((await move(id, null)).json()).toMatchObject({
      status: 'queued',
      recipients: [{ status: 'queued' }, { status: 'queued' }],
    })
  })

  test('a raw message is dated anew where its date was ours, and left alone where it was its sender’s', async () => {
    const raw = (more: string) =>
      Buffer.from(`From: hello@acme.test\r\n${more}Subject: Raw\r\n\r\nAs it is.\r\n`).toString('base64')
    const { subject: _, text: __, ...addressed } = message
    const sent = async (more: string) => {
      const body = { ...addressed, raw: raw(more), send_at: hours(2) }
      return (await api.ask('POST', '/send', { body })).json().id as string
    }
    const own = 'Date: Thu, 01 Jan 2026 00:00:00 +0000\r\n'
    const [ours, theirs] = [await sent(''), await sent(own)]
    const sendAt = hours(100)
    for (const id of [ours, theirs]) expect((await move(id, sendAt)).statusCode).toBe(200)
    expect(await rawOf(ours)).toContain(`Date: ${new Date(sendAt).toUTCString().replace('GMT', '+0000')}\r\n`)
    expect(await rawOf(theirs)).toContain(own)
  })

  test('a raw message is dated anew also when a worker gives one of its recipients back only while it is moved, or after that', async () => {
    const { engine } = api.foundation.database
    const { subject: _, text: __, ...rest } = message
    const raw = Buffer.from('From: hello@acme.test\r\nSubject: Raw\r\n\r\nAs it is.\r\n').toString('base64')
    const body = { ...rest, to: ['ann@example.test', 'bob@example.test'], raw }
    const { id, recipients } = (await api.ask('POST', '/send', { body })).json()
    const giveBack = () =>
      engine.query(
        `UPDATE valija.deliveries SET state = 'waiting', leased_until = NULL, due_at = now() + interval '1 minute' WHERE recipient_id = $1`,
        [recipients[1].id.replace('rcp_', '')],
      )
    const dateOf = (time: string) => `Date: ${new Date(time).toUTCString().replace('GMT', '+0000')}\r\n`
    const sendAt = hours(100)
    await lease(api, recipients[1].id)
    const moved = await move(id, hours(50))
    expect(moved.json().recipients.map(({ status }: { status: string }) => status)).toEqual([
      'scheduled',
      'sending',
    ])
    await giveBack()
    expect((await move(id, sendAt)).statusCode).toBe(200)
    expect(await rawOf(id)).toContain(dateOf(sendAt))

    await lease(api, recipients[1].id)
    const stop = api.foundation.wake.on('recall', () => void giveBack())
    const last = hours(200)
    const shown = (await move(id, last)).json()
    stop()
    expect(shown.recipients.map(({ status }: { status: string }) => status)).toEqual([
      'scheduled',
      'scheduled',
    ])
    expect(await rawOf(id)).toContain(dateOf(last))
  })

  test('the answer that was given for its key is kept until a day after its new time', async () => {
    const headers = { 'idempotency-key': 'moved-1' }
    const body = { ...message, send_at: hours(2) }
    const { id } = (await api.ask('POST', '/send', { body, headers })).json()
    const sendAt = hours(700)
    await move(id, sendAt)
    const kept = await api.foundation.database.engine.query('SELECT expires_at FROM valija.idempotency_keys')
    expect(kept.rows).toEqual([{ expires_at: new Date(Date.parse(sendAt) + 86_400_000) }])
    const again = await api.ask('POST', '/send', { body, headers })
    expect([again.statusCode, again.headers['idempotency-replayed']]).toEqual([202, 'true'])
  })

  test('the limit after which it is late moves along', async () => {
    const { id, recipients } = await api.send({ send_at: hours(2), notify_if_not_handed_off_within: 300 })
    const sendAt = hours(4)
    await move(id, sendAt)
    expect((await dueAt(recipients[0]!.id)).late_at).toEqual(new Date(Date.parse(sendAt) + 300_000))
  })

  test('a dispatcher is told at once', async () => {
    const { id } = await api.send({ send_at: hours(1) })
    let wakes = 0
    const stop = api.foundation.wake.on('dispatch', () => {
      wakes += 1
    })
    await move(id, null)
    await until('the wake-up', () => wakes > 0)
    stop()
  })

  test('what is being sent goes on while the others are moved', async () => {
    const { id, recipients } = await api.send({ to: ['ann@example.test', 'bob@example.test'] })
    await lease(api, recipients[0]!.id)
    const shown = (await move(id, hours(5))).json()
    expect(shown.recipients.map(({ status }: { status: string }) => status)).toEqual(['sending', 'scheduled'])
  })

  test('a key that may only send is told what became of it, and not what it says; one that may read as well is shown all', async () => {
    const { id, recipients } = await api.send({ send_at: hours(3), metadata: { order: '4711' } })
    const bounds = { domains: ['acme.test'], recipients: ['@example.test'] }
    const keyWith = async (...scopes: string[]) =>
      (await api.ask('POST', '/keys', { body: { name: 'bound', scopes, ...bounds } })).json().key
    const sendAt = hours(5)
    const answer = await move(id, sendAt, { key: await keyWith('send') })
    expect(answer.json()).toEqual({
      ...{ id, status: 'scheduled', stream: 'transactional' },
      ...{ send_at: sendAt, created_at: expect.any(String), expires_at: expect.any(String) },
      recipients: [{ id: recipients[0]!.id, email: 'ann@example.test', type: 'to', status: 'scheduled' }],
    })
    const shown = await move(id, hours(6), { key: await keyWith('send', 'read') })
    expect(shown.json()).toEqual((await api.ask('GET', `/messages/${id}`)).json())
  })
})

describe('400', () => {
  test.each([
    ['no time', {}, 'Is missing'],
    ['no time at all', { send_at: 'tomorrow' }, 'Is not an RFC 3339 time'],
    ['one in the past', { send_at: hours(-1) }, 'Is in the past. Give a time to come, or null for at once.'],
    ['one more than a year ahead', { send_at: hours(9_000) }, 'Is more than a year ahead'],
    ['a number', { send_at: 5 }, 'Must be'],
  ])('%s is refused at /send_at, and nothing is moved', async (_, body, text) => {
    const { id } = await api.send({ send_at: hours(3) })
    const before = await shownOf(id)
    const answer = await api.ask('PATCH', `/messages/${id}`, { body })
    expect(answer.json()).toMatchObject({
      status: 400,
      errors: [{ path: '/send_at', message: expect.stringContaining(text) }],
    })
    expect(await shownOf(id)).toEqual(before)
  })
})

describe('403', () => {
  test('a key without the scope send is refused', async () => {
    const { id } = await api.send({ send_at: hours(3) })
    expect((await move(id, null, { key: await api.keyWith('read', 'manage') })).statusCode).toBe(403)
  })

  test.each([
    ['from the domain', { domains: ['other.test'] }],
    ['to its recipients', { recipients: ['@only.example'] }],
    ['to one of its recipients', { recipients: ['ann@example.test'] }],
  ])(
    'a key that may not send %s is refused, learns nothing of it, and nothing happens',
    async (_, bounds) => {
      const { id } = await api.send({ to: ['ann@example.test', 'bob@example.test'], send_at: hours(3) })
      const body = { name: 'bound', scopes: ['send'], ...bounds }
      const { key } = (await api.ask('POST', '/keys', { body })).json()
      const answer = await move(id, null, { key })
      expect(answer.json()).toMatchObject({ status: 403, code: 'key_restricted' })
      expect(answer.body).not.toMatch(/ann@|bob@|acme|receipt/)
      expect((await api.ask('GET', `/messages/${id}`)).json().status).toBe('scheduled')
    },
  )
})

describe('404', () => {
  test('404 hides other tenants’ messages, before their body is looked at', async () => {
    const { id } = await api.send({ send_at: hours(3) })
    expect((await move(id, null, { key: api.stranger.key })).statusCode).toBe(404)
    expect((await move(id, null, { key: api.stranger.key, body: {} })).statusCode).toBe(404)
    expect((await shownOf(id)).status).toBe('scheduled')
  })
})

describe('409', () => {
  test('what has its end, or is being sent, is not moved: told of each why', async () => {
    const { id, recipients } = await api.send({ to: ['ann@example.test', 'bob@example.test'] })
    await attempt(api, recipients[0]!.id, 250, '2.0.0', 'Ok')
    await lease(api, recipients[1]!.id)
    expect((await move(id, hours(1))).json()).toMatchObject({
      status: 409,
      code: 'already_sending',
      errors: [
        { path: '/recipients/0', message: 'ann@example.test has its end already: delivered.' },
        { path: '/recipients/1', message: 'bob@example.test is being sent this moment.' },
      ],
    })
    expect((await shownOf(id)).send_at).toBeNull()
  })

  test('a cancelled message stays cancelled', async () => {
    const { id } = await api.send({ send_at: hours(3) })
    await api.ask('POST', `/messages/${id}/cancel`)
    expect((await move(id, null)).json()).toMatchObject({ status: 409, code: 'already_sending' })
  })
})
