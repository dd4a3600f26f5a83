/** In a process of its own, because the limit of open files is that of a process. */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type DnsServer, startDnsServer } from '../../../tests/support/dns-server.ts'

const program = path.join(import.meta.dirname, 'testing', 'full-process.ts')
const server = createServer((_, response) => response.writeHead(204, { connection: 'close' }).end())
let dns: DnsServer
let met: Record<'full' | 'after' | 'again', Record<string, unknown>>

beforeAll(async () => {
  const records = Object.fromEntries(
    ['full.test', 'after.test', 'again.test'].flatMap((domain) => [
      [domain, { MX: [`10 mx.${domain}`] }],
      [`mx.${domain}`, { A: ['192.0.2.1'] }],
    ]),
  )
  dns = await startDnsServer({ records })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const command = 'ulimit -n 100 && exec "$0" "$@"'
  const dnsPort = dns.address.split(':').at(-1) ?? ''
  const ran = await promisify(execFile)('sh', [
    ...['-c', command],
    ...[process.execPath, program, `${port}`, dnsPort],
  ])
  met = JSON.parse(ran.stdout)
}, 60_000)
afterAll(async () => {
  server.close()
  await dns?.stop()
})

const could = expect.stringMatching(/^this worker could open no connection \(.*\): its limit of open files/)

describe.each(['full', 'again'] as const)('without a descriptor (%s)', (when) => {
  test('a connection fails for want of a socket, to a name as to an address: never because the name is not there', () => {
    expect(met[when]).toMatchObject({
      connectByName: { ok: false, phase: 'dns', failure: 'no_socket', detail: could },
      connectByAddress: { ok: false, phase: 'connect', failure: 'no_socket', detail: could },
    })
  })

  test('so does a post', () => {
    const message = expect.stringContaining('this process could open no connection')
    const failed = { kind: 'failure', code: 'no_socket', message }
    expect(met[when]).toMatchObject({ postByName: failed, postByAddress: failed })
  })

  test('the DNS is not asked, and that is told as our own want; so are policies that hang on it', () => {
    const unavailable = { kind: 'unavailable', isOwnWant: true }
    expect(met[when]).toMatchObject({ exchangers: unavailable, dane: unavailable, sts: unavailable })
  })
})

test('when there are descriptors again all of it works', () => {
  expect(met.after).toMatchObject({
    connectByName: { ok: true },
    connectByAddress: { ok: true },
    postByName: { kind: 'answer', statusCode: 204 },
    postByAddress: { kind: 'answer', statusCode: 204 },
    exchangers: { kind: 'hosts' },
    dane: { kind: 'hosts' },
    sts: { kind: 'hosts' },
  })
})
