/** What in a mail is one recipient's alone: the link by which it unsubscribes. */
import type { UnsubscribeTokens, Uuid } from '@valija/core'
import { writeUnsubscribeFields } from '@valija/mail'
import type { LeasedDelivery } from '@valija/store'

/** A mail as all its recipients have it in common: without signatures. */
export interface SharedMail {
  bytes: Buffer
  needsSmtpUtf8: boolean
  /** What the links of its recipients begin with; null where none has one. */
  unsubscribeBase: string | null
}

/** Who gets the mail. */
export type Reader = Pick<LeasedDelivery, 'messageId' | 'recipientId' | 'email' | 'stream' | 'body'>

/**
 * The mail of one recipient, to be signed: RFC 8058 §4 wants the fields under the signature.
 *
 * @returns the same octets whenever it is asked, as every attempt has to send them
 */
export function personalise(
  { bytes, unsubscribeBase }: SharedMail,
  tokens: UnsubscribeTokens,
  tenantId: Uuid,
  { messageId, recipientId, email, stream }: Reader,
): Buffer {
  if (unsubscribeBase === null) return bytes
  const token = tokens.make({ tenantId, messageId, recipientId, stream, email })
  return Buffer.concat([writeUnsubscribeFields({ url: `${unsubscribeBase}${token}`, mailto: null }), bytes])
}
