/** What the database refuses, as problems. */
import { parseId } from '@valija/core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { until } from '../../../tests/support/until.ts'
import { adminKey, openTestApi, type TestApi } from './open-api.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api?.close())

test.each([
  ['/keys', { name: 'k', scopes: ['send'] }],
  ['/routes', { name: 'relay', kind: 'smarthost', host: 'relay.test' }],
  ['/templates', { slug: 'welcome', subject: 's', text: 't' }],
  ['/recipients/erase', { email: 'ann@example.org' }],
])('POST %s: 409 where the tenant is deleted while it is written', async (url, body) => {
  const made = await api.ask('POST', '/tenants', { key: adminKey, body: { name: `of ${url}` } })
  const { id, key } = made.json()
  const { engine } = api.foundation.database
  const deleting = await engine.connect()
  try {
    await deleting.query('BEGIN')
    await deleting.query('DELETE FROM valija.tenants WHERE id = $1', [parseId('tenant', id)])
    const asked = api.ask('POST', url, { key, body })
    await until('the request waits for it', async () => {
      const { rowCount } = await engine.query(
        'SELECT FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = current_database()',
      )
      return rowCount === 1
    })
    await deleting.query('COMMIT')
    const answer = await asked
    expect([answer.statusCode, answer.json()]).toMatchObject([
      409,
      {
        code: 'conflict',
        title: 'It has changed meanwhile',
        fix: 'Repeat the request: it finds what is there now.',
      },
    ])
  } finally {
    deleting.release()
  }
})
