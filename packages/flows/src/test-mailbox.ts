/** Trying a mailbox out for whoever made it: connect, log in, open, count; nothing is read, moved or deleted. */
import { type Caller, ProductError, type Uuid } from '@valija/core'
import type { OpenMailbox } from '@valija/courier'
import type { StoredMailbox } from '@valija/store'
import { mailboxTarget, mailboxTroubleOf } from './mailbox-target.ts'
import { type MailboxDesk, type MailboxErrorView, requireMailbox, toErrorView } from './manage-mailboxes.ts'
import { ownerOf } from './manage-routes.ts'

/** Tests under way at once in this process, and of one tenant: each holds a connection and its caller's. */
const maxTests = 16
const maxTestsOfOwner = 4

export interface MailboxTestView {
  ok: boolean
  error: MailboxErrorView | null
  /** How many mails are in it; null when it could not be opened. */
  mails: number | null
  /** Whether new mail is heard of at once (IMAP's IDLE). */
  tells_of_news: boolean | null
  duration_ms: number
}

export interface MailboxTester {
  /** @throws {ProductError} not_found; overloaded when too many are under way */
  test(caller: Caller, id: string): Promise<MailboxTestView>
}

/** @param open must end in less than a request's time */
export function createMailboxTester(
  desk: Pick<MailboxDesk, 'database' | 'sealer'>,
  open: OpenMailbox,
): MailboxTester {
  const underWay = new Map<Uuid | null, number>()
  return {
    test: async (caller, id) => {
      const owner = ownerOf(caller)
      const mailbox = await requireMailbox(desk, caller, id)
      const ofOwner = underWay.get(owner) ?? 0
      const ofAll = underWay.values().reduce((sum, count) => sum + count, 0)
      if (ofOwner >= maxTestsOfOwner || ofAll >= maxTests)
        throw new ProductError('overloaded', {
          detail: `${ofOwner >= maxTestsOfOwner ? ofOwner : ofAll} mailboxes are being tested at this moment.`,
          retryAfterS: 5,
        })
      underWay.set(owner, ofOwner + 1)
      try {
        return await tryOut(desk, mailbox, open)
      } finally {
        const left = (underWay.get(owner) ?? 1) - 1
        if (left > 0) underWay.set(owner, left)
        else underWay.delete(owner)
      }
    },
  }
}

async function tryOut(
  { sealer }: Pick<MailboxDesk, 'sealer'>,
  mailbox: StoredMailbox,
  open: OpenMailbox,
): Promise<MailboxTestView> {
  const begunAt = performance.now()
  const view = (fields: Omit<MailboxTestView, 'duration_ms'>) => ({
    ...fields,
    duration_ms: Math.round(performance.now() - begunAt),
  })
  try {
    const session = await open(mailboxTarget(sealer, mailbox))
    try {
      const mails = (await session.list()).length
      await session.finish()
      return view({ ok: true, error: null, mails, tells_of_news: session.canWait })
    } finally {
      session.close()
    }
  } catch (error) {
    const trouble = mailboxTroubleOf(error)
    if (trouble === null) throw error
    return view({
      ok: false,
      error: toErrorView(trouble.code, trouble.detail),
      mails: null,
      tells_of_news: null,
    })
  }
}
