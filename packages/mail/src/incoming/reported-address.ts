/**
 * Addresses as reports write them: with a type, angle brackets, a comment, quotes, or in an encoding of RFC 6533.
 *
 * They are only compared, never sent to, so that what looks like one is good enough. Looked for from each "@" outwards, so that the
 * time taken grows with the length.
 */

export interface FoundAddress {
  address: string
  /** Where it begins and ends in the text, brackets not included. */
  start: number
  end: number
}

const MAX_LOCAL = 128
const MAX_DOMAIN = 255
const NOT_IN_LOCAL = /[\s<>()[\]",;:@\\]/
const IN_DOMAIN = /[\p{L}\p{N}\p{M}._-]/u

/**
 * @param value of a field such as Final-Recipient
 * @returns null when it holds no address
 */
export function reportedAddress(value: string | null): string | null {
  if (value === null) return null
  const untyped = value.slice(0, 2_000).replace(/^\s{0,9}[A-Za-z0-9-]{1,30}[ \t]{0,5};[ \t]{0,20}/, '')
  return findAddress(decodeUtf8Address(untyped))
}

/** The first address in a text. */
export function findAddress(text: string): string | null {
  return findAddresses(text, 1)[0]?.address ?? null
}

/** @param most how many to look for */
export function findAddresses(text: string, most = 16): FoundAddress[] {
  const found: FoundAddress[] = []
  for (let at = text.indexOf('@'); at >= 0 && found.length < most; at = text.indexOf('@', at + 1)) {
    const start = localStart(text, at)
    const end = domainEnd(text, at + 1)
    if (start === at || end === at + 1) continue
    found.push({ address: text.slice(start, end), start, end })
  }
  return found
}

function localStart(text: string, at: number): number {
  if (text[at - 1] === '"') {
    const open = text.lastIndexOf('"', at - 2)
    if (open >= 0 && at - open <= MAX_LOCAL) return open
  }
  let start = at
  while (start > 0 && at - start < MAX_LOCAL && !NOT_IN_LOCAL.test(text[start - 1] as string)) start--
  while (start < at && /['`*]/.test(text[start] as string)) start++
  // Words of a language without spaces may stand right before the address.
  const foreign =
    /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\u3000-\u303f\uff00-\uffef]{1,128}(?=[\w.+-])/u
  return start + (foreign.exec(text.slice(start, at))?.[0].length ?? 0)
}

/** A name, or an address literal in brackets; a dot or hyphen at its end is the sentence's. */
function domainEnd(text: string, from: number): number {
  if (text[from] === '[') {
    const close = text.indexOf(']', from)
    return close > from && close - from < 60 ? close + 1 : from
  }
  let end = from
  while (end < text.length && end - from < MAX_DOMAIN && IN_DOMAIN.test(text[end] as string)) end++
  while (end > from && /[.-]/.test(text[end - 1] as string)) end--
  return end
}

/** utf-8-addr-xtext and utf-8-addr-unitext (RFC 6533 section 3): `\x{E9}`. */
function decodeUtf8Address(text: string): string {
  return text.replace(/\\x\{([\dA-Fa-f]{1,6})\}/g, (whole, hex) => {
    const point = Number.parseInt(hex, 16)
    return point > 0x1f && point <= 0x10ffff ? String.fromCodePoint(point) : whole
  })
}
