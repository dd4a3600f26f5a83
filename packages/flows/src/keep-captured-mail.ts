/**
 * What the capture receiver does with a mail: finds out by its ENVID (RFC 3461 §4.4, our message id) whose it is, keeps it, and tells
 * those who wait at /inbox. It resolves after the commit, so the receiver's 250 means what a 250 means.
 */
import type { CapturedMail } from '@valija/courier'
import { findMessageTenant, insertInboxMail } from '@valija/store'
import type { Foundation } from './open-foundation.ts'

/** @throws {Error} for a mail that is not ours: the receiver answers 451 */
export async function keepCapturedMail(
  { database, nextId, wake }: Pick<Foundation, 'database' | 'nextId' | 'wake'>,
  mail: CapturedMail,
): Promise<void> {
  const messageId = uuidOf(mail.envid)
  const tenantId = messageId && (await findMessageTenant(database.engine, messageId))
  if (!messageId || !tenantId) throw new Error('a captured mail has no message of ours in its ENVID')
  await insertInboxMail(database.engine, {
    id: nextId(),
    tenantId,
    messageId,
    receivedAt: mail.receivedAt,
    mailFrom: mail.envelopeFrom,
    rcptTo: mail.recipients,
    raw: mail.bytes,
  })
  wake.send('inbox', tenantId)
}

function uuidOf(envid: string | null): string | null {
  const match = /^([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})$/.exec(envid ?? '')
  return match ? match.slice(1).join('-') : null
}
