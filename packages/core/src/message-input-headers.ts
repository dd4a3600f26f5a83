/** Header fields of the client's own: which names it may set, and values that can be sent as they are. */
import { Buffer } from 'node:buffer'
import { type Fault, findLineFault, pointer } from './message-input-text.ts'

const MAX_HEADERS = 100
const MAX_NAME_OCTETS = 76
const MAX_VALUE_OCTETS = 2_000
/** A word that cannot be folded must leave its line below the 998 octets of RFC 5322 section 2.1.1. */
const MAX_WORD_OCTETS = 900

/** RFC 5322 section 3.6.8: printable ASCII without the colon. */
const FIELD_NAME = /^[!-9;-~]+$/
const OWN_NAME = /^x-valija-/i
const ALLOWED_NAME =
  /^(?:x-.+|list-.+|in-reply-to|references|precedence|auto-submitted|feedback-id|importance|priority|comments|keywords)$/i
/** Fields with a grammar of their own, where a word that is too long cannot be encoded. */
const STRUCTURED_NAME = /^(?!x-|comments$|keywords$)/i
/** RFC 5322 section 3.6.4; what stands between the brackets is left to the reader of the other message. */
const MESSAGE_IDS = /^<[!-;=?-~]+>(?: *<[!-;=?-~]+>)*$/
const NEEDS_MESSAGE_IDS = /^(?:in-reply-to|references)$/i
/** Runs of printable ASCII: a URL of a List-* field with anything else would be broken by encoding it. */
const ASCII_BRACKETS = /^[^<>]*(?:<[!-;=?-~ ]*>[^<>]*)*$/

/** @returns the pairs in the order given, to be used only when no fault was added */
export function readHeaders(input: Record<string, string> | undefined, faults: Fault[]): [string, string][] {
  const headers = Object.entries(input ?? {})
  if (headers.length > MAX_HEADERS) {
    faults.push({ path: '/headers', message: `There are over ${MAX_HEADERS} headers. Leave some out.` })
  }
  const seen = new Set<string>()
  for (const [name, value] of headers) {
    const path = pointer('/headers', name)
    const message = findNameFault(name, seen) ?? findValueFault(name, value)
    if (message !== null) faults.push({ path, message })
    seen.add(name.toLowerCase())
  }
  return headers
}

function findNameFault(name: string, seen: ReadonlySet<string>): string | null {
  if (!FIELD_NAME.test(name)) return 'Is not a header name. Use letters, digits and hyphens only.'
  if (OWN_NAME.test(name)) return 'Names that begin with X-Valija- are reserved. Choose another name.'
  if (!ALLOWED_NAME.test(name)) {
    return 'This header cannot be set. Allowed are X-*, List-*, In-Reply-To, References, Precedence, Auto-Submitted, Feedback-ID, Importance, Priority, Comments and Keywords.'
  }
  if (name.length > MAX_NAME_OCTETS)
    return `The name is longer than ${MAX_NAME_OCTETS} characters. Shorten it.`
  return seen.has(name.toLowerCase())
    ? 'Is given twice: names differ in more than case. Leave one out.'
    : null
}

function findValueFault(name: string, value: string): string | null {
  const octets = Buffer.byteLength(value)
  if (octets > MAX_VALUE_OCTETS) {
    return `The value is ${octets} octets long; at most ${MAX_VALUE_OCTETS} are allowed. Shorten it.`
  }
  const lineFault = findLineFault(value)
  if (lineFault !== null) return lineFault
  if (value.trim() === '') return 'The value is empty. Give one, or leave the header out.'
  if (!STRUCTURED_NAME.test(name)) return null
  if (NEEDS_MESSAGE_IDS.test(name) && !MESSAGE_IDS.test(value.trim())) {
    return 'The value is not a list of message ids. Write each in angle brackets, as in <id@example.com>.'
  }
  if (/^list-/i.test(name) && !ASCII_BRACKETS.test(value)) {
    return 'The angle brackets are not in pairs, or hold more than ASCII. Close them, and percent-encode the URL.'
  }
  return value.split(' ').some((word) => Buffer.byteLength(word) > MAX_WORD_OCTETS)
    ? `A word of the value is longer than ${MAX_WORD_OCTETS} octets, which no line can hold. Shorten it.`
    : null
}
