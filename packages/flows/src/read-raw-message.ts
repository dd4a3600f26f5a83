/** A stored message as the RFC 5322 text that receivers get, signed as it would be if it were sent now. */
import type { UnsubscribeTokens, Uuid } from '@valija/core'
import { type Database, findStoredMail } from '@valija/store'
import { composeStored } from './compositions.ts'
import { personalise } from './personal-mail.ts'
import type { ReportFields } from './report-fields.ts'
import { type MailSigner, signingOf } from './sign-mail.ts'

export interface RawMessageParts {
  database: Database
  signer: MailSigner
  unsubscribeTokens: UnsubscribeTokens
  reportFields: ReportFields
}

/**
 * Where recipients have links of their own it is the mail of the first of them.
 *
 * @returns null for a message that is unknown, another tenant's, or whose body is not kept any more
 * @throws {ComposeError} when it cannot be composed
 * @throws {SigningError} when it is to be signed and cannot be
 */
export async function readRawMessage(
  { database, signer, unsubscribeTokens, reportFields }: RawMessageParts,
  tenantId: Uuid,
  messageId: Uuid,
): Promise<Buffer | null> {
  const stored = await findStoredMail(database, tenantId, messageId)
  if (stored === null) return null
  const signing = signingOf({ ...stored, tenantId }, false)
  const shared = await composeStored(stored.content, reportFields({ ...signing, messageId }))
  const bytes = personalise(shared, unsubscribeTokens, tenantId, { ...stored, messageId })
  return signer.sign(bytes, signing)
}
