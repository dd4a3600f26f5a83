/** Opens a mailbox by the protocol that it is reached with. */
import type { NetworkGuard } from '../network-guard.ts'
import { openImap } from './imap-mailbox.ts'
import {
  defaultMailboxLimits,
  type MailboxLimits,
  type MailboxSession,
  type MailboxTarget,
} from './mailbox.ts'
import { openPop3 } from './pop3-mailbox.ts'

export type OpenMailbox = (target: MailboxTarget) => Promise<MailboxSession>

/**
 * @param options.guard judges every address: a mailbox's host is named by whoever may make one
 * @returns throws `MailboxFailure` when it cannot be opened
 */
export function createOpenMailbox(options: {
  guard: NetworkGuard
  limits?: Partial<MailboxLimits>
}): OpenMailbox {
  const limits = { ...defaultMailboxLimits, ...options.limits }
  return (target) => (target.protocol === 'imap' ? openImap : openPop3)(target, options.guard, limits)
}
