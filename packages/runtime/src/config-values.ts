/**
 * The kinds of values that a configuration variable can have: how each is written, and what the program gets.
 *
 * A parser throws a Refusal whose message completes "NAME: …". It never repeats the value of a secret variable; the
 * caller adds the value where it may be shown.
 */
import ipaddr from 'ipaddr.js'

/** A value that cannot be used. The message says what is expected. */
export class Refusal extends Error {}

export type Kind<T> = {
  /** As in the documentation: "duration", "list of networks (CIDR)". */
  label: string
  /** Throws Refusal. */
  parse: (text: string) => T
}

const MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

const BYTES = {
  b: 1,
  kb: 1_000,
  mb: 1_000_000,
  gb: 1_000_000_000,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
} as const

function parseDuration(text: string): number {
  const [, amount, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text) ?? []
  const ms = Math.round(Number(amount) * MS[unit as keyof typeof MS])
  if (!(ms > 0)) throw new Refusal('expected a duration above zero, such as 500ms, 30s, 5m, 24h or 30d')
  return ms
}

function parseDurationWithin(text: string, least: string, most: string): number {
  const ms = parseDuration(text)
  if (ms < parseDuration(least) || ms > parseDuration(most))
    throw new Refusal(`expected a duration from ${least} to ${most}`)
  return ms
}

function parseSize(text: string): number {
  const [, amount, unit = 'b'] = /^(\d+(?:\.\d+)?)\s*([kmg]i?b|b)?$/.exec(text.toLowerCase()) ?? []
  const bytes = Math.round(Number(amount) * BYTES[unit as keyof typeof BYTES])
  if (!(bytes >= 1024 && bytes <= 2 ** 30))
    throw new Refusal('expected a size from 1KiB to 1GiB, such as 40MiB')
  return bytes
}

function parseWhole(text: string, least: number, most: number): number {
  const number = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (!(number >= least && number <= most))
    throw new Refusal(`expected a whole number from ${least} to ${most}`)
  return number
}

function parseUrl(text: string, schemes: readonly string[]): URL {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url && schemes.includes(url.protocol.slice(0, -1))) return url
  throw new Refusal(`expected a URL that begins with ${schemes.map((scheme) => `${scheme}://`).join(' or ')}`)
}

/** A host name as in DNS (RFC 1123, section 2.1): letters, digits and inner hyphens; labels of at most 63 octets. */
function parseHostname(text: string): string {
  const isName = /^(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*$/i.test(text)
  if (!isName || text.length > 253) throw new Refusal('expected a host name, such as mail.example.com')
  return text.toLowerCase()
}

function parseAddress(text: string): string {
  if (!ipaddr.IPv4.isValidFourPartDecimal(text) && !ipaddr.IPv6.isValid(text)) {
    throw new Refusal(`expected an IP address${text ? `, not "${text}"` : ''}`)
  }
  return text
}

/** A network in CIDR form. A lone address is the network of that one address. */
function parseNetwork(text: string): string {
  const network = text.includes('/') ? text : `${text}/${text.includes(':') ? 128 : 32}`
  if (!ipaddr.isValidCIDR(network))
    throw new Refusal(`expected networks such as 10.0.0.0/8 or fd00::/8, not "${text}"`)
  return network
}

/** `ip`, `ip:port`, `[ipv6]:port`; kept as Node's resolver takes it. */
function parseDnsServer(text: string): string {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(text) ?? []
  parseAddress(bracketed ?? plain ?? text)
  if (port !== undefined) parseWhole(port, 1, 65_535)
  return text
}

function parseOrigin(text: string): string {
  if (text === '*') return text
  const url = parseUrl(text, ['http', 'https'])
  if (url.origin !== text)
    throw new Refusal(`expected origins such as https://app.example.com, not "${text}"`)
  return text
}

function parseList<T>(text: string, one: (item: string) => T): readonly T[] {
  if (text === '') return []
  return Object.freeze(text.split(',').map((item) => one(item.trim())))
}

const list = <T>(label: string, one: (item: string) => T): Kind<readonly T[]> => ({
  label: `list of ${label}`,
  parse: (text) => parseList(text, one),
})

/** Where a smarthost is and how to log in there. */
export type Smarthost = {
  /** TLS from the first byte (smtps); otherwise STARTTLS where offered. */
  secure: boolean
  host: string
  port: number
  user: string | null
  pass: string | null
}

function parseSmarthost(text: string): Smarthost {
  const { protocol, hostname, port, username, password } = parseUrl(text, ['smtp', 'smtps'])
  if (!hostname) throw new Refusal('expected smtp[s]://user:pass@host:port')
  const secure = protocol === 'smtps:'
  try {
    return Object.freeze({
      secure,
      host: hostname.replace(/^\[|\]$/g, ''),
      // RFC 8314, section 3: submissions is 465, submission with STARTTLS 587
      port: port ? Number(port) : secure ? 465 : 587,
      user: username ? decodeURIComponent(username) : null,
      pass: password ? decodeURIComponent(password) : null,
    })
  } catch {
    throw new Refusal('user and password must be percent-encoded (a % itself is %25)')
  }
}

const REDIS_SCHEMES = [
  'redis',
  'rediss',
  'redis+cluster',
  'rediss+cluster',
  'redis+sentinel',
  'rediss+sentinel',
]

/** Cluster and Sentinel URLs name several hosts, which no URL parser takes: only the scheme is looked at here. */
function parseRedisUrl(text: string): string {
  const [scheme, rest] = text.split('://')
  if (!rest || !REDIS_SCHEMES.includes(scheme ?? '')) {
    throw new Refusal('expected redis[s]://…, redis+cluster://… or redis+sentinel://…')
  }
  return text
}

function parseKey(text: string, least: number): string {
  if (text.length < least || /\s/.test(text))
    throw new Refusal(`expected at least ${least} characters without blanks`)
  return text
}

/** How long a message may be tried, by stream. */
export type MessageTtlMs = { transactional: number; bulk: number }

function parseTtl(text: string): MessageTtlMs {
  const [transactional, bulk = transactional, ...more] = parseList(text, parseDuration)
  if (transactional === undefined || bulk === undefined || more.length > 0) {
    throw new Refusal('expected two durations, such as 24h,72h (transactional,bulk)')
  }
  return Object.freeze({ transactional, bulk })
}

const oneOf = <const T extends string>(...words: T[]): Kind<T> => ({
  label: words.map((word) => `\`${word}\``).join(', '),
  parse: (text) => {
    const word = words.find((candidate) => candidate === text)
    if (word === undefined) throw new Refusal(`expected one of ${words.join(', ')}`)
    return word
  },
})

const url = (...schemes: string[]): Kind<string> => ({
  label: 'URL',
  // without a slash at the end, so that paths can be put behind it
  parse: (text) => parseUrl(text, schemes).href.replace(/\/$/, ''),
})

const key = (least: number): Kind<string> => ({
  label: `text, at least ${least} characters`,
  parse: (text) => parseKey(text, least),
})

const keys = (least: number): Kind<readonly string[]> =>
  list(`texts, at least ${least} characters each`, (item) => parseKey(item, least))

const durationWithin = (least: string, most: string): Kind<number> => ({
  label: `duration, ${least} to ${most}`,
  parse: (text) => parseDurationWithin(text, least, most),
})

const whole = (least: number, most: number): Kind<number> => ({
  label: `number, ${least} to ${most}`,
  parse: (text) => parseWhole(text, least, most),
})

/** All kinds, for the schema. */
export const kinds = {
  text: { label: 'text', parse: (text: string) => text },
  path: { label: 'path', parse: (text: string) => text },
  port: { label: 'port', parse: (text: string) => parseWhole(text, 1, 65_535) },
  duration: { label: 'duration', parse: parseDuration },
  durationWithin,
  durations: {
    label: 'list of durations',
    parse: (text: string) => parseList(text, parseDuration),
  },
  ttl: { label: 'two durations', parse: parseTtl },
  size: { label: 'size', parse: parseSize },
  hostname: { label: 'host name', parse: parseHostname },
  host: {
    label: 'IP address or host name',
    parse: (text: string) => (text.includes(':') ? parseAddress(text) : parseHostname(text)),
  },
  databaseUrl: {
    label: 'URL',
    parse: (text: string) => parseUrl(text, ['postgresql', 'postgres']) && text,
  },
  redisUrl: { label: 'URL', parse: parseRedisUrl },
  smarthost: { label: 'URL', parse: parseSmarthost },
  networks: list('networks (CIDR)', parseNetwork),
  addresses: list('IP addresses', parseAddress),
  dnsServers: list('`ip[:port]`', parseDnsServer),
  origins: list('origins, or `*`', parseOrigin),
  oneOf,
  url,
  key,
  keys,
  whole,
} as const
