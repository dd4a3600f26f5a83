/** POST /unsubscribe/<token>. */
import { parseId } from '@valija/core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../../../../../tests/support/until.ts'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { erase, workOff } from '../erasures/erasures.test-support.ts'
import { suppressionEvents } from '../suppressions/suppressions.test-support.ts'
import { follow, linksTo, look, traces } from './unsubscribe.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const entriesOf = async (email: string) => (await api.ask('GET', `/suppressions?email=${email}`)).json().data
const eventsOf = async (messageId: string) =>
  (await api.ask('GET', `/messages/${messageId}/events`)).json().data
const statusOf = async (to: string, stream: string) => {
  const { recipients } = await api.send({ to, stream })
  return (recipients[0] as unknown as { status: string }).status
}

describe('200', () => {
  test('without a redirect or a cookie; mail of this stream to this address ends as suppressed, and no other', async () => {
    const { links } = await linksTo(api, ['Ann@example.test', 'bob@example.test'])
    const answer = await follow(api, links[0]!)
    expect(answer.statusCode).toBe(200)
    expect(answer.headers).not.toHaveProperty('location')
    expect(answer.headers).not.toHaveProperty('set-cookie')
    expect(await statusOf('ann@example.test', 'bulk')).toBe('suppressed')
    expect(await statusOf('ann@example.test', 'transactional')).toBe('queued')
    expect(await statusOf('bob@example.test', 'bulk')).toBe('queued')
  })

  test('as the entry of its owner, told by two events, one of which is in the mail’s own timeline', async () => {
    const { links, messageId, recipientIds } = await linksTo(api, ['carl@example.test'])
    await follow(api, links[0]!)
    const [entry] = await entriesOf('carl@example.test')
    expect(entry).toMatchObject({
      stream: 'bulk',
      reason: 'unsubscribe',
      status: 'active',
      message_id: messageId,
    })
    expect(await suppressionEvents(api, 'carl@example.test')).toMatchObject([
      {
        type: 'suppression.added',
        suppression_id: entry.id,
        stream: 'bulk',
        reason: 'unsubscribe',
        domain: 'acme.test',
      },
    ])
    expect(await eventsOf(messageId)).toMatchObject([
      { type: 'message.accepted', data: { seq: 1 } },
      {
        type: 'message.unsubscribed',
        data: {
          message_id: messageId,
          recipient_id: recipientIds[0],
          email: 'carl@example.test',
          domain: 'acme.test',
          tags: ['news'],
          seq: 2,
          stream: 'bulk',
          suppression_id: entry.id,
        },
      },
    ])
  })

  test('done many times, also at the same time, it is done once', async () => {
    const { links, messageId } = await linksTo(api, ['dora@example.test'])
    const answers = await Promise.all(Array.from({ length: 10 }, () => follow(api, links[0]!)))
    expect(new Set(answers.map((answer) => answer.statusCode))).toEqual(new Set([200]))
    expect(await entriesOf('dora@example.test')).toHaveLength(1)
    expect(await suppressionEvents(api, 'dora@example.test')).toHaveLength(1)
    expect(await eventsOf(messageId)).toHaveLength(2)
  })

  test('by the links of two mails: each mail tells of it, and there is one entry', async () => {
    const [first, second] = [
      await linksTo(api, ['eve@example.test']),
      await linksTo(api, ['eve@example.test']),
    ]
    for (const { links } of [first, second]) await follow(api, links[0]!)
    expect(await entriesOf('eve@example.test')).toHaveLength(1)
    expect(await suppressionEvents(api, 'eve@example.test')).toHaveLength(1)
    for (const { messageId } of [first, second]) expect(await eventsOf(messageId)).toHaveLength(2)
  })

  test('also beside an entry for both streams, which may go without its owner’s wish', async () => {
    const { links } = await linksTo(api, ['fay@example.test'])
    const { id } = (await api.ask('POST', '/suppressions', { body: { email: 'fay@example.test' } })).json()
    await follow(api, links[0]!)
    await api.ask('DELETE', `/suppressions/${id}`)
    expect(await statusOf('fay@example.test', 'bulk')).toBe('suppressed')
  })

  test('what somebody had suppressed by hand for this stream becomes its owner’s wish', async () => {
    const { links } = await linksTo(api, ['gus@example.test'])
    await api.ask('POST', '/suppressions', { body: { email: 'gus@example.test', stream: 'bulk' } })
    await follow(api, links[0]!)
    expect(await entriesOf('gus@example.test')).toMatchObject([{ reason: 'unsubscribe', stream: 'bulk' }])
    expect(await suppressionEvents(api, 'gus@example.test')).toHaveLength(1)
  })

  test('whoever was taken off the list and clicks again is on it again, and told of', async () => {
    const { links, messageId } = await linksTo(api, ['hal@example.test'])
    await follow(api, links[0]!)
    await api.ask('DELETE', `/suppressions/${(await entriesOf('hal@example.test'))[0].id}`)
    await follow(api, links[0]!)
    expect(await entriesOf('hal@example.test')).toMatchObject([{ reason: 'unsubscribe' }])
    const types = (await eventsOf(messageId)).map(({ type }: { type: string }) => type)
    expect(types).toEqual(['message.accepted', 'message.unsubscribed', 'message.unsubscribed'])
  })

  test('by a mail that is forgotten: its owner need not be patient with our memory', async () => {
    const forgotten = '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b'
    const { links } = await linksTo(api, ['ida@example.test'], {
      messageId: forgotten,
      recipientId: forgotten,
    })
    expect((await follow(api, links[0]!)).statusCode).toBe(200)
    expect(await statusOf('ida@example.test', 'bulk')).toBe('suppressed')
  })

  test('by a mail that was erased: the entry is made, and nothing says from which mail it is', async () => {
    const email = 'lou@example.test'
    const { links, messageId } = await linksTo(api, [email])
    await erase(api, email)
    await workOff(api)
    const done = await follow(api, links[0]!)
    expect([done.statusCode, done.body.includes('name="Undo"')]).toEqual([200, false])
    const [entry] = await entriesOf(email)
    expect(entry).toMatchObject({ reason: 'unsubscribe', stream: 'bulk', message_id: null })
    const [told] = await suppressionEvents(api, email)
    expect(JSON.stringify(told)).not.toMatch(/msg_|rcp_|news/)
    expect(await eventsOf(messageId)).not.toContainEqual(
      expect.objectContaining({ type: 'message.unsubscribed' }),
    )
    const marked = 'SELECT FROM valija.recipients WHERE message_id = $1 AND unsubscribed_at IS NOT NULL'
    const { rowCount } = await api.foundation.database.engine.query(marked, [parseId('message', messageId)])
    expect(rowCount).toBe(0)
  })

  test('as multipart/form-data, which mail programs send too, and as the browser sends the page’s form', async () => {
    const { links } = await linksTo(api, ['jo@example.test', 'kim@example.test'])
    const multipart =
      '--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n'
    expect((await follow(api, links[0]!, multipart, 'multipart/form-data; boundary=b')).statusCode).toBe(200)
    const type = 'application/x-www-form-urlencoded; charset=UTF-8'
    expect((await follow(api, links[1]!, 'List-Unsubscribe=One-Click', type)).statusCode).toBe(200)
    expect(await statusOf('jo@example.test', 'bulk')).toBe('suppressed')
    expect(await statusOf('kim@example.test', 'bulk')).toBe('suppressed')
  })
})

describe('the button that takes it back', () => {
  const takeBack = (link: string) => follow(api, link, 'Undo=Unsubscribe')
  const typesOf = async (messageId: string) =>
    (await eventsOf(messageId)).map(({ type }: { type: string }) => type.replace('message.', ''))

  test('is there after the click, and leaves all as before: told of, on record, and to be done again', async () => {
    const { links, messageId } = await linksTo(api, ['ova@example.test'])
    const done = await follow(api, links[0]!)
    expect(done.body).toContain('<input type="hidden" name="Undo" value="Unsubscribe">')
    const undone = await takeBack(links[0]!)
    expect(undone.statusCode).toBe(200)
    expect(undone.body).toContain('Undone')
    expect(await statusOf('ova@example.test', 'bulk')).toBe('queued')
    expect(await suppressionEvents(api, 'ova@example.test')).toMatchObject([
      { type: 'suppression.added' },
      { type: 'suppression.removed', reason: 'unsubscribe' },
    ])
    const { data } = (await api.ask('GET', '/suppressions?status=removed&email=ova@example.test')).json()
    expect(data).toMatchObject([{ removed: { how: 'resubscribed', key_id: null } }])
    await follow(api, links[0]!)
    expect(await typesOf(messageId)).toEqual(['accepted', 'unsubscribed', 'unsubscribed'])
    expect(await statusOf('ova@example.test', 'bulk')).toBe('suppressed')
  })

  test.each([
    ['after an hour', `UPDATE valija.suppressions SET created_at = now() - interval '61 minutes'`],
    ['of a complaint', `UPDATE valija.suppressions SET reason = 'complaint'`],
  ])('is not there %s, and does nothing', async (when, change) => {
    const email = `${when.replaceAll(' ', '.')}@example.test`
    const { links } = await linksTo(api, [email])
    await follow(api, links[0]!)
    await api.foundation.database.engine.query(`${change} WHERE email = $1`, [email])
    expect((await takeBack(links[0]!)).body).not.toContain('"Undo"')
    expect(await entriesOf(email)).toHaveLength(1)
  })

  test('does nothing by the link of another mail, nor before the click', async () => {
    const [first, second] = [
      await linksTo(api, ['pat@example.test']),
      await linksTo(api, ['pat@example.test']),
    ]
    await takeBack(first.links[0]!)
    await follow(api, first.links[0]!)
    await takeBack(second.links[0]!)
    expect(await entriesOf('pat@example.test')).toHaveLength(1)
    expect((await look(api, second.links[0]!)).body).not.toContain('"Undo"')
  })
})

describe('nothing is changed', () => {
  test.each([
    ['an empty body', '', 'application/x-www-form-urlencoded', 400],
    ['another field', 'unsubscribe=1', 'application/x-www-form-urlencoded', 400],
    ['another value', 'List-Unsubscribe=No', 'application/x-www-form-urlencoded', 400],
    ['JSON', '{"List-Unsubscribe":"One-Click"}', 'application/json', 400],
    ['a broken form', '--b\r\nList-Unsubscribe=One-Click', 'multipart/form-data; boundary=c', 400],
    ['text', 'List-Unsubscribe=One-Click', 'text/plain', 400],
    [
      'a long body',
      `List-Unsubscribe=One-Click&x=${'x'.repeat(5_000)}`,
      'application/x-www-form-urlencoded',
      413,
    ],
  ])('by %s', async (_, payload, type, status) => {
    const { links } = await linksTo(api, ['lea@example.test'])
    const before = await traces(api)
    expect((await follow(api, links[0]!, payload, type)).statusCode).toBe(status)
    expect(await traces(api)).toEqual(before)
  })

  test('by other methods', async () => {
    const { links } = await linksTo(api, ['lea@example.test'])
    const before = await traces(api)
    for (const method of ['PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const) {
      expect((await api.app.inject({ method, url: links[0]! })).statusCode).toBe(404)
    }
    expect(await traces(api)).toEqual(before)
  })

  test('by a link that no key of ours made', async () => {
    const { links } = await linksTo(api, ['lea@example.test'])
    const before = await traces(api)
    const link = links[0]!
    const answer = await follow(api, `${link.slice(0, 60)}${link[60] === 'A' ? 'B' : 'A'}${link.slice(61)}`)
    expect(answer.statusCode).toBe(404)
    expect(await traces(api)).toEqual(before)
  })

  test('for a tenant that is gone', async () => {
    const tenantId = '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b'
    const { links } = await linksTo(api, ['lea@example.test'], { tenantId })
    const before = await traces(api)
    expect((await follow(api, links[0]!)).statusCode).toBe(404)
    expect(await traces(api)).toEqual(before)
  })

  test('to another tenant’s mail, whose ids stand in a link of this one', async () => {
    const { links, messageId } = await linksTo(api, ['moe@example.test'], { tenantId: api.stranger.id })
    expect((await follow(api, links[0]!)).statusCode).toBe(200)
    expect(await eventsOf(messageId)).toHaveLength(1)
    expect(await entriesOf('moe@example.test')).toEqual([])
  })
})

test('429 for a link that is followed over and over', async () => {
  const { links } = await linksTo(api, ['ned@example.test'])
  const statuses = []
  for (let i = 0; i < 32; i++) statuses.push((await follow(api, links[0]!)).statusCode)
  expect(statuses.indexOf(429)).toBe(30)
})

test('a tenant whose links are slow keeps those of others from nothing', async () => {
  const emails = ['pat@example.test', 'quin@example.test', 'rob@example.test']
  const { links } = await linksTo(api, emails)
  const { links: others } = await linksTo(api, ['sue@example.test'], { tenantId: api.stranger.id })
  const { engine } = api.foundation.database
  const client = await engine.connect()
  await client.query('BEGIN')
  await client.query('SELECT FROM valija.tenants WHERE id = $1 FOR UPDATE', [api.tenant.id])
  const slow = links.map((link) => follow(api, link))
  await until('one of them waits for the lock', async () => {
    const { rowCount } = await client.query(
      'SELECT FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = current_database()',
    )
    return rowCount === 1
  })
  const { statusCode } = await look(api, others[0]!)
  await client.query('ROLLBACK')
  client.release()
  expect(statusCode).toBe(200)
  expect((await Promise.all(slow)).map(({ statusCode }) => statusCode)).toEqual([200, 200, 200])
})
