import { createNetworkGuard } from '@valija/courier'
import { afterEach, expect, test } from 'vitest'
import { type SmtpPeerOptions, silence, startSmtpPeer } from '../../../../tests/support/smtp-peer.ts'
import type { Peer } from './mail-peers.ts'
import { examinePort25, judgeKnocks } from './port-25.ts'
import type { Source } from './source-addresses.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

const guard = createNetworkGuard(['127.0.0.0/8'])
const source: Source = {
  address: '127.0.0.1',
  bind: '127.0.0.1',
  ehloName: 'mail.acme.test',
  origin: 'system',
}

async function serve(options: SmtpPeerOptions = {}): Promise<Peer> {
  const peer = await startSmtpPeer(options)
  closers.push(() => peer.stop())
  return { host: 'mx.big.test', port: peer.port, addresses: [peer.host], isNamed: false }
}
const closed: Peer = { host: 'mx.closed.test', port: 1, addresses: ['127.0.0.1'], isNamed: false }
const look = async (...peers: Peer[]) => (await examinePort25([source], { peers, missing: [] }, guard))[0]

test('is open when all greet', async () => {
  expect(await look(await serve(), await serve())).toMatchObject({ subject: '127.0.0.1', status: 'ok' })
})

test('is closed when nobody can be reached', async () => {
  const check = await look(closed)
  expect(check).toMatchObject({
    status: 'failed',
    detail: expect.stringContaining('mx.closed.test:1 cannot be reached'),
  })
  expect(check?.fix).toContain('open outgoing port 25')
})

test('one of several that cannot be reached is a warning', async () => {
  expect(await look(await serve(), closed)).toMatchObject({ status: 'warning' })
})

test('a greeting that turns us away is told with its words', async () => {
  const refusing = await serve({ script: { connect: '554 5.7.1 your address is listed' } })
  expect(await look(await serve(), refusing)).toMatchObject({
    status: 'warning',
    detail: expect.stringContaining('refuses: 554 5.7.1 your address is listed'),
    fix: expect.stringContaining('turns this address away'),
  })
  expect(await look(refusing)).toMatchObject({ status: 'failed', fix: expect.stringContaining('blocklist') })
})

test('connections that are taken and not answered are a proxy in between', () => {
  const peer = { host: 'mx.big.test', port: 25, addresses: ['192.0.2.1'], isNamed: false }
  const mute = { peer, result: { kind: 'mute', detail: 'no greeting within 8 s' } as const }
  expect(judgeKnocks(source, [mute])).toMatchObject({
    status: 'failed',
    fix: expect.stringContaining('proxy'),
  })
})

test('each source is tried, within its version of IP', async () => {
  const peer = await serve()
  const sources: Source[] = [
    { ...source, origin: 'VALIJA_SOURCE_IPS', bind: '127.0.0.2' },
    { ...source, origin: 'VALIJA_SOURCE_IPS', bind: '::1' },
  ]
  const checks = await examinePort25(sources, { peers: [peer], missing: [] }, guard)
  expect(checks.map(({ subject, status }) => `${subject} ${status}`)).toEqual(['127.0.0.2 ok', '::1 skipped'])
})

test('servers that the DNS does not give are told', async () => {
  const checks = await examinePort25([source], { peers: [], missing: ['big.test: no answer'] }, guard)
  expect(checks).toMatchObject([
    { status: 'warning', detail: expect.stringContaining('big.test: no answer') },
  ])
})

test('silence is waited for and told', async () => {
  const peer = await serve({ script: { connect: silence() } })
  const [check] = await examinePort25([source], { peers: [peer], missing: [] }, guard, {
    connectMs: 1_000,
    greetingMs: 20,
  })
  expect(check).toMatchObject({ status: 'failed', detail: expect.stringContaining('no greeting') })
})
