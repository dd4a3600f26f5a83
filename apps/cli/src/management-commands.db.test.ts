/** The commands for statistics, suppressions, templates, the inbox, mailboxes, routes and the audit log, at one real API. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { ensureTenant } from '@valija/flows'
import { countEvents } from '@valija/store'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { adminKey, openTestApi, type TestApi } from '../../api/src/open-api.test-support.ts'
import { workOff } from '../../api/src/routes/erasures/erasures.test-support.ts'
import { catchMail } from '../../api/src/routes/inbox/catch-mail.test-support.ts'
import { makeMailbox } from '../../api/src/routes/mailboxes/mailboxes.test-support.ts'
import { runCommand } from './run-command.test-support.ts'

let api: TestApi
let url: string
let folder: string
beforeAll(async () => {
  api = await openTestApi({ allowNetworks: ['127.0.0.0/8'] })
  url = await api.app.listen({ host: '127.0.0.1', port: 0 })
  folder = mkdtempSync(path.join(os.tmpdir(), 'valija-commands-'))
})
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true })
  await api?.close()
})

const run = (...words: string[]) => runCommand([...words, '--url', url, '--key', api.tenant.key])
const runAsOperator = (...words: string[]) => runCommand([...words, '--url', url, '--key', adminKey])
const json = async <T>(...words: string[]) => {
  const { code, out, err } = await run(...words, '--json')
  expect({ code, err: code === 0 ? '' : err }).toEqual({ code: 0, err: '' })
  return JSON.parse(out) as T
}

test('stats: a row for each day, hour or group, and what is wrong by the flag', async () => {
  await api.send()
  await api.send({ tags: ['receipt'] })
  await expect
    .poll(async () => {
      await countEvents(api.foundation.database.engine, { notWithinMs: 0, most: 1_000 })
      return (await json<{ data: object[] }>('stats', '--interval', 'total')).data
    })
    .toMatchObject([{ accepted: 2, delivered: 0 }])
  const table = await run('stats', '--interval', 'hour', '--by', 'domain')
  expect(table.out).toMatch(/^from +domain +accepted +delivered .*\n\S+:00Z +acme\.test +2 +0 +0 .* - +-\n$/)
  expect(table.err).toMatch(/Z to \S+Z; counted up to \S+Z/)
  expect((await run('stats', '--tag', 'receipt', '--interval', 'total')).out).toMatch(/Z +1 +0 /)
  expect(await json('stats', '--stream', 'bulk')).toMatchObject({ interval: 'day', data: [] })
  const tenant = await runAsOperator('stats', '--interval', 'total', '--tenant', 'stranger', '--json')
  expect(JSON.parse(tenant.out)).toMatchObject({ data: [] })
  expect(await run('stats', '--by', 'colour')).toMatchObject({
    code: 1,
    err: expect.stringMatching(/^--by: /),
  })
  expect(await run('stats', '--by', 'domain', '--groups', 'many')).toMatchObject({ code: 2 })
  expect(await run('stats', '--groups', '5')).toMatchObject({
    code: 2,
    err: '--groups is of no use without --by: say by what.',
  })
})

describe('suppression', () => {
  test('add, list and remove, by address, stream and id', async () => {
    const added = await run('suppression', 'add', 'ann@example.org', 'Bob@Example.org')
    expect(added.out).toMatch(/^sup_\w+ {2}ann@example\.org {2}both streams\nsup_\w+ {2}Bob@example\.org /)
    await run('suppression', 'add', 'bob@example.org', '--stream', 'bulk')
    const list = await run('suppression', 'list', '--email', 'BOB@example.org')
    expect(list.out.split('\n')).toHaveLength(4)
    expect(list.out).toMatch(/^sup_\S+ +\S+Z +\S+ +bulk +active +manual +-$/m)

    const elsewhere = await run('suppression', 'remove', 'ann@example.org', '--stream', 'bulk')
    expect(elsewhere).toMatchObject({
      code: 1,
      err: 'ann@example.org is not on the list for bulk: only for both streams.',
    })
    const id = /sup_\w+/.exec(added.out)![0]
    expect((await run('suppression', 'remove', id)).out).toBe(`removed  ${id}  ann@example.org\n`)
    expect((await run('suppression', 'remove', 'bob@example.org')).out.split('\n')).toHaveLength(3)
    expect(await run('suppression', 'remove', 'bob@example.org')).toMatchObject({
      code: 1,
      err: 'bob@example.org is not on the list.',
    })
    expect(await run('suppression', 'remove', 'sup_123')).toMatchObject({
      code: 2,
      err: expect.stringMatching(/^"sup_123" is no id of an entry: /),
    })
    expect(await run('suppression', 'add', 'eve@example.org', 'bad@@', 'nobody')).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^bad@@: The .*\nnobody: The address has no "@"/),
    })
    expect(await json('suppression', 'list', '--email', 'eve@example.org')).toMatchObject({ data: [] })
  })

  test('import tells each line with a fault, and what export writes is taken in again', async () => {
    const file = path.join(folder, 'list.csv')
    writeFileSync(file, 'email,reason\nx@example.org,complaint\nnobody\n')
    const dry = await run('suppression', 'import', file, '--dry-run')
    expect(dry).toMatchObject({ code: 1, out: expect.stringMatching(/^would be added +1$/m) })
    expect(dry.err).toMatch(/^line 3, email: /)
    expect(await json('suppression', 'list')).toMatchObject({ data: [] })
    expect(await run('suppression', 'import', file)).toMatchObject({ code: 1 })
    const exported = path.join(folder, 'exported.csv')
    expect((await run('suppression', 'export', exported)).out).toBe('')
    const { out } = await run('suppression', 'export', '--reason', 'complaint')
    expect(out).toMatch(/^id,email,.*\r\nsup_\w+,x@example\.org,.*complaint.*\r\n$/)
    expect(readFileSync(exported, 'utf8')).toBe(out)
    expect(await json('suppression', 'import', exported)).toMatchObject({ present: 1, rejected: 0 })
    const nowhere = path.join(folder, 'nowhere', 'x.csv')
    expect(await run('suppression', 'export', nowhere)).toMatchObject({
      code: 1,
      err: `There is no folder ${path.dirname(nowhere)}.`,
    })
    writeFileSync(file, 'email,reason\nx@example.org,dislike\n')
    expect((await run('suppression', 'import', file)).err).toContain('or give --reason for all.')
    writeFileSync(file, 'x')
    expect((await run('suppression', 'import', file)).err).toMatch(/^Line 1: There is no column "email"/)
    expect(await run('suppression', 'import', path.join(folder, 'nothing.csv'))).toMatchObject({
      code: 1,
      err: `There is no ${path.join(folder, 'nothing.csv')}.`,
    })
  })
})

describe('template', () => {
  const write = (name: string, text: string) => {
    const file = path.join(folder, 'templates', name)
    mkdirSync(path.dirname(file), { recursive: true })
    writeFileSync(file, text)
  }
  const push = async (...words: string[]) => run('template', 'push', path.join(folder, 'templates'), ...words)

  test('push brings the files of a folder: drafts, published with --publish, and nothing the second time', async () => {
    write('receipt.html', '{% layout "base" %}{% block content %}No {{ number }}{% endblock %}')
    write(
      'receipt.json',
      '{"subject":"Receipt {{ number }}","variables":[{"required":true,"type":"string","name":"number"}]}',
    )
    write('layouts/base.html', '<body>{% block content %}{% endblock %}</body>')
    expect((await push('--dry-run')).out).toMatch(
      /^base +layout +created +- +-\nreceipt +template +created +- +-$/m,
    )
    expect(await json('template', 'list')).toMatchObject({ data: [] })
    const drafts = await push()
    expect(drafts.out).toMatch(/^base +layout +created +1 +-\nreceipt +template +created +1 +-$/m)
    expect(drafts.err).toMatch(/^\n2 with a draft/)
    expect((await push('--publish', '--dry-run')).out).toMatch(/^base +layout +published +1 +-$/m)
    expect((await push('--publish')).out).toMatch(
      /^base +layout +published +1 +1\nreceipt +template +published +1 +1$/m,
    )
    expect((await push('--publish')).out).toMatch(/^base +layout +unchanged +1 +1$/m)
    const { data } = await json<{ data: object[] }>('audit', '--all')
    expect(await push('--publish')).toMatchObject({ code: 0, err: '' })
    expect((await json<{ data: object[] }>('audit', '--all')).data).toEqual(data)
  })

  test('a fault is told by its file, and keeps all from being published', async () => {
    write('layouts/base.html', '<body class="new">{% block content %}{% endblock %}</body>')
    write('receipt.html', '{% layout "base" %}{% block content %}No\n{{ nr }}{% endblock %}')
    const { code, err } = await push('--publish')
    expect({ code, err: err.replace(`${folder}/`, '') }).toEqual({
      code: 1,
      err: expect.stringMatching(/^templates\/receipt\.html: Line 2: nr is used and not declared/),
    })
    expect((await run('template', 'list', '--kind', 'layout')).out).toMatch(/^base +layout +2 +1 /m)
    write('receipt.html', '{% layout "base" %}{% block content %}Number {{ number }}{% endblock %}')
    expect((await push('--publish')).out).toMatch(
      /^base +layout +published +2 +2\nreceipt +template +changed +2 +2$/m,
    )
  })

  test('a dry run tells every fault of all files, also of what they use, and with --json as a problem', async () => {
    const bad = path.join(folder, 'bad')
    const put = (name: string, text: string) => {
      mkdirSync(path.dirname(path.join(bad, name)), { recursive: true })
      writeFileSync(path.join(bad, name), text)
    }
    put('bad.html', 'a\n{{ x |')
    put('bad.json', '{"subject":"S"}')
    put('Bad_Name.txt', 'T')
    put('Bad_Name.json', '{"subject":"S"}')
    put('typed.json', '{"subject":7,"text":"T","variables":[{"name":"a","type":"text"}]}')
    put('uses.html', '{% layout "base" %}{% block content %}{% render "nowhere" %}{% endblock %}')
    put('uses.json', '{"subject":"S"}')
    put('good.html', '{% layout "base" %}{% block content %}{% endblock %}')
    put('good.json', '{"subject":"S"}')
    put('NOTES.md', 'x')
    const { code, err } = await run('template', 'push', bad, '--dry-run')
    const lines = err.replaceAll(`${bad}/`, '').split('\n')
    expect({ code, lines }).toEqual({
      code: 1,
      lines: [
        'ignored: NOTES.md',
        expect.stringMatching(/^Bad_Name: The name of the file is the slug\. Must be 1 to 64 lower-case /),
        expect.stringMatching(/^bad\.html: Line 2: \S/),
        'typed.json /subject: Must be a string or null.',
        expect.stringMatching(/^typed\.json \/variables\/0\/type: Must be one of string, number, /),
      ],
    })
    const published = await run('template', 'push', bad, '--dry-run', '--publish', '--json')
    const problem = JSON.parse(published.err)
    expect(problem).toMatchObject({ code: 'invalid_request', status: null })
    expect(problem.errors).toContainEqual({
      path: path.join(bad, 'uses.html'),
      message: 'Line 1: There is no partial "nowhere" with a published version that has html.',
    })
    expect(problem.errors).toHaveLength(5)
    const good = await run('template', 'push', path.join(bad, 'good.html'), '--dry-run', '--publish')
    const empty = await json('template', 'push', path.join(folder, 'templates'), '--dry-run')
    expect(empty).toMatchObject({ data: [{ slug: 'base' }, { slug: 'receipt' }], ignored: [] })
    expect(good).toMatchObject({ code: 0, out: expect.stringMatching(/^good +template +created +- +-$/m) })
  })

  test('--variable is a number where the template declares one, of the version that is asked for', async () => {
    const variables = [{ name: 'total', type: 'number' }]
    const body = { slug: 'sum', subject: 'S', text: '{{ total | plus: 1 }}', variables }
    await api.ask('POST', '/templates', { body })
    for (const more of [[], ['--version', '1']])
      expect(
        await run('template', 'render', 'sum', '--variable', 'total=5', '--text', ...more),
      ).toMatchObject({ code: 0, out: '6' })
    const mail = ['--from', 'hi@acme.test', '--to', 'sum@example.org', '--template', 'sum']
    expect(await run('send', ...mail, '--variable', 'total=5')).toMatchObject({ code: 0, err: '' })
    expect(await run('send', ...mail, '--variable', 'total=five')).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^--variable total: Must be a number, and is /),
    })
  })

  test('show, render and publish by slug; an earlier version is gone back to', async () => {
    const shown = await run('template', 'show', 'receipt')
    expect(shown.out).toMatch(/^variables +number:string$/m)
    expect(shown.out).toMatch(/^2 +yes .*\n1 +no [\s\S]*^--- html\n.*Number/m)
    expect((await run('template', 'show', 'receipt', '--version', '1')).out).toMatch(/^version +1$/m)
    const made = await run('template', 'render', 'receipt', '--variable', 'number=7')
    expect(made.out).toMatch(
      /^\nsubject {2}Receipt 7\n\n--- text\nNumber 7\n\n--- html\n<body class="new">Number 7/,
    )
    const first = await run(
      'template',
      'render',
      'receipt',
      '--variable',
      'number=7',
      '--version',
      '1',
      '--html',
    )
    expect(first.out).toContain('>No 7<')
    expect(await run('template', 'render', 'receipt')).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^--variable number: Is missing/),
    })
    await api.ask('POST', '/templates', { body: { slug: 'loose', subject: 'S', text: 'T' } })
    const loose = await run('template', 'render', 'loose', '--variable', 'other=8', '--text')
    expect(loose).toMatchObject({ code: 0, out: 'T', err: expect.stringMatching(/^warning: .*other/) })
    const back = await run('template', 'publish', 'receipt', '--version', '1')
    expect(back.out).toBe('receipt  version 1 is sent from now on\n')
    expect(await run('template', 'show', 'bill')).toMatchObject({
      code: 1,
      err: 'There is no template "bill". "template list" shows all.',
    })
  })
})

test('message show and why tell the template that a mail was made from', async () => {
  await api.ask('POST', '/templates', { body: { slug: 'told', subject: 'S', text: 'T' } })
  const fields = { to: 'told@example.org', subject: undefined, text: undefined, template: { slug: 'told' } }
  const { id } = await api.send(fields)
  expect((await run('message', 'show', id)).out).toMatch(/^template +told, version 1$/m)
  await api.send({ to: 'told@example.org' })
  const { out } = await run('why', 'told@example.org')
  expect(out).toMatch(/^accepted +status +message +template +what became of it\n\S+Z +queued +msg_\S+ +- +\S/)
  expect(out).toMatch(new RegExp(`${id} +told, version 1 +\\S`))
})

test('erase: what is kept of a person goes, and why tells of the suppression alone', async () => {
  const rounds = setInterval(() => void workOff(api).catch(() => {}), 200)
  onTestFinished(() => clearInterval(rounds))
  const { id } = await api.send({ to: 'Gone@example.org' })
  await run('suppression', 'add', 'gone@example.org')
  const { out } = await run('erase', 'gone@example.org', '--wait')
  expect(out).toMatch(/^ers_\w+ {2}done\ncancelled: 1\nerased: 1 recipient, 1 content, /)
  const why = (await run('why', 'gone@example.org')).out
  expect(why).toMatch(
    /^suppression list: active, both streams, manual, since \S+\nNo mail to gone@example\.org is on record\.\n$/,
  )
  expect((await run('erase', 'list')).out).toMatch(
    /^id .*\ners_\w+ +\S+Z +done +\S+Z +1 +erased-\w+@erased\.invalid\n$/,
  )
  expect(await run('erase', 'nobody')).toMatchObject({ code: 1, err: expect.stringMatching(/^<address>: /) })
  expect((await run('message', 'show', id)).out).toMatch(
    /\n1 address was erased, and what was said to it\.\n$/,
  )
  await api.send({ to: 'held@example.org' })
  clearInterval(rounds)
  const body = { name: 'eraser', scopes: ['manage'] }
  const { key } = (await api.ask('POST', '/keys', { body })).json() as { key: string }
  const blind = await runCommand(['erase', 'held@example.org', '--wait', '--url', url, '--key', key])
  expect(blind).toMatchObject({
    code: 1,
    out: expect.stringMatching(/^ers_\w+ {2}pending\n/),
    err: expect.stringMatching(/^It has begun and goes on by itself; /),
  })
})

test('inbox: what was caught is listed by its recipient, and shown as text, HTML and octets', async () => {
  const id = await catchMail(api, { rcptTo: ['caught@example.org'] })
  await catchMail(api, { rcptTo: ['other@example.org'] })
  const list = await run('inbox', 'list', '--to', 'caught@example.org', '--wait', '20s')
  expect(list.out).toMatch(new RegExp(`^id .*\\n${id} +\\S+Z +caught@example\\.org .* ü\\n$`))
  const { received_at: time } = await json<{ received_at: string }>('inbox', 'show', id)
  const later = new Date(Date.parse(time) + 60_000).toISOString()
  const listed = async (after: string) =>
    (await json<{ data: { id: string }[] }>('inbox', 'list', '--after', after)).data.map((mail) => mail.id)
  expect(await listed('2026-01-01T00:00:00Z')).toContain(id)
  expect(await listed(later)).toEqual([])
  expect(await listed(id)).not.toContain(id)
  expect(await run('inbox', 'list', '--after', 'yesterday')).toMatchObject({
    code: 2,
    err: '--after takes a time such as 2026-11-23T00:00:00Z, or the id of a mail (inb_…), not "yesterday".',
  })
  const shown = await run('inbox', 'show', id)
  expect(shown.out).toMatch(/^RCPT TO +caught@example\.org$/m)
  expect(shown.out).toMatch(/^attachment +logo\.png, image\/png, 8 octets$/m)
  expect(shown.out).toMatch(/^X-Twice +second$/m)
  expect(shown.out).toMatch(/\n\nHello\n$/)
  expect((await run('inbox', 'show', id, '--html')).out).toContain('<p>Hello')
  expect((await run('inbox', 'show', id, '--raw')).out).toMatch(/^From: [\s\S]*--m--\r\n$/)
  expect(await run('inbox', 'show', id, '--raw', '--html')).toMatchObject({ code: 2 })
  expect(await json('inbox', 'show', id)).toMatchObject({ id, text: expect.stringMatching(/^Hello/) })
})

test('mailbox: listed with what is wrong, and tried by its name', async () => {
  const { id } = await makeMailbox(api, { name: 'returns', host: '127.0.0.1', port: 1, tls: 'none' })
  expect((await run('mailbox', 'list')).out).toMatch(
    new RegExp(`^${id} +returns +new +imap 127\\.0\\.0\\.1:1 +u `, 'm'),
  )
  const tried = await run('mailbox', 'test', 'returns')
  expect(tried).toMatchObject({ code: 1, out: expect.stringMatching(/^opened +no\nwhat is wrong +\S/) })
  expect(JSON.parse((await run('mailbox', 'test', id, '--json')).out)).toMatchObject({ ok: false })
  expect(await run('mailbox', 'test', 'other')).toMatchObject({
    code: 1,
    err: 'There is no mailbox "other". "mailbox list" shows all.',
  })
})

test('route list: the tenant’s own and the shared ones, with their state', async () => {
  const relay = { name: 'relay-1', kind: 'smarthost', host: 'relay.example.com' }
  await api.ask('POST', '/routes', { body: relay })
  expect((await run('route', 'list')).out).toMatch(
    /^rou_\S+ +relay-1 +smarthost +relay\.example\.com:587 +opportunistic +no +in use +-$/m,
  )
})

test('message show tells which mail was sent again', async () => {
  const { id } = await api.send({ to: 'again@example.org' })
  await run('message', 'cancel', id)
  const again = (await run('message', 'resend', id)).out.trim()
  expect((await run('message', 'show', again)).out).toMatch(new RegExp(`^sent again from +${id}$`, 'm'))
})

test('audit: who did what, of a tenant and for the operator of all', async () => {
  await run('suppression', 'add', 'audited@example.org')
  const mine = await run('audit', '--action', 'suppression.created')
  expect(mine.out).toMatch(/^\S+Z +suppression\.created +sup_\S+ +1 +\S.* key_\S+ +127\.0\.0\.1 /m)
  const mailboxes = await json<{ data: object[] }>('audit', '--action', 'mailbox.created')
  expect(mailboxes.data).toHaveLength(1)
  expect((await run('audit', '--actor', 'operator')).out.split('\n')).toHaveLength(2)
  const all = await runAsOperator('audit', '--all-tenants', '--action', 'suppression.created')
  expect(all.out).toMatch(/^time .* tenant +fields\n/)
  expect(all.out).toMatch(/ ten_[0-9a-f]{32} +/)
  const both = await runAsOperator('audit', '--all-tenants', '--tenant', 'stranger')
  expect(both).toMatchObject({ code: 2, err: 'Say one of --tenant and --all-tenants.' })
})

test('what tenant create and init do at the database is the operator’s in the audit log, from here', async () => {
  vi.stubEnv('DATABASE_URL', api.foundation.database.url)
  vi.stubEnv('VALIJA_SECRET_KEY', 'a-secret-of-this-test-long-enough')
  onTestFinished(() => void vi.unstubAllEnvs())
  const made = await runCommand(['tenant', 'create', '--name', 'by hand', '--json'])
  expect(made).toMatchObject({ code: 0, err: '' })
  const { id, key } = JSON.parse(made.out) as { id: string; key: string }
  const entries = async (target: string) =>
    (await runAsOperator('audit', '--all-tenants', '--target', target)).out
  expect(await entries(id)).toMatch(
    new RegExp(`^\\S+Z +tenant\\.created +${id} +1 +operator +local +${id} `, 'm'),
  )
  const mine = await runCommand(['audit', '--json', '--url', url, '--key', key])
  expect(JSON.parse(mine.out).data).toContainEqual(
    expect.objectContaining({ action: 'tenant.created', target: id, client_ip: null }),
  )
  const { tenant } = await ensureTenant(api.foundation, 'set up')
  expect(await entries(tenant.id)).toContain('tenant.created')
})
