/** The password of a mailbox at rest: sealed for that mailbox of that tenant, so that it opens in no other row. */
import type { Sealer, Uuid } from '@valija/core'

/** @param tenantId null: the operator's */
export function sealMailboxPassword(
  sealer: Sealer,
  tenantId: Uuid | null,
  mailboxId: Uuid,
  password: string,
): Buffer {
  return sealer.seal(Buffer.from(password), mailboxPasswordOwner(tenantId, mailboxId))
}

/** @throws {SealError} when the secret key that sealed it is no longer configured */
export function openMailboxPassword(
  sealer: Sealer,
  tenantId: Uuid | null,
  mailboxId: Uuid,
  sealed: Buffer,
): string {
  return sealer.open(sealed, mailboxPasswordOwner(tenantId, mailboxId)).toString()
}

/** What it belongs to, for `Sealer`. */
export function mailboxPasswordOwner(tenantId: Uuid | null, mailboxId: Uuid): string {
  return `mailbox:${tenantId ?? 'operator'}:${mailboxId}`
}
