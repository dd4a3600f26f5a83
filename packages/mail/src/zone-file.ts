/** DNS records as text of a zone file (RFC 1035 §5.1), to be pasted into a zone or imported by a DNS provider. */
import { Buffer } from 'node:buffer'

export interface ZoneRecord {
  /** The full name, without final dot. */
  name: string
  type: 'TXT' | 'CNAME'
  value: string
  /** A line above it. */
  comment: string
}

/** RFC 1035 §3.3: a string has at most so many octets. */
const stringOctets = 255

/**
 * @param origin the zone, without final dot: names below it are written relative to it
 * @param ttlS of all records
 */
export function zoneFile(origin: string, ttlS: number, records: readonly ZoneRecord[]): string {
  const lines = records.flatMap(({ name, type, value, comment }) => [
    `; ${comment.replace(/\s+/g, ' ')}`,
    `${relativeName(name, origin)} IN ${type} ${type === 'TXT' ? textStrings(value) : `${value}.`}`,
  ])
  return `$ORIGIN ${origin}.\n$TTL ${ttlS}\n${lines.join('\n')}\n`
}

function relativeName(name: string, origin: string): string {
  if (name === origin) return '@'
  return name.endsWith(`.${origin}`) ? name.slice(0, -origin.length - 1) : `${name}.`
}

/** One record's strings, quoted; a semicolon is no comment within quotation marks. */
function textStrings(text: string): string {
  const octets = Buffer.from(text)
  const strings: string[] = []
  for (let at = 0; at === 0 || at < octets.length; at += stringOctets) {
    const string = [...octets.subarray(at, at + stringOctets)].map(escapeOctet).join('')
    strings.push(`"${string}"`)
  }
  return strings.join(' ')
}

function escapeOctet(octet: number): string {
  const character = String.fromCharCode(octet)
  if (character === '"' || character === '\\') return `\\${character}`
  return octet >= 0x20 && octet < 0x7f ? character : `\\${String(octet).padStart(3, '0')}`
}
