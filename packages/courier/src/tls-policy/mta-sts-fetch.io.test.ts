/** Against a real HTTPS server with an authority of its own. */
import type { RequestListener } from 'node:http'
import type { LookupFunction } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Issued, issueAuthority, issueServer } from '../../../../tests/support/issue-certificate.ts'
import {
  type PolicyHost,
  policyAnswer,
  policyText,
  startPolicyHost,
} from '../../../../tests/support/policy-host.ts'
import { createOutgoingHttp } from '../outgoing-http.ts'
import { fetchStsPolicy } from './mta-sts-fetch.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

const toLoopback: LookupFunction = (_host, _options, callback) =>
  callback(null, [{ address: '127.0.0.1', family: 4 }])

let host: PolicyHost
const start = async (names: string[], certificate?: Issued) => {
  host = await startPolicyHost(names, certificate)
  closers.push(host.close)
}
const fetchFrom = (trusted: string | null, allowNetworks: string[], domain = 'example.com') => {
  const ca = trusted === null ? {} : { ca: trusted }
  const http = createOutgoingHttp({ allowNetworks, lookup: toLoopback, ...ca })
  closers.push(() => http.close())
  return fetchStsPolicy(http, domain, host.port)
}
const fetchPolicy = (domain?: string) => fetchFrom(host.ca, ['127.0.0.0/8'], domain)

const text = policyText('enforce', ['mx.example.com'])

beforeEach(() => start(['mta-sts.example.com']))

test('a policy is fetched from its one place (RFC 8461 §3.3)', async () => {
  host.answer = policyAnswer(text)
  expect(await fetchPolicy()).toMatchObject({
    ok: true,
    text,
    policy: { mode: 'enforce', mx: ['mx.example.com'] },
  })
  expect(host.requests).toEqual(['GET mta-sts.example.com/.well-known/mta-sts.txt'])
})

test.each(['text/plain; charset=utf-8', 'TEXT/PLAIN', 'text/plain;charset=us-ascii'])(
  '%s is plain text',
  async (type) => {
    host.answer = policyAnswer(text, type)
    expect(await fetchPolicy()).toMatchObject({ ok: true })
  },
)

describe('sts-policy-fetch-error', () => {
  const redirect: RequestListener = (_, response) =>
    response.writeHead(302, { location: '/.well-known/mta-sts.txt' }).end()
  const cutOff: RequestListener = (_, response) => {
    response.writeHead(200, { 'content-type': 'text/plain', 'content-length': 1_000 })
    response.write(text, () => response.destroy())
  }
  test.each<[string, RequestListener]>([
    ['a redirect is not followed', redirect],
    ['404', (_, response) => response.writeHead(404, { 'content-type': 'text/plain' }).end(text)],
    ['another 2xx', (_, response) => response.writeHead(203, { 'content-type': 'text/plain' }).end(text)],
    ['HTML', policyAnswer(text, 'text/html')],
    ['another text', policyAnswer(text, 'text/plainer')],
    ['no type', (_, response) => response.end(text)],
    ['a body that breaks off', cutOff],
  ])('%s', async (_, answer) => {
    host.answer = answer
    expect(await fetchPolicy()).toMatchObject({ ok: false, fault: 'sts-policy-fetch-error' })
    expect(host.requests).toHaveLength(1)
  })

  test('nobody listens', async () => {
    host.close()
    expect(await fetchPolicy()).toMatchObject({ ok: false, fault: 'sts-policy-fetch-error' })
  })

  test('a policy host in a private network is not asked', async () => {
    host.answer = policyAnswer(text)
    expect(await fetchFrom(host.ca, [])).toMatchObject({
      ok: false,
      fault: 'sts-policy-fetch-error',
      detail: expect.stringContaining('private'),
    })
    expect(host.requests).toEqual([])
  })
})

describe('sts-policy-invalid', () => {
  test('64 KB are taken and not one octet more', async () => {
    const filler = (length: number) => `${text}x: ${'y'.repeat(length - text.length - 3)}`
    host.answer = policyAnswer(filler(64 * 1024))
    expect(await fetchPolicy()).toMatchObject({ ok: true })
    host.answer = policyAnswer(filler(64 * 1024 + 1))
    expect(await fetchPolicy()).toMatchObject({ ok: false, fault: 'sts-policy-invalid' })
  })

  test('what is no policy', async () => {
    host.answer = policyAnswer('mode: enforce\n')
    expect(await fetchPolicy()).toMatchObject({ ok: false, fault: 'sts-policy-invalid' })
  })
})

describe('sts-webpki-invalid', () => {
  const refused = { ok: false, fault: 'sts-webpki-invalid' }

  test('an authority that nobody trusts', async () => {
    host.answer = policyAnswer(text)
    expect(await fetchFrom(null, ['127.0.0.0/8'])).toMatchObject(refused)
    expect(host.requests).toEqual([])
  })

  test('a certificate for the domain, and not for the policy host', async () => {
    host.answer = policyAnswer(text)
    expect(await fetchPolicy('other.example')).toMatchObject(refused)
    expect(host.requests).toEqual([])
  })

  test('a certificate that has expired', async () => {
    const authority = await issueAuthority('Another')
    const expired = { issuer: authority, notBefore: new Date(0), notAfter: new Date(86_400_000) }
    await start([], await issueServer(['mta-sts.example.com'], expired))
    expect(await fetchFrom(authority.cert, ['127.0.0.0/8'])).toMatchObject(refused)
  })
})
