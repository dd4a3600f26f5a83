/** GET /messages/:id/attempts, by status. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { attempt } from '../../settle.test-support.ts'

let api: TestApi
let id: string
let recipientId: string

beforeAll(async () => {
  api = await openTestApi()
  const sent = await api.send()
  id = sent.id
  recipientId = sent.recipients[0]?.id ?? ''
  await attempt(api, recipientId, 451, '4.7.1', 'Try again later')
  await attempt(api, recipientId, 250, '2.0.0', 'Ok')
})
afterAll(() => api?.close())

describe('200', () => {
  test('every attempt is shown, oldest first, with its conversation', async () => {
    const answer = await api.ask('GET', `/messages/${id}/attempts`)
    expect(answer.json()).toEqual({
      data: [
        expect.objectContaining({ number: 1, outcome: 'deferred', reply: '451 4.7.1 Try again later' }),
        {
          id: expect.stringMatching(/^att_[0-9a-f]{32}$/),
          recipient_ids: [recipientId],
          number: 2,
          route: 'capture',
          host: 'mx.example.test',
          ip: '192.0.2.25',
          port: 25,
          source_ip: '192.0.2.1',
          tls: {
            version: 'TLSv1.3',
            cipher: 'TLS_AES_256_GCM_SHA384',
            verified: true,
            policy: 'opportunistic',
            detail: null,
          },
          phase: 'body',
          reply: '250 2.0.0 Ok',
          enhanced_status: '2.0.0',
          reason: null,
          outcome: 'delivered',
          uncertain: false,
          started_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
          duration_ms: 12,
          timings_ms: { dns: 1, connect: 2, tls: 3, ehlo: 1, envelope: 2, data: 3, total: 12 },
          transcript: [{ t_ms: 3, from: 'client', line: 'MAIL FROM:<hello@acme.test>' }],
        },
      ],
      next_cursor: null,
    })
  })

  test('a key without read:content sees no conversation', async () => {
    const answer = await api.ask('GET', `/messages/${id}/attempts`, { key: await api.keyWith('read') })
    expect(answer.json().data.map((shown: { transcript: unknown[] }) => shown.transcript)).toEqual([[], []])
  })

  test('pages follow each other', async () => {
    const first = (await api.ask('GET', `/messages/${id}/attempts?limit=1`)).json()
    const second = (
      await api.ask('GET', `/messages/${id}/attempts?limit=1&cursor=${first.next_cursor}`)
    ).json()
    expect([first.data[0].number, second.data[0].number, second.next_cursor]).toEqual([1, 2, null])
  })

  test('a message that was not tried yet has none', async () => {
    const sent = await api.send()
    expect((await api.ask('GET', `/messages/${sent.id}/attempts`)).json()).toEqual({
      data: [],
      next_cursor: null,
    })
  })
})

describe('400', () => {
  test('a bad cursor is refused at cursor', async () => {
    const answer = await api.ask('GET', `/messages/${id}/attempts?cursor=bad`)
    expect(answer.json()).toMatchObject({ status: 400, errors: [{ path: 'cursor' }] })
  })
})

describe('403', () => {
  test('read:content does not imply read', async () => {
    const key = await api.keyWith('read:content')
    expect((await api.ask('GET', `/messages/${id}/attempts`, { key })).statusCode).toBe(403)
  })
})

describe('404', () => {
  test('404 hides other tenants’ messages', async () => {
    expect((await api.ask('GET', `/messages/${id}/attempts`, { key: api.stranger.key })).statusCode).toBe(404)
  })
})
