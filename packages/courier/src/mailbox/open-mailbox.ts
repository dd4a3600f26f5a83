/** Opens a mailbox by the protocol that it is reached with. */
import type { NetworkGuard } from '../network-guard.ts'
import {
  defaultMailboxLimits,
  type MailboxLimits,
  type MailboxSession,
  type MailboxTarget,
} from './mailbox.ts'

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
  return async (target) => {
    // Loaded when there is such a mailbox: the IMAP client takes 0.2 s and 10 MB, and most processes never open one.
    const open =
      target.protocol === 'imap'
        ? (await import('./imap-mailbox.ts')).openImap
        : (await import('./pop3-mailbox.ts')).openPop3
    return await open(target, options.guard, limits)
  }
}
