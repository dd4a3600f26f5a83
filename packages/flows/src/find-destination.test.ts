/** What a worker's own want of sockets comes to on the way to a destination: no more of it is told to, or of, anybody else. */
import type { DomainTlsPolicy, HostTlsPolicy } from '@valija/courier'
import { expect, test } from 'vitest'
import { createDestinations, type DestinationParts } from './find-destination.ts'
import type { ChosenRoute, ChosenSource } from './route-choice.ts'

const source: ChosenSource = {
  id: null,
  name: 'default',
  address: null,
  address6: null,
  ehloName: 'us.example.test',
  hasIpv6: true,
}
const routeBy = (kind: 'mx' | 'capture'): ChosenRoute => ({
  id: null,
  name: kind,
  key: kind,
  way: { kind },
  returnPath: { kind: 'from' },
  rewritesIds: false,
})
const host = { name: 'mx.example.org', priority: 10, addresses: ['192.0.2.1'], isAuthenticated: true }
const askedOf = { domain: 'example.org', requireTls: false, reason: null }

/** What is found by a policy, or by a capture receiver that cannot be opened; and the hosts that TLS reports are to tell of. */
async function find(kind: 'mx' | 'capture', { policy, error }: { policy?: DomainTlsPolicy; error?: Error }) {
  const refused: string[] = []
  const exchangersOf: DestinationParts['exchangersOf'] = async () => ({
    kind: 'hosts',
    hosts: [host],
    isImplicit: false,
    isAuthenticated: true,
  })
  const destinations = createDestinations({
    exchangersOf,
    exchangersAgain: exchangersOf,
    policies: { policyFor: async () => policy ?? expect.unreachable() },
    tlsReports: { countRefused: (_, name) => void refused.push(name) },
    scopes: {
      providerOf: () => null,
      scopeOf: () => expect.unreachable(),
      isTlsRequired: () => false,
    },
    notes: { note: () => {} },
    openCapture: () => Promise.reject(error),
    mxPort: 25,
  })
  return { found: await destinations.find(askedOf, { route: routeBy(kind), source }), refused }
}

function policyOf(isOwnWant: boolean): DomainTlsPolicy {
  const detail = 'no answer about TLSA'
  const judged: HostTlsPolicy = {
    isUsable: false,
    detail,
    isOwnWant,
    reported: { type: 'tlsa', fault: null },
  }
  return { kind: 'unavailable', detail, isOwnWant, hosts: new Map([[host.name, judged]]) }
}

test('a TLS policy that could not be asked for, for want of sockets here, is nobody’s failure and in no report', async () => {
  const { found, refused } = await find('mx', { policy: policyOf(true) })
  expect(found).toMatchObject({ ok: false, failure: 'no_socket' })
  expect(refused).toEqual([])
})

test('one that was not answered is the receiver’s', async () => {
  const { found, refused } = await find('mx', { policy: policyOf(false) })
  expect(found).toMatchObject({ ok: false, failure: 'tls' })
  expect(refused).toEqual([host.name])
})

test('a capture receiver that cannot be opened for want of sockets says so', async () => {
  const error = (code: string) => Object.assign(new Error(code), { code })
  expect((await find('capture', { error: error('EMFILE') })).found).toMatchObject({ failure: 'no_socket' })
  expect((await find('capture', { error: error('EACCES') })).found).toMatchObject({
    failure: 'connection_refused',
  })
})
