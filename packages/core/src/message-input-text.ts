/**
 * What text may be where: the rules for strings that every part of a message shares.
 *
 * Each function answers with a sentence for the client, or null. Lengths count characters (code points), as JSON
 * Schema does; what ends up on a line of the mail counts octets where the contract says so.
 */

/** One thing wrong with the input; `path` is a JSON pointer (RFC 6901) into the body. */
export interface Fault {
  path: string
  message: string
}

/** C0 and DEL: all below the space, not the space itself. */
const CONTROL = /(?! )[\0-\x20\x7f]/

/** For bodies: any text but what neither PostgreSQL nor UTF-8 can hold. */
export function findTextFault(text: string): string | null {
  if (text.includes('\0')) return 'Holds U+0000, which mail cannot carry. Remove it.'
  return text.isWellFormed() ? null : 'Holds half of a surrogate pair. Send it as valid Unicode.'
}

/** For what stands on one line, such as a subject or a file name: no control characters either. */
export function findLineFault(text: string): string | null {
  const control = CONTROL.exec(text)
  if (control === null) return findTextFault(text)
  const hex = control[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')
  return `Holds the control character U+${hex} (such as a line break or a tab). Remove it.`
}

/** @param min least number of characters, 0 or 1 */
export function findLengthFault(text: string, min: number, max: number): string | null {
  if (text.length < min) return `Is empty. Give it 1 to ${max} characters.`
  return countsOver(text, max) ? `Is longer than ${max} characters. Shorten it.` : null
}

/** One more step of a JSON pointer (RFC 6901 section 3). */
export function pointer(path: string, step: string | number): string {
  return `${path}/${String(step).replaceAll('~', '~0').replaceAll('/', '~1')}`
}

/** Counts code points only where it matters: a text of megabytes is told from its length alone. */
function countsOver(text: string, max: number): boolean {
  if (text.length <= max) return false
  return text.length > 2 * max || Array.from(text).length > max
}
