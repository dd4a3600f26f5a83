/** Policies and counts with a real database, DNS server and policy host. */
import { createResolver, type Resolver } from '@valija/courier'
import { type Database, listTlsReports, openDatabase } from '@valija/store'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { type DnsServer, startDnsServer } from '../../../tests/support/dns-server.ts'
import {
  type PolicyHost,
  policyAnswer,
  policyText,
  startPolicyHost,
} from '../../../tests/support/policy-host.ts'
import { failedReport } from './failed-report.ts'
import { openReceiverTls, type ReceiverTls } from './receiver-tls.ts'

const exchangers = { isAuthenticated: false, hosts: [{ name: 'mx.example.com', isAuthenticated: false }] }

let target: TestDatabase
let database: Database
let dns: DnsServer
let host: PolicyHost
let resolver: Resolver
const opened: ReceiverTls[] = []

beforeEach(async () => {
  target = await createDatabase()
  database = openDatabase({ url: target.url, onError: () => undefined })
  host = await startPolicyHost(['mta-sts.example.com'])
  host.answer = policyAnswer(policyText('enforce', ['mx.example.com']))
  dns = await startDnsServer({
    records: {
      'mta-sts.example.com': { A: ['127.0.0.1'] },
      '_mta-sts.example.com': { TXT: ['v=STSv1; id=1'] },
    },
  })
  resolver = createResolver({ servers: [dns.address], timeoutMs: 3_000 })
})
afterEach(async () => {
  for (const one of opened.splice(0)) await one.close()
  resolver.close()
  host.close()
  await dns.stop()
  await database.close()
  await target.drop()
})

function open(allowNetworks = ['127.0.0.0/8']): ReceiverTls {
  const policyHosts = { port: host.port, ca: host.ca }
  const made = openReceiverTls({
    database,
    resolver,
    allowNetworks,
    port: 25,
    onError: (error) => expect.fail(error.message),
    policyHosts,
  })
  opened.push(made)
  return made
}

test('a policy that one worker fetched binds another, and one that starts when the policy host is dead', async () => {
  const demand = { tls: 'required', tlsNames: ['mx.example.com'], tlsPolicy: 'mta-sts' }
  const first = await open().policies.policyFor('example.com', exchangers)
  expect(first.hosts.get('mx.example.com')).toMatchObject({ demand })
  host.close()
  const second = await open().policies.policyFor('example.com', exchangers)
  expect(second.hosts.get('mx.example.com')).toMatchObject({ demand })
  expect(host.requests).toHaveLength(1)
})

test('a policy host in a private network is not asked', async () => {
  const policy = await open([]).policies.policyFor('example.com', exchangers)
  expect(policy.hosts.get('mx.example.com')).toMatchObject({
    demand: { tls: 'opportunistic' },
    reported: { fault: 'sts-policy-fetch-error' },
  })
  expect(host.requests).toEqual([])
})

test('counts of all workers add up in the report', async () => {
  const report = { ...failedReport('mx', 'tls', 'the certificate has expired'), phase: 'tls' as const }
  for (const worker of [open(), open()]) {
    const policy = (await worker.policies.policyFor('example.com', exchangers)).hosts.get('mx.example.com')
    worker.reports.countSession('example.com', 'mx.example.com', policy!, report)
    await worker.close()
  }
  const rows = await listTlsReports(database.engine, { domain: null, day: null, after: null, limit: 10 })
  expect(rows).toMatchObject([
    {
      domain: 'example.com',
      policy: 'sts',
      mx: 'mx.example.com',
      result: 'certificate-expired',
      sessions: 2,
    },
  ])
})
