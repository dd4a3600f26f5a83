/** PATCH /mailboxes/:id. */
import { parseId } from '@valija/core'
import { openMailboxPassword } from '@valija/flows'
import { findMailbox } from '@valija/store'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectFault, expectHidden, expectScope } from '../keys/refusals.test-support.ts'
import { makeMailbox } from './mailboxes.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const change = (id: string, body: object) => api.ask('PATCH', `/mailboxes/${id}`, { body })
const uuidOf = (id: string) => parseId('mailbox', id)!

describe('200', () => {
  test('changes what is given and nothing else; the password stays what it was', async () => {
    const { id } = await makeMailbox(api)
    const answer = await change(id, { name: 'other', user: 'v', done_folder: 'Done' })
    expect(answer.json()).toMatchObject({ name: 'other', user: 'v', folder: 'INBOX', done_folder: 'Done' })
    const { database, sealer } = api.foundation
    const stored = (await findMailbox(database, api.tenant.id, uuidOf(id)))!
    expect(openMailboxPassword(sealer, api.tenant.id, uuidOf(id), stored.password)).toBe('p')
    expect(
      (await change(id, { host: 'other.test', port: 143, tls: true, password: 'q' })).json(),
    ).toMatchObject({
      host: 'other.test',
      tls: 'starttls',
    })
    const moved = (await findMailbox(database, api.tenant.id, uuidOf(id)))!
    expect(openMailboxPassword(sealer, api.tenant.id, uuidOf(id), moved.password)).toBe('q')
  })

  test('takes it from whoever looks after it, and forgets its trouble: it is looked at anew', async () => {
    const { id } = await makeMailbox(api)
    const { engine } = api.foundation.database
    await engine.query(
      `UPDATE valija.mailboxes SET holder = $1, held_until = now() + interval '1 hour', failures = 9, failing_since = now(),
         error_code = 'unreachable', error_detail = 'x', next_look_at = now() + interval '1 hour' WHERE id = $1`,
      [uuidOf(id)],
    )
    expect((await change(id, { password: 'q' })).json()).toMatchObject({
      ...{ status: 'new', failures: 0, failing_since: null, error: null },
    })
    const { rows } = await engine.query(
      'SELECT holder, held_until, next_look_at <= now() AS "isDue" FROM valija.mailboxes WHERE id = $1',
      [uuidOf(id)],
    )
    expect(rows).toEqual([{ holder: null, held_until: null, isDue: true }])
  })

  test('pauses, and goes on', async () => {
    const { id } = await makeMailbox(api)
    expect((await change(id, { state: 'paused' })).json()).toMatchObject({ status: 'paused' })
    expect((await change(id, { state: 'enabled' })).json()).toMatchObject({ status: 'new' })
  })
})

describe('400 names the place', () => {
  test.each<[string, object, string]>([
    ['another protocol', { protocol: 'pop3' }, '/protocol'],
    ['a host that is none', { host: 'a b', password: 'p' }, '/host'],
    ['the folder as done folder', { done_folder: 'inbox' }, '/done_folder'],
    ['no user', { user: '' }, '/user'],
  ])('of %s', async (_, body, path) =>
    expectFault(api, 'PATCH', `/mailboxes/${(await makeMailbox(api)).id}`, body, path),
  )

  test.each([{ host: 'evil.test' }, { port: 2525 }, { tls: 'none' }])(
    'of a password that would go to %j by itself',
    async (body) => expectFault(api, 'PATCH', `/mailboxes/${(await makeMailbox(api)).id}`, body, '/password'),
  )
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'PATCH', '/mailboxes/mbx_x', 'manage', {}))

test('404 hides the mailboxes of others', async () => {
  const { id } = await makeMailbox(api, {}, { key: api.stranger.key })
  await expectHidden(api, 'PATCH', (other) => `/mailboxes/${other}`, id, { name: 'mine' })
})
