/** GET /suppressions/export. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectScope } from '../keys/refusals.test-support.ts'
import { quarantine } from './suppressions.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const add = async (email: string, more: object = {}, key = api.tenant.key) =>
  (await api.ask('POST', '/suppressions', { key, body: { email, ...more } })).json()
const download = (query = '', key = api.tenant.key) => api.ask('GET', `/suppressions/export${query}`, { key })
const headLine = 'id,email,stream,reason,status,provider,message_id,reply,created_at'

describe('200', () => {
  test('the tenant’s own, newest first, as a file', async () => {
    const ann = await add('ann@example.test')
    const bob = await add('bob@example.test', { stream: 'bulk' })
    await add('eve@example.test', {}, api.stranger.key)
    const answer = await download()
    expect(answer.headers).toMatchObject({
      'content-type': 'text/csv; charset=utf-8',
      'content-disposition': 'attachment; filename="suppressions.csv"',
    })
    expect(answer.body).toBe(
      [
        headLine,
        `${bob.id},bob@example.test,bulk,manual,active,,,,${bob.created_at}`,
        `${ann.id},ann@example.test,,manual,active,,,,${ann.created_at}`,
        '',
      ].join('\r\n'),
    )
  })

  test('only what fits', async () => {
    await add('carl@example.test')
    await quarantine(api, 'carl@example.test')
    const { body } = await download('?status=quarantined')
    expect(body.split('\r\n')).toHaveLength(3)
    expect(body).toContain('carl@example.test,,mailbox_unknown,quarantined,,,550 5.1.1 no,')
    expect((await download('?stream=transactional&reason=manual')).body).not.toContain('bob@')
  })

  test('what a spreadsheet could take for a formula is text, and comes back as it was', async () => {
    await add('=cmd+x@example.test')
    await add("'quoted@example.test")
    const { body } = await download('?reason=manual')
    expect(body).toContain(",'=cmd+x@example.test,")
    expect(body).toContain(",''quoted@example.test,")
    const headers = { 'content-type': 'text/csv' }
    const back = await api.ask('POST', '/suppressions/import', { key: api.stranger.key, headers, body })
    expect(back.json()).toMatchObject({ rejected: 0, added: 4 })
    const list = await api.ask('GET', '/suppressions?email=%3Dcmd%2Bx@example.test', {
      key: api.stranger.key,
    })
    expect(list.json().data).toHaveLength(1)
  })

  test('an empty list is a line of names', async () => {
    expect((await download('?reason=complaint')).body).toBe(`${headLine}\r\n`)
  })

  test('page after page, each entry once', async () => {
    const rows = Array.from({ length: 2_500 }, (_, i) => `many${i}@example.test`)
    const body = `email\n${rows.join('\n')}\n`
    await api.ask('POST', '/suppressions/import?reason=unsubscribe', {
      headers: { 'content-type': 'text/csv' },
      body,
    })
    const lines = (await download('?reason=unsubscribe')).body.trimEnd().split('\r\n').slice(1)
    expect(lines.map((line) => line.split(',')[1]).sort()).toEqual(rows.sort())
  })
})

test('400 for a query that it does not know', async () => {
  for (const query of ['?status=x', '?limit=5']) {
    expect((await download(query)).json()).toMatchObject({ status: 400, code: 'invalid_request' })
  }
})

test('401 and 403 without a key that has the scope read', () =>
  expectScope(api, 'GET', '/suppressions/export', 'read'))
