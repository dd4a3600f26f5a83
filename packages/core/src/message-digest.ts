/**
 * Digests of messages: what some hundred messages of a tenant have in common to be searched by, in two bitmaps (Bloom filters). A search
 * looks at the digests and reads only messages whose digest does not rule them out; so a value that is rare, or that nothing has, is found
 * to be so among a million messages by a look at two thousand rows. Nothing is written for it when a mail is accepted.
 *
 * A digest may let through what does not match, and never the other way: whatever PostgreSQL would find must pass here. A subject is matched
 * by PostgreSQL with `lower`, whose rules depend on the database's locale; `fold` takes for equal whatever any of them does.
 */

/** Messages of one digest. With these sizes it fills one page of PostgreSQL's. */
export const digestedMessages = 512
const termBits = 32_768
const subjectBits = 24_576
const termHashes = 4
/**
 * By length of a piece of a subject: how many bits it sets, and where. Longer pieces tell more, and there are many; shorter ones are for those who
 * look for no more, and have a part for themselves.
 */
const gramBits: ReadonlyMap<number, { hashes: number; from: number; bits: number }> = new Map([
  [1, { hashes: 2, from: 0, bits: 4_096 }],
  [2, { hashes: 2, from: 0, bits: 4_096 }],
  [3, { hashes: 2, from: 4_096, bits: subjectBits - 4_096 }],
  [5, { hashes: 3, from: 4_096, bits: subjectBits - 4_096 }],
])
/** More pieces of what is looked for than this tell nothing new. */
const gramsAtMost = 16

/** What can be looked for of a message and stays; an erasure changes it, and has the digest made anew (store/message-digests.ts). */
export interface DigestedMessage {
  fromEmail: string
  fromDomain: string
  stream: string
  subject: string
  tags: readonly string[]
  metadata: Readonly<Record<string, string>>
}

/** Bit n of PostgreSQL's get_bit(bytea, n): in byte n / 8 from its lowest on. */
export interface MessageDigest {
  terms: Uint8Array
  subjects: Uint8Array
}

/** The same as one looks for it; absent parts are not looked at. */
export interface DigestedSearch {
  fromKey?: string
  domain?: string
  stream?: string
  subject?: string
  tag?: string
  metadata?: Readonly<Record<string, string>>
}

/** Which bits are set in the digest of any message that matches; none: the digest says nothing. */
export interface DigestPlaces {
  terms: number[]
  subjects: number[]
}

export function digestMessages(messages: readonly DigestedMessage[]): MessageDigest {
  const digest = { terms: new Uint8Array(termBits / 8), subjects: new Uint8Array(subjectBits / 8) }
  const seen = new Set<string>()
  for (const message of messages) {
    for (const term of termsOf(message)) seen.add(term)
  }
  for (const term of seen) setBits(digest.terms, placesOf(term, termHashes, termBits))
  seen.clear()
  for (const { subject } of messages) {
    const folded = fold(subject)
    for (const length of gramBits.keys()) for (const gram of grams(folded, length)) seen.add(gram)
  }
  for (const gram of seen) setBits(digest.subjects, placesOfGram(gram))
  return digest
}

export function digestPlaces({
  fromKey,
  domain,
  stream,
  subject,
  tag,
  metadata,
}: DigestedSearch): DigestPlaces {
  const terms = [
    ...(fromKey === undefined ? [] : [fromTerm(fromKey)]),
    ...(domain === undefined ? [] : [domainTerm(domain)]),
    ...(stream === undefined ? [] : [streamTerm(stream)]),
    ...(tag === undefined ? [] : [tagTerm(tag)]),
    ...Object.entries(metadata ?? {}).map(([key, value]) => metadataTerm(key, value)),
  ]
  return {
    terms: [...new Set(terms.flatMap((term) => placesOf(term, termHashes, termBits)))],
    subjects: [...new Set(gramsToLookFor(fold(subject ?? '')).flatMap(placesOfGram))],
  }
}

const fromTerm = (email: string) => `f${fold(email)}`
const domainTerm = (domain: string) => `d${domain}`
const streamTerm = (stream: string) => `s${stream}`
const tagTerm = (tag: string) => `t${tag}`
const metadataTerm = (key: string, value: string) => `m${key}\0${value}`

function termsOf({ fromEmail, fromDomain, stream, tags, metadata }: DigestedMessage): string[] {
  return [
    fromTerm(fromEmail),
    domainTerm(fromDomain),
    streamTerm(stream),
    ...tags.map(tagTerm),
    ...Object.entries(metadata).map(([key, value]) => metadataTerm(key, value)),
  ]
}

/**
 * Character by character, so that a part of a text is a part of the folded text. Where PostgreSQL's locales differ: the capital I with a dot
 * becomes i, or i and a dot; the sigma at the end of a word its own letter, or not; I may become the i without a dot.
 */
function fold(text: string): string {
  return text.toLowerCase().replaceAll('\u0307', '').replaceAll('ς', 'σ').replaceAll('ı', 'i')
}

/** The longest pieces there are, over all of it, as far as they are needed. */
function gramsToLookFor(folded: string): string[] {
  const length = [...gramBits.keys()].findLast((each) => each <= folded.length)
  if (length === undefined) return []
  const all = [...new Set(grams(folded, length))]
  const step = Math.max(1, all.length / gramsAtMost)
  return Array.from(
    { length: Math.min(all.length, gramsAtMost) },
    (_, index) => all[Math.floor(index * step)] ?? '',
  )
}

function grams(text: string, length: number): string[] {
  return Array.from({ length: Math.max(0, text.length - length + 1) }, (_, at) => text.slice(at, at + length))
}

function placesOfGram(gram: string): number[] {
  const { hashes, from, bits } = gramBits.get(gram.length) ?? { hashes: 0, from: 0, bits: 1 }
  return placesOf(gram, hashes, bits).map((place) => from + place)
}

/** By double hashing from two halves of an FNV-1a of 32 bits each. Stored: never to be changed without making all digests anew. */
function placesOf(text: string, count: number, bits: number): number[] {
  let [first, second] = [0x811c9dc5, 0x1000193]
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at)
    first = Math.imul(first ^ unit, 0x01000193)
    second = Math.imul(second ^ unit, 0x85ebca6b)
  }
  const [start, step] = [mix(first), mix(second) | 1]
  return Array.from({ length: count }, (_, index) => (start + Math.imul(index, step)) >>> 0).map(
    (hash) => hash % bits,
  )
}

/** The last step of MurmurHash3: each bit of the input has its part in each of the result. */
function mix(hash: number): number {
  let mixed = hash
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return (mixed ^ (mixed >>> 16)) >>> 0
}

function setBits(bytes: Uint8Array, places: readonly number[]): void {
  for (const place of places) bytes[place >> 3] = (bytes[place >> 3] ?? 0) | (1 << (place & 7))
}
