/** What is told of a message once it is accepted: the mail log, and the count of what waits. */
import { isEnd, type MailLog } from '@valija/core'
import type { BuiltMessage } from './build-message.ts'

/** A recipient that is suppressed has its end with the acceptance. */
export function tellAccepted(mailLog: MailLog, { logged, row }: BuiltMessage): void {
  mailLog.accepted(logged)
  for (const { id, email, status, reason } of row.recipients) {
    if (!isEnd(status)) continue
    const { messageId, tenantId } = logged
    mailLog.ended({ messageId, recipientId: id, tenantId, email, outcome: status, reason: reason ?? '' })
  }
}

/** The recipients that have no end yet. */
export function countLive({ row }: BuiltMessage): number {
  return row.recipients.reduce((count, { status }) => (isEnd(status) ? count : count + 1), 0)
}
