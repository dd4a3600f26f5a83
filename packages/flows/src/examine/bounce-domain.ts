/**
 * The host of our return paths: bounces must find a way to it (RFC 5321 §5.1), it must be no alias (RFC 2181 §10.3), and who greets
 * there must be our own intake.
 */
import {
  type DnsAnswer,
  type GreetingLimits,
  type GreetingResult,
  type MailExchangers,
  type NetworkGuard,
  type Resolver,
  readGreeting,
  resolveMailExchangers,
} from '@valija/courier'
import { formatSmtpReply } from '@valija/mail'
import { type Check, checkOf } from './check.ts'

/** How our intake greets (apps/smtp). */
export const intakeBanner = 'valija: bounces and reports only'

const greetingLimits: GreetingLimits = { connectMs: 5_000, greetingMs: 8_000 }
/** Exchangers that are tried. */
const maxHosts = 3

/** @param way.mxPort where others hand mail in */
export async function examineBounceDomain(
  resolver: Resolver,
  domain: string | null,
  way: { guard: NetworkGuard; mxPort: number },
): Promise<Check[]> {
  if (domain === null) {
    return [checkOf('bounce_domain').skipped('VALIJA_BOUNCE_DOMAIN is not set: bounces go to the senders')]
  }
  const [alias, exchangers] = await Promise.all([
    resolver.resolve(domain, 'CNAME'),
    resolveMailExchangers(resolver, domain),
  ])
  const check = judgeBounceDomain(domain, alias, exchangers)
  if (check.status !== 'ok' || exchangers.kind !== 'hosts') return [check]
  const hosts = exchangers.hosts.slice(0, maxHosts)
  return [check, ...(await Promise.all(hosts.map((host) => examineIntake(host, way))))]
}

async function examineIntake(
  { name: host, addresses }: { name: string; addresses: readonly string[] },
  { guard, mxPort: port }: { guard: NetworkGuard; mxPort: number },
): Promise<Check> {
  const ip = addresses[0] ?? ''
  const target = { host, ip, port, localAddress: null, isExemptFromGuard: false }
  return judgeIntake(`${host}:${port}`, await readGreeting(target, guard, greetingLimits))
}

/** A machine can seldom see itself from outside, so this only warns. */
export function judgeIntake(subject: string, result: GreetingResult): Check {
  const check = checkOf('bounce_intake', subject)
  const fix =
    'Run `valija smtp`, and hand port 25 of this host on to its VALIJA_BOUNCE_PORT; if a firewall only keeps this machine from seeing itself, look from another one.'
  if (result.kind === 'unreachable') return check.warning(`cannot be reached: ${result.detail}`, fix)
  if (result.kind === 'mute') return check.warning(result.detail, fix)
  const said = formatSmtpReply(result.reply)
  if (result.reply.text.includes(intakeBanner)) return check.ok(`our intake greets: ${said}`)
  return check.warning(`something else greets, and bounces do not come to us: ${said}`, fix)
}

export function judgeBounceDomain(
  domain: string,
  alias: DnsAnswer<'CNAME'>,
  exchangers: MailExchangers,
): Check {
  const check = checkOf('bounce_domain', domain)
  const publish = `Publish an MX record for ${domain} that names the host which takes bounces.`
  if (alias.kind === 'records') {
    return check.failed(
      `is an alias (CNAME) of ${alias.records[0]}: receivers that look refuse it, or rewrite the return path`,
      `Remove the CNAME. ${publish}`,
    )
  }
  if (exchangers.kind === 'null_mx') return check.failed('says that it takes no mail (null MX)', publish)
  if (exchangers.kind === 'unknown') {
    return check.failed(`${exchangers.detail}: receivers refuse such a sender, and bounces are lost`, publish)
  }
  if (exchangers.kind === 'unavailable') {
    return check.warning(
      `cannot be looked up now: ${exchangers.detail}`,
      'See the resolver, and run this again.',
    )
  }
  const hosts = exchangers.hosts.map(({ name, addresses }) => `${name} (${addresses.join(', ')})`)
  return check.ok(`bounces go to ${hosts.join(', ')}`)
}
