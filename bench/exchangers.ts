/** Many receiving sites on one machine: a name server that knows an exchanger for each domain, at an address of its own. */
import { startDnsServer, type Zone } from '../tests/support/dns-server.ts'
import { recipientDomain } from './mails.ts'

export interface Exchangers {
  /** Where they are to listen. */
  hosts: string[]
  /** `ip:port` of the name server. */
  dnsServer: string
  stop(): Promise<void>
}

/** Addresses of one group of 127.0.0.0/8 of which all octets are usual ones. */
const hostsPerBlock = 250
/** Longer than any run: names are asked for once. */
const ttlS = 86_400

/** At most 62,500 domains; beyond `maxHosts` they share addresses in turn, but no exchanger's name. */
export async function startExchangers(domains: number, maxHosts = domains): Promise<Exchangers> {
  const hosts = Array.from({ length: Math.min(domains, maxHosts) }, (_, index) => {
    return `127.1.${Math.floor(index / hostsPerBlock)}.${(index % hostsPerBlock) + 1}`
  })
  const records: Zone = {}
  for (let index = 0; index < domains; index++) {
    const domain = recipientDomain(index)
    records[domain] = { MX: [`10 mx.${domain}`] }
    records[`mx.${domain}`] = { A: [hosts[index % hosts.length] ?? ''] }
  }
  const dns = await startDnsServer({ records, ttl: ttlS, negativeTtl: ttlS })
  return { hosts, dnsServer: dns.address, stop: dns.stop }
}
