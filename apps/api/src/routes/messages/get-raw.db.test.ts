/** GET /messages/:id/raw, by status. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { attempt } from '../../settle.test-support.ts'

let api: TestApi

beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api?.close())

describe('200', () => {
  test('the text is the composed mail, with its Message-ID and without Bcc, the same every time', async () => {
    const { id } = await api.send({ bcc: 'eve@example.test', html: '<p>Thank you!</p>' })
    const { rfc_message_id } = (await api.ask('GET', `/messages/${id}`)).json()
    const answer = await api.ask('GET', `/messages/${id}/raw`)
    expect(answer.statusCode).toBe(200)
    expect(answer.headers['content-type']).toBe('message/rfc822')
    expect(answer.body).toContain(`Message-ID: ${rfc_message_id}\r\n`)
    expect(answer.body).toContain('To: ann@example.test\r\n')
    expect(answer.body).not.toContain('eve@example.test')
    const again = await api.ask('GET', `/messages/${id}/raw`)
    expect(again.rawPayload.equals(answer.rawPayload)).toBe(true)
  })

  test('a raw mail keeps its octets', async () => {
    const raw =
      'From: hello@acme.test\r\nTo: ann@example.test\r\nSubject: Raw\r\nX-Odd: caf\u00e9\r\n\r\nBody\r\n'
    const { id } = await api.send({
      subject: undefined,
      text: undefined,
      raw: Buffer.from(raw).toString('base64'),
    })
    const answer = await api.ask('GET', `/messages/${id}/raw`)
    expect(answer.rawPayload.toString()).toContain('X-Odd: caf\u00e9\r\n')
    expect(answer.rawPayload.toString()).toMatch(/\r\n\r\nBody\r\n$/)
  })
})

describe('404, of a sensitive message', () => {
  test('its text is there until the last recipient has its end', async () => {
    const { id, recipients } = await api.send({
      to: ['ann@example.test', 'bob@example.test'],
      sensitive: true,
    })
    const read = async () => (await api.ask('GET', `/messages/${id}/raw`)).statusCode
    await attempt(api, recipients[0]!.id, 250, '2.0.0', 'Ok')
    await attempt(api, recipients[1]!.id, 451, '4.7.1', 'Try again later')
    expect(await read()).toBe(200)
    await attempt(api, recipients[1]!.id, 250, '2.0.0', 'Ok')
    expect(await read()).toBe(404)
    expect((await api.ask('GET', `/messages/${id}`)).json()).toMatchObject({
      status: 'delivered',
      sensitive: true,
    })
  })
})

describe('403', () => {
  test('read does not imply read:content', async () => {
    const { id } = await api.send()
    expect((await api.ask('GET', `/messages/${id}/raw`, { key: await api.keyWith('read') })).statusCode).toBe(
      403,
    )
  })
})

describe('404', () => {
  test('404 hides other tenants’ messages', async () => {
    const { id } = await api.send()
    expect((await api.ask('GET', `/messages/${id}/raw`, { key: api.stranger.key })).statusCode).toBe(404)
  })
})
