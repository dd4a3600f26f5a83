import { createNetworkGuard } from '@valija/courier'
import { describe, expect, test } from 'vitest'
import {
  examineSources,
  findSources,
  judgeSources,
  type NamedSource,
  type Source,
} from './source-addresses.ts'

const parts = {
  sourceIps: [],
  named: [],
  ehloName: 'mail.acme.test',
  guard: createNetworkGuard([]),
  outside: ['127.0.0.1'],
}

const named: NamedSource = {
  address: '8.8.4.4',
  bind: '10.0.0.4',
  ipv6: null,
  ehloName: 'four.acme.test',
  state: 'enabled',
}

describe('sources', () => {
  test('are those that the operator named; a private one is seen as another address', async () => {
    const found = await findSources({ ...parts, sourceIps: ['8.8.8.8', '10.0.0.5'] })
    expect(found.map(({ bind, address, origin }) => [bind, address, origin])).toEqual([
      ['8.8.8.8', '8.8.8.8', 'VALIJA_SOURCE_IPS'],
      ['10.0.0.5', null, 'VALIJA_SOURCE_IPS'],
    ])
  })

  test('are those of /source-ips that are not paused, IPv6 of their own', async () => {
    const others = [
      { ...named, ipv6: '2001:4860::4' },
      { ...named, address: '8.8.4.5', state: 'paused' as const },
    ]
    const found = await findSources({ ...parts, named: others })
    expect(found.map(({ bind, address, ehloName }) => [bind, address, ehloName])).toEqual([
      ['10.0.0.4', '8.8.4.4', 'four.acme.test'],
      ['2001:4860::4', '2001:4860::4', 'four.acme.test'],
    ])
  })

  test('without any it is the one that the system takes', async () => {
    const allowed = createNetworkGuard(['127.0.0.0/8'])
    expect(await findSources({ ...parts, guard: allowed })).toMatchObject([
      { bind: '127.0.0.1', address: '127.0.0.1', origin: 'system' },
    ])
    expect(await findSources(parts)).toMatchObject([{ bind: '127.0.0.1', address: null }])
  })
})

const source = (over: Partial<Source>): Source => ({
  address: '127.0.0.1',
  bind: '127.0.0.1',
  ehloName: 'mail.acme.test',
  origin: 'VALIJA_SOURCE_IPS',
  ...over,
})

describe('a source', () => {
  test('that this machine has is well, one that it does not have is not', async () => {
    const checks = await examineSources([source({}), source({ address: '192.0.2.77', bind: '192.0.2.77' })])
    expect(checks).toMatchObject([
      { subject: '127.0.0.1', status: 'ok' },
      { subject: '192.0.2.77', status: 'failed', fix: expect.stringContaining('ip address add 192.0.2.77') },
    ])
  })

  test("of /source-ips may be another machine's, as long as one is here", async () => {
    const [here, there] = [
      { source: source({ origin: '/source-ips' }), isBound: true },
      { source: source({ origin: '/source-ips', bind: '10.0.0.9' }), isBound: false },
    ]
    expect(judgeSources([here, there]).map(({ status }) => status)).toEqual(['ok', 'skipped'])
    expect(judgeSources([there]).map(({ status }) => status)).toEqual(['failed'])
  })

  test('that the system chose is told, and that it is translated', () => {
    const system = (address: string | null) => ({
      source: source({ origin: 'system', address }),
      isBound: true,
    })
    expect(judgeSources([system('192.0.2.1')])).toMatchObject([{ status: 'ok' }])
    expect(judgeSources([system(null)])).toMatchObject([
      { status: 'ok', detail: expect.stringContaining('NAT') },
    ])
  })

  test('must be there at all', () => {
    expect(judgeSources([])).toMatchObject([{ status: 'failed', fix: expect.stringContaining('route') }])
  })
})
