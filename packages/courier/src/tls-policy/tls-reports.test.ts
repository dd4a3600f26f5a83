import { expect, test } from 'vitest'
import { buildReport, failureVerdict, noTimings } from '../report.ts'
import { Transcript } from '../transcript.ts'
import type { HostTlsPolicy } from './tls-policies.ts'
import { createTlsReports, type TlsCount } from './tls-reports.ts'

const policy: HostTlsPolicy = {
  isUsable: true,
  demand: { tls: 'required', tlsPolicy: 'mta-sts' },
  reported: { type: 'sts', fault: null },
}
const refusal: HostTlsPolicy = {
  isUsable: false,
  detail: 'not named',
  reported: { type: 'sts', fault: 'validation-failure' },
}
const endpoint = { route: 'mx', host: 'mx.example.com', ip: '192.0.2.1', port: 25, sourceIp: null }
const facts = { ...endpoint, tls: null, timingsMs: noTimings, transcript: new Transcript(), sizeBytes: null }
const expired = buildReport(
  facts,
  failureVerdict('tls', 'tls', 'the certificate has expired (CERT_HAS_EXPIRED)'),
)
const unreached = buildReport(facts, failureVerdict('connect', 'connection_refused', 'connection refused'))
const tls = { version: 'TLSv1.3', cipher: 'x', verified: true, policy: 'mta-sts', detail: null } as const
const fine = { ...expired, tls, phase: 'body' as const, failure: null, detail: null }

function create(save: (counts: TlsCount[]) => Promise<void>) {
  const errors: Error[] = []
  const reports = createTlsReports({ save, onError: (error) => errors.push(error) })
  return { reports, errors }
}

test('what went the same way is one count; what was no session is none; all is written at the stop', async () => {
  const saved: TlsCount[][] = []
  const { reports } = create(async (counts) => void saved.push(counts))
  reports.start()
  for (let i = 0; i < 3; i += 1) reports.countSession('example.com', 'mx.example.com', policy, fine)
  reports.countSession('example.com', 'mx.example.com', policy, expired)
  reports.countSession('example.com', 'mx.example.com', policy, unreached)
  reports.countRefused('example.com', 'odd.example.com', refusal)
  reports.countRefused('example.com', 'mx.example.com', policy)
  await reports.stop()
  const count = { domain: 'example.com', mx: 'mx.example.com', policy: 'sts' }
  expect(saved).toEqual([
    [
      { ...count, result: 'success', sessions: 3 },
      { ...count, result: 'certificate-expired', sessions: 1 },
      { ...count, mx: 'odd.example.com', result: 'validation-failure', sessions: 1 },
    ],
  ])
})

test('what could not be written is written with the next', async () => {
  const saved: TlsCount[][] = []
  let isAway = true
  const { reports, errors } = create(async (counts) => {
    if (isAway) throw new Error('away')
    saved.push(counts)
  })
  reports.countSession('example.com', 'mx.example.com', policy, fine)
  await reports.stop()
  expect(errors).toHaveLength(1)
  reports.countSession('example.com', 'mx.example.com', policy, fine)
  isAway = false
  await reports.stop()
  expect(saved).toMatchObject([[{ sessions: 2 }]])
  await reports.stop()
  expect(saved).toHaveLength(1)
})

test('batches are written while it runs, without a query per mail', async () => {
  const { promise, resolve } = Promise.withResolvers<TlsCount[]>()
  const reports = createTlsReports({
    save: async (counts) => resolve(counts),
    onError: () => undefined,
    everyMs: 5,
  })
  reports.start()
  for (let i = 0; i < 1_000; i += 1) reports.countSession('example.com', 'mx.example.com', policy, fine)
  expect(await promise).toMatchObject([{ sessions: 1_000 }])
  await reports.stop()
})

test('a flood of names stays bounded, and a name that PostgreSQL would refuse spoils no batch', async () => {
  const saved: TlsCount[] = []
  const { reports } = create(async (counts) => void saved.push(...counts))
  for (const odd of ['', 'a b', 'a\0', 'ä.example', 'x'.repeat(256)]) {
    reports.countSession('example.com', odd, policy, fine)
    reports.countSession(odd, 'mx.example.com', policy, fine)
  }
  for (let i = 0; i < 25_000; i += 1) reports.countSession(`d${i}.example`, 'mx.example.com', policy, fine)
  await reports.stop()
  expect(saved).toHaveLength(20_000)
})
