/**
 * A small internet on loopback: a DNS server, and mail exchangers that all listen on one port of addresses of their own.
 *
 *     const internet = await startInternet()
 *     const peer = await internet.exchanger('mx.example.test')                  // at an address of its own
 *     internet.dns.set('example.test', 'MX', ['10 mx.example.test'])
 *     const valija = await startValija({ queue: 'postgres', delivery: 'mx', internet })
 */
import { startBlackHole } from './black-hole.ts'
import { type DnsServer, type DnsServerOptions, startDnsServer } from './dns-server.ts'
import { freePort } from './ports.ts'
import { type SmtpPeer, type SmtpPeerOptions, startSmtpPeer } from './smtp-peer.ts'

export type Internet = {
  dns: DnsServer
  /** Where exchangers listen. */
  port: number
  /** Starts an exchanger of these names, at the next address. */
  exchanger: (names: string | readonly string[], options?: Omit<SmtpPeerOptions, 'port'>) => Promise<SmtpPeer>
  /** An exchanger for these domains, under a name below the first of them. */
  site: (domains: string | readonly string[], options?: Omit<SmtpPeerOptions, 'port'>) => Promise<SmtpPeer>
  /** The next address, for a server that the test starts by itself. */
  address: () => string
  /** An address where nobody listens. */
  deadAddress: () => string
  /** An address where packets vanish: a connection to it is neither made nor refused. Until the end, if not stopped before. */
  blackHole: (host?: string) => Promise<{ host: string; stop: () => Promise<void> }>
  stop: () => Promise<void>
}

export async function startInternet(dnsOptions: DnsServerOptions = {}): Promise<Internet> {
  const dns = await startDnsServer(dnsOptions)
  const port = await freePort()
  const peers: SmtpPeer[] = []
  const holes: (() => Promise<void>)[] = []
  // A block per test process would not do: every internet has a port of its own, so addresses may be the same.
  let last = 0
  const nextAddress = () => {
    last += 1
    return `127.0.${Math.floor(last / 200) + 1}.${(last % 200) + 1}`
  }
  const exchanger: Internet['exchanger'] = async (names, options = {}) => {
    const host = options.host ?? nextAddress()
    const peer = await startSmtpPeer({ ...options, host, port })
    peers.push(peer)
    for (const name of [names].flat()) dns.set(name, 'A', [host])
    return peer
  }
  return {
    dns,
    port,
    exchanger,
    site: async (domains, options) => {
      const all = [domains].flat()
      const name = `mx.${all[0]}`
      const peer = await exchanger(name, options)
      for (const domain of all) dns.set(domain, 'MX', [`10 ${name}`])
      return peer
    },
    address: nextAddress,
    deadAddress: nextAddress,
    blackHole: async (host = nextAddress()) => {
      const { stop } = await startBlackHole(host, port)
      holes.push(stop)
      return { host, stop }
    },
    stop: async () => {
      await Promise.all([...peers.map((peer) => peer.stop()), ...holes.map((stop) => stop())])
      await dns.stop()
    },
  }
}
