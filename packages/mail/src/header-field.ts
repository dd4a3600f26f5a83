/**
 * One header field of a message: text and addresses encoded for the wire and folded.
 *
 * What a reader decodes is what was given, character by character: a value that would not survive as it stands
 * (not ASCII, white space at its ends, something that looks like an encoded word, a word too long for a line)
 * goes out as encoded words (RFC 2047). Fields with a grammar of their own (List-*, References …) have only the
 * words that need it encoded, so that the rest of them keeps its meaning.
 */
import { encodeWord } from 'nodemailer/lib/mime-funcs'
import type { Mailbox } from './mailbox.ts'

/** RFC 5322 section 2.1.1: lines should not be longer than this, without the CRLF. */
const LINE_LENGTH = 76
/** A word over this length would bring its line near the limit of 998 octets of RFC 5322 section 2.1.1. */
const MAX_WORD_LENGTH = 900
/** The whole encoded word with its frame stays below the 75 octets of RFC 2047 section 2. */
const ENCODED_WORD_LENGTH = 52

const PRINTABLE = /^[\x20-\x7e]*$/
const LONG_WORD = new RegExp(`[^ ]{${MAX_WORD_LENGTH + 1}}`)
/** A line is never broken inside a run of spaces, so a run must not fill one. */
const LONG_GAP = new RegExp(` {${LINE_LENGTH}}`)
/** RFC 5322 section 3.6.8: printable ASCII without the colon. */
const FIELD_NAME = /^[!-9;-~]+$/
const PLAIN_PHRASE = /^[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+(?: [A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+)*$/

/**
 * A field of free text, such as Subject or X-*.
 *
 * @returns the folded field with its final CRLF
 * @throws TypeError for a name that is not a field name (RFC 5322 section 3.6.8)
 */
export function textField(name: string, value: string): string {
  return foldedField(name, survivesAsIs(value) ? value : encodeText(value))
}

/**
 * A field with a grammar of its own, such as List-Id or References: from the first word that needs encoding to the
 * last. A run of spaces, which means one space in all of them, becomes one.
 *
 * @returns the folded field with its final CRLF
 * @throws TypeError for a name that is not a field name (RFC 5322 section 3.6.8)
 */
export function structuredField(name: string, value: string): string {
  const words = value.trim().split(/ +/)
  const first = words.findIndex((word) => !survivesAsIs(word))
  if (first < 0) return foldedField(name, words.join(' '))
  const last = words.findLastIndex((word) => !survivesAsIs(word))
  const encoded = encodeText(words.slice(first, last + 1).join(' '))
  const text = [...words.slice(0, first), encoded, ...words.slice(last + 1)].join(' ')
  return foldedField(name, text)
}

/** A field with addresses: From, To, Cc, Reply-To. The addresses stay in canonical form, UTF-8 where they have it. */
export function addressField(name: string, mailboxes: readonly Mailbox[]): string {
  return foldedField(name, mailboxes.map(encodeMailbox).join(', '))
}

function encodeMailbox({ name, address }: Mailbox): string {
  return name === null ? address.email : `${encodePhrase(name)} <${address.email}>`
}

/** RFC 5322 section 3.2.5: atoms, else a quoted string, else encoded words (which may not stand in quotes). */
function encodePhrase(name: string): string {
  if (!survivesAsIs(name)) return encodeText(name)
  return PLAIN_PHRASE.test(name) ? name : `"${name.replace(/["\\]/g, '\\$&')}"`
}

/** An empty value survives: it is an empty field. Control characters do not: they are not PRINTABLE. */
function survivesAsIs(value: string): boolean {
  return (
    PRINTABLE.test(value) &&
    !value.startsWith(' ') &&
    !value.endsWith(' ') &&
    !value.includes('=?') &&
    !LONG_WORD.test(value) &&
    !LONG_GAP.test(value)
  )
}

/** Base64 where it is the shorter form: a name in Chinese is three times as long in Q. */
function encodeText(value: string): string {
  const nonAscii = value.length - value.replace(/[^\0-\x7f]/g, '').length
  return encodeWord(value, nonAscii * 3 > value.length ? 'B' : 'Q', ENCODED_WORD_LENGTH)
}

/** Breaks only before a space that follows a word, so unfolding gives the value back and no line is blank. */
function foldedField(name: string, value: string): string {
  if (!FIELD_NAME.test(name)) throw new TypeError(`Not a header field name: ${JSON.stringify(name)}`)
  let field = `${name}:`
  let lineLength = field.length
  for (const word of ` ${value}`.match(/ *[^ ]+/g) ?? []) {
    if (lineLength + word.length > LINE_LENGTH && lineLength > name.length + 1) {
      field += '\r\n'
      lineLength = 0
    }
    field += word
    lineLength += word.length
  }
  return `${field}\r\n`
}
