/** A message that a caller wants to change: it must be its tenant's, and within what its key is bound to. */
import { type Caller, ProductError, type Uuid } from '@valija/core'
import { boundedMessageOf, refuseOutOfBounds } from '@valija/flows'
import { type Database, findMessage, type MessageRow, type RecipientRow } from '@valija/store'

/**
 * @param id null: what was given is no id
 * @throws {ProductError} not_found, key_restricted
 */
export async function findForChange(
  database: Database,
  caller: Caller,
  id: Uuid | null,
): Promise<MessageRow & { recipients: RecipientRow[] }> {
  const message = id && (await findMessage(database, caller.tenantId, id))
  if (!message) throw new ProductError('not_found', { detail: 'There is no such message.' })
  refuseOutOfBounds(caller, boundedMessageOf(message))
  return message
}
