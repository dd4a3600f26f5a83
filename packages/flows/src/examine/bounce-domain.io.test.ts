import { createNetworkGuard, createResolver } from '@valija/courier'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type DnsServer, startDnsServer } from '../../../../tests/support/dns-server.ts'
import { startSmtpPeer } from '../../../../tests/support/smtp-peer.ts'
import { examineBounceDomain, intakeBanner } from './bounce-domain.ts'

let dns: DnsServer
beforeAll(async () => {
  dns = await startDnsServer({
    records: {
      'mx.test': { MX: ['10 in.mx.test'] },
      'in.mx.test': { A: ['192.0.2.1'] },
      'plain.test': { A: ['192.0.2.2'] },
      'alias.test': { CNAME: ['plain.test'] },
      'null.test': { MX: ['0 .'] },
      'empty.test': { TXT: ['x'] },
      'here.test': { A: ['127.0.0.1'] },
    },
    behaviour: { 'broken.test': 'servfail' },
  })
})
afterAll(() => dns.stop())

async function look(domain: string | null, mxPort = 1) {
  const resolver = createResolver({ servers: [dns.address], timeoutMs: 2_000 })
  const guard = createNetworkGuard(['127.0.0.0/8'])
  const [check, intake] = await examineBounceDomain(resolver, domain, { guard, mxPort })
  resolver.close()
  return { check, intake }
}

test.each([
  ['mx.test', 'ok', /in\.mx\.test \(192\.0\.2\.1\)/],
  ['plain.test', 'ok', /192\.0\.2\.2/],
  ['alias.test', 'failed', /alias \(CNAME\) of plain\.test/],
  ['null.test', 'failed', /null MX/],
  ['empty.test', 'failed', /neither exchangers/],
  ['nowhere.test', 'failed', /does not exist/],
  ['broken.test', 'warning', /SERVFAIL/],
])('%s: %s', async (domain, status, detail) => {
  const { check } = await look(domain)
  expect(check).toMatchObject({ subject: domain, status, detail: expect.stringMatching(detail) })
  if (status === 'failed') expect(check?.fix).toContain(`Publish an MX record for ${domain}`)
})

test('without one there is nothing to look at', async () => {
  expect((await look(null)).check).toMatchObject({ status: 'skipped' })
})

test('who greets there has to be our intake', async () => {
  const peer = await startSmtpPeer({
    script: { connect: [`220 a.test ESMTP ${intakeBanner}`, '220 a.test ESMTP x'] },
  })
  const greeted = [await look('here.test', peer.port), await look('here.test', peer.port)]
  await peer.stop()
  const closed = await look('here.test', peer.port)
  expect([...greeted, closed].map(({ intake }) => [intake!.status, intake!.detail])).toEqual([
    ['ok', expect.stringContaining('our intake greets')],
    ['warning', expect.stringContaining('something else greets')],
    ['warning', expect.stringContaining('cannot be reached')],
  ])
  expect(closed.intake!.fix).toContain('VALIJA_BOUNCE_PORT')
})
