/**
 * The address of one mailbox, as SMTP carries it: `local@domain`, nothing around it.
 *
 * Every address that reaches the database, the envelope or a header has been through `parseAddress`. What it lets
 * through means the same to every program that reads it later, so it is much narrower than RFC 5322: no quoted
 * local parts, comments, groups, routes or domain literals, and no Unicode that is invisible or looks like one of
 * the separators. The time it takes grows with the length of the input and with nothing else.
 *
 * Measured against a public list of odd addresses in docs/addresses.md.
 */
import { Buffer } from 'node:buffer'
import { domainToASCII, domainToUnicode } from 'node:url'

/** The result of reading something that a person or another program wrote. `message` says what is wrong and how to put it right. */
export type Parsed<T> = { ok: true; value: T } | { ok: false; message: string }

/** A checked address. Two addresses are the same mailbox to us when `key` and `domain` are equal. */
export interface Address {
  /** Local part as it was given: its case is the receiver's business (RFC 5321 section 2.4). */
  local: string
  /** Lower-case A-labels (RFC 5890), at least two of them, without the final dot. */
  domain: string
  /** Canonical form: what is answered, stored and sent. */
  email: string
  /** The local part for matching: NFC, lower case. */
  key: string
  /** True when the local part is not ASCII, so that every host on the way has to offer SMTPUTF8 (RFC 6531). */
  needsSmtpUtf8: boolean
}

/** RFC 5321 section 4.5.3.1.1, in octets. */
const MAX_LOCAL_OCTETS = 64
/** A path is at most 256 octets with its angle brackets (RFC 5321 section 4.5.3.1.3). */
const MAX_ADDRESS_OCTETS = 254
/** A domain in its text form: 255 octets on the wire less the first length and the root (RFC 1035 section 2.3.4). */
const MAX_DOMAIN_OCTETS = 253
/** Nothing near this length can be an address; stops before any work is done on it (UTF-16 code units). */
const MAX_INPUT_LENGTH = 1_000

/** Cc, Cf, Cs, Co and Cn, every kind of space, and what is shown as nothing at all. */
const INVISIBLE = /[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}]/u
/** RFC 5322 section 3.2.3. */
const ASCII_ATEXT = /^[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]*$/
const ASCII_NOT_LETTER_OR_DIGIT = /[\0-/:-@[-`{-\x7f]/
/** Programs that decode encoded words (RFC 2047) before they look for the "@" would find another address in one. */
const ENCODED_WORD_START = /=\?[^?]*\?[bq]\?/i
const LEADING_MARK = /^\p{M}/u
/** Letters, marks, digits, and the four that RFC 5892 appendix A allows in context. */
const DOMAIN_NON_ASCII = /^[\p{L}\p{M}\p{N}\u00b7\u05f3\u05f4\u30fb]$/u
const LDH_LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/
/** A last label that a URL parser, and so somebody's link, would read as the end of an IPv4 address. */
const NUMERIC_LABEL = /^(?:[0-9]+|0x[0-9a-f]*)$/

/**
 * Reads one address in the form `local@domain`, without a display name.
 *
 * @param input anything; an internationalised domain may come as U-labels or A-labels (RFC 5890)
 * @returns the address in canonical form, or a sentence that names the fault and the remedy
 * @example parseAddress('Ann@Example.COM.') // value.email === 'Ann@example.com'
 */
export function parseAddress(input: string): Parsed<Address> {
  const shapeFault = findShapeFault(input)
  if (shapeFault !== null) return { ok: false, message: shapeFault }
  const at = input.lastIndexOf('@')
  const local = input.slice(0, at)
  const localFault = findLocalFault(local)
  if (localFault !== null) return { ok: false, message: localFault }
  const domain = parseDomain(input.slice(at + 1))
  if (!domain.ok) return domain
  const email = `${local}@${domain.value}`
  if (Buffer.byteLength(email) > MAX_ADDRESS_OCTETS) {
    return refuse(`The address is longer than ${MAX_ADDRESS_OCTETS} octets (RFC 5321). Use a shorter one.`)
  }
  const key = local.normalize('NFC').toLowerCase().normalize('NFC')
  return { ok: true, value: { local, domain: domain.value, email, key, needsSmtpUtf8: !isAscii(local) } }
}

/**
 * Reads a mail domain: a host name of at least two labels.
 *
 * A name that is not ASCII is converted by UTS #46, which also maps quietly: it drops soft hyphens, unfolds
 * ligatures and turns other scripts' full stops into dots. The result is only taken when nothing but case and
 * composition (NFC) changed, so that mail never goes to a domain other than the one that a person sees.
 *
 * @param input with or without a final dot, in any case, as U-labels or A-labels
 * @returns lower-case A-labels without the final dot
 */
export function parseDomain(input: string): Parsed<string> {
  const name = input.endsWith('.') ? input.slice(0, -1) : input
  if (name === '') return refuse('The part after "@" is missing. Write the address as name@example.com.')
  if (name.length > MAX_INPUT_LENGTH) return refuse(tooLongDomain())
  if (name.startsWith('[')) {
    return refuse('An IP address in brackets is not accepted as a domain. Use the name of the mail domain.')
  }
  const charFault = findDomainCharFault(name)
  if (charFault !== null) return refuse(charFault)
  const ascii = isAscii(name) ? name.toLowerCase() : toALabels(name)
  if (ascii === null) {
    return refuse(
      `The domain ${JSON.stringify(name)} changes when it is converted for mail (IDNA). Write it in plain lower-case letters, or as it is registered (xn--…).`,
    )
  }
  const labelFault = findLabelFault(ascii)
  return labelFault === null ? { ok: true, value: ascii } : refuse(labelFault)
}

/** What can be told from the whole: the forms of RFC 5322 that we do not take, each with its own advice. */
function findShapeFault(input: string): string | null {
  if (input === '') return 'The address is empty. Write it as name@example.com.'
  if (input.length > MAX_INPUT_LENGTH) {
    return `The address is longer than ${MAX_ADDRESS_OCTETS} octets (RFC 5321). Use a shorter one.`
  }
  const invisible = INVISIBLE.exec(input)?.[0]
  if (invisible !== undefined && invisible !== ' ') {
    return `The address holds ${describeCodePoint(invisible)}, which is invisible or not a character. Remove it.`
  }
  if (/[<>]/.test(input)) return 'The address holds "<" or ">". Give the address alone, as name@example.com.'
  if (input.startsWith('@')) {
    return /[:,]/.test(input)
      ? 'A source route (@host:name@example.com) is not accepted. Give the address alone.'
      : 'The part before "@" is missing. Write the address as name@example.com.'
  }
  if (input.includes('"'))
    return 'A quoted local part is not accepted. Use an address without quotation marks.'
  if (/[()]/.test(input)) return 'A comment in parentheses is not accepted. Give the address without it.'
  if (invisible === ' ') {
    return 'The address holds a space. Remove it; a display name goes in front, as in: Name <name@example.com>.'
  }
  if (!input.includes('@')) return 'The address has no "@". Write it as name@example.com.'
  if (input.slice(input.lastIndexOf('@')).startsWith('@[')) return null
  if (/[,;:]/.test(input)) {
    return 'The address holds ",", ";" or ":". Give one address for each entry; groups and lists in one text are not accepted.'
  }
  return null
}

/** Dot-atom (RFC 5321 section 4.1.2) with the UTF-8 of RFC 6531 section 3.3. */
function findLocalFault(local: string): string | null {
  if (local.includes('@')) return 'The address has more than one "@". Give one address for each entry.'
  if (Buffer.byteLength(local) > MAX_LOCAL_OCTETS) {
    return `The part before "@" is longer than ${MAX_LOCAL_OCTETS} octets (RFC 5321). Use a shorter address.`
  }
  if (ENCODED_WORD_START.test(local)) {
    return 'The part before "@" looks like encoded text (RFC 2047). Use an address without "=?".'
  }
  for (const atom of local.split('.')) {
    if (atom === '') {
      return 'The part before "@" begins or ends with a dot, or has two in a row. Remove the extra dot.'
    }
    if (LEADING_MARK.test(atom)) {
      return 'A combining mark has no letter in front of it in the part before "@". Remove it.'
    }
    if (ASCII_ATEXT.test(atom)) continue
    for (const char of atom) {
      if (isAtextOrUtf8(char)) continue
      return `The part before "@" holds ${describeCodePoint(char)}, which is not allowed there. Remove it.`
    }
  }
  return null
}

/** Refuses what only looks like a separator too: U+FF20 or U+2024 become "@" and "." where somebody applies NFKC. */
function isAtextOrUtf8(char: string): boolean {
  if (char <= '\x7f') return ASCII_ATEXT.test(char)
  return !ASCII_NOT_LETTER_OR_DIGIT.test(char.normalize('NFKC'))
}

function findDomainCharFault(name: string): string | null {
  for (const char of name) {
    if (/^[A-Za-z0-9.-]$/.test(char)) continue
    if (char > '\x7f' && DOMAIN_NON_ASCII.test(char) && !INVISIBLE.test(char)) continue
    const advice =
      char > '\x7f'
        ? 'Only letters, digits, hyphens and the ASCII full stop are accepted; a name registered with other signs can be written as xn--….'
        : 'Only letters, digits, hyphens and dots are accepted.'
    return `The domain holds ${describeCodePoint(char)}. ${advice}`
  }
  return null
}

/** @returns null when UTS #46 refuses the name, or when it would alter more than case and composition */
function toALabels(name: string): string | null {
  const ascii = domainToASCII(name.normalize('NFC'))
  if (ascii === '') return null
  // By code point: String.toLowerCase knows the Greek final sigma, UTS #46 does not.
  const seen = Array.from(name.normalize('NFC'), (char) => char.toLowerCase())
    .join('')
    .normalize('NFC')
  // U-labels and A-labels may stand side by side; those already given as A-labels are compared as such.
  const back = domainToUnicode(ascii).split('.')
  const seenLabels = seen.split('.')
  const asciiLabels = ascii.split('.')
  if (back.length !== seenLabels.length) return null
  const isSame = seenLabels.every((label, i) => label === back[i] || label === asciiLabels[i])
  return isSame ? ascii : null
}

function findLabelFault(domain: string): string | null {
  if (domain.length > MAX_DOMAIN_OCTETS) return tooLongDomain()
  const labels = domain.split('.')
  for (const label of labels) {
    if (label === '')
      return 'The domain has an empty part (two dots in a row, or one in front). Remove the extra dot.'
    if (label.length > 63) {
      return 'A part of the domain is longer than 63 octets (RFC 1035). Check the domain for a typing mistake.'
    }
    if (!LDH_LABEL.test(label)) {
      return `The part ${JSON.stringify(label)} of the domain begins or ends with a hyphen. Check it for a typing mistake.`
    }
    if (label.startsWith('xn--') && !isALabel(label)) {
      return `The part ${JSON.stringify(label)} of the domain is not a valid internationalised label (RFC 5891). Check it for a typing mistake.`
    }
  }
  if (labels.length < 2) {
    return `The domain ${JSON.stringify(domain)} has no dot. Write it in full, as in name@example.com.`
  }
  if (NUMERIC_LABEL.test(labels.at(-1) ?? '')) {
    return 'The domain ends in a number like an IP address. Use the name of the mail domain.'
  }
  return null
}

/** True for a label that is the Punycode of something that IDNA allows. Node hands junk back as it came. */
function isALabel(label: string): boolean {
  const unicode = domainToUnicode(label)
  return !isAscii(unicode) && domainToASCII(unicode) === label
}

/** Whether an address in canonical form has a local part in UTF-8: `Address.needsSmtpUtf8` of one that is stored, without reading it again. */
export function hasUtf8LocalPart(email: string): boolean {
  return !isAscii(email)
}

function isAscii(text: string): boolean {
  return /^[\0-\x7f]*$/.test(text)
}

function tooLongDomain(): string {
  return `The domain is longer than ${MAX_DOMAIN_OCTETS} octets (RFC 1035). Check it for a typing mistake.`
}

/** `"!"` for what can be shown, always with the code point, which is all there is to see of the rest. */
function describeCodePoint(char: string): string {
  const hex = (char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')
  return INVISIBLE.test(char) || LEADING_MARK.test(char) ? `U+${hex}` : `"${char}" (U+${hex})`
}

function refuse(message: string): { ok: false; message: string } {
  return { ok: false, message }
}
