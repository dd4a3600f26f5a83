/**
 * Identifiers: a lower-case prefix and the 32 hex digits of a UUIDv7 (RFC 9562 §5.7), e.g. `msg_0192…`.
 *
 * The time in an id is PostgreSQL's clock (DESIGN 4.11, 4.25), because partitions are cut by id, or up to a quarter of a second ahead of it
 * (`DatabaseClock.tellMs`): a process asks its `IdSource` for ids, and that source knows how far this machine's clock is from the database's.
 * Inside the database an id is a bare `uuid`; the prefix exists only where programs and people see it.
 */
import { randomFillSync } from 'node:crypto'

/** The kinds of things that have an id, and the prefix of each. */
export const idPrefixes = {
  message: 'msg',
  recipient: 'rcp',
  attempt: 'att',
  event: 'evt',
  domain: 'dom',
  key: 'key',
  webhook: 'whk',
  webhookTry: 'wht',
  webhookBatch: 'whb',
  template: 'tpl',
  templateVersion: 'tpv',
  suppression: 'sup',
  mailbox: 'mbx',
  inbox: 'inb',
  tenant: 'ten',
  route: 'rou',
  routeList: 'rtl',
  source: 'src',
  audit: 'aud',
  erasure: 'ers',
} as const

export type IdKind = keyof typeof idPrefixes

/** A UUID in its canonical text form with hyphens, as PostgreSQL prints it. */
export type Uuid = string

/** Writes a database id as programs see it: `formatId('message', '0192…-…')` → `msg_0192…`. */
export function formatId(kind: IdKind, uuid: Uuid): string {
  return `${idPrefixes[kind]}_${uuid.replaceAll('-', '')}`
}

/** Reads an id of the given kind back to a UUID; null for anything else (an unknown id is a 404, not a 400). */
export function parseId(kind: IdKind, text: string): Uuid | null {
  const prefix = idPrefixes[kind]
  if (text.length !== prefix.length + 33 || !text.startsWith(`${prefix}_`)) return null
  const hex = text.slice(prefix.length + 1)
  return /^[0-9a-f]{32}$/.test(hex) ? hyphenate(hex) : null
}

/** `0192…` (32 hex digits) → `0192…-…-…-…-…`. */
function hyphenate(hex: string): Uuid {
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

/** The smallest UUID that a UUIDv7 made at `timeMs` (milliseconds since 1970) can have: a bound for ranges and partitions. */
export function lowestUuidAt(timeMs: number): Uuid {
  const hex = Math.max(0, Math.floor(timeMs)).toString(16).padStart(12, '0')
  return hyphenate(hex + '0'.repeat(20))
}

/** The time in a UUIDv7, in milliseconds since 1970. */
export function uuidTimeMs(uuid: Uuid): number {
  return Number.parseInt(uuid.slice(0, 8) + uuid.slice(9, 13), 16)
}

/**
 * A clock this far back was set: ids follow it (RFC 9562 §6.2 leaves that open), for the rows of a message are looked for near the
 * time of its creation. Less is left to the counter.
 */
const setBackMs = 10_000

/** Random octets are drawn and written in digits for so many ids at once: by itself each id takes 0.8 instead of 0.3 µs. */
const drawn = 256
/** `rand_b` of an id: its variant and 62 bits. */
const randomBytes = 8
const randomDigits = 2 * randomBytes

/**
 * Makes UUIDv7s in ascending order within this process (RFC 9562 §6.2, method 1: a 12-bit counter in `rand_a`, which
 * borrows the next millisecond when it overflows).
 *
 * @param nowMs PostgreSQL's clock in milliseconds since 1970
 */
export function createIdSource(nowMs: () => number): IdSource {
  const random = Buffer.alloc(drawn * randomBytes)
  let digits = ''
  let offset = 0
  let lastMs = -1
  let time = ''
  let counter = 0
  const drawDigits = () => {
    randomFillSync(random)
    for (let at = 0; at < random.length; at += randomBytes) random[at] = (random[at]! & 0x3f) | 0x80
    digits = random.toString('hex')
    offset = 0
  }
  const setTime = (ms: number) => {
    const hex = ms.toString(16).padStart(12, '0')
    lastMs = ms
    time = `${hex.slice(0, 8)}-${hex.slice(8)}-7`
    counter = 0
  }
  return () => {
    const ms = Math.floor(nowMs())
    if (ms > lastMs || ms < lastMs - setBackMs) setTime(ms)
    else if (++counter > 0xfff) setTime(lastMs + 1)
    if (offset === digits.length) drawDigits()
    const at = offset
    offset += randomDigits
    return `${time}${counter.toString(16).padStart(3, '0')}-${digits.slice(at, at + 4)}-${digits.slice(at + 4, offset)}`
  }
}

/** Gives the next UUIDv7. */
export type IdSource = () => Uuid
