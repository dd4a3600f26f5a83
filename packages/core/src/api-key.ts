/**
 * API keys: `vlj_<random>_<checksum>`. The random part has 190 bits; the checksum (CRC-32 of what precedes it, base 62,
 * 6 characters) lets a mistyped key be refused without a query. At rest only the SHA-256 of the whole key is kept: with
 * that many random bits a slow hash adds nothing.
 */
import { hash, randomInt } from 'node:crypto'
import { crc32 } from 'node:zlib'

const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const randomLength = 32
const checksumLength = 6

/** What a key can be allowed to do; none implies another. */
export const scopes = ['send', 'read', 'read:content', 'manage'] as const
export type Scope = (typeof scopes)[number]

export interface NewApiKey {
  /** The key itself, shown once and never stored. */
  key: string
  hash: Buffer
  /** The first characters, for people to recognise it by. */
  hint: string
}

/** Makes a new key. */
export function createApiKey(): NewApiKey {
  let random = ''
  for (let i = 0; i < randomLength; i++) random += alphabet[randomInt(alphabet.length)]
  const body = `vlj_${random}`
  const key = `${body}_${checksum(body)}`
  return { key, hash: hashApiKey(key), hint: key.slice(0, 8) }
}

/** Whether the text has the form of a key and its checksum is right: worth a look-up. */
export function isPlausibleApiKey(text: string): boolean {
  const match = /^(vlj_[0-9A-Za-z]{32})_([0-9A-Za-z]{6})$/.exec(text)
  return match?.[1] !== undefined && checksum(match[1]) === match[2]
}

/** SHA-256 of a key, 32 octets, by which it is looked up. */
export function hashApiKey(key: string): Buffer {
  return hash('sha256', key, 'buffer')
}

function checksum(body: string): string {
  let rest = crc32(body)
  let text = ''
  for (let i = 0; i < checksumLength; i++) {
    text = alphabet[rest % 62] + text
    rest = Math.floor(rest / 62)
  }
  return text
}
