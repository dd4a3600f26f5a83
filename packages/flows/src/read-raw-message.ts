/** A stored message as the RFC 5322 text that receivers get. */
import type { Uuid } from '@valija/core'
import { type Database, findBody } from '@valija/store'
import { composeStored } from './compositions.ts'

/**
 * @returns null for a message that is unknown, another tenant's, or whose body is not kept any more
 * @throws {ComposeError} when it cannot be composed
 */
export async function readRawMessage(
  database: Database,
  tenantId: Uuid,
  messageId: Uuid,
): Promise<Buffer | null> {
  const blob = await findBody(database, tenantId, messageId)
  return blob && (await composeStored(blob)).bytes
}
