import { afterEach, describe, expect, test } from 'vitest'
import {
  type DnsServer,
  type DnsServerOptions,
  startDnsServer,
} from '../../../../tests/support/dns-server.ts'
import type { Check } from './check.ts'
import { askServers, judgeServers, type ServerAnswers } from './resolver.ts'

const servers: DnsServer[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop()
})

const questions = { signed: ['signed.test', 'also.test'], absentUnder: 'void.test' }
const records = { 'signed.test': { A: ['192.0.2.1'] }, 'also.test': { A: ['192.0.2.2'] } }

async function serve(options: DnsServerOptions = {}): Promise<DnsServer> {
  const server = await startDnsServer({ records, signed: ['.'], ...options })
  servers.push(server)
  return server
}

async function look(list: readonly DnsServer[], isEssential = true): Promise<Check[]> {
  return judgeServers(
    await askServers(
      list.map(({ address }) => address),
      questions,
    ),
    isEssential,
  )
}

const inShort = (checks: readonly Check[]) => checks.map(({ name, status }) => `${name} ${status}`)

describe('one resolver', () => {
  test('that answers, validates and says what is missing is well', async () => {
    expect(inShort(await look([await serve()]))).toEqual(['resolver ok', 'dnssec ok'])
  })

  test('that answers for every name is found out', async () => {
    const server = await serve({ records: { ...records, '*.void.test': { A: ['198.51.100.9'] } } })
    const [check] = await look([server])
    expect(check).toMatchObject({ subject: server.address, status: 'failed' })
    expect(check?.detail).toContain('198.51.100.9')
    expect(check?.fix).toContain('VALIJA_DNS_SERVERS')
  })

  test('that knows nothing of the world is found out', async () => {
    expect((await look([await serve({ records: {} })]))[0]).toMatchObject({
      status: 'failed',
      detail: expect.stringContaining('does not know names that exist'),
    })
  })

  test('that says NODATA for missing names is doubted', async () => {
    const server = await serve({ records: { ...records, '*.void.test': { TXT: ['x'] } } })
    expect((await look([server]))[0]).toMatchObject({
      status: 'warning',
      detail: expect.stringContaining('NODATA'),
    })
  })

  test('that fails for missing names is doubted', async () => {
    const server = await serve({
      behaviour: { '*': 'servfail', 'signed.test': 'normal', 'also.test': 'normal' },
    })
    expect((await look([server]))[0]).toMatchObject({
      status: 'warning',
      detail: expect.stringContaining('SERVFAIL'),
    })
  })

  test('that refuses us is told with what it said, and is only a warning where mail goes without', async () => {
    const server = await serve({ behaviour: { '*': 'refused' } })
    expect(await look([server])).toMatchObject([
      { name: 'resolver', status: 'failed', detail: expect.stringContaining('REFUSED') },
    ])
    expect(inShort(await look([server], false))).toEqual(['resolver warning'])
  })

  test('where one of the signed names fails still counts as validating', async () => {
    const server = await serve({ behaviour: { 'signed.test': 'servfail' } })
    expect(inShort(await look([server]))).toEqual(['resolver ok', 'dnssec ok'])
  })

  test('that does not validate is told: DANE is not used', async () => {
    expect((await look([await serve({ signed: [] })]))[1]).toMatchObject({
      name: 'dnssec',
      status: 'warning',
      detail: expect.stringContaining('DANE'),
      fix: expect.stringContaining('unbound'),
    })
  })
})

describe('several', () => {
  test('one that is dead beside one that answers is a warning', async () => {
    const dead = await serve()
    const alive = await serve()
    dead.behaviour = { '*': 'refused' }
    expect(inShort(await look([dead, alive]))).toEqual(['resolver warning', 'resolver ok', 'dnssec ok'])
  })

  test('all dead is a failure of each', async () => {
    const all = [
      await serve({ behaviour: { '*': 'refused' } }),
      await serve({ behaviour: { '*': 'servfail' } }),
    ]
    expect(inShort(await look(all))).toEqual(['resolver failed', 'resolver failed'])
  })

  test('one that validates beside one that does not is a warning', async () => {
    const [good, other] = [await serve(), await serve({ signed: [] })]
    expect((await look([good, other]))[2]).toMatchObject({
      status: 'warning',
      detail: expect.stringContaining(other.address),
    })
  })
})

const answers: ServerAnswers = {
  server: '9.9.9.9:53',
  isTrusted: false,
  signed: [{ kind: 'records', records: ['192.0.2.1'], isAuthenticated: true }],
  absent: { kind: 'unknown_name', isAuthenticated: true, isConfirmed: false },
  durationMs: 20,
}

test('one far away that validates is not believed unless the operator names it', () => {
  expect(judgeServers([answers], true)[1]).toMatchObject({
    status: 'warning',
    fix: expect.stringContaining('name it in VALIJA_DNS_SERVERS'),
  })
})

test('a slow one is told', () => {
  expect(judgeServers([{ ...answers, durationMs: 1_500 }], true)[0]).toMatchObject({ status: 'warning' })
})

test('none at all is a failure', () => {
  expect(judgeServers([], true)).toMatchObject([{ status: 'failed' }])
})
