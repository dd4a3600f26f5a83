import type { LookupOptions } from 'node:dns'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type DnsServer, startDnsServer } from '../../../../tests/support/dns-server.ts'
import type { Resolver } from '../dns/dns-answer.ts'
import { createResolver } from '../dns/resolver.ts'
import { resolverLookup } from './resolver-lookup.ts'

let dns: DnsServer
let resolver: Resolver
beforeAll(async () => {
  dns = await startDnsServer({
    records: {
      'both.example': { A: ['192.0.2.1', '192.0.2.2'], AAAA: ['2001:db8::1'] },
      'new.example': { AAAA: ['2001:db8::1'] },
      'half.example': { A: ['192.0.2.1'] },
    },
    behaviour: { 'broken.example': 'servfail', 'half.example AAAA': 'servfail' },
  })
  resolver = createResolver({ servers: [dns.address], timeoutMs: 2_000 })
})
afterAll(async () => {
  resolver.close()
  await dns.stop()
})

function lookUp(name: string, options: LookupOptions = {}): Promise<unknown> {
  const { promise, resolve } = Promise.withResolvers<unknown>()
  resolverLookup(resolver)(name, { ...options, all: true }, (error, found) => resolve(error?.code ?? found))
  return promise
}

const v4 = [
  { address: '192.0.2.1', family: 4 },
  { address: '192.0.2.2', family: 4 },
]
const v6 = [{ address: '2001:db8::1', family: 6 }]

test.each<[string, LookupOptions, unknown]>([
  ['both.example', {}, [...v4, ...v6]],
  ['both.example', { family: 0 }, [...v4, ...v6]],
  ['both.example', { family: 4 }, v4],
  ['both.example', { family: 'IPv6' }, v6],
  ['new.example', {}, v6],
  ['new.example', { family: 4 }, 'ENOTFOUND'],
  ['half.example', {}, v4.slice(0, 1)],
  ['nothing.example', {}, 'ENOTFOUND'],
  ['broken.example', {}, 'EAI_AGAIN'],
  ['192.0.2.7', {}, [{ address: '192.0.2.7', family: 4 }]],
])('%s with %j: %j', async (name, options, expected) => {
  expect(await lookUp(name, options)).toEqual(expected)
})
