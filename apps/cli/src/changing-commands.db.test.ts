/** The commands that change webhooks, keys, templates, mailboxes, routes, source addresses and domains, at one real API. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseId } from '@valija/core'
import { keepReport } from '@valija/flows'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { dmarcXml } from '../../../tests/support/domain-reports.ts'
import { adminKey, openTestApi, type TestApi } from '../../api/src/open-api.test-support.ts'
import { catchMail } from '../../api/src/routes/inbox/catch-mail.test-support.ts'
import { quarantine } from '../../api/src/routes/suppressions/suppressions.test-support.ts'
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
  const grants = ['--scope', 'send', '--scope', 'read', '--limit', 'requests_per_minute=60']
  const { id } = await json<{ id: string }>('key', 'create', '--name', 'shop', ...grants)
  const bounds = [
    '--domain',
    'acme.test',
    '--expires',
    '2030-01-01T00:00:00Z',
    '--limit',
    'recipients_per_day=5',
  ]
  expect(await json('key', 'update', id, '--scope', 'send', ...bounds)).toMatchObject({
    ...{
      name: 'shop',
      scopes: ['send'],
      domains: ['acme.test'],
      limits: { recipients_per_day: 5, requests_per_minute: 60 },
    },
  })
  const lifted = ['--domain', 'none', '--expires', 'none', '--limit', 'recipients_per_day=none']
  expect(await json('key', 'update', id, ...lifted)).toMatchObject({
    domains: [],
    expires_at: null,
    limits: { requests_per_minute: 60 },
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

test('route: of two with one name, the tenant’s own is shown and changed, and the operator’s with --shared', async () => {
  const make = ['route', 'create', 'twin', '--host']
  const own = await json<{ id: string }>(...make, 'own.example.com')
  const shared = await runAsOperator(...make, 'shared.example.com', '--shared', '--json')
  const { id } = JSON.parse(shared.out)
  expect(await json('route', 'show', 'twin')).toMatchObject({ id: own.id, shared: false })
  expect(await json('route', 'pause', 'twin')).toMatchObject({ id: own.id, state: 'paused' })
  expect(await json('route', 'update', 'twin', '--port', '2525')).toMatchObject({ id: own.id, port: 2525 })
  expect(await json('route', 'resume', 'twin')).toMatchObject({ id: own.id, state: 'enabled' })
  const paused = await runAsOperator('route', 'pause', 'twin', '--shared', '--json')
  expect(JSON.parse(paused.out)).toMatchObject({ id, state: 'paused' })
  expect((await run('route', 'delete', 'twin')).out).toBe(`deleted  ${own.id}\n`)
  expect(await json('route', 'show', 'twin')).toMatchObject({ id, shared: true })
  const refusal = 'The route "twin" is the operator’s: --shared, with the operator’s key, changes it.'
  expect(await run('route', 'delete', 'twin')).toMatchObject({ code: 1, err: refusal })
  expect((await runAsOperator('route', 'delete', 'twin', '--shared')).out).toBe(`deleted  ${id}\n`)
})

test('route-list: made for all, a stream or a domain, changed and deleted by what it is for', async () => {
  for (const name of ['relay-8', 'relay-9']) await run('route', 'create', name, '--host', 'relay.example.com')
  expect(
    (await run('route-list', 'create', 'relay-8=3', '--backup', 'relay-9', '--stream', 'bulk')).out,
  ).toMatch(/^mails +bulk\nroutes +relay-8=3\nbackups +relay-9$/m)
  const ofDomain = ['--domain', 'Bücher.example', '--stream', 'bulk']
  expect(await json('route-list', 'create', 'relay-9', ...ofDomain)).toMatchObject({
    ...{ domain: 'xn--bcher-kva.example', stream: 'bulk' },
    routes: [{ route: 'relay-9', weight: 1, backup: false }],
  })
  expect((await run('route-list', 'show', 'bücher.example/bulk')).out).toMatch(/^routes +relay-9$/m)
  expect((await run('route-list', 'update', 'bulk', 'relay-9', 'relay-8=2')).out).toMatch(
    /^routes +relay-9 relay-8=2\nbackups +-$/m,
  )
  expect((await run('route-list', 'list')).out).toMatch(
    /^id +mails +routes +backups\nrtl_\S+ +xn--bcher-kva\.example\/bulk +relay-9 +-\nrtl_\S+ +bulk +relay-9 relay-8=2 +-\n$/,
  )
  const shared = await runAsOperator('route-list', 'create', 'capture', '--shared')
  expect(shared.out).toMatch(/^mails +all$/m)
  expect((await runAsOperator('route-list', 'delete', 'all', '--shared')).out).toMatch(/^deleted {2}rtl_/)
  expect(await run('route-list', 'create', 'relay-8=x')).toMatchObject({ code: 2 })
  expect(await run('route-list', 'create', 'relay-7')).toMatchObject({
    ...{
      code: 1,
      err: expect.stringMatching(/^<route\[=weight\]>: There is no route "relay-7": see "route list"/),
    },
  })
  expect(await run('route-list', 'delete', 'all')).toMatchObject({
    ...{ code: 1, err: 'There is no route-list "all". "route-list list" shows all.' },
  })
})

test('source-ip: made with a warm-up, changed, paused, resumed and deleted by its address', async () => {
  const create = ['source-ip', 'create', '192.0.2.10']
  const name = ['--ehlo-name', 'mail1.example.com']
  expect(await runAsOperator(...create)).toMatchObject({ code: 2, err: '--ehlo-name is missing.' })
  expect((await runAsOperator(...create, ...name, '--warm-up', '50,100', '--pool', 'bulk')).out).toMatch(
    /^pool +bulk$[\s\S]*^health +unbound$[\s\S]*^warm-up +50, 100 a day$/m,
  )
  expect((await runAsOperator('source-ip', 'list')).out).toMatch(
    /^src_\S+ +192\.0\.2\.10 +mail1\.example\.com +bulk +1 +enabled +stage 1 of 2 +unbound +-$/m,
  )
  const rates = ['--warm-up', 'yes', '--max-deferral-rate', '0.2', '--ipv6', '2001:db8::10']
  const changed = await runAsOperator('source-ip', 'update', '192.0.2.10', ...rates, '--json')
  expect(JSON.parse(changed.out)).toMatchObject({ ipv6: '2001:db8::10', warm_up: { max_deferral_rate: 0.2 } })
  const cold = await runAsOperator('source-ip', 'update', '192.0.2.10', '--warm-up', 'no', '--ipv6', 'none')
  expect(cold.out).toMatch(/^IPv6 +-$[\s\S]*^warm-up +-$/m)
  expect(await runAsOperator('source-ip', 'update', '192.0.2.10', '--warm-up', 'slow')).toMatchObject({
    code: 2,
  })
  expect((await runAsOperator('source-ip', 'pause', '192.0.2.10')).out).toMatch(/^state +paused$/m)
  expect((await runAsOperator('source-ip', 'resume', '192.0.2.10')).out).toMatch(/^state +enabled$/m)
  expect((await runAsOperator('source-ip', 'delete', '192.0.2.10')).out).toMatch(/^deleted {2}src_/)
  expect(await runAsOperator('source-ip', 'show', '192.0.2.10')).toMatchObject({
    ...{ code: 1, err: 'There is no source-ip "192.0.2.10". "source-ip list" shows all.' },
  })
  expect(await run('source-ip', 'list')).toMatchObject({ code: 1, err: expect.stringContaining('operator') })
})

test('domain: changed by its name, and its reports by day with what failed and what to do', async () => {
  await run('domain', 'add', 'told.example')
  const host = ['--return-path-host', 'back', '--algorithm', 'rsa']
  expect(await json('domain', 'update', 'told.example', ...host)).toMatchObject({ dkim_algorithms: ['rsa'] })
  expect((await run('domain', 'reports', 'told.example')).out).toBe('Nobody has reported anything.\n')
  const { id } = await json<{ id: string }>('domain', 'show', 'told.example')
  const forged = { ip: '198.51.100.7', dkim: 'fail', spf: 'fail', disposition: 'reject', count: 5, auth: '' }
  const begin = Math.floor(Date.now() / 1000) - 86_400
  const about = { domain: 'told.example', begin, end: begin + 3_600 }
  const content = Buffer.from(dmarcXml([{ count: 40 }, forged], about))
  await keepReport(
    { database: api.foundation.database },
    {
      ...{ domainId: parseId('domain', id) ?? '', tenantId: null },
      attachments: [{ filename: null, contentType: '', content }],
    },
  )
  expect((await run('domain', 'reports', 'told.example')).out).toMatch(
    /^day .*\n\S+ +45 +40 +0 +5 +- +-\n\n198\.51\.100\.7, From \S+: 5 did not pass, 5 of them put aside or refused\n {2}198\.51.*\n {2}\S.*\n$/,
  )
  expect(await json('domain', 'reports', 'told.example', '--all')).toMatchObject({
    ...{ data: [{ dmarc: { messages: 45 } }], next_cursor: null, totals: { dmarc: { passed: 40 } } },
  })
})

test('tls-report: how TLS went with receivers, for the operator', async () => {
  await api.foundation.database.engine.query(
    `INSERT INTO valija.tls_reports (day, domain, policy, mx, result, sessions)
     VALUES (current_date, 'example.com', 'sts', 'mx.example.com', 'certificate-expired', 3)`,
  )
  expect((await runAsOperator('tls-report', '--domain', 'example.com')).out).toMatch(
    /^day .*\n\S+ +example\.com +sts +mx\.example\.com +certificate-expired +3\n$/,
  )
})

test('suppression confirm puts in force what was held back', async () => {
  await run('suppression', 'add', 'held@example.org')
  await quarantine(api, 'held@example.org')
  expect((await run('suppression', 'confirm', 'held@example.org')).out).toMatch(
    /^active {2}sup_\w+ {2}held@example\.org\n$/,
  )
  expect(await run('suppression', 'confirm', 'nobody@example.org')).toMatchObject({ code: 1 })
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
