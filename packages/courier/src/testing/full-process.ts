/**
 * A program: what a process comes to that has as many files open as it may, and after some are closed again. Started under a low limit
 * (`ulimit -n`), with the ports of an HTTP server and a DNS server on this machine; prints what it met as JSON.
 */
import { closeSync, openSync } from 'node:fs'
import { devNull } from 'node:os'
import { connectTcp } from '../connect.ts'
import { resolveMailExchangers } from '../dns/mail-exchangers.ts'
import { createResolver } from '../dns/resolver.ts'
import { createNetworkGuard } from '../network-guard.ts'
import { createOutgoingHttp } from '../outgoing-http.ts'
import { createTlsPolicies } from '../tls-policy/index.ts'

const [httpPort = '', dnsPort = ''] = process.argv.slice(2)
const allowed = ['127.0.0.0/8', '::1/128']
const guard = createNetworkGuard(allowed)
const http = createOutgoingHttp({ allowNetworks: allowed })
const resolver = createResolver({ servers: [`127.0.0.1:${dnsPort}`] })
const policies = createTlsPolicies({
  resolver,
  http: createOutgoingHttp({ allowNetworks: [] }),
  cache: { find: async () => null, save: async () => {} },
})

async function connect(host: string) {
  const target = { host, port: Number(httpPort), localAddress: null, isExemptFromGuard: true }
  const connected = await connectTcp(target, guard, 5_000)
  if (!connected.ok) return connected
  connected.socket.destroy()
  return { ok: true }
}

const post = (host: string) =>
  http.post(`http://${host}:${httpPort}/`, { headers: {}, body: '', timeoutMs: 5_000 })

/** @param domain a new one each time: answers are kept */
const tryAll = async (domain: string) => ({
  connectByName: await connect('localhost'),
  connectByAddress: await connect('127.0.0.1'),
  postByName: await post('localhost'),
  postByAddress: await post('127.0.0.1'),
  exchangers: await resolveMailExchangers(resolver, domain),
  dane: await policyOf(domain, true),
  sts: await policyOf(domain, false),
})

async function policyOf(domain: string, isAuthenticated: boolean) {
  const hosts = [{ name: `mx.${domain}`, isAuthenticated }]
  const { hosts: _, ...policy } = await policies.policyFor(domain, { isAuthenticated, hosts })
  return policy
}

function fill(): number[] {
  const held: number[] = []
  try {
    for (;;) held.push(openSync(devNull, 'r'))
  } catch {
    return held
  }
}

const held = fill()
const full = await tryAll('full.test')
for (const descriptor of held) closeSync(descriptor)
const after = await tryAll('after.test')
// By now all that is loaded on demand is there.
fill()
const again = await tryAll('again.test')
process.stdout.write(JSON.stringify({ full, after, again }), () => process.exit())
