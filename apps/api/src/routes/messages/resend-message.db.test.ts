/** POST /messages/:id/resend, by status. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { message, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { attempt } from '../../settle.test-support.ts'

let api: TestApi

beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api?.close())

const resend = (id: string, ask: object = {}) => api.ask('POST', `/messages/${id}/resend`, ask)
const shownOf = async (id: string) => (await api.ask('GET', `/messages/${id}`)).json()
const rawOf = async (id: string) => (await api.ask('GET', `/messages/${id}/raw`)).body
/** The text without what is this one mail's alone. */
const withoutIds = (text: string, id: string) => {
  const hex = id.replace('msg_', '')
  const uuid = hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
  return text
    .replaceAll(hex, 'ID')
    .replaceAll(uuid, 'ID')
    .replace(/^(Date|X-Valija-Recipient): .*$/gm, '$1')
}
const send = async (body: object) => {
  const answer = await api.ask('POST', '/send', { body })
  expect(answer.statusCode, answer.body).toBe(202)
  return answer.json() as { id: string; recipients: { id: string; email: string }[] }
}

describe('202', () => {
  test('the message is accepted anew: same content, recipients, stream, tags and metadata, another id and Message-ID', async () => {
    const first = await send({
      ...message,
      from: 'Acme <hello@acme.test>',
      to: ['Ann <ann@example.test>', 'bob@example.test'],
      bcc: 'eve@example.test',
      reply_to: 'help@acme.test',
      html: '<p>Thank you!</p>',
      headers: { 'X-Order': '42' },
      attachments: [{ filename: 'a.txt', content: Buffer.from('file').toString('base64') }],
      stream: 'bulk',
      tags: ['receipt'],
      metadata: { order: '42' },
      ttl_seconds: 7_200,
      require_tls: true,
    })
    const answer = await resend(first.id)
    expect(answer.statusCode, answer.body).toBe(202)
    const accepted = answer.json()
    expect(accepted).toMatchObject({ status: 'queued', resent_from: first.id })
    const [old, shown] = [await shownOf(first.id), await shownOf(accepted.id)]
    const emails = ({ recipients }: { recipients: { email: string; type: string }[] }) =>
      recipients.map(({ email, type }) => [email, type])
    expect(emails(shown)).toEqual(emails(old))
    for (const name of ['from', 'subject', 'stream', 'tags', 'metadata'])
      expect(shown[name]).toEqual(old[name])
    expect(Date.parse(shown.expires_at) - Date.parse(shown.created_at)).toBe(7_200_000)
    expect(shown.resent_from).toBe(first.id)
    expect(shown.rfc_message_id).not.toBe(old.rfc_message_id)
    const [before, after] = [await rawOf(first.id), await rawOf(accepted.id)]
    expect(after).toContain(`Message-ID: ${shown.rfc_message_id}\r\n`)
    expect(withoutIds(after, accepted.id)).toBe(withoutIds(before, first.id))
  })

  test('whoever wanted to hear of a late mail hears of this one, as many seconds from now, also of one that was scheduled', async () => {
    const at = new Date(Date.now() + 3_600_000).toISOString()
    const limit = { notify_if_not_handed_off_within: 90 }
    const firsts = [await send({ ...message, ...limit }), await send({ ...message, ...limit, send_at: at })]
    for (const { id } of firsts) {
      const again = (await resend(id)).json()
      const twice = (await resend(again.id)).json()
      const { rows } = await api.foundation.database.engine.query<{ seconds: number }>(
        `SELECT extract(epoch FROM d.late_at - m.created_at)::float AS seconds
         FROM valija.deliveries AS d JOIN valija.messages AS m ON m.id = d.message_id WHERE m.id = ANY ($1::uuid[])`,
        [[again.id, twice.id].map((one: string) => one.slice(4))],
      )
      expect(rows).toEqual([{ seconds: 90 }, { seconds: 90 }])
    }
    const { id } = (await resend((await send(message)).id)).json()
    const { rows } = await api.foundation.database.engine.query(
      'SELECT late_at FROM valija.deliveries WHERE message_id = $1',
      [id.slice(4)],
    )
    expect(rows).toEqual([{ late_at: null }])
  })

  test('some of its recipients, whatever the case of their local part; the header stays as it was', async () => {
    const first = await send({ ...message, to: ['Ann@example.test', 'bob@example.test'] })
    const again = (
      await resend(first.id, { body: { recipients: ['aNN@Example.test', 'Ann@example.test'] } })
    ).json()
    expect(again.recipients.map(({ email }: { email: string }) => email)).toEqual(['Ann@example.test'])
    expect(await rawOf(again.id)).toContain('To: Ann@example.test, bob@example.test\r\n')
  })

  test('a raw message has a Message-ID and a Date of its own, once each, and every other octet', async () => {
    const raw =
      'From: hello@acme.test\r\nMessage-ID: <own@acme.test>\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\nSubject: Raw\r\nX-Odd: caf\u00e9\r\n\r\nBody\r\n'
    const { subject: _, text: __, ...rest } = message
    const first = await send({ ...rest, raw: Buffer.from(raw).toString('base64') })
    const again = (await resend(first.id)).json()
    const text = await rawOf(again.id)
    const { rfc_message_id, subject } = await shownOf(again.id)
    expect(text).toMatch(
      /^From: hello@acme\.test\r\nSubject: Raw\r\nX-Odd: caf\u00e9\r\nMessage-ID: <[^>]+>\r\nDate: [^\r]+\r\n\r\nBody\r\n$/,
    )
    expect(text).toContain(`Message-ID: ${rfc_message_id}\r\n`)
    expect(rfc_message_id).not.toBe('<own@acme.test>')
    expect(text).not.toContain('01 Jan 2026')
    expect(subject).toBe('Raw')
  })

  test('each reader has a link of its own again, and a link of the sender’s own stays', async () => {
    const bulk = { ...message, stream: 'bulk' }
    const ours = (await resend((await send({ ...bulk, unsubscribe: true })).id)).json()
    expect(await rawOf(ours.id)).toMatch(
      /^List-Unsubscribe: ?\r?\n? ?<https:\/\/mail\.valija\.test\/unsubscribe\//m,
    )
    const theirs = (
      await resend((await send({ ...bulk, unsubscribe: { url: 'https://acme.test/u' } })).id)
    ).json()
    const text = await rawOf(theirs.id)
    expect(text).toContain('<https://acme.test/u>')
    expect(text.match(/^List-Unsubscribe:/gm)).toHaveLength(1)
  })

  test('what was never to leave the machine does not leave it now', async () => {
    const first = await send({ ...message, sandbox: true })
    expect((await resend(first.id)).json()).toMatchObject({ simulated: true })
    await api.foundation.database.engine.query('UPDATE valija.messages SET is_sandbox = NULL')
    expect((await resend(first.id)).json()).toMatchObject({ simulated: true })
  })

  test('whoever is suppressed by now is not sent to', async () => {
    const first = await send({ ...message, to: ['gone@example.test', 'ann@example.test'] })
    await api.ask('POST', '/suppressions', { body: { email: 'gone@example.test' } })
    const { recipients } = (await resend(first.id)).json()
    expect(recipients.map(({ status }: { status: string }) => status)).toEqual(['suppressed', 'queued'])
  })

  test('a repeated key gets the stored answer, also when the content is gone meanwhile', async () => {
    const first = await send(message)
    const headers = { 'idempotency-key': 'again-1' }
    const answer = await resend(first.id, { headers })
    await api.foundation.database.engine.query('DELETE FROM valija.bodies')
    const second = await resend(first.id, { headers })
    expect([second.statusCode, second.headers['idempotency-replayed'], second.body]).toEqual([
      202,
      'true',
      answer.body,
    ])
  })

  test('a message that was sent again is sent again', async () => {
    const second = (await resend((await send(message)).id, { body: {} })).json()
    expect((await resend(second.id)).json()).toMatchObject({ status: 'queued', resent_from: second.id })
  })
})

describe('400', () => {
  test('who is no recipient of it is told by place, and nothing is sent', async () => {
    const { id } = await send(message)
    const answer = await resend(id, {
      body: { recipients: ['ann@example.test', 'who@example.test', 'nobody'] },
    })
    expect(answer.json()).toMatchObject({
      status: 400,
      errors: [
        { path: '/recipients/1', message: 'who@example.test is no recipient of this message.' },
        { path: '/recipients/2' },
      ],
    })
  })

  test.each([{ recipients: [] }, { to: 'ann@example.test' }])('%j is refused', async (body) => {
    expect((await resend((await send(message)).id, { body })).statusCode).toBe(400)
  })
})

describe('403', () => {
  test('a key that may not send to a recipient, or from the domain, may not do so again', async () => {
    const { id } = await send(message)
    const key = async (more: object) =>
      (await api.ask('POST', '/keys', { body: { name: 'k', scopes: ['send'], ...more } })).json().key
    for (const more of [{ recipients: ['bob@example.test'] }, { domains: ['other.test'] }]) {
      const answer = await resend(id, { key: await key(more) })
      expect(answer.json()).toMatchObject({ status: 403, code: 'key_restricted' })
      expect(answer.body).not.toMatch(/ann@|acme/)
    }
    expect((await resend(id, { key: await api.keyWith('read', 'manage') })).statusCode).toBe(403)
  })
})

describe('404', () => {
  test('404 hides other tenants’ messages', async () => {
    const { id } = await send(message)
    expect((await resend(id, { key: api.stranger.key })).statusCode).toBe(404)
    expect((await resend('junk')).statusCode).toBe(404)
  })
})

describe('409', () => {
  test('content that retention has dropped, or that was sensitive, is not there to be sent again', async () => {
    const kept = await send(message)
    await api.foundation.database.engine.query('DELETE FROM valija.bodies')
    expect((await resend(kept.id)).json()).toMatchObject({
      code: 'conflict',
      title: 'Its content is not kept any more',
      detail: expect.stringContaining('not kept any more'),
      fix: expect.stringContaining('Send it anew by POST /send'),
    })
    const secret = await send({ ...message, sensitive: true })
    await attempt(api, secret.recipients[0]!.id, 250, '2.0.0', 'Ok')
    expect((await resend(secret.id)).json()).toMatchObject({
      status: 409,
      code: 'conflict',
      detail: expect.stringContaining('sensitive'),
    })
  })

  test('a key that was used for another message is refused', async () => {
    const [one, other] = [await send(message), await send(message)]
    const headers = { 'idempotency-key': 'again-2' }
    expect((await resend(one.id, { headers })).statusCode).toBe(202)
    expect((await resend(other.id, { headers })).json().code).toBe('idempotency_key_reused')
  })
})
