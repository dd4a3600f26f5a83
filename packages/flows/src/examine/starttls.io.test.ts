import { createNetworkGuard } from '@valija/courier'
import { afterEach, expect, test } from 'vitest'
import { certificate } from '../../../../tests/support/certificate.ts'
import { type SmtpPeer, type SmtpPeerOptions, startSmtpPeer } from '../../../../tests/support/smtp-peer.ts'
import type { Peer } from './mail-peers.ts'
import type { Source } from './source-addresses.ts'
import { examineStarttls, judgeHandshakes } from './starttls.ts'

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

async function serve(options: SmtpPeerOptions = {}): Promise<{ smtp: SmtpPeer; peer: Peer }> {
  const smtp = await startSmtpPeer({ starttls: true, ...options })
  closers.push(() => smtp.stop())
  return { smtp, peer: { host: 'mx.example.test', port: smtp.port, addresses: [smtp.host], isNamed: false } }
}

async function look(peers: readonly Peer[], ca: string | null = null) {
  const [check] = await examineStarttls({ peers, sources: [source], guard, ca })
  return check
}

test('a verified certificate is well, and no mail is begun', async () => {
  const { smtp, peer } = await serve()
  expect(await look([peer], (await certificate()).cert)).toMatchObject({ status: 'ok' })
  expect(smtp.transcript.some((line) => line.includes('EHLO mail.acme.test'))).toBe(true)
  expect(smtp.transcript.some((line) => line.includes('MAIL'))).toBe(false)
})

test('a certificate of nobody known is told with what may be in between', async () => {
  const { peer } = await serve()
  expect(await look([peer])).toMatchObject({
    status: 'failed',
    detail: expect.stringContaining('self-signed'),
    fix: expect.stringContaining('SMTP inspection'),
  })
  expect(await look([{ ...peer, isNamed: true }])).toMatchObject({ status: 'warning' })
})

test('a server that lost its STARTTLS on the way is told', async () => {
  const { peer } = await serve({ starttls: false })
  expect(await look([peer])).toMatchObject({ status: 'failed', detail: expect.stringContaining('STARTTLS') })
})

test('one that is verified is enough', async () => {
  const [good, bad] = [await serve(), await serve({ starttls: false })]
  const check = await look([good.peer, bad.peer], (await certificate()).cert)
  expect(check).toMatchObject({ status: 'ok', detail: expect.stringContaining('not so') })
})

test('where nobody can be reached it is the way that is to be looked at', async () => {
  const away: Peer = { host: 'mx.example.test', port: 1, addresses: ['127.0.0.1'], isNamed: false }
  expect(await look([away])).toMatchObject({ status: 'skipped', detail: expect.stringContaining('port_25') })
  expect(await look([])).toMatchObject({ status: 'skipped' })
})

test('a machine that trusts nobody is told', () => {
  expect(judgeHandshakes([], 0)).toMatchObject({
    status: 'failed',
    fix: expect.stringContaining('ca-certificates'),
  })
})
