/**
 * One look through an open mailbox: every mail that is not known yet is read and handed over, and once what it says is committed it is put out
 * of the way, if it is about mail of ours. Everybody else's mail stays where it is, unread as it was, and is remembered so that it is not
 * read again.
 *
 * Nothing is deleted or moved that was not read and recognised in this very session. So neither a UID that means another mail by now, nor two
 * that read at the same time, nor a crash between any two steps can cost a mail: it is read again, and known to be applied.
 */
import type { Uuid } from '@valija/core'
import { MailboxFailure, type MailboxSession } from '@valija/courier'
import {
  type Database,
  forgetKnownMails,
  type MailboxCounts,
  noteMailboxMails,
  readKnownMails,
} from '@valija/store'
import type { IgnoredReason } from './match-report.ts'

type Reason = IgnoredReason | 'unreadable'

/** What became of a mail, as `takeReport` says it. */
export type MailVerdict =
  | { outcome: 'applied' | 'report' | 'later' }
  | { outcome: 'ignored' | 'unknown'; reason: Reason }

export interface MailToTake {
  raw: Buffer
  /** Addresses that it was delivered to, as its header tells. */
  recipients: readonly string[]
  via: { kind: 'mailbox'; mailboxId: Uuid; tenantId: Uuid | null; uid: string }
}

export interface LookParts {
  database: Pick<Database, 'engine'>
  /** Applies it, once however often it comes. What it throws means that nothing was written: the mail comes again. */
  take: (mail: MailToTake) => Promise<MailVerdict>
  /** Runs work when there is memory for another mail. */
  withRoom: <T>(work: () => Promise<T>) => Promise<T>
  onUnreadable: (uid: string) => void
}

export interface LookedThrough {
  /** Mails that are to be looked at again soon. */
  hasLater: boolean
  /** Mails that were read. */
  readCount: number
  /** What kept mails from being written down; they come again. */
  failure: MailboxFailure | null
}

/**
 * Mails of one mailbox whose reading ended the session, and how often that was theirs and not the network's: they come last, and one that
 * does so again and again is left.
 */
export type UnreadableMails = Map<string, number>

const triesPerMail = 3
/** What is committed is put out of the way after so many mails at the latest. */
const batchSize = 25
/** So many in a row that cannot be written down are no matter of the mails. */
const maxFailuresInRow = 3

/**
 * Reports about mail of ours that change nothing any more: they are put out of the way as well. The address that they came to, or what they
 * quote, is signed by us.
 */
const settledReasons: ReadonlySet<Reason> = new Set([
  'repeated',
  'ended',
  'gone',
  'not_final',
  'not_a_complaint',
  'simulated',
])
/** No reports at all. */
const otherReasons: ReadonlySet<Reason> = new Set(['auto_reply', 'challenge', 'other'])

/** @throws {MailboxFailure} when the session ends; what was written down until then is */
export async function lookThrough(
  parts: LookParts,
  session: MailboxSession,
  mailbox: { id: Uuid; tenantId: Uuid | null },
  unreadable: UnreadableMails,
  stop: AbortSignal,
): Promise<LookedThrough> {
  const present = await session.list()
  const fresh = await findFresh(parts, mailbox.id, present)
  const triesOf = (uid: string) => unreadable.get(uid) ?? -1
  const ordered = fresh.toSorted((one, other) => triesOf(one) - triesOf(other))
  const looked: LookedThrough = { hasLater: false, readCount: 0, failure: null }
  let failuresInRow = 0
  for (let at = 0; at < ordered.length && failuresInRow < maxFailuresInRow; at += batchSize) {
    const batch = new Batch()
    for (const uid of ordered.slice(at, at + batchSize)) {
      if (stop.aborted || failuresInRow >= maxFailuresInRow) break
      const result = await takeOne(parts, session, mailbox, uid, { unreadable, looked, stop })
      failuresInRow = result instanceof MailboxFailure ? failuresInRow + 1 : 0
      if (result instanceof MailboxFailure) looked.failure = result
      else if (result?.outcome === 'later') looked.hasLater = true
      else if (result !== null) batch.add(uid, result)
    }
    await batch.settle(parts, session, mailbox.id)
    if (stop.aborted) break
  }
  return looked
}

/** Those that are not known; what is known and not there any more is forgotten. */
async function findFresh(
  { database }: LookParts,
  mailboxId: Uuid,
  present: readonly string[],
): Promise<string[]> {
  const known = await readKnownMails(database.engine, mailboxId)
  const there = new Set(present)
  const gone = [...known].filter((uid) => !there.has(uid))
  if (gone.length > 0) await forgetKnownMails(database.engine, mailboxId, gone)
  return present.filter((uid) => !known.has(uid))
}

/** @returns null when the mail is gone meanwhile; a failure when it could not be written down */
async function takeOne(
  parts: LookParts,
  session: MailboxSession,
  mailbox: { id: Uuid; tenantId: Uuid | null },
  uid: string,
  look: { unreadable: UnreadableMails; looked: LookedThrough; stop: AbortSignal },
): Promise<MailVerdict | MailboxFailure | null> {
  const { unreadable, looked } = look
  const tries = unreadable.get(uid) ?? 0
  if (tries >= triesPerMail) {
    unreadable.delete(uid)
    parts.onUnreadable(uid)
    return { outcome: 'ignored', reason: 'unreadable' }
  }
  return parts.withRoom(async () => {
    const mail = await session.read(uid).catch((error: unknown) => {
      unreadable.set(uid, isFaultOfMail(error, look) ? tries + 1 : tries)
      throw error
    })
    unreadable.delete(uid)
    if (mail === null) return null
    looked.readCount += 1
    const via = { kind: 'mailbox', mailboxId: mailbox.id, tenantId: mailbox.tenantId, uid } as const
    try {
      return await parts.take({ raw: mail.bytes, recipients: deliveredTo(mail.bytes), via })
    } catch (cause) {
      return new MailboxFailure('internal', cause instanceof Error ? cause.message : String(cause), { cause })
    }
  })
}

/**
 * Whether a mail that could not be read is to blame for it. A connection that is lost, or stands still, may be the network's doing, unless
 * it brought another mail just before; at a stop we cut it ourselves.
 */
function isFaultOfMail(
  error: unknown,
  { looked, stop }: { looked: LookedThrough; stop: AbortSignal },
): boolean {
  if (stop.aborted) return false
  const code = error instanceof MailboxFailure ? error.trouble.code : null
  return (code !== 'connection_lost' && code !== 'timeout') || looked.readCount > 0
}

/** What some mails came to. */
class Batch {
  readonly #counts: MailboxCounts = { applied: 0, reports: 0, ignored: 0, other: 0 }
  readonly #settled: string[] = []
  readonly #left: string[] = []

  add(uid: string, verdict: MailVerdict): void {
    if (verdict.outcome === 'applied') this.#counts.applied += 1
    else if (verdict.outcome === 'report') this.#counts.reports += 1
    else if ('reason' in verdict && otherReasons.has(verdict.reason)) this.#counts.other += 1
    else this.#counts.ignored += 1
    const isSettled = !('reason' in verdict) || settledReasons.has(verdict.reason)
    if (isSettled) this.#settled.push(uid)
    else this.#left.push(uid)
  }

  async settle({ database }: LookParts, session: MailboxSession, mailboxId: Uuid): Promise<void> {
    if (this.#settled.length + this.#left.length === 0) return
    await noteMailboxMails(database.engine, mailboxId, this.#counts, this.#left)
    if (this.#settled.length > 0) await session.remove(this.#settled)
  }
}

/** Where a mail says whom it was delivered to: what servers put in front, and whom it was addressed to. */
const deliveryFields =
  /^(?:delivered-to|x-delivered-to|x-original-to|envelope-to|x-envelope-to|x-rcpt-to|to|cc):/i
const maxHeaderBytes = 256 * 1024
const maxAddresses = 50

/** All that looks like an address in these fields; only signed ones will count. */
export function deliveredTo(raw: Buffer): string[] {
  const text = raw.subarray(0, maxHeaderBytes).toString('latin1').replaceAll('\r\n', '\n')
  const end = text.indexOf('\n\n')
  const fields = (end < 0 ? text : text.slice(0, end)).replaceAll(/\n[ \t]+/g, ' ').split('\n')
  const found = new Set<string>()
  for (const field of fields) {
    if (!deliveryFields.test(field)) continue
    for (const [address] of field.matchAll(/[^\s<>,;:"()@]{1,64}@[^\s<>,;:"()@]{1,255}/g)) {
      found.add(address)
      if (found.size === maxAddresses) return [...found]
    }
  }
  return [...found]
}
