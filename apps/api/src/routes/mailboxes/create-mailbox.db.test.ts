/** POST /mailboxes. */
import { parseId } from '@valija/core'
import { openMailboxPassword } from '@valija/flows'
import { findMailbox, maxMailboxes } from '@valija/store'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { adminKey, openTestApi, type TestApi } from '../../open-api.test-support.ts'
import { asOperator, expectFault, expectScope } from '../keys/refusals.test-support.ts'

let api: TestApi
beforeAll(async () => {
  api = await openTestApi()
})
afterAll(() => api.close())

const mailbox = {
  ...{ name: 'bounces', protocol: 'imap', host: 'Imap.Example.com', port: 993 },
  ...{ user: 'bounces@example.com', password: 'the password' },
}
const make = (fields: object, as = {}) =>
  api.ask('POST', '/mailboxes', { ...as, body: { ...mailbox, ...fields } })

describe('201', () => {
  test('for an IMAP mailbox, with its usual folders and TLS mode', async () => {
    const answer = await make({})
    expect(answer.statusCode).toBe(201)
    expect(answer.json()).toEqual({
      id: expect.stringMatching(/^mbx_[0-9a-f]{32}$/),
      ...{ name: 'bounces', protocol: 'imap', host: 'imap.example.com', port: 993, tls: 'implicit' },
      ...{ user: 'bounces@example.com', folder: 'INBOX', done_folder: 'Valija' },
      ...{ state: 'enabled', status: 'new', last_look_at: null, next_look_at: expect.stringMatching(/Z$/) },
      ...{ failing_since: null, failures: 0, error: null },
      counts: { applied: 0, reports: 0, ignored: 0, other: 0 },
      created_at: expect.any(String),
    })
  })

  test.each([
    [
      { protocol: 'pop3', port: 995 },
      { tls: 'implicit', folder: null, done_folder: null },
    ],
    [{ port: 143 }, { tls: 'starttls' }],
    [{ protocol: 'pop3', port: 110 }, { tls: 'starttls' }],
    [{ port: 1143, tls: true }, { tls: 'implicit' }],
    [{ port: 143, tls: false }, { tls: 'none' }],
    [{ port: 993, tls: 'starttls' }, { tls: 'starttls' }],
    [{ host: '2001:DB8::1' }, { host: '2001:db8::1' }],
    [
      { folder: 'Bounces', done_folder: 'Bounces/Done' },
      { folder: 'Bounces', done_folder: 'Bounces/Done' },
    ],
    [{ state: 'paused' }, { state: 'paused', status: 'paused', next_look_at: null }],
  ])('for %j', async (fields, shown) => {
    const answer = await make(fields)
    expect([answer.statusCode, answer.json()]).toMatchObject([201, shown])
  })

  test('keeps the password sealed for this tenant and mailbox, and shows it to nobody', async () => {
    const answer = await make({})
    expect(answer.body).not.toContain('the password')
    expect((await api.ask('GET', `/mailboxes/${answer.json().id}`)).body).not.toContain('password')
    const id = parseId('mailbox', answer.json().id)!
    const { database, sealer } = api.foundation
    const { password } = (await findMailbox(database, api.tenant.id, id))!
    expect(password.includes('the password')).toBe(false)
    expect(openMailboxPassword(sealer, api.tenant.id, id, password)).toBe('the password')
    for (const [tenantId, mailboxId] of [
      [api.stranger.id, id],
      [null, id],
      [api.tenant.id, api.tenant.id],
    ] as const)
      expect(() => openMailboxPassword(sealer, tenantId, mailboxId, password)).toThrow('not a sealed secret')
  })

  test('for the operator: the installation’s, or that of the tenant whom he acts for', async () => {
    const own = (await make({ name: 'of all' }, { key: adminKey })).json()
    const theirs = (await make({ name: 'theirs' }, asOperator(api.stranger.id))).json()
    const { database } = api.foundation
    expect(await findMailbox(database, null, parseId('mailbox', own.id)!)).toMatchObject({ tenantId: null })
    const stored = await findMailbox(database, api.stranger.id, parseId('mailbox', theirs.id)!)
    expect(stored).toMatchObject({ tenantId: api.stranger.id })
  })
})

describe('400 names the place', () => {
  test.each<[string, object, string]>([
    ['another protocol', { protocol: 'jmap' }, '/protocol'],
    ['a host that is none', { host: 'mail example' }, '/host'],
    ['a URL as host', { host: 'imap://mail.example' }, '/host'],
    ['a port that is none', { port: 0 }, '/port'],
    ['another TLS mode', { tls: 'maybe' }, '/tls'],
    ['a user with a line end', { user: 'a\r\nDELE 1' }, '/user'],
    ['a password with a line end', { password: 'a\nb' }, '/password'],
    ['no password', { password: '' }, '/password'],
    ['a folder of POP3', { protocol: 'pop3', folder: 'INBOX' }, '/folder'],
    ['a done folder of POP3', { protocol: 'pop3', done_folder: 'Done' }, '/done_folder'],
    ['one folder for both', { folder: 'inbox', done_folder: 'INBOX' }, '/done_folder'],
    ['an unknown field', { delete: true }, '/delete'],
  ])('of %s', (_, fields, path) => expectFault(api, 'POST', '/mailboxes', { ...mailbox, ...fields }, path))

  test.each(['name', 'protocol', 'host', 'port', 'user', 'password'])('of a missing %s', async (field) => {
    const body = Object.fromEntries(Object.entries(mailbox).filter(([name]) => name !== field))
    await expectFault(api, 'POST', '/mailboxes', body, `/${field}`)
  })
})

test('401 and 403 without a key that has the scope manage', () =>
  expectScope(api, 'POST', '/mailboxes', 'manage', mailbox))

test('409 when a tenant has as many as it may', async () => {
  const { engine } = api.foundation.database
  await engine.query(
    `INSERT INTO valija.mailboxes (id, tenant_id, name, protocol, host, port, tls, username, password)
     SELECT gen_random_uuid(), $1, 'm', 'pop3', 'a.test', 995, 'implicit', 'u', '' FROM generate_series(1, $2)`,
    [api.stranger.id, maxMailboxes],
  )
  const answer = await make({}, { key: api.stranger.key })
  expect(answer.json()).toMatchObject({ status: 409, code: 'conflict' })
  await engine.query('DELETE FROM valija.mailboxes WHERE tenant_id = $1', [api.stranger.id])
})
