import { createNetworkGuard, type PhaseDeadlines } from '@valija/courier'
import { afterEach, expect, test } from 'vitest'
import {
  drop,
  type SmtpPeer,
  type SmtpPeerOptions,
  startSmtpPeer,
} from '../../../../tests/support/smtp-peer.ts'
import { examineNamedRelays, examineSmarthost } from './smarthost.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

async function serve(options: SmtpPeerOptions = {}): Promise<SmtpPeer> {
  const peer = await startSmtpPeer(options)
  closers.push(() => peer.stop())
  return peer
}

const login = { user: 'ann', pass: 'secret' }

async function look(port: number, over: object = {}, hurry: Partial<PhaseDeadlines> = {}) {
  const relay = { secure: false, host: '127.0.0.1', port, user: null, pass: null, ...over }
  const [check] = await examineSmarthost(relay, { ehloName: 'mail.acme.test', localAddress: null }, hurry)
  return check
}

test('a relay that takes us is well, and no mail is begun', async () => {
  const peer = await serve()
  expect(await look(peer.port)).toMatchObject({ subject: `127.0.0.1:${peer.port}`, status: 'ok', fix: null })
  expect(peer.transcript.some((line) => line.includes('MAIL'))).toBe(false)
})

test('a login that is taken is well, one that is refused is told with its words', async () => {
  const peer = await serve({ auth: login, starttls: true })
  expect(await look(peer.port, login)).toMatchObject({ status: 'ok', detail: 'takes the login of ann' })
  expect(await look(peer.port, { ...login, pass: 'wrong' })).toMatchObject({
    status: 'failed',
    detail: expect.stringContaining('535 5.7.8'),
    fix: expect.stringContaining('percent-encoded'),
  })
})

test("relays of named routes: the operator's that fails is a fault, a tenant's a warning, and a tenant's in a private network is not asked", async () => {
  const peer = await serve()
  const way = {
    host: '127.0.0.1',
    port: peer.port,
    secure: false,
    auth: null,
    tls: 'off' as const,
    isGuarded: false,
  }
  const away = { ...way, port: 1 }
  const relays = [
    { name: 'well', isTenants: true, way },
    { name: 'theirs', isTenants: true, way: away },
    { name: 'ours', isTenants: false, way: away },
    { name: 'inside', isTenants: true, way: { ...way, isGuarded: true } },
  ]
  const from = { ehloName: 'mail.acme.test', localAddress: null }
  const checks = await examineNamedRelays(relays, from, createNetworkGuard([]))
  expect(checks.map(({ subject, status }) => [subject?.split(' ')[0], status])).toEqual([
    ['well', 'ok'],
    ['theirs', 'warning'],
    ['ours', 'failed'],
    ['inside', 'warning'],
  ])
  expect(checks[2]?.fix).toContain('PATCH /routes/:id')
  expect(peer.transcript.some((line) => line.includes('MAIL'))).toBe(false)
})

test('a password never stands in the result', async () => {
  const peer = await serve({ auth: login })
  const check = await look(peer.port, { user: 'ann', pass: 'hunter2-wrong' })
  expect(JSON.stringify(check)).not.toContain('hunter2')
})

test.each([
  ['away', null, /Start the relay/],
  ['refusing us', { script: { connect: '554 go away' } }, /may not use it/],
  ['cutting the connection', { script: { ehlo: drop() } }, /VALIJA_EHLO_NAME/],
])('a relay that is %s', async (_, options, fix) => {
  const port = options === null ? 1 : (await serve(options as SmtpPeerOptions)).port
  expect(await look(port)).toMatchObject({ status: 'failed', fix: expect.stringMatching(fix) })
})

test('smtp to a port with TLS from the first byte', async () => {
  const peer = await serve({ implicitTls: true })
  const check = await look(peer.port, {}, { greetingMs: 50 })
  expect(check).toMatchObject({ status: 'failed', fix: expect.stringContaining('Write smtps://') })
})

test('smtps to a port with STARTTLS', async () => {
  const peer = await serve({ starttls: true })
  expect(await look(peer.port, { secure: true })).toMatchObject({
    status: 'failed',
    fix: expect.stringContaining('smtps:// is for a port with TLS from the first byte'),
  })
})

test('without a relay there is nothing to look at', async () => {
  const checks = await examineSmarthost(null, { ehloName: 'x', localAddress: null })
  expect(checks).toMatchObject([{ status: 'skipped' }])
})
