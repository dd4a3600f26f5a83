/** DELETE /mailboxes/:id. */
import { parseId } from '@valija/core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectHidden, expectScope } from '../keys/refusals.test-support.ts'
import { makeMailbox } from './mailboxes.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

test('204, then 404; nothing is left of it, the mails that are known included', async () => {
  const { id } = await makeMailbox(api)
  const { engine } = api.foundation.database
  await engine.query(`INSERT INTO valija.mailbox_mails VALUES ($1, '1.1')`, [parseId('mailbox', id)])
  expect((await api.ask('DELETE', `/mailboxes/${id}`)).statusCode).toBe(204)
  expect((await api.ask('DELETE', `/mailboxes/${id}`)).statusCode).toBe(404)
  expect((await engine.query('SELECT FROM valija.mailbox_mails')).rowCount).toBe(0)
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'DELETE', '/mailboxes/mbx_x', 'manage'))

test('404 hides the mailboxes of others', async () => {
  const { id } = await makeMailbox(api, {}, { key: api.stranger.key })
  await expectHidden(api, 'DELETE', (other) => `/mailboxes/${other}`, id)
  expect((await api.ask('GET', `/mailboxes/${id}`, { key: api.stranger.key })).statusCode).toBe(200)
})
