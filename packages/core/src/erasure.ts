/**
 * Erasing one person's data: what stands for the address afterwards, and how the address is found in texts.
 *
 * The placeholder is made with the secret key, so nobody finds out whose it is by trying addresses, and the same address of the same tenant
 * always gets the same one: what was about one person is still seen to be about one.
 */
import { createHmac } from 'node:crypto'
import { domainToUnicode } from 'node:url'
import type { Uuid } from './ids.ts'

/** No mail can ever go there (RFC 2606 section 2). */
export const erasedDomain = 'erased.invalid'

/** What is said to whoever takes a placeholder for somebody's address. */
export const erasedAddressFault =
  'Is the placeholder of somebody whose data was deleted (POST /recipients/erase): nobody has this address. Leave it out.'

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

/**
 * By what an idempotency key that names a person is kept after the erasure: a repetition is known by it, and with the key nobody finds the address by
 * trying some.
 *
 * @param signingKey the first of `Sealer.signingKeys(erasurePurpose)`
 */
export function hiddenKey(signingKey: Buffer, tenantId: Uuid, key: string): string {
  return `erased-${createHmac('sha256', signingKey).update(`${tenantId} key ${key}`).digest('hex')}`
}

/** By what the key of a request may be kept: as it is, and where an address may stand in it (in a URL `%40`), hidden by any of the signing keys. */
export function namesOfKey(signingKeys: readonly Buffer[], tenantId: Uuid, key: string): string[] {
  if (!/@|%40/.test(key)) return [key]
  return [key, ...signingKeys.map((signingKey) => hiddenKey(signingKey, tenantId, key))]
}

/** Puts something in the place of one address. */
export interface AddressEraser {
  readonly emailKey: string
  readonly placeholder: string
  text(text: string): string
  /** In all texts of something that is JSON, names of fields as well. */
  json(value: unknown): unknown
}

/** The longest local part (RFC 5321 section 4.5.3.1.1). */
const longestLocalPart = 64

/**
 * Finds the address whatever the case of its letters, also as URLs have it (`ann%40example.org`) and with the domain as people write it
 * (`müller.de` of `xn--mller-kva.de`), and not as a part of another one: `joann@example.org`, `o'ann@example.org` and `ann@example.org.test` are
 * somebody else. Takes time in proportion to the text, whatever is in it.
 *
 * @param options.isOctets texts are octets, read as latin1: UTF-8 with faults, or another charset. Letters beyond ASCII are none then.
 */
export function createAddressEraser(
  emailKey: string,
  placeholder: string,
  { isOctets = false }: { isOctets?: boolean } = {},
): AddressEraser {
  const [letters, flags] = isOctets ? ['A-Za-z0-9', 'gi'] : ['\\p{L}\\p{N}', 'giu']
  const pattern = new RegExp(`${patternOf(emailKey, isOctets)}(?![${letters}-]|\\.[${letters}])`, flags)
  const ofWord = new RegExp(`[${letters}.!#$%&'*+/=?^_\`{|}~-]`, 'u')
  const joined = new RegExp(`[${letters}._+-]$`, 'u')
  const punctuation = new RegExp(`^[^${letters}]*$`, 'u')

  /** Whether no other local part ends here: what stands before is looked at over all of atext (RFC 5322 section 3.2.3). */
  const beginsAt = (text: string, at: number): boolean => {
    let from = at
    while (from > 0 && at - from <= longestLocalPart && ofWord.test(text[from - 1] ?? '')) from -= 1
    const before = text.slice(from, at)
    const encoded = /%([0-9a-f]{2})$/i.exec(before)?.[1]
    if (encoded !== undefined) return !/[a-z0-9._+-]/i.test(String.fromCharCode(Number.parseInt(encoded, 16)))
    if (joined.test(before)) return false
    // Quotes, and marks of Markdown; what is too long for a local part; paths; `email=ann@example.org`, in a query as well, or quoted.
    return (
      punctuation.test(before) ||
      before.length > longestLocalPart ||
      /^\/.*[/?&=#]$/.test(before) ||
      /(?:^|[?&])[\w-]+='?$/.test(before)
    )
  }
  const text = (given: string) =>
    given.replace(pattern, (found, at: number) => (beginsAt(given, at) ? placeholder : found))
  const json = (value: unknown): unknown => {
    if (typeof value === 'string') return text(value)
    if (Array.isArray(value)) return value.map(json)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([name, field]) => [text(name), json(field)]))
  }
  return { emailKey, placeholder, text, json }
}

/** The domain of an address as it may be written: with the labels of the DNS, and in letters. */
export function spellingsOfDomain(emailKey: string): string[] {
  const domain = emailKey.slice(emailKey.lastIndexOf('@') + 1)
  return [...new Set([domain, domainToUnicode(domain)])].filter((spelling) => spelling !== '')
}

function patternOf(emailKey: string, isOctets: boolean): string {
  const written = (text: string) =>
    [...(isOctets ? Buffer.from(text).toString('latin1') : text)]
      .map((character) => charPattern(character, isOctets))
      .join('')
  const local = emailKey.slice(0, emailKey.lastIndexOf('@') + 1)
  return `${written(local)}(?:${spellingsOfDomain(emailKey).map(written).join('|')})`
}

/** A character by itself, or as it is written in a URL. */
function charPattern(character: string, isOctets: boolean): string {
  if (/[A-Za-z0-9-]/.test(character)) return character
  const octets = isOctets ? [character.charCodeAt(0)] : [...Buffer.from(character)]
  const inUrl = octets.map((octet) => `%${octet.toString(16).padStart(2, '0')}`).join('')
  return `(?:${character.replace(/[\\^$.*+?()[\]{}|/]/, '\\$&')}|${inUrl})`
}
