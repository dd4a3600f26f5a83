/** What may name a request so that it is carried out once, however often it comes: the same for every way in. */

/** A header may hold more (RFC 9110 section 5.5); this much means the same everywhere. */
const FORM = /^[\x21-\x7e]{1,255}$/

/** @returns a sentence for the client, or null */
export function findIdempotencyKeyFault(key: string): string | null {
  return FORM.test(key) ? null : 'Must be 1 to 255 visible ASCII characters.'
}
