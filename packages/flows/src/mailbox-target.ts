/** A stored mailbox as the courier opens it, and what is told when that fails. */
import { type MailboxTrouble, SealError, type Sealer } from '@valija/core'
import { MailboxFailure, type MailboxTarget } from '@valija/courier'
import type { StoredMailbox } from '@valija/store'
import { openMailboxPassword } from './mailbox-password.ts'

type OpenedMailbox = Pick<
  StoredMailbox,
  'id' | 'tenantId' | 'protocol' | 'host' | 'port' | 'tls' | 'username' | 'password' | 'folder' | 'doneFolder'
>

/** @throws {SealError} when the key that sealed the password is no longer configured */
export function mailboxTarget(sealer: Sealer, mailbox: OpenedMailbox): MailboxTarget {
  const { id, tenantId, username, password, protocol, host, port, tls, folder, doneFolder } = mailbox
  const plain = openMailboxPassword(sealer, tenantId, id, password)
  return { protocol, host, port, tls, user: username, password: plain, folder, doneFolder }
}

/** @returns null for what is no matter of the mailbox */
export function mailboxTroubleOf(error: unknown): MailboxTrouble | null {
  if (error instanceof MailboxFailure) return error.trouble
  if (error instanceof SealError) return { code: 'password_unreadable', detail: error.message }
  return null
}
