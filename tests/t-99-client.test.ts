/** packages/client at a real API, as it is published, through lost answers, streams and webhooks; and the command line, which stands on it. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { type BatchResult, Valija as Client, type ValijaEvent, verifyWebhook } from '@valija/client'
import { Webhook } from 'standardwebhooks'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { packClient } from '../tools/pack-client.ts'
import { startCuttingProxy } from './support/cutting-proxy.ts'
import { endOfMail } from './support/messages.ts'
import { NO_ENV_FILE, REPOSITORY, type Running, startApp, startNode } from './support/processes.ts'
import { untilShown } from './support/shown-events.ts'
import { PATIENCE_MS, until } from './support/until.ts'
import { startValija, type Valija } from './support/valija.ts'
import { startWebhookReceiver } from './support/webhook-receiver.ts'

const CLI = path.join(REPOSITORY, 'apps/cli/src/main.ts')

let valija: Valija
let client: Client
beforeAll(async () => {
  const env = { VALIJA_ALLOW_NETWORKS: '127.0.0.0/8' }
  valija = await startValija({ queue: 'postgres', delivery: 'capture', env })
  client = new Client({ url: valija.url, apiKey: valija.tenantKey })
})
afterAll(() => valija?.stop())

const mail = (fields: object = {}) => ({
  from: 'Acme <hi@acme.test>',
  to: 'ann@example.org',
  subject: 'Hello',
  text: 'It works.',
  ...fields,
})

test('a program with the built client sends a mail, follows it and reads what was sent', async () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'valija-program-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  packClient(path.join(folder, 'node_modules', '@valija', 'client'))
  const program = `import { Valija } from '@valija/client'
const [url, apiKey] = process.argv.slice(2)
const valija = new Valija({ url, apiKey })
const { id } = await valija.send(${JSON.stringify(mail({ metadata: { order: '42' } }))})
for await (const { type, data } of valija.events()) if (data.message_id === id && type === 'message.delivered') break
const { status } = await valija.messages.get(id)
const [found] = await valija.messages.list({ to: 'ann@example.org', 'metadata.order': '42' }).toArray()
const raw = new TextDecoder().decode(await valija.messages.raw(id))
console.log(JSON.stringify({ status, isFound: found.id === id, subject: /^Subject: (.*)\\r$/m.exec(raw)[1] }))
`
  writeFileSync(path.join(folder, 'program.mjs'), program)
  const running = startNode(path.join(folder, 'program.mjs'), [valija.url, valija.tenantKey])
  expect(await running.ended).toEqual({ code: 0, signal: null })
  expect(JSON.parse(running.lines.join('\n'))).toEqual({
    status: 'delivered',
    isFound: true,
    subject: 'Hello',
  })
})

test('a send whose answer was lost is repeated, and is one message', async () => {
  const proxy = await startCuttingProxy(Number(new URL(valija.url).port))
  onTestFinished(() => proxy.stop())
  const through = new Client({ url: `http://127.0.0.1:${proxy.port}`, apiKey: valija.tenantKey })
  proxy.cutAfter('HTTP/1.1 202')
  const sending = through.send(mail({ to: 'lost@example.org' }))
  const found = () => client.messages.list({ to: 'lost@example.org' }).toArray()
  await until('the first try is taken', async () => (await found()).length > 0)
  proxy.cutAfter(null)
  const { id, recipients } = await sending
  expect((await found()).map((message) => message.id)).toEqual([id])
  expect((await endOfMail(valija.api, id)).recipients).toMatchObject([{ id: recipients[0]!.id, attempts: 1 }])
})

test('a batch that is permissive has a result for each, and one that is strict names what is wrong', async () => {
  const messages = [
    mail({ to: 'one@example.org' }),
    mail({ from: 'hi@not-ours.test' }),
    mail({ to: 'two@example.org' }),
  ]
  const results: BatchResult[] = await client.sendBatch(messages, { mode: 'permissive' })
  expect(
    results.map((result) =>
      'message' in result ? result.message.recipients[0]!.email : result.problem.code,
    ),
  ).toEqual(['one@example.org', 'domain_not_verified', 'two@example.org'])
  const [accepted] = await client.sendBatch([mail({ to: 'three@example.org' })])
  expect(accepted!.recipients[0]!.email).toBe('three@example.org')
  await expect(client.sendBatch([mail(), mail({ to: 'nobody' })])).rejects.toMatchObject({
    code: 'invalid_request',
    errors: [{ path: '/messages/1/to' }],
  })
})

test('the stream tells of all events in their order, from page to page, and goes on from its cursor', async () => {
  const ids = (
    await client.sendBatch(Array.from({ length: 8 }, (_, i) => mail({ to: `n${i}@example.org` })))
  ).map(({ id }) => id)
  for (const id of ids) await endOfMail(valija.api, id)
  const live = new Set(ids)
  const told: ValijaEvent[] = []
  const abort = AbortSignal.timeout(PATIENCE_MS)
  let cursor: string | undefined
  // Again and again a new stream, as after a restart.
  while (live.size > 0 && !abort.aborted) {
    const stream = client.events({ ...(cursor && { cursor }), limit: 3, idleMs: 10, signal: abort })
    for await (const event of stream) {
      told.push(event)
      if (event.type === 'message.delivered') live.delete(event.data.message_id)
      if (stream.cursor === cursor) continue
      cursor = stream.cursor
      break
    }
  }
  await untilShown(valija.sql)
  const { json } = await valija.api<{ data: ValijaEvent[] }>('GET', '/events?limit=100')
  expect(told.map(({ id }) => id)).toEqual(json.data.slice(0, told.length).map(({ id }) => id))
  for (const id of ids) {
    const seqs = told.flatMap(({ data }) => (data.message_id === id ? [data.seq] : []))
    expect(seqs).toEqual([1, 3]) // between them message.attempted, which nobody has named
  }
})

test('a webhook that comes is genuine to the client and to the official library, and not with another body or secret', async () => {
  const receiver = await startWebhookReceiver()
  onTestFinished(() => receiver.stop())
  const made = await client.request('POST /webhooks', {
    body: { url: receiver.url, events: ['message.delivered'] },
  })
  const { id } = await client.send(mail({ to: 'hook@example.org' }))
  const [call] = await receiver.received(1)
  const { text, headers } = call!
  const [event] = await verifyWebhook(text, headers, made.secret)
  expect(event).toMatchObject({
    type: 'message.delivered',
    data: { message_id: id, email: 'hook@example.org' },
  })
  expect(new Webhook(made.secret).verify(text, headers as Record<string, string>)).toEqual(event)
  const other = `whsec_${btoa('a secret of twenty-four b')}`
  await expect(verifyWebhook(text, headers, other)).rejects.toMatchObject({ code: 'forged' })
  await expect(verifyWebhook(text.replace('hook@', 'book@'), headers, made.secret)).rejects.toMatchObject({
    code: 'forged',
  })

  const path = { id: made.id }
  const { secret } = await client.request('POST /webhooks/{id}/rotate-secret', { path, body: null })
  await client.request('POST /webhooks/{id}/test', { path })
  const rotated = await until('the test has come', () =>
    receiver.calls.find(({ json }) => json.type === 'webhook.test'),
  )
  for (const secrets of [made.secret, secret, [secret, made.secret]])
    expect(await verifyWebhook(rotated.text, rotated.headers, secrets)).toMatchObject([
      { type: 'webhook.test' },
    ])
  await client.request('DELETE /webhooks/{id}', { path })
})

describe('the command line', () => {
  let keyFile: string
  beforeAll(() => {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'valija-cli-'))
    keyFile = path.join(folder, 'key')
    writeFileSync(keyFile, `${valija.tenantKey}\n`)
  })
  afterAll(() => rmSync(path.dirname(keyFile), { recursive: true, force: true }))

  const start = (words: string[], key: string[]) =>
    startApp(words[0]!, {}, [...words.slice(1), '--url', valija.url, ...key])
  /** With the tenant's key. */
  const run = async (...words: string[]) => outcome(start(words, ['--key-file', keyFile]))
  const runAsOperator = async (...words: string[]) => outcome(start(words, ['--key', valija.adminKey]))
  const outcome = async (running: Running) => {
    const { code } = await running.ended
    return { code, text: running.lines.join('\n') }
  }
  const json = async <T = Record<string, unknown>>(
    answer: Promise<{ code: number | null; text: string }>,
  ) => {
    const { code, text } = await answer
    expect({ code, text: code === 0 ? '' : text }).toEqual({ code: 0, text: '' })
    return JSON.parse(text) as T
  }
  const from = ['--from', 'Acme <hi@acme.test>']

  test('send prints the id; message and explain show what became of it', async () => {
    const content = ['--subject', 'From a terminal', '--text', 'It works.', '--metadata', 'run=t-99']
    const { code, text } = await run('send', ...from, '--to', 'cli@example.org', ...content, '--wait')
    expect(code).toBe(0)
    const id = /^msg_[0-9a-f]{32}$/m.exec(text)![0]
    expect(text).toMatch(/^cli@example\.org +to +delivered +1 /m)

    const found = await json<{ data: { id: string }[]; next_cursor: null }>(
      run('message', 'list', '--metadata', 'run=t-99', '--to', 'CLI@example.org', '--json'),
    )
    expect(found).toMatchObject({ data: [{ id, status: 'delivered' }], next_cursor: null })
    expect((await run('message', 'show', id)).text).toMatch(/^subject +From a terminal\n/m)
    expect((await run('message', 'events', id)).text).toMatch(
      / message\.accepted +1 .*\n.* message\.delivered +3 /,
    )
    expect((await run('message', 'attempts', id, '--transcript')).text).toMatch(
      / delivered .*\n[\s\S]*attempt 1, /,
    )
    expect((await run('message', 'raw', id)).text).toContain('Subject: From a terminal')
    expect((await run('explain', id)).text).toMatch(/^cli@example\.org {2}delivered$/m)
  })

  test('send reads its text from standard input, and is once with an idempotency key', async () => {
    const words = [
      'send',
      ...from,
      '--to',
      'piped@example.org',
      '--subject',
      'Piped',
      '--idempotency-key',
      't-99',
    ]
    const all = [...words, '--url', valija.url, '--key-file', keyFile]
    const send = () =>
      execFileSync(process.execPath, [CLI, ...all], { input: 'Through a pipe.\n', env: NO_ENV_FILE })
    const id = send().toString().trim()
    expect(send().toString().trim()).toBe(id)
    expect((await run('message', 'raw', id)).text).toContain('Through a pipe.')
  })

  test('what ends badly with --wait is exit code 1, what is refused too, what is typed wrongly 2', async () => {
    const bounced = ['--to', 'bounced@simulator.valija.test', '--subject', 'x', '--text', 'x', '--wait']
    expect(await run('send', ...from, ...bounced)).toMatchObject({
      code: 1,
      text: expect.stringContaining('550'),
    })
    const foreign = await run(
      'send',
      '--from',
      'hi@not-ours.test',
      '--to',
      'a@b.test',
      '--subject',
      'x',
      '--text',
      'x',
    )
    expect(foreign).toMatchObject({
      code: 1,
      text: expect.stringMatching(/^valija: .*not-ours\.test.* Send from a domain/),
    })
    const faulty = await run('send', '--from', 'nobody', '--to', 'nobody', '--subject', 'x', '--text', 'x')
    expect(faulty.code).toBe(1)
    expect(faulty.text).toMatch(/\n {2}--from: .*\n {2}--to: /)
    expect(await run('message', 'show', 'msg_1')).toMatchObject({
      code: 2,
      text: expect.stringContaining('usage: '),
    })
    const unknown = await run('message', 'show', 'msg_0192f0c1a2b37c4d8e5f60718293a4b5')
    expect(unknown).toMatchObject({
      code: 1,
      text: expect.stringMatching(/^valija: There is no such message\./),
    })
  })

  test('message: cancelled, moved and sent again', async () => {
    const inDays = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString()
    const time = inDays(2)
    const later = ['--subject', 'Later', '--text', 'x', '--send-at', inDays(1)]
    const { text: id } = await run('send', ...from, '--to', 'later@example.org', ...later)
    const moved = await json(run('message', 'move', id, '--send-at', time, '--json'))
    expect(moved).toMatchObject({ status: 'scheduled', send_at: time })
    expect((await run('message', 'cancel', id)).text).toMatch(/^status +cancelled$/m)
    expect(await run('message', 'move', id, '--now')).toMatchObject({
      code: 1,
      text: expect.stringContaining('later@example.org'),
    })
    expect(await run('message', 'move', id)).toMatchObject({ code: 2 })
    const again = await run('message', 'resend', id, '--to', 'later@example.org')
    expect((await endOfMail(valija.api, again.text)).status).toBe('delivered')
  })

  test('keys and domains of a tenant', async () => {
    const made = await json<{ id: string; key: string }>(
      run('key', 'create', '--name', 'cli', '--scope', 'read', '--json'),
    )
    expect(made.key).toMatch(/^vlj_/)
    expect((await run('key', 'list')).text).toMatch(new RegExp(`^${made.id} +cli +vlj_\\S+… +read `, 'm'))
    expect(await run('key', 'revoke', made.id)).toEqual({ code: 0, text: `revoked  ${made.id}` })
    expect((await run('key', 'list')).text).not.toContain(made.id)

    const added = await run('domain', 'add', 'cli.example')
    expect(added.text).toMatch(/^cli\.example {2}pending {2}dom_[\s\S]*^ownership +yes +unchecked +TXT /m)
    expect((await run('domain', 'list')).text).toMatch(/^dom_\S+ +cli\.example +pending /m)
    expect((await run('domain', 'zone', 'cli.example')).text).toMatch(/^_valija IN TXT /m)
    expect((await run('domain', 'rotate-dkim', 'cli.example')).code).toBe(0)
    expect((await json(run('domain', 'show', 'cli.example', '--json'))).name).toBe('cli.example')
    expect((await run('domain', 'delete', 'cli.example')).code).toBe(0)
    expect(await run('domain', 'show', 'cli.example')).toMatchObject({ code: 1 })
  })

  test('the operator: tenants, for a tenant by its name, and the queue', async () => {
    const made = await json<{ id: string; key: string }>(
      runAsOperator('tenant', 'create', '--name', 'by hand', '--json'),
    )
    expect((await runAsOperator('tenant', 'list')).text).toMatch(
      new RegExp(`^${made.id} +by hand +active +1 `, 'm'),
    )
    const changed = runAsOperator(
      'tenant',
      'update',
      'by hand',
      '--weight',
      '3',
      '--limit',
      'queued=5',
      '--json',
    )
    expect(await json(changed)).toMatchObject({ id: made.id, weight: 3, limits: { queued: 5 } })
    expect((await runAsOperator('tenant', 'suspend', 'by hand')).text).toMatch(/^status +suspended$/m)
    const more = await json(
      runAsOperator('tenant', 'update', 'by hand', '--limit', 'max_recipients=7', '--json'),
    )
    expect(more).toMatchObject({ status: 'suspended', limits: { queued: 5, max_recipients: 7 } })
    expect((await runAsOperator('tenant', 'resume', 'by hand')).text).toMatch(/^status +active$/m)
    const vouched = await runAsOperator('domain', 'add', 'hand.test', '--vouched', '--tenant', 'by hand')
    expect(vouched).toMatchObject({ code: 0, text: expect.stringContaining('hand.test  vouched') })
    const mine = await runAsOperator('domain', 'list', '--tenant', made.id)
    expect(mine.text).toContain('hand.test')
    expect((await runAsOperator('queue')).text).toMatch(/^waiting +\d/)
    expect(await runAsOperator('tenant', 'delete', 'by hand')).toMatchObject({ code: 2 })
    expect(await runAsOperator('tenant', 'delete', 'by hand', '--yes')).toMatchObject({ code: 0 })
    expect(await run('queue')).toMatchObject({ code: 1, text: expect.stringContaining('operator') })
  })

  test('webhooks: one of its own prints what happens until it is interrupted, and is gone then', async () => {
    const listening = start(['webhook', 'listen', '--event', 'message.delivered'], ['--key-file', keyFile])
    onTestFinished(() => listening.kill())
    const id = /whk_\w+/.exec(await listening.line('listens at'))![0]
    expect((await run('webhook', 'list')).text).toMatch(
      new RegExp(`^${id} +enabled +message\\.delivered `, 'm'),
    )
    expect(await run('webhook', 'test', id)).toMatchObject({
      code: 0,
      text: expect.stringMatching(/^taken +yes/),
    })
    await client.send(mail({ to: 'listened@example.org' }))
    await listening.line(/ message\.delivered +listened@example\.org {2}#3 /)
    expect((await run('webhook', 'replay', id, '--after', '2026-01-01T00:00:00Z')).text).toMatch(
      /^\d+ events? will be told/,
    )
    listening.signal('SIGINT')
    listening.signal('SIGINT') // as npm hands its own on
    expect(await listening.ended).toEqual({ code: 0, signal: null })
    expect((await run('webhook', 'list')).text).not.toContain(id)

    const made = await run('webhook', 'create', 'https://127.0.0.1:1/', '--event', 'message.bounced')
    expect(made.text).toMatch(/^webhook +whk_.*\nsecret +whsec_/)
    expect(await run('webhook', 'test', /whk_\w+/.exec(made.text)![0])).toMatchObject({ code: 1 })
  })
})
