/**
 * What the submission listener says when it refuses: the reply of the error's entry in the catalogue, and a sentence with what to do. Replies
 * are ASCII and at most 512 octets long (RFC 5321 section 4.5.3.1.5).
 */
import { type ErrorCode, errorCatalogue, ProductError } from '@valija/core'

/** As the library takes it: the text begins with the enhanced code (RFC 3463). */
export type Refusal = Error & { responseCode: number }

/** What the catalogue advises is written for HTTP; where that is of no use to a mail program: */
const fixes: Partial<Record<ErrorCode, string>> = {
  invalid_request: '',
  invalid_key: 'Use an API key (vlj_...) with the scope send as the password.',
  insufficient_scope: 'Use an API key with the scope send as the password.',
  tenant_suspended: errorCatalogue.tenant_suspended.fix,
  message_too_large: '',
  idempotency_key_reused:
    'Use a new X-Valija-Idempotency-Key for another mail; repeat a mail with the same recipients and content.',
  idempotency_in_progress: 'Try again in a second.',
  internal: 'Try again, with the same X-Valija-Idempotency-Key if the mail has one.',
  database_unavailable: 'Try again, with the same X-Valija-Idempotency-Key if the mail has one.',
}

/**
 * The reply to a mail, a recipient or a sender.
 *
 * @param error what was thrown; anything but a ProductError is trouble of ours, of which nothing is told
 */
export function refusalOf(error: unknown): Refusal {
  const { code, detail, errors, retryAfterS } = known(error)
  const { smtp, title, fix, isRetryable } = errorCatalogue[code]
  const [first] = errors ?? []
  const named = first && code !== 'message_too_large' ? `${first.path}: ${first.message}` : null
  const again = retryAfterS === undefined ? 'Try again later.' : `Try again in ${retryAfterS} s.`
  const advice = fixes[code] ?? (isRetryable ? again : fix)
  const [replyCode = '451', enhanced = '4.3.0'] = smtp.split(' ')
  return refusal(Number(replyCode), enhanced, [named ?? detail ?? title, advice])
}

/** The reply to AUTH, whose codes are few (RFC 4954 section 6): 535 for what stays wrong, 454 for what passes. */
export function loginRefusalOf(error: unknown): Refusal {
  const { responseCode, message } = refusalOf(error)
  return Object.assign(new Error(message), { responseCode: responseCode < 500 ? 454 : 535 })
}

/** @param parts sentences */
export function refusal(responseCode: number, enhanced: string, parts: readonly string[]): Refusal {
  const text = parts
    .filter((part) => part !== '')
    .map((part) => (/[.!?]$/.test(part) ? part : `${part}.`))
    .join(' ')
  return Object.assign(new Error(`${enhanced} ${shortened(toAscii(text))}`), { responseCode })
}

function known(error: unknown): ProductError {
  return error instanceof ProductError ? error : new ProductError('internal')
}

const plain: Record<string, string> = {
  '“': '"',
  '”': '"',
  '‘': "'",
  '’': "'",
  '…': '...',
  '–': '-',
  '—': '-',
}

function toAscii(text: string): string {
  return text.replace(/[^\x20-\x7e]/gu, (char) => plain[char] ?? '?')
}

/** With code, enhanced code and line end within 512. */
const mostCharacters = 480

function shortened(text: string): string {
  if (text.length <= mostCharacters) return text
  return `${text.slice(0, mostCharacters - 3).replace(/ [^ ]*$/, '')}...`
}
