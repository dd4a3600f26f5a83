/**
 * Looks after mailboxes in which bounces land (docs/operations.md, "Bounces in a mailbox"). Any number of workers share them by leases; one that
 * dies is followed when its leases are over, one that stops gives them back.
 *
 * IMAP mailboxes stay open and tell of new mail by themselves (IDLE); they are looked through every few minutes besides, so that nothing hangs
 * on a server that forgets to tell. POP3 mailboxes, and IMAP where a worker has many, are opened every minute.
 *
 * Whoever may make a mailbox names its server, which may be slow or mean us ill: of connections, of those that stay open, and of mails in
 * memory an owner has a part only, and looks at one mailbox have a pause between them however much news its server tells of.
 */
import { type IdSource, type MailboxTrouble, mailboxPauseMs, type Sealer, type Uuid } from '@valija/core'
import { defaultMailboxLimits, MailboxFailure, type MailboxSession, type OpenMailbox } from '@valija/courier'
import {
  claimMailboxes,
  type Database,
  type HeldMailbox,
  nextMailboxDueInMs,
  noteFailedLook,
  noteGoodLook,
  releaseMailbox,
  renewMailboxes,
  type Wake,
} from '@valija/store'
import {
  type LookParts,
  lookThrough,
  type MailToTake,
  type MailVerdict,
  type UnreadableMails,
} from './look-through-mailbox.ts'
import { mailboxTarget, mailboxTroubleOf } from './mailbox-target.ts'
import { pauseUnless, unlessStopped } from './pause.ts'
import { createRoom, inRoom } from './room.ts'
import { createSleeper } from './sleeper.ts'

export interface MailboxWatcher {
  start(): void
  /** Gives all mailboxes back: what is being written down is, and no further mail is read. */
  stop(): Promise<void>
}

/** What is told of mailboxes in the log. */
export interface MailboxLog {
  failed(mailbox: HeldMailbox, trouble: MailboxTrouble & { failures: number; pauseMs: number }): void
  recovered(mailbox: HeldMailbox): void
  /** A mail that ended its session again and again: it stays where it is, unread. */
  unreadable(mailbox: HeldMailbox, uid: string): void
}

export interface MailboxWatcherParts {
  database: Database
  sealer: Sealer
  wake: Pick<Wake, 'on'>
  nextId: IdSource
  open: OpenMailbox
  take: (mail: MailToTake) => Promise<MailVerdict>
  log: MailboxLog
  onError: (error: Error) => void
  timings?: Partial<MailboxTimings>
}

export interface MailboxTimings {
  /** A mailbox whose worker is gone is another's after this. */
  leaseMs: number
  /** Between two looks at a mailbox that does not tell of news. */
  pollMs: number
  /** One that does is looked through after this all the same; also shorter than firewalls forget connections (RFC 2177 allows 29 min). */
  idleMs: number
  /** From the end of one look to the next at the same mailbox, at least: after quiet, news are looked at in the same moment. */
  betweenMs: number
  /** That nothing is new is written down this often; what was read, at once. */
  noteMs: number
  /** A mail whose message is not settled yet is looked at again after this. */
  laterMs: number
  /** Between two connections that the server ends while they wait. */
  lostMs: number
}

const usualTimings: MailboxTimings = {
  leaseMs: 30_000,
  pollMs: 60_000,
  idleMs: 4 * 60_000,
  betweenMs: 1_000,
  noteMs: 60_000,
  laterMs: 10_000,
  lostMs: 15_000,
}

/** Connections to mailboxes at a time, and how many of them may stay open: of a worker, and of one owner. */
const maxOpen = { ofAll: 50, ofOwner: 20 }
const maxIdle = { ofAll: 40, ofOwner: 15 }
/** Octets of mails that are being read; each counts as the longest, for nobody knows how long it is. A server may take two minutes for one. */
const mailRoom = {
  total: 8 * defaultMailboxLimits.maxMailBytes,
  perOwner: 2 * defaultMailboxLimits.maxMailBytes,
}
/** In case a wake-up is lost. */
const longestPauseMs = 15_000
/** What a stop waits for before connections are cut. */
const graceMs = 3_000

interface Watch {
  mailbox: HeldMailbox
  stop: AbortController
  ended: Promise<void>
}

export function createMailboxWatcher(parts: MailboxWatcherParts): MailboxWatcher {
  const { database, wake, nextId, onError } = parts
  const { engine } = database
  const timings = { ...usualTimings, ...parts.timings }
  const { leaseMs } = timings
  const watches = new Set<Watch>()
  const duty = createDuty(parts, timings)
  const begin = (mailbox: HeldMailbox) => {
    const stop = new AbortController()
    // One that was changed is given back by itself; a POP3 mailbox must be closed before it can be opened anew.
    const former = [...watches].filter((other) => other.mailbox.id === mailbox.id).map(({ ended }) => ended)
    const ended = Promise.all(former)
      .then(() => duty(mailbox, stop.signal))
      .catch(onError)
      .then(() => {
        watches.delete(watch)
        sleeper.wake()
      })
    const watch: Watch = { mailbox, stop, ended }
    watches.add(watch)
  }
  const renew = async () => {
    const present = [...watches].filter(({ stop }) => !stop.signal.aborted)
    if (present.length === 0) return
    const held = await renewMailboxes(
      engine,
      present.map(({ mailbox }) => mailbox),
      leaseMs,
    )
    // Changed, paused, deleted, or another's by now.
    for (const { mailbox, stop } of present) if (!held.has(mailbox.id)) stop.abort()
  }
  const round = async (): Promise<number> => {
    await renew()
    const limit = maxOpen.ofAll - watches.size
    if (limit > 0) {
      const owners = [...watches].map(({ mailbox }) => mailbox.tenantId)
      const claim = { holder: nextId(), leaseMs, limit, maxOfOwner: maxOpen.ofOwner, owners }
      for (const mailbox of await claimMailboxes(engine, claim)) begin(mailbox)
    }
    const nextMs = (await nextMailboxDueInMs(engine)) ?? longestPauseMs
    return Math.min(Math.max(nextMs, 1_000), leaseMs / 3, longestPauseMs)
  }
  const sleeper = createSleeper({ round, onError, afterErrorMs: 1_000 })
  let stopListening = () => {}
  return {
    start: () => {
      stopListening = wake.on('mailboxes', sleeper.wake)
      sleeper.wake()
    },
    stop: async () => {
      stopListening()
      await sleeper.stop()
      for (const { stop } of watches) stop.abort()
      await Promise.all([...watches].map(({ ended }) => ended))
    },
  }
}

/** What is done for a mailbox from the moment that it is held until it is given back. */
function createDuty(
  parts: MailboxWatcherParts,
  timings: MailboxTimings,
): (mailbox: HeldMailbox, stop: AbortSignal) => Promise<void> {
  const { database, log } = parts
  const { engine } = database
  const room = createRoom({ ...mailRoom, patienceMs: null })
  const unreadableOf = new Map<Uuid, UnreadableMails>()
  const idle = createIdlePlaces()
  const look = async (mailbox: HeldMailbox, session: MailboxSession, stop: AbortSignal) => {
    const unreadable: UnreadableMails = unreadableOf.get(mailbox.id) ?? new Map()
    unreadableOf.set(mailbox.id, unreadable)
    const withRoom: LookParts['withRoom'] = (work) =>
      inRoom(room, ownerOf(mailbox), defaultMailboxLimits.maxMailBytes, work)
    const onUnreadable = (uid: string) => log.unreadable(mailbox, uid)
    const lookParts: LookParts = { database, take: parts.take, withRoom, onUnreadable }
    const looked = await lookThrough(lookParts, session, mailbox, unreadable, stop)
    if (unreadable.size === 0) unreadableOf.delete(mailbox.id)
    return looked
  }
  const noteGood = async (mailbox: HeldMailbox) => {
    mailbox.failures = 0
    const { hasRecovered } = await noteGoodLook(engine, mailbox)
    if (hasRecovered) log.recovered(mailbox)
  }
  /** @returns when it is to be looked at again */
  const work = async (mailbox: HeldMailbox, session: MailboxSession, stop: AbortSignal): Promise<number> => {
    let notedAt = Number.NEGATIVE_INFINITY
    for (let laterInRow = 0; ; ) {
      const { hasLater, readCount, failure } = await look(mailbox, session, stop)
      const lookedAt = performance.now()
      laterInRow = hasLater ? laterInRow + 1 : 0
      const laterMs = hasLater ? timings.laterMs * 2 ** Math.min(20, laterInRow - 1) : timings.idleMs
      if (stop.aborted || failure !== null || !session.canWait || !idle.hasRoom(mailbox)) {
        // What POP3 is to delete is deleted here, so only then the look was a good one.
        await session.finish()
        if (failure !== null) throw failure
        await noteGood(mailbox)
        return stop.aborted ? 0 : Math.min(laterMs, timings.pollMs)
      }
      if (readCount > 0 || lookedAt - notedAt >= timings.noteMs) {
        await noteGood(mailbox)
        notedAt = lookedAt
      }
      const waited = waitWith(session, Math.min(laterMs, timings.idleMs), stop)
      const lostAfterMs = await idle.during(mailbox, waited)
      if (lostAfterMs !== null) return Math.max(1_000, timings.lostMs - lostAfterMs)
      await pauseUnless(stop, Math.max(0, lookedAt + timings.betweenMs - performance.now()))
    }
  }
  return async (mailbox, stop) => {
    let session: MailboxSession | null = null
    try {
      session = await open(parts, mailbox, stop)
      if (session === null) return releaseMailbox(engine, mailbox, 0)
      const cut = cutAfter(stop, session)
      const nextLookInMs = await work(mailbox, session, stop).finally(cut.cancel)
      await releaseMailbox(engine, mailbox, nextLookInMs)
    } catch (error) {
      if (stop.aborted) return releaseMailbox(engine, mailbox, 0)
      await noteFailure(parts, mailbox, error)
    } finally {
      session?.close()
    }
  }
}

/** Whose mailbox it is, for what owners share. */
function ownerOf({ tenantId }: HeldMailbox): string {
  return tenantId ?? 'operator'
}

/** Connections that stay open and wait for news. */
function createIdlePlaces() {
  const waiting: string[] = []
  return {
    hasRoom: (mailbox: HeldMailbox) => {
      const owner = ownerOf(mailbox)
      const ofOwner = waiting.filter((other) => other === owner).length
      return waiting.length < maxIdle.ofAll && ofOwner < maxIdle.ofOwner
    },
    during: async <T>(mailbox: HeldMailbox, wait: Promise<T>): Promise<T> => {
      const owner = ownerOf(mailbox)
      waiting.push(owner)
      try {
        return await wait
      } finally {
        waiting.splice(waiting.indexOf(owner), 1)
      }
    },
  }
}

/**
 * Waits for news. That a server ends a connection on which nothing happens is no failure of the mailbox.
 *
 * @returns null when it is to be looked through again; after how long the connection was lost
 */
async function waitWith(session: MailboxSession, waitMs: number, stop: AbortSignal): Promise<number | null> {
  const begunAt = performance.now()
  try {
    await session.waitForNews(waitMs, stop)
    return null
  } catch (error) {
    if (error instanceof MailboxFailure) return performance.now() - begunAt
    throw error
  }
}

/** @returns null when it is to stop before the mailbox is open */
async function open(
  { sealer, open }: MailboxWatcherParts,
  mailbox: HeldMailbox,
  stop: AbortSignal,
): Promise<MailboxSession | null> {
  const opening = open(mailboxTarget(sealer, mailbox))
  const session = await unlessStopped(stop, opening)
  if (session !== 'stopped') return session
  opening.then(
    (late) => late.close(),
    () => undefined,
  )
  return null
}

/** A mail that is being read when all is to stop may take its time; nobody waits for it that long. */
function cutAfter(stop: AbortSignal, session: MailboxSession): { cancel: () => void } {
  let timer: NodeJS.Timeout | undefined
  const onStop = () => {
    timer = setTimeout(() => session.close(), graceMs)
  }
  if (stop.aborted) onStop()
  else stop.addEventListener('abort', onStop, { once: true })
  return {
    cancel: () => {
      clearTimeout(timer)
      stop.removeEventListener('abort', onStop)
    },
  }
}

async function noteFailure(
  { database, log, onError }: MailboxWatcherParts,
  mailbox: HeldMailbox,
  error: unknown,
): Promise<void> {
  const trouble = mailboxTroubleOf(error) ?? {
    code: 'internal' as const,
    detail: error instanceof Error ? error.message : String(error),
  }
  if (trouble.code === 'internal') onError(error instanceof Error ? error : new Error(String(error)))
  const failures = mailbox.failures + 1
  const pauseMs = mailboxPauseMs(trouble.code, failures)
  log.failed(mailbox, { ...trouble, failures, pauseMs })
  await noteFailedLook(database.engine, mailbox, { ...trouble, pauseMs })
}
