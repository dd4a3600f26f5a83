/** The commands that change webhooks, keys, templates, mailboxes and routes, at one real API. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { adminKey, openTestApi, type TestApi } from '../../api/src/open-api.test-support.ts'
import { catchMail } from '../../api/src/routes/inbox/catch-mail.test-support.ts'
import { runCommand } from './run-command.test-support.ts'

let api: TestApi
let url: string
let folder: string
let password: string
beforeAll(async () => {
  api = await openTestApi({ allowNetworks: ['127.0.0.0/8'] })
  url = await api.app.listen({ host: '127.0.0.1', port: 0 })
  folder = mkdtempSync(path.join(os.tmpdir(), 'valija-changes-'))
  password = path.join(folder, 'password')
  writeFileSync(password, 'not told\n')
})
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true })
  await api?.close()
})

const run = (...words: string[]) => runCommand([...words, '--url', url, '--key', api.tenant.key])
const runAsOperator = (...words: string[]) => runCommand([...words, '--url', url, '--key', adminKey])
async function json<T>(...words: string[]): Promise<T> {
  const { out, err } = await run(...words, '--json')
  expect(err).toBe('')
  return JSON.parse(out) as T
}

test('webhook: shown, changed, disabled and enabled, with its tries and what waits', async () => {
  const { id } = await json<{ id: string }>('webhook', 'create', 'https://a.test/', '--tag', 'otp')
  await run(
    'send',
    '--from',
    'hi@acme.test',
    '--to',
    'ann@example.org',
    '--subject',
    's',
    '--text',
    't',
    '--tag',
    'otp',
  )
  expect((await run('webhook', 'show', id)).out).toMatch(
    /^url +https:\/\/a\.test\/$[\s\S]*^only with tags +otp$[\s\S]*^failing since +-$[\s\S]*^waiting +1$/m,
  )
  expect((await run('webhook', 'list')).out).toMatch(
    new RegExp(`^${id} +enabled +\\* +otp +1 +- +- +https`, 'm'),
  )
  expect((await run('webhook', 'pending', id)).out).toMatch(
    /Z +evt_\S+ +message\.accepted +0 +waiting +\S+Z$/m,
  )
  expect((await run('webhook', 'deliveries', id, '--type', 'message.accepted')).out).toMatch(
    /^began +event .*\n$/,
  )
  const more = ['--event', 'message.bounced', '--tag', 'none', '--batch', '50', '--batch-wait', '500']
  expect(await json('webhook', 'update', id, '--public-url', 'https://b.test/', ...more)).toMatchObject({
    ...{ url: 'https://b.test/', events: ['message.bounced'], domains: [], tags: [] },
    batch: { max_events: 50, max_wait_ms: 500 },
  })
  expect(await json('webhook', 'update', id, '--batch', 'none')).toMatchObject({
    batch: null,
    url: 'https://b.test/',
  })
  expect(await run('webhook', 'update', id, '--public-url', 'x')).toMatchObject({
    ...{ code: 1, err: expect.stringMatching(/^--public-url: /) },
  })
  expect(await run('webhook', 'update', id)).toMatchObject({
    ...{ code: 2, err: 'Say what to change: --public-url, --event, --domain, --tag, --batch.' },
  })
  expect((await run('webhook', 'disable', id)).out).toMatch(/^status +disabled$/m)
  expect((await run('webhook', 'enable', id)).out).toMatch(/^status +enabled$/m)
  expect((await run('webhook', 'rotate-secret', id)).out).toMatch(
    /^secret {2}whsec_\S+ {2}\(shown once\)\nThe former one signs as well until \S+Z\.\n$/,
  )
  expect((await run('webhook', 'rotate-secret', id, '--overlap', '0')).out).toMatch(/^secret .*\n$/)
})

test('key: what it may do is changed, and none takes a bound away', async () => {
  const { id } = await json<{ id: string }>(
    'key',
    'create',
    '--name',
    'shop',
    '--scope',
    'send',
    '--scope',
    'read',
  )
  const bounds = [
    '--domain',
    'acme.test',
    '--expires',
    '2030-01-01T00:00:00Z',
    '--limit',
    'recipients_per_day=5',
  ]
  expect(await json('key', 'update', id, '--scope', 'send', ...bounds)).toMatchObject({
    ...{ name: 'shop', scopes: ['send'], domains: ['acme.test'], limits: { recipients_per_day: 5 } },
  })
  const lifted = ['--domain', 'none', '--expires', 'none', '--limit', 'recipients_per_day=none']
  expect(await json('key', 'update', id, ...lifted)).toMatchObject({
    domains: [],
    expires_at: null,
    limits: {},
  })
  expect((await run('key', 'show', id)).out).toMatch(/^scopes +send$/m)
  expect(await run('key', 'update', id, '--limit', 'queued=5')).toMatchObject({
    ...{
      code: 2,
      err: expect.stringMatching(/^--limit queued: there is no such limit\. There are requests_per_second, /),
    },
  })
})

test('template: a test mail is sent, and it is deleted', async () => {
  const variables = [{ name: 'total', type: 'number' }]
  await api.ask('POST', '/templates', {
    body: { slug: 'sum', subject: 'S', text: '{{ total | plus: 1 }}', variables },
  })
  const mail = ['--from', 'hi@acme.test', '--to', 'me@example.org']
  const sent = await run('template', 'test', 'sum', ...mail, '--variable', 'total=5')
  expect(sent).toMatchObject({ code: 0, out: expect.stringMatching(/^msg_[0-9a-f]{32}\n$/) })
  expect((await run('message', 'raw', sent.out.trim())).out).toContain('\r\n6')
  expect(await run('template', 'delete', 'sum')).toMatchObject({
    out: expect.stringMatching(/^deleted {2}tpl_/),
  })
  expect(await run('template', 'show', 'sum')).toMatchObject({ code: 1 })
})

test('mailbox: made, changed, paused and deleted, its password from a file', async () => {
  const server = [
    '--host',
    '127.0.0.1',
    '--port',
    '1',
    '--tls',
    'none',
    '--user',
    'u',
    '--password-file',
    password,
  ]
  expect((await run('mailbox', 'create', '--name', 'returns', ...server)).out).toMatch(
    /^status +new$[\s\S]*^server +imap 127\.0\.0\.1:1, TLS none$/m,
  )
  expect((await run('mailbox', 'update', 'returns', '--folder', 'Bounces')).out).toMatch(/^folder +Bounces$/m)
  expect((await run('mailbox', 'pause', 'returns')).out).toMatch(/^status +paused$/m)
  expect((await run('mailbox', 'resume', 'returns')).out).toMatch(/^status +new$/m)
  expect((await run('mailbox', 'show', 'returns')).out).toMatch(/^user +u$/m)
  expect(await run('mailbox', 'create', '--name', 'other')).toMatchObject({
    code: 2,
    err: '--host is missing.',
  })
  expect((await run('mailbox', 'delete', 'returns')).out).toMatch(/^deleted {2}mbx_/)
  expect(await run('mailbox', 'show', 'returns')).toMatchObject({ code: 1 })
})

test('route: the tenant’s own and the operator’s are made, changed, paused, resumed and deleted', async () => {
  const login = ['--user', 'acme', '--password-file', password]
  expect(
    (await run('route', 'create', 'relay-1', '--host', 'relay.example.com', '--tls', 'required', ...login))
      .out,
  ).toMatch(/^relay +relay\.example\.com:587, TLS required$[\s\S]*^password +yes$[\s\S]*^shared +no$/m)
  expect(
    await json('route', 'update', 'relay-1', '--port', '2525', '--rewrites-ids', 'yes', '--user', 'none'),
  ).toMatchObject({
    ...{ host: 'relay.example.com', port: 2525, rewrites_ids: true, user: null },
  })
  expect((await run('route', 'pause', 'relay-1', '--until', '2030-01-01T00:00:00Z')).out).toMatch(
    /^state +paused, manual$\n^until +2030-01-01T00:00:00\.000Z$/m,
  )
  expect((await run('route', 'resume', 'relay-1')).out).toMatch(/^state +in use$/m)
  expect((await runAsOperator('route', 'create', 'straight', '--kind', 'mx', '--shared')).out).toMatch(
    /^shared +yes$/m,
  )
  expect((await run('route', 'show', 'straight')).out).toMatch(/^kind +mx$/m)
  expect((await runAsOperator('route', 'delete', 'straight', '--shared')).out).toMatch(/^deleted {2}rou_/)
  expect((await run('route', 'delete', 'relay-1')).out).toMatch(/^deleted {2}rou_/)
  expect(await run('route', 'create', 'relay-1')).toMatchObject({ code: 2, err: '--host is missing.' })
  expect(await run('route', 'show', 'relay-1')).toMatchObject({
    ...{ code: 1, err: 'There is no route "relay-1". "route list" shows all.' },
  })
})

test('suppression undo takes back what servers said, and nothing that people did', async () => {
  await run('suppression', 'add', 'ann@undone.example')
  await api.foundation.database.engine.query(
    `INSERT INTO valija.suppressions (id, tenant_id, email, email_key, reason, created_at)
     VALUES (uuidv7(), $1, 'bob@undone.example', 'bob@undone.example', 'mailbox_unknown', now())`,
    [api.tenant.id],
  )
  const undo = ['suppression', 'undo', '--domain', 'undone.example', '--after', '2026-01-01T00:00:00Z']
  expect((await run(...undo, '--dry-run')).out).toBe('1 entry would be removed\n')
  expect((await run(...undo)).out).toBe('1 entry removed\n')
  expect((await run(...undo)).out).toBe('0 entries removed\n')
  expect(await run('suppression', 'undo', '--after', '2026-01-01T00:00:00Z')).toMatchObject({ code: 1 })
  expect(await run('suppression', 'undo')).toMatchObject({ code: 2, err: '--after is missing.' })
})

test('tenant update holds bulk mail and lets it go, and inbox clear empties the inbox', async () => {
  expect(
    JSON.parse((await runAsOperator('tenant', 'update', 'default', '--bulk-paused', 'yes', '--json')).out),
  ).toMatchObject({
    bulk_paused: true,
  })
  expect((await runAsOperator('tenant', 'update', 'default', '--bulk-paused', 'no')).out).toMatch(
    /^bulk mail held +no$/m,
  )
  await catchMail(api, { rcptTo: ['caught@example.org'] })
  expect((await run('inbox', 'clear')).out).toBe('The inbox is empty.\n')
  expect(await json('inbox', 'list')).toMatchObject({ data: [] })
})
