/**
 * What the DNS server of the tests (dns-server.ts) knows: names with their records, written as in a zone file.
 *
 *     { 'example.test': { MX: ['10 mx.example.test'], TXT: ['v=spf1 -all'] }, '*.many.test': { A: ['127.0.0.1'] } }
 *
 * A list of lists gives one answer after the other, round and round: `{ A: [['192.0.2.1'], ['127.0.0.1']] }`.
 */
import net from 'node:net'
import type { Answer } from 'dns-packet'

export type ZoneType = 'A' | 'AAAA' | 'MX' | 'TXT' | 'TLSA' | 'CNAME' | 'PTR'

/**
 * `MX`: `10 mx.example.test`, null MX: `0 .`; `TLSA`: `3 1 1 <hex>`; `TXT`: one text, which is cut into strings of 255 octets.
 * A name that is an IP address stands for its name in `in-addr.arpa` or `ip6.arpa`.
 */
export type Zone = Record<
  string,
  Partial<Record<ZoneType, readonly string[] | readonly (readonly string[])[]>>
>

export type Found = {
  /** The chain of aliases that was followed, and the records at its end. */
  answers: Answer[]
  /** Nothing is there under the last name of the chain, whatever the type. */
  isUnknownName: boolean
  /** There were more aliases than are followed. */
  isCutShort: boolean
  /** The names of the chain, asked name first. */
  names: string[]
}

/** Lower case, no final dot; an address becomes its reverse name. */
export function zoneName(name: string): string {
  const plain = name.toLowerCase().replace(/(?<=.)\.$/, '')
  if (net.isIPv4(plain)) return `${plain.split('.').reverse().join('.')}.in-addr.arpa`
  if (net.isIPv6(plain)) return `${hexDigits(plain).reverse().join('.')}.ip6.arpa`
  return plain
}

/** The 32 hex digits of an IPv6 address. */
function hexDigits(address: string): string[] {
  const [head = '', tail = ''] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::')
  const groups = (text: string) => text.split(':').filter((group) => group !== '')
  const missing = 8 - groups(head).length - groups(tail).length
  return [...groups(head), ...Array<string>(missing).fill('0'), ...groups(tail)]
    .map((group) => group.padStart(4, '0'))
    .join('')
    .split('')
}

/** One record from its text. */
export function zoneRecord(name: string, type: ZoneType, text: string, ttl: number): Answer {
  const [first = '', second = '', third = '', ...rest] = text.split(/\s+/)
  switch (type) {
    case 'MX':
      return { type, name, ttl, data: { preference: Number(first), exchange: second } }
    case 'TXT':
      return { type, name, ttl, data: Buffer.from(text).length > 255 ? cut(Buffer.from(text)) : text }
    case 'TLSA':
      return {
        type,
        name,
        ttl,
        data: {
          usage: Number(first),
          selector: Number(second),
          matchingType: Number(third),
          certificate: Buffer.from(rest.join(''), 'hex'),
        },
      }
    default:
      return { type, name, ttl, data: text }
  }
}

function cut(text: Buffer): Buffer[] {
  const parts: Buffer[] = []
  for (let at = 0; at < text.length; at += 255) parts.push(text.subarray(at, at + 255))
  return parts
}

export class ZoneBook {
  private names = new Map<string, Map<ZoneType, (readonly string[])[]>>()
  /** Every name that has one below it; null after a change. A zone may have ten thousand names. */
  private above: Set<string> | null = null
  private readonly ttls = new Map<string, number>()
  /** How often each record set was given out, for those that alternate. */
  private readonly turns = new Map<string, number>()
  private readonly defaultTtl: number

  constructor(zone: Zone, defaultTtl: number) {
    this.defaultTtl = defaultTtl
    this.replace(zone)
  }

  replace(zone: Zone): void {
    this.names.clear()
    this.above = null
    this.ttls.clear()
    this.turns.clear()
    for (const [name, types] of Object.entries(zone)) {
      for (const [type, records] of Object.entries(types)) this.set(name, type as ZoneType, records)
    }
  }

  set(
    name: string,
    type: ZoneType,
    records: readonly string[] | readonly (readonly string[])[],
    ttl = this.defaultTtl,
  ): void {
    const key = zoneName(name)
    const sets = records.every((record) => typeof record === 'string') ? [records] : records
    const types = this.names.get(key) ?? new Map<ZoneType, (readonly string[])[]>()
    types.set(type, [...(sets as readonly (readonly string[])[])])
    if (!this.names.has(key)) this.above = null
    this.names.set(key, types)
    this.ttls.set(`${key} ${type}`, ttl)
  }

  /** Without a type, the whole name. */
  remove(name: string, type?: ZoneType): void {
    this.above = null
    if (type === undefined) this.names.delete(zoneName(name))
    else this.names.get(zoneName(name))?.delete(type)
  }

  /** The answer of a resolver: aliases followed, as far as this book goes. */
  look(name: string, type: string, maxAliases: number): Found {
    const answers: Answer[] = []
    const names = [zoneName(name)]
    for (;;) {
      const at = names.at(-1) ?? ''
      const own = this.take(at, type as ZoneType)
      answers.push(...own)
      const [alias] = own.length > 0 ? [] : this.take(at, 'CNAME')
      if (alias === undefined) {
        return { answers, isUnknownName: own.length === 0 && !this.isThere(at), isCutShort: false, names }
      }
      answers.push(alias)
      names.push(zoneName(String((alias as { data: unknown }).data)))
      if (names.length > maxAliases) return { answers, isUnknownName: false, isCutShort: true, names }
    }
  }

  private take(name: string, type: ZoneType): Answer[] {
    const entry = this.entryOf(name)
    const sets = entry?.types.get(type)
    if (entry === undefined || sets === undefined || sets.length === 0) return []
    const key = `${entry.key} ${type}`
    const turn = this.turns.get(key) ?? 0
    this.turns.set(key, turn + 1)
    const ttl = this.ttls.get(key) ?? this.defaultTtl
    return (sets[turn % sets.length] ?? []).map((text) => zoneRecord(name, type, text, ttl))
  }

  /** The entry of the name, or the nearest `*` above it (RFC 4592). */
  private entryOf(name: string): { key: string; types: Map<ZoneType, (readonly string[])[]> } | undefined {
    const own = this.names.get(name)
    if (own !== undefined) return { key: name, types: own }
    if (this.hasBelow(name)) return undefined
    for (let rest = name; rest.includes('.'); ) {
      rest = rest.slice(rest.indexOf('.') + 1)
      const types = this.names.get(`*.${rest}`)
      if (types !== undefined) return { key: `*.${rest}`, types }
      // The closest encloser: what a wildcard stands for is not there in this sense (RFC 4592 §3.3.1).
      if (this.names.has(rest) || this.hasBelow(rest)) return undefined
    }
    return undefined
  }

  private isThere(name: string): boolean {
    return this.names.has(name) || this.hasBelow(name) || this.entryOf(name) !== undefined
  }

  private hasBelow(name: string): boolean {
    this.above ??= new Set([...this.names.keys()].flatMap(namesAbove))
    return this.above.has(name)
  }
}

/** `a.b.c` → `b.c`, `c`. */
function namesAbove(name: string): string[] {
  const labels = name.split('.')
  return labels.slice(1).map((_, index) => labels.slice(index + 1).join('.'))
}
