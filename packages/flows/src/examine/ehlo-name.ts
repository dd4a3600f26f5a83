/**
 * The name in EHLO: receivers look whether the address it comes from has a name (PTR), whether that name has the address, and
 * whether EHLO says the same (RFC 5321 §4.1.4; Google and Microsoft refuse mail from addresses without).
 */
import { isIP } from 'node:net'
import { type Resolver, reverseName } from '@valija/courier'
import { type Check, checkOf } from './check.ts'
import type { Source } from './source-addresses.ts'

/** Names that mean something only inside (RFC 6762, RFC 8375, RFC 6761, and what routers make up). */
const insideOnly = /(^|\.)(local|localdomain|localhost|internal|intranet|lan|home|corp|home\.arpa|invalid)$/

/** Whether a name can be that of a host in the world: several labels, none of the endings that exist only inside. */
export function isFullyQualified(name: string): boolean {
  const plain = name.toLowerCase().replace(/\.$/, '')
  const isHostName = /^(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))+$/.test(plain)
  return isHostName && isIP(plain) === 0 && !/\.\d+$/.test(plain) && !insideOnly.test(plain)
}

export interface NameFacts {
  name: string
  /** A and AAAA. */
  addresses: string[]
  /** Why nothing is known of it; null when something is. */
  unavailable: string | null
}

export interface ReverseFacts {
  address: string
  /** The names that its PTR records give, with the addresses of each. */
  names: NameFacts[]
  unavailable: string | null
}

const ehloFix =
  'to a full name, such as mail.example.com, whose A record is the address that mail leaves from'

/** Every EHLO name and every address that mail leaves from. */
export async function examineNames(resolver: Resolver, sources: readonly Source[]): Promise<Check[]> {
  const names = [...new Set(sources.map(({ ehloName }) => ehloName))]
  const checks = names.map(async (name) => {
    const own = sources.filter(({ ehloName }) => ehloName === name)
    const forward = await lookUpName(resolver, name)
    const addresses = addressesSeen(own, forward)
    const reverse = await Promise.all(addresses.map((address) => lookUpReverse(resolver, address)))
    return [judgeEhloName(forward, own), ...reverse.map((facts) => judgeReverse(facts, name))]
  })
  return (await Promise.all(checks)).flat()
}

/** Behind a NAT the address that receivers see is taken to be the one that the EHLO name has. */
export function addressesSeen(sources: readonly Source[], forward: NameFacts): string[] {
  const known = sources.flatMap(({ address }) => address ?? [])
  return [...new Set(known.length > 0 ? known : forward.addresses)]
}

export async function lookUpName(resolver: Resolver, name: string): Promise<NameFacts> {
  const answers = await Promise.all([resolver.resolve(name, 'A'), resolver.resolve(name, 'AAAA')])
  const addresses = answers.flatMap((answer) => (answer.kind === 'records' ? answer.records : []))
  const failure = answers.find((answer) => answer.kind === 'unavailable')
  return { name, addresses, unavailable: addresses.length > 0 ? null : (failure?.detail ?? null) }
}

async function lookUpReverse(resolver: Resolver, address: string): Promise<ReverseFacts> {
  const answer = await resolver.resolve(reverseName(address) ?? '', 'PTR')
  if (answer.kind === 'unavailable') return { address, names: [], unavailable: answer.detail }
  // Who has hundreds of names has them for web sites; a receiver reads the first ones too.
  const names = answer.kind === 'records' ? answer.records.slice(0, 10) : []
  return {
    address,
    names: await Promise.all(names.map((name) => lookUpName(resolver, name))),
    unavailable: null,
  }
}

export function judgeEhloName(facts: NameFacts, sources: readonly Source[]): Check {
  const { name, addresses, unavailable } = facts
  const check = checkOf('ehlo_name', name)
  const isNamed = sources.some(({ origin }) => origin === '/source-ips')
  const where = isNamed ? 'ehlo_name of the source' : 'VALIJA_EHLO_NAME'
  if (!isFullyQualified(name)) {
    return check.failed('is no full host name: many receivers refuse it', `Set ${where} ${ehloFix}.`)
  }
  if (unavailable !== null) {
    return check.warning(`cannot be looked up now: ${unavailable}`, 'See the resolver, and run this again.')
  }
  if (addresses.length === 0) {
    return check.failed(
      'has no address in the DNS',
      `Publish an A record (AAAA for IPv6) for ${name}, or set ${where} ${ehloFix}.`,
    )
  }
  const missing = sources.flatMap(({ address }) =>
    address === null || addresses.includes(address) ? [] : address,
  )
  if (missing.length === 0) return check.ok(`has the address ${addresses.join(', ')}`)
  return check.failed(
    `has the address ${addresses.join(', ')}, but mail leaves from ${missing.join(', ')}`,
    `Add ${missing.join(', ')} to the A or AAAA records of ${name}, or set ${where} to the name of that address.`,
  )
}

export function judgeReverse({ address, names, unavailable }: ReverseFacts, ehloName: string): Check {
  const check = checkOf('reverse_name', address)
  const fix = `Let the owner of ${address} (your hosting provider, mostly on its control panel) set its PTR record to ${ehloName}.`
  if (unavailable !== null) {
    return check.warning(
      `its PTR cannot be looked up now: ${unavailable}`,
      'See the resolver, and run this again.',
    )
  }
  if (names.length === 0) {
    const more = address.includes(':')
      ? ' Or send from IPv4 alone: VALIJA_SOURCE_IPS with an IPv4 address.'
      : ''
    return check.failed('has no name (PTR): many receivers refuse it', `${fix}${more}`)
  }
  const confirmed = names.filter(({ addresses }) => addresses.includes(address)).map(({ name }) => name)
  const all = names.map(({ name }) => name).join(', ')
  if (confirmed.includes(ehloName)) return check.ok(`is called ${ehloName}, and that name has this address`)
  if (confirmed.length > 0) {
    return check.warning(
      `is called ${confirmed[0]}, and EHLO says ${ehloName}`,
      `${fix} Or set the EHLO name to ${confirmed[0]}.`,
    )
  }
  return check.failed(
    `is called ${all}, and ${names.length === 1 ? 'that name does not have' : 'none of these has'} this address`,
    `${fix} And let that name have this address.`,
  )
}
