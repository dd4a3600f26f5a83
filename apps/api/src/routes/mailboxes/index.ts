/** Mailboxes that bounces and complaints land in. */
import type { RouteGroup } from '../../route.ts'
import { createMailbox } from './create-mailbox.ts'
import { deleteMailbox } from './delete-mailbox.ts'
import { getMailbox } from './get-mailbox.ts'
import { listMailboxes } from './list-mailboxes.ts'
import { Mailbox, MailboxChange, MailboxError, MailboxInput, MailboxTest } from './schemas.ts'
import { testMailbox } from './test-mailbox.ts'
import { updateMailbox } from './update-mailbox.ts'

export const mailboxRoutes: RouteGroup = {
  tag: {
    name: 'Mailboxes',
    description: 'IMAP and POP3 mailboxes in which bounces and complaints of mail land that went by a relay.',
  },
  schemas: [Mailbox, MailboxInput, MailboxChange, MailboxError, MailboxTest],
  routes: [listMailboxes, createMailbox, getMailbox, updateMailbox, deleteMailbox, testMailbox],
}
