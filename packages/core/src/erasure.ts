/**
 * Erasing one person's data: what stands for the address afterwards, and how the address is found in texts.
 *
 * The placeholder is made with the secret key, so nobody finds out whose it is by trying addresses, and the same address of the same tenant
 * always gets the same one: what was about one person is still seen to be about one.
 */
import { createHmac } from 'node:crypto'
import type { Uuid } from './ids.ts'

/** No mail can ever go there (RFC 2606 section 2). */
export const erasedDomain = 'erased.invalid'

/** For `Sealer.signingKeys`. */
export const erasurePurpose = 'erasure'

/** Nobody searches through 2^128. */
const hashDigits = 32

/**
 * What stands for an address from now on.
 *
 * @param signingKeys of `Sealer.signingKeys(erasurePurpose)`
 * @param emailKey what recipients go by: the address with its local part in lower case
 * @throws {RangeError} without any key
 */
export function erasedAddress(signingKeys: readonly Buffer[], tenantId: Uuid, emailKey: string): string {
  const [key] = signingKeys
  if (key === undefined) throw new RangeError('at least one signing key is needed')
  const hash = createHmac('sha256', key).update(`${tenantId} ${emailKey}`).digest('hex')
  return `erased-${hash.slice(0, hashDigits)}@${erasedDomain}`
}

/** Puts something in the place of one address. */
export interface AddressEraser {
  readonly emailKey: string
  readonly placeholder: string
  text(text: string): string
  /** In all texts of something that is JSON, names of fields as well. */
  json(value: unknown): unknown
}

/**
 * Finds the address whatever the case of its letters, also as URLs have it (`ann%40example.org`), and not as a part of another one:
 * `joann@example.org` and `ann@example.org.test` are somebody else.
 */
export function createAddressEraser(emailKey: string, placeholder: string): AddressEraser {
  const pattern = new RegExp(
    `(?:(?<![\\p{L}\\p{N}._+-])|(?<=%[0-9a-f]{2}))${patternOf(emailKey)}(?![\\p{L}\\p{N}-]|\\.[\\p{L}\\p{N}])`,
    'giu',
  )
  const text = (given: string) => given.replace(pattern, placeholder)
  const json = (value: unknown): unknown => {
    if (typeof value === 'string') return text(value)
    if (Array.isArray(value)) return value.map(json)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([name, field]) => [text(name), json(field)]))
  }
  return { emailKey, placeholder, text, json }
}

/** Each character by itself, or as it is written in a URL. */
function patternOf(emailKey: string): string {
  return [...emailKey]
    .map((character) => {
      const literal = character.replace(/[\\^$.*+?()[\]{}|/]/, '\\$&')
      const inUrl = urlForm(character)
      return inUrl === character ? literal : `(?:${literal}|${inUrl})`
    })
    .join('')
}

const urlForm = (character: string) =>
  /[A-Za-z0-9.-]/.test(character)
    ? character
    : [...Buffer.from(character)].map((octet) => `%${octet.toString(16).padStart(2, '0')}`).join('')
