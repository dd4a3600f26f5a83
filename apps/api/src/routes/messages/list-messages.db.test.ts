/** GET /messages, by status. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { attempt, giveUp, lease } from '../../settle.test-support.ts'

let api: TestApi
/** What was sent, oldest first. */
const ids: Record<'plain' | 'bulk' | 'bounced' | 'leased' | 'scheduled', string> = {
  plain: '',
  bulk: '',
  bounced: '',
  leased: '',
  scheduled: '',
}
let between = ''

beforeAll(async () => {
  api = await openTestApi()
  ids.plain = (await api.send({ metadata: { order: '4711', 'odd key.%': 'a b&c' } })).id
  ids.bulk = (
    await api.send({
      stream: 'bulk',
      from: 'news@sub.acme.test',
      subject: 'News: 100% _new_',
      tags: ['a', 'b'],
    })
  ).id
  await new Promise((resolve) => setTimeout(resolve, 5))
  between = new Date(api.foundation.clock.nowMs()).toISOString()
  await new Promise((resolve) => setTimeout(resolve, 5))
  const bounced = await api.send({ to: ['Bob@example.test', 'carol@example.test'] })
  ids.bounced = bounced.id
  await attempt(api, bounced.recipients[0]?.id ?? '', 550, '5.1.1', 'No such user')
  await attempt(api, bounced.recipients[1]?.id ?? '', 550, '5.1.1', 'No such user')
  const leased = await api.send()
  ids.leased = leased.id
  await lease(api, leased.recipients[0]?.id ?? '')
  ids.scheduled = (await api.send({ send_at: new Date(Date.now() + 3_600_000).toISOString() })).id
})
afterAll(() => api?.close())

const list = async (query: string) => {
  const answer = await api.ask('GET', `/messages${query}`)
  if (answer.statusCode !== 200) throw new Error(answer.body)
  return answer.json() as { data: { id: string }[]; next_cursor: string | null }
}
const found = async (query: string) => (await list(query)).data.map((message) => message.id)

describe('200', () => {
  test('messages come newest first, without recipients but with their number', async () => {
    const { data, next_cursor } = await list('')
    expect(data.map((message) => message.id)).toEqual([
      ids.scheduled,
      ids.leased,
      ids.bounced,
      ids.bulk,
      ids.plain,
    ])
    expect(next_cursor).toBeNull()
    expect(data[2]).toMatchObject({ recipient_count: 2, status: 'bounced', size_bytes: 1234 })
    expect(data[2]).not.toHaveProperty('recipients')
    const { recipients, ...whole } = (await api.ask('GET', `/messages/${ids.bounced}`)).json()
    expect(data[2]).toEqual({ ...whole, recipient_count: recipients.length })
  })

  test('pages follow each other without gap or doubling', async () => {
    const seen: string[] = []
    let cursor: string | null = null
    do {
      const page: Awaited<ReturnType<typeof list>> = await list(
        `?limit=2${cursor ? `&cursor=${cursor}` : ''}`,
      )
      expect(page.data.length).toBeLessThanOrEqual(2)
      seen.push(...page.data.map((message) => message.id))
      cursor = page.next_cursor
    } while (cursor !== null)
    expect(seen).toEqual([ids.scheduled, ids.leased, ids.bounced, ids.bulk, ids.plain])
  })

  const searches: [string, (keyof typeof ids)[]][] = [
    ['to=bOB@EXAMPLE.test', ['bounced']],
    ['to=carol@example.test&status=bounced', ['bounced']],
    ['to=nobody@example.test', []],
    ['from=News@sub.acme.test', ['bulk']],
    ['domain=SUB.acme.test.', ['bulk']],
    ['subject=100%25%20_NEW', ['bulk']],
    ['subject=%25', ['bulk']],
    ['tag=b', ['bulk']],
    ['tag=B', []],
    ['metadata.order=4711', ['plain']],
    [
      `metadata.${encodeURIComponent('odd key.%')}=${encodeURIComponent('a b&c')}&metadata.order=4711`,
      ['plain'],
    ],
    ['metadata.order=4712', []],
    ['stream=bulk', ['bulk']],
    ['status=sending', ['leased']],
    ['status=queued', ['bulk', 'plain']],
    ['status=scheduled', ['scheduled']],
    ['status=partially_delivered', []],
    ['reason=mailbox_unknown', ['bounced']],
  ]
  test.each(searches)('?%s finds what it should', async (query, expected) => {
    expect(await found(`?${query}`)).toEqual(expected.map((name) => ids[name]))
  })

  test('after and before part the messages at a time', async () => {
    const at = encodeURIComponent(between)
    expect(await found(`?before=${at}`)).toEqual([ids.bulk, ids.plain])
    expect(await found(`?after=${at}`)).toEqual([ids.scheduled, ids.leased, ids.bounced])
    expect(await found(`?after=${at}&to=ann@example.test`)).toEqual([ids.scheduled, ids.leased])
  })

  test('a message is found by how it ended, whichever way it came there', async () => {
    const partly = await api.send({ to: ['one@example.test', 'two@example.test'] })
    await attempt(api, partly.recipients[0]?.id ?? '', 250, '2.0.0', 'Taken')
    await attempt(api, partly.recipients[1]?.id ?? '', 550, '5.1.1', 'No such user')
    const failed = await api.send()
    await giveUp(api, failed.recipients[0]?.id ?? '')
    const suppressed = await api.send({ to: 'suppressed@simulator.valija.test' })
    const cancelled = await api.send()
    expect((await api.ask('POST', `/messages/${cancelled.id}/cancel`)).statusCode).toBe(200)
    const ends = { partially_delivered: partly, failed, suppressed, cancelled }
    for (const [status, { id }] of Object.entries(ends)) {
      expect([status, await found(`?status=${status}`)]).toEqual([status, [id]])
      expect(await found(`?status=${status}&domain=acme.test`)).toEqual([id])
    }
    expect(await found('?status=bounced')).toEqual([ids.bounced])
    expect(await found('?status=failed&reason=expired')).toEqual([failed.id])
    expect(await found('?status=bounced&reason=expired')).toEqual([])
  })

  test('a tenant finds only its own', async () => {
    const answer = await api.ask('GET', '/messages', { key: api.stranger.key })
    expect(answer.json()).toEqual({ data: [], next_cursor: null })
  })
})

describe('400', () => {
  test.each([
    ['?colour=red', 'colour'],
    ['?limit=0', 'limit'],
    ['?limit=101', 'limit'],
    ['?limit=ten', 'limit'],
    ['?limit=1&limit=2', 'limit'],
    ['?tag=order&tag=two', 'tag'],
    ['?status=lost', 'status'],
    ['?stream=fast', 'stream'],
    ['?to=nobody', 'to'],
    ['?domain=a%20b', 'domain'],
    ['?after=yesterday', 'after'],
    ['?before=1969-01-01T00:00:00Z', 'before'],
    ['?cursor=x', 'cursor'],
    ['?cursor=', 'cursor'],
    ['?subject=a%00b', 'subject'],
    ['?metadata.=x', 'metadata.'],
  ])('%s is refused at its key', async (query, path) => {
    const answer = await api.ask('GET', `/messages${query}`)
    expect(answer.json()).toMatchObject({ status: 400, code: 'invalid_request', errors: [{ path }] })
  })

  test('what is given twice is to be given once', async () => {
    expect((await api.ask('GET', '/messages?tag=order&tag=two')).json().errors).toEqual([
      { path: 'tag', message: 'Give it once.' },
    ])
  })
})

describe('403', () => {
  test('a key without the scope read is refused', async () => {
    const answer = await api.ask('GET', '/messages', { key: await api.keyWith('send') })
    expect(answer.statusCode).toBe(403)
  })
})
