/** How long request bodies may be. */

/** What a route takes that does not ask for more. */
export const bodyLimitBytes = 1024 * 1024

/** The longest body of POST /send: base64 and JSON's escapes make it longer than the message. */
export function maxBodyBytes(maxMessageSizeBytes: number): number {
  return Math.ceil(1.5 * maxMessageSizeBytes)
}
