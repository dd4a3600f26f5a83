/**
 * A mailbox as people write it: an address, or a display name and an address in angle brackets (RFC 5322 section 3.4).
 *
 * `parseMailbox` and `formatMailbox` are each other's inverse. The name is plain Unicode here; how it is encoded
 * for a header is header-field.ts's business.
 */
import { type Address, type Parsed, parseAddress } from './address.ts'

export interface Mailbox {
  /** Display name without quotes, not blank, no white space around it; null when there is none. */
  name: string | null
  address: Address
}

/** C0 and DEL (all below the space, not the space): a line break here would start a header field of the sender's choosing. */
const CONTROL = /(?! )[\0-\x20\x7f]/
/** RFC 5322 "specials" without the dot, which every mail program takes in an unquoted name (obs-phrase). */
const SPECIALS = /[()<>[\]:;@\\,"]/

/**
 * Reads `a@b.example` or `Name <a@b.example>`; the name may stand in double quotes, with `\"` and `\\` inside.
 *
 * @returns the mailbox, or a sentence that names the fault and the remedy
 * @example parseMailbox('"Doe, J." <j@example.com>') // value.name === 'Doe, J.'
 */
export function parseMailbox(input: string): Parsed<Mailbox> {
  const text = trimSpaces(input)
  if (!text.endsWith('>')) {
    const address = parseAddress(text)
    return address.ok ? { ok: true, value: { name: null, address: address.value } } : address
  }
  const open = text.lastIndexOf('<')
  if (open < 0) return refuse('There is a ">" without a "<". Write it as: Name <name@example.com>.')
  const name = parseName(trimSpaces(text.slice(0, open)))
  if (!name.ok) return name
  const address = parseAddress(text.slice(open + 1, -1))
  return address.ok ? { ok: true, value: { name: name.value, address: address.value } } : address
}

/**
 * Checks a display name that comes by itself, as in `{"email", "name"}`: any characters but control characters.
 *
 * @returns the name without white space around it, or null for a blank one
 */
export function parseDisplayName(input: string): Parsed<string | null> {
  if (CONTROL.test(input)) {
    return refuse('The display name holds a control character, such as a line break. Remove it.')
  }
  if (!input.isWellFormed())
    return refuse('The display name holds half of a surrogate pair. Send it as valid Unicode.')
  const name = input.trim()
  return { ok: true, value: name === '' ? null : name }
}

/** The form to show in JSON and logs, never for a header. Quotes the name only when it has to be. */
export function formatMailbox(mailbox: Mailbox): string {
  const { name, address } = mailbox
  if (name === null) return address.email
  const shown = SPECIALS.test(name) ? `"${name.replace(/["\\]/g, '\\$&')}"` : name
  return `${shown} <${address.email}>`
}

function parseName(text: string): Parsed<string | null> {
  if (text.startsWith('"')) {
    const unquoted = unquote(text)
    return unquoted.ok ? parseDisplayName(unquoted.value) : unquoted
  }
  const special = SPECIALS.exec(text)
  if (special !== null) {
    return refuse(
      `The display name holds "${special[0]}". Put the name in double quotes, as in: "Doe, J." <name@example.com>.`,
    )
  }
  return parseDisplayName(text)
}

/** RFC 5322 section 3.2.4, the whole text being one quoted string. */
function unquote(text: string): Parsed<string> {
  let value = ''
  for (let i = 1; i < text.length; i++) {
    const char = text.charAt(i)
    if (char === '\\' && i + 1 < text.length) {
      value += text.charAt(++i)
    } else if (char !== '"') {
      value += char
    } else if (i === text.length - 1) {
      return { ok: true, value }
    } else {
      return refuse(
        'Something stands between the quoted display name and "<". Put all of the name in the quotes.',
      )
    }
  }
  return refuse(
    'The display name begins with a double quote that is never closed. Close it, or write \\" inside.',
  )
}

/** Only U+0020: any other white space around an address is more likely a mistake than meant. Linear, unlike / +$/. */
function trimSpaces(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && text[start] === ' ') start++
  while (end > start && text[end - 1] === ' ') end--
  return text.slice(start, end)
}

function refuse(message: string): { ok: false; message: string } {
  return { ok: false, message }
}
