/** POST /mailboxes/:id/test, against a real Dovecot. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Dovecot, startDovecot } from '../../../../../tests/support/dovecot.ts'
import { needsProgram } from '../../../../../tests/support/until.ts'
import { openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { expectHidden, expectScope } from '../keys/refusals.test-support.ts'
import { makeMailbox } from './mailboxes.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi({ allowNetworks: ['127.0.0.1/32', '::1/128'] })
})
afterAll(() => api.close())

const ask = (id: string) => api.ask('POST', `/mailboxes/${id}/test`)

describe.skipIf(needsProgram('dovecot'))('200', () => {
  let dovecot: Dovecot
  beforeAll(async () => {
    dovecot = await startDovecot()
  })
  afterAll(() => dovecot.stop())

  test.each([
    ['imap', true],
    ['pop3', false],
  ] as const)('of %s says how many mails there are, and leaves them', async (protocol, tellsOfNews) => {
    const { user, password, deliver, mails } = await dovecot.addUser()
    await deliver('From: a@b.test\n\nx\n')
    const port = dovecot.ports[protocol]
    const login = { protocol, host: '127.0.0.1', port, tls: 'none', user, password, state: 'paused' }
    const { id } = await makeMailbox(api, login)
    const answer = await ask(id)
    expect([answer.statusCode, answer.json()]).toEqual([
      200,
      { ok: true, error: null, mails: 1, tells_of_news: tellsOfNews, duration_ms: expect.any(Number) },
    ])
    expect(await mails()).toHaveLength(1)
  })

  test.each<[object, string, string]>([
    [{ password: 'wrong' }, 'login_refused', 'app password'],
    [{ host: '127.0.0.2' }, 'address_refused', 'VALIJA_ALLOW_NETWORKS'],
    [{ tls: 'starttls' }, 'tls_failed', 'certificate'],
    [{ folder: 'Nowhere' }, 'folder_missing', 'INBOX'],
  ])('of one with %j says what is wrong, and what to do', async (fields, code, remedy) => {
    const { user, password } = await dovecot.addUser()
    const login = { host: '127.0.0.1', port: dovecot.ports.imap, tls: 'none', user, password }
    const { id } = await makeMailbox(api, { ...login, ...fields })
    const answer = await ask(id)
    expect([answer.statusCode, answer.json()]).toMatchObject([
      200,
      { ok: false, mails: null, error: { code, remedy: expect.stringContaining(remedy) } },
    ])
    expect(answer.body).not.toContain(password)
  })
})

test('400 for a body', async () => {
  const { id } = await makeMailbox(api)
  expect((await api.ask('POST', `/mailboxes/${id}/test`, { body: { host: 'other' } })).statusCode).toBe(400)
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'POST', '/mailboxes/mbx_x/test', 'manage'))

test('404 hides the mailboxes of others', async () => {
  const { id } = await makeMailbox(api, {}, { key: api.stranger.key })
  await expectHidden(api, 'POST', (other) => `/mailboxes/${other}/test`, id)
})
