/**
 * Giving mails back to whoever cancels or moves their message: those of which nothing has gone out that counts.
 *
 * What waits in its site's line is given back at once. What is on its way to one, or in a conversation, gives up at the next look at
 * its lease: before MAIL, before the first octet of the body, before the final dot. Past that nothing is recalled, and the row stays
 * leased until its result is settled. So a row that is not leased any more was never handed over under that lease.
 */
import type { Uuid } from '@valija/core'
import type { Wake } from '@valija/store'
import type { HeldLeases } from './held-leases.ts'

/** What was recalled is due again after this, in milliseconds: whoever recalled it takes it meanwhile (change-message.ts). */
export const recalledForMs = 3_000

/** What a recall is about: a message, or everything of a tenant. */
export interface Recalled {
  messageId: Uuid
  tenantId: Uuid
}

const tenantMark = 'tenant:'

/** What is sent under the topic `recall` for all of a tenant's mail; for a message its id is sent. */
export function recallOfTenant(tenantId: Uuid): string {
  return `${tenantMark}${tenantId}`
}

/** @returns a function that ends the hearing */
export function hearRecalls(
  wake: Pick<Wake, 'on'>,
  leases: Pick<HeldLeases, 'recall'>,
  withdraw: (isMeant: (mail: Recalled) => boolean) => void,
): () => void {
  return wake.on('recall', (meant) => {
    if (meant === '') return
    const isMeant = ({ messageId, tenantId }: Recalled) =>
      meant === messageId || meant === recallOfTenant(tenantId)
    if (leases.recall(isMeant)) withdraw(isMeant)
  })
}
