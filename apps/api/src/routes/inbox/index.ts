/** The capture inbox. */
import type { RouteGroup } from '../../route.ts'
import { clearInbox } from './clear-inbox.ts'
import { getInboxAttachment } from './get-inbox-attachment.ts'
import { getInboxMail } from './get-inbox-mail.ts'
import { getInboxRaw } from './get-inbox-raw.ts'
import { listInbox } from './list-inbox.ts'
import { InboxEntry, InboxMail } from './schemas.ts'

export const inboxRoutes: RouteGroup = {
  tag: { name: 'Inbox', description: 'What the capture route caught instead of delivering it.' },
  schemas: [InboxEntry, InboxMail],
  routes: [listInbox, clearInbox, getInboxMail, getInboxRaw, getInboxAttachment],
}
