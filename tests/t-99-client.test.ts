/** packages/client at a real API: as it is published, and through lost answers, streams and webhooks. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { Webhook } from 'standardwebhooks'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import {
  type BatchResult,
  Valija as Client,
  type ValijaEvent,
  verifyWebhook,
} from '../packages/client/src/index.ts'
import { packClient } from '../tools/pack-client.ts'
import { startCuttingProxy } from './support/cutting-proxy.ts'
import { endOfMail } from './support/messages.ts'
import { startNode } from './support/processes.ts'
import { PATIENCE_MS, until } from './support/until.ts'
import { startValija, type Valija } from './support/valija.ts'
import { startWebhookReceiver } from './support/webhook-receiver.ts'

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
