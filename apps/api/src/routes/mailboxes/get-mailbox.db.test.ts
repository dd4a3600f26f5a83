/** GET /mailboxes/:id. */
import { parseId } from '@valija/core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { adminKey, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectHidden, expectScope } from '../keys/refusals.test-support.ts'
import { makeMailbox } from './mailboxes.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

test('200: how it does, with the cause of a failure and what to do', async () => {
  const { id } = await makeMailbox(api)
  await api.foundation.database.engine.query(
    `UPDATE valija.mailboxes SET failing_since = now(), failures = 3, error_code = 'login_refused',
       error_detail = 'AUTHENTICATIONFAILED', applied_count = 7 WHERE id = $1`,
    [parseId('mailbox', id)],
  )
  expect((await api.ask('GET', `/mailboxes/${id}`)).json()).toMatchObject({
    id,
    status: 'failing',
    failing_since: expect.stringMatching(/Z$/),
    failures: 3,
    error: {
      code: 'login_refused',
      meaning: 'The server refused the login.',
      detail: 'AUTHENTICATIONFAILED',
      remedy: expect.stringContaining('app password'),
    },
    counts: { applied: 7 },
  })
})

test('401 and 403 without a key that has the scope read', () =>
  expectScope(api, 'GET', '/mailboxes/mbx_x', 'read'))

test('404 hides the mailboxes of others, and the installation’s from tenants', async () => {
  const foreign = await makeMailbox(api, {}, { key: api.stranger.key })
  await expectHidden(api, 'GET', (id) => `/mailboxes/${id}`, foreign.id)
  const shared = await makeMailbox(api, {}, { key: adminKey })
  await expectHidden(api, 'GET', (id) => `/mailboxes/${id}`, shared.id)
  expect((await api.ask('GET', `/mailboxes/${shared.id}`, { key: adminKey })).statusCode).toBe(200)
})
