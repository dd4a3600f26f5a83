/** POST /suppressions/undo, and what is left to be seen of entries that went. */
import { forgetRemovals } from '@valija/store'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectFault, expectScope } from '../keys/refusals.test-support.ts'
import { suppressionEvents } from './suppressions.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const hour = 3_600_000
const at = (hoursAgo: number) => new Date(Date.now() - hoursAgo * hour).toISOString()
const undo = async (body: object, key = api.tenant.key) =>
  (await api.ask('POST', '/suppressions/undo', { key, body })).json()
const sql = (text: string, values: unknown[] = []) => api.foundation.database.engine.query(text, values)

/** An entry as settle makes it, so long ago. */
async function denied(
  email: string,
  hoursAgo: number,
  more: { provider?: string | null; reason?: string } = {},
) {
  const { provider = 'bigmail', reason = 'mailbox_unknown' } = more
  const createdAt = new Date(Date.now() - hoursAgo * hour)
  await sql(
    `INSERT INTO valija.suppressions (id, tenant_id, email, email_key, reason, reply, provider, created_at)
     VALUES (overlay(gen_random_uuid()::text PLACING substr(valija.lowest_uuid($2)::text, 1, 15) FROM 1)::uuid, $1, $3, $3, $4, '550 5.1.1 no', $5, $2)`,
    [api.tenant.id, createdAt, email, reason, provider],
  )
}
const listed = async (query = '') =>
  (await api.ask('GET', `/suppressions?limit=100${query}`))
    .json()
    .data.map(({ email }: { email: string }) => email)

beforeEach(async () => {
  for (const table of ['suppressions', 'suppression_removals', 'mailbox_faults']) {
    await sql(`DELETE FROM valija.${table}`)
  }
})

describe('200', () => {
  test('takes off what this provider said in this time, and nothing else; each is told of', async () => {
    await denied('early@a.test', 9)
    await denied('in1@a.test', 7)
    await denied('in2@b.test', 6)
    await denied('late@a.test', 1)
    await denied('other@a.test', 7, { provider: 'othermail' })
    await denied('wish@a.test', 7, { reason: 'complaint' })
    await denied('byhand@a.test', 7, { reason: 'manual' })
    const search = { provider: 'BigMail', after: at(8), before: at(2) }
    expect(await undo({ ...search, dry_run: true })).toEqual({ dry_run: true, count: 2, more: false })
    expect(await listed()).toHaveLength(7)
    expect(await undo(search)).toEqual({ dry_run: false, count: 2, more: false })
    expect((await listed()).sort()).toEqual([
      'byhand@a.test',
      'early@a.test',
      'late@a.test',
      'other@a.test',
      'wish@a.test',
    ])
    for (const email of ['in1@a.test', 'in2@b.test']) {
      expect(await suppressionEvents(api, email)).toMatchObject([
        { type: 'suppression.removed', reason: 'mailbox_unknown' },
      ])
    }
    expect(await undo(search)).toMatchObject({ count: 0 })
  })

  test('by the domain of the addresses, and by one reason', async () => {
    await denied('a@a.test', 2, { reason: 'mailbox_full' })
    await denied('b@a.test', 2)
    await denied('c@b.test', 2)
    expect(await undo({ domain: 'A.test', reason: 'mailbox_full', after: at(3) })).toMatchObject({ count: 1 })
    expect(await undo({ domain: 'a.test', after: at(3) })).toMatchObject({ count: 1 })
    expect(await listed()).toEqual(['c@b.test'])
  })

  test('whom an earlier version suppressed is known by the fault that is remembered', async () => {
    await denied('old@a.test', 2, { provider: null })
    await sql('UPDATE valija.suppressions SET recipient_id = id')
    await sql(
      `INSERT INTO valija.mailbox_faults (recipient_id, tenant_id, email_key, provider, reason)
       SELECT id, tenant_id, email_key, 'bigmail', reason FROM valija.suppressions`,
    )
    expect(await undo({ provider: 'bigmail', after: at(3) })).toMatchObject({ count: 1 })
    // A clean sheet: else the next answer would find a history.
    expect((await sql('SELECT FROM valija.mailbox_faults')).rowCount).toBe(0)
  })

  test('thousands at once', async () => {
    await sql(
      `INSERT INTO valija.suppressions (id, tenant_id, email, email_key, reason, provider)
       SELECT valija.new_id(), $1, i || '@a.test', i || '@a.test', 'mailbox_unknown', 'bigmail' FROM generate_series(1, 3500) AS i`,
      [api.tenant.id],
    )
    expect(await undo({ provider: 'bigmail', after: at(1) })).toEqual({
      dry_run: false,
      count: 3500,
      more: false,
    })
    expect(await listed()).toEqual([])
  })

  test('is about this tenant alone', async () => {
    await denied('mine@a.test', 2)
    expect(await undo({ provider: 'bigmail', after: at(3) }, api.stranger.key)).toMatchObject({ count: 0 })
    expect(await listed()).toEqual(['mine@a.test'])
  })
})

describe('what went', () => {
  test('is seen by ?status=removed: when, how, and by which key', async () => {
    await denied('undone@a.test', 2)
    const { id } = (await api.ask('POST', '/suppressions', { body: { email: 'deleted@a.test' } })).json()
    await undo({ provider: 'bigmail', after: at(3) })
    await api.ask('DELETE', `/suppressions/${id}`)
    const { data } = (await api.ask('GET', '/suppressions?status=removed')).json()
    const keyId = expect.stringMatching(/^key_/)
    expect(data).toMatchObject([
      { id, email: 'deleted@a.test', status: 'removed', removed: { how: 'deleted', key_id: keyId } },
      {
        email: 'undone@a.test',
        reply: '550 5.1.1 no',
        provider: 'bigmail',
        removed: { how: 'undone', key_id: keyId, at: expect.stringMatching(/Z$/) },
      },
    ])
    expect(await listed()).toEqual([])
    expect(await listed('&status=removed&email=undone@a.test')).toEqual(['undone@a.test'])
    expect((await api.ask('GET', `/suppressions/${id}`)).statusCode).toBe(404)
    const others = await api.ask('GET', '/suppressions?status=removed', { key: api.stranger.key })
    expect(others.json().data).toEqual([])
  })

  test('is forgotten with the events of its time', async () => {
    for (const email of ['long@a.test', 'now@a.test']) await denied(email, 2)
    await undo({ domain: 'a.test', after: at(3) })
    await sql(
      `UPDATE valija.suppression_removals SET removed_at = now() - interval '91 days' WHERE email = 'long@a.test'`,
    )
    expect(await forgetRemovals(api.foundation.database.engine, 90 * 24 * hour)).toBe(1)
    expect(await listed('&status=removed')).toEqual(['now@a.test'])
  })

  test('stops nothing', async () => {
    const { id } = (await api.ask('POST', '/suppressions', { body: { email: 'free@a.test' } })).json()
    await api.ask('DELETE', `/suppressions/${id}`)
    expect((await api.send({ to: 'free@a.test' })).recipients[0]).toMatchObject({ status: 'queued' })
  })
})

describe('400', () => {
  const after = at(3)
  test.each([
    ['no time', { provider: 'x' }, '/after'],
    ['neither provider nor domain', { after }, '/provider'],
    ['an end before the beginning', { provider: 'x', after, before: at(4) }, '/before'],
    ['no domain', { domain: 'not a domain', after }, '/domain'],
    ['a reason that people gave', { provider: 'x', after, reason: 'complaint' }, '/reason'],
    ['no time at all', { provider: 'x', after: 'yesterday' }, '/after'],
  ])('for %s', (_, body, path) => expectFault(api, 'POST', '/suppressions/undo', body, path))
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'POST', '/suppressions/undo', 'manage', { provider: 'x', after: at(1) }))
