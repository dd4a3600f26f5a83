/** What makes an installation that delivers to mail exchangers unready. */
import { createResolver } from '@valija/courier'
import { type HintQueue, openDatabase } from '@valija/store'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase, type TestDatabase } from '../../../tests/support/database.ts'
import { type DnsServer, startDnsServer } from '../../../tests/support/dns-server.ts'
import { createReadiness } from './readiness.ts'

let testDatabase: TestDatabase
let database: ReturnType<typeof openDatabase>
let dns: DnsServer
const queue = { isUp: true, warning: null, backend: 'postgres' } as HintQueue

beforeAll(async () => {
  testDatabase = await createDatabase()
  database = openDatabase({ url: testDatabase.url, onError: () => {} })
  dns = await startDnsServer()
})
afterAll(async () => {
  await dns.stop()
  await database.close()
  await testDatabase.drop()
})

async function ask(delivery: string, { ehloName = 'mail.acme.example', mxPort = 25 } = {}) {
  const resolver = createResolver({
    servers: [dns.address],
    timeoutMs: 2_000,
    cache: { entries: 0, bytes: 0 },
  })
  try {
    const readiness = createReadiness({
      database,
      queue,
      delivery,
      mx: { resolver, askedNames: ['org'], ehloNames: () => [ehloName], mxPort },
    })
    return await readiness()
  } finally {
    resolver.close()
  }
}
const failing = ({ checks }: Awaited<ReturnType<typeof ask>>) =>
  checks.filter(({ isOk }) => !isOk).map(({ name, detail }) => `${name}: ${detail}`)

describe('mx', () => {
  test('is ready when a resolver answers, be it that a name does not exist, and our own name is one', async () => {
    expect(await ask('mx')).toMatchObject({ isReady: true })
  })

  test('is not ready without a resolver that answers', async () => {
    dns.behaviour = { '*': 'silent' }
    const found = await ask('mx')
    dns.behaviour = {}
    expect(found.isReady).toBe(false)
    expect(failing(found)).toEqual([
      expect.stringMatching(/^resolver: No resolver answers.*VALIJA_DNS_SERVERS/),
    ])
  })

  test('is not ready with a name that is no full one, but where nobody outside is spoken to', async () => {
    const found = await ask('mx', { ehloName: 'laptop' })
    expect(found.isReady).toBe(false)
    expect(failing(found)).toEqual([expect.stringMatching(/^ehlo_name: .*laptop.*VALIJA_EHLO_NAME/)])
    expect(await ask('mx', { ehloName: 'laptop', mxPort: 2525 })).toMatchObject({ isReady: true })
  })
})

test.each(['capture', 'smarthost'])('%s asks no resolver', async (delivery) => {
  const before = dns.count()
  expect(await ask(delivery, { ehloName: 'laptop' })).toMatchObject({ isReady: true })
  expect(dns.count()).toBe(before)
})
