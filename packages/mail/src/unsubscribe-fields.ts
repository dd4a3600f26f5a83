/** The header fields by which a reader's program unsubscribes for its user (RFC 2369, RFC 8058). */
import { Buffer } from 'node:buffer'
import { structuredField } from './header-field.ts'

export interface UnsubscribeTargets {
  /** Takes the POST of RFC 8058. */
  url: string | null
  /** A `mailto:` URI (RFC 6068). */
  mailto: string | null
}

/** In lower case. */
export const unsubscribeFieldNames = ['list-unsubscribe', 'list-unsubscribe-post'] as const

/**
 * The fields as pairs of name and value. One click comes first: RFC 2369 §2 lets the reader's program try them from the left.
 *
 * @returns none without any target
 */
export function unsubscribeFields({ url, mailto }: UnsubscribeTargets): [name: string, value: string][] {
  const targets = [url, mailto].flatMap((target) => (target === null ? [] : [`<${target}>`]))
  if (targets.length === 0) return []
  const list: [string, string] = ['List-Unsubscribe', targets.join(', ')]
  // RFC 8058 §3.1: nothing but this value, and only beside a URL that takes it.
  return url === null ? [list] : [list, ['List-Unsubscribe-Post', 'List-Unsubscribe=One-Click']]
}

/** The same as it stands in a header. */
export function writeUnsubscribeFields(targets: UnsubscribeTargets): Buffer {
  const fields = unsubscribeFields(targets).map(([name, value]) => structuredField(name, value))
  return Buffer.from(fields.join(''))
}
