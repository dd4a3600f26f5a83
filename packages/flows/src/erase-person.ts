/**
 * Erasing what is kept about one person: asked for by a tenant, worked off by workers (erasure-rounds.ts).
 *
 * From the commit on nothing more is leased to be sent to the person. Whoever asks is answered when what waits is cancelled, and what workers hold has
 * been asked back, as with a cancelled message (change-message.ts), or after some seconds, and workers do the rest. Mails that a worker has past recall
 * are told as they are.
 */
import { setTimeout as delay } from 'node:timers/promises'
import {
  type Caller,
  erasedAddress,
  erasedAddressFault,
  erasedDomain,
  erasurePurpose,
  formatId,
  type IdSource,
  invalidRequest,
  type MailLog,
  ProductError,
  parseId,
  type Sealer,
  stateAfter,
  type Uuid,
} from '@valija/core'
import { parseAddress } from '@valija/mail'
import {
  cancelMessage,
  type Database,
  type DatabaseClock,
  findErasure,
  findLiveMails,
  findStillLive,
  insertErasure,
  type LiveMail,
  listErasures,
  noteLiveMails,
  type PendingErasure,
  type StoredErasure,
  type Wake,
} from '@valija/store'
import { tellCancelled } from './change-message.ts'
import { type PageAnswer, type PageRequest, readPage } from './manage-pages.ts'
import { createRoom, type Room } from './room.ts'

/** What workers need of it. */
export interface ErasureParts {
  database: Database
  clock: Pick<DatabaseClock, 'nowMs'>
  nextId: IdSource
  wake: Pick<Wake, 'send'>
  mailLog: Pick<MailLog, 'ended'>
}

export interface ErasureDesk {
  /**
   * Has all erased that was accepted for an address so far. Asked again while that is under way, it reaches up to now.
   *
   * @throws {ProductError} invalid_request
   */
  erase(caller: Pick<Caller, 'tenantId'>, email: string): Promise<ErasureView>
}

export interface ErasureView {
  id: string
  status: 'pending' | 'done'
  placeholder: string
  being_sent: number
  counts: { cancelled: number; recipients: number; bodies: number; events: number; attempts: number }
  requested_at: string
  completed_at: string | null
}

/** As with a message that is cancelled: by then a worker that answers has given its rows back. */
const recallPausesMs = [20, 40, 80, 160, 300, 400, 500]
type MailsOfErasure = Pick<PendingErasure, 'id' | 'tenantId' | 'emailKey' | 'placeholder' | 'boundId'>

/** How long whoever asks waits for that, and how long a worker is at it before it looks after other erasures. */
const answerWithinMs = 8_000

/** One after the other in a process: they share their connections with those who accept mail. */
const stopLimits = { total: 1, perOwner: 1, patienceMs: answerWithinMs }

export function createErasureDesk(
  parts: ErasureParts & { sealer: Pick<Sealer, 'signingKeys'> },
): ErasureDesk {
  const keys = parts.sealer.signingKeys(erasurePurpose)
  const room = createRoom(stopLimits)
  return {
    erase: async ({ tenantId }, email) => {
      const emailKey = readEmailKey(email)
      const erasure = { tenantId, emailKey, placeholder: erasedAddress(keys, tenantId, emailKey) }
      const { id, boundId } = await insertErasure(parts.database, { id: parts.nextId(), ...erasure })
      await stopInTime(parts, room, { id, boundId, ...erasure })
      parts.wake.send('erasures')
      const stored = await findErasure(parts.database, tenantId, id)
      if (stored === null) throw new ProductError('not_found')
      return toErasureView(stored)
    },
  }
}

/** @throws {ProductError} invalid_request */
function readEmailKey(email: string): string {
  const address = parseAddress(email)
  if (!address.ok) throw invalidRequest([{ path: '/email', message: address.message }])
  const { key, domain } = address.value
  if (domain === erasedDomain) throw invalidRequest([{ path: '/email', message: erasedAddressFault }])
  return `${key}@${domain}`
}

/** @returns in time; what is not stopped by then, workers stop */
async function stopInTime(parts: ErasureParts, room: Room, erasure: MailsOfErasure): Promise<void> {
  const untilMs = performance.now() + answerWithinMs
  if (!(await room.enter(erasure.tenantId, 1))) return
  const work = stopMails(parts, erasure, { untilMs, pausesMs: recallPausesMs }).finally(() =>
    room.leave(erasure.tenantId, 1),
  )
  // A look that is under way may take longer, as a statement does: whoever asked has been answered, and workers find out again.
  work.catch(() => {})
  const late = new AbortController()
  try {
    await Promise.race([
      work,
      delay(Math.max(0, untilMs - performance.now()), undefined, { signal: late.signal }),
    ])
  } finally {
    late.abort()
  }
}

/**
 * Cancels what waits, the newest first, and asks workers for what they have, again while they give more of it back.
 *
 * @param pausesMs between two looks at what workers have
 * @param untilMs no look begins after this, by `performance.now()`
 */
export async function stopMails(
  desk: ErasureParts,
  erasure: MailsOfErasure,
  {
    pausesMs = [],
    untilMs = performance.now() + answerWithinMs,
  }: { pausesMs?: readonly number[]; untilMs?: number } = {},
): Promise<void> {
  const { engine } = desk.database
  const stopped = new Set<Uuid>()
  let live: LiveMail[] = []
  const stopThese = async (found: readonly LiveMail[]) => {
    for (const id of await stopWaiting(desk, erasure, found, untilMs)) stopped.add(id)
    return found.filter(({ recipientId }) => !stopped.has(recipientId))
  }
  for (let next: Uuid | null = null; performance.now() < untilMs; ) {
    const page = await findLiveMails(engine, erasure, next)
    live.push(...(await stopThese(page.mails)))
    next = page.next
    if (next === null) break
  }
  for (const pauseMs of [...pausesMs, null]) {
    recall(desk, live)
    if (live.length === 0 || pauseMs === null || performance.now() >= untilMs) break
    await delay(pauseMs)
    live = await stopThese(await findStillLive(engine, live))
  }
  const beingSent = live.filter(({ isLeased }) => isLeased).length
  await noteLiveMails(engine, erasure.id, { cancelled: stopped.size, beingSent })
}

function recall({ wake }: Pick<ErasureParts, 'wake'>, live: readonly LiveMail[]): void {
  const leased = live.filter(({ isLeased }) => isLeased)
  for (const messageId of new Set(leased.map((mail) => mail.messageId))) wake.send('recall', messageId)
}

/** @returns the recipients that were stopped */
async function stopWaiting(
  desk: ErasureParts,
  erasure: MailsOfErasure,
  found: readonly LiveMail[],
  untilMs: number,
): Promise<Uuid[]> {
  const stopped: Uuid[] = []
  const waiting = found.filter(({ isLeased }) => !isLeased)
  for (const [messageId, mails] of Map.groupBy(waiting, (mail) => mail.messageId)) {
    if (performance.now() >= untilMs) break
    stopped.push(
      ...(await stop(desk, erasure, messageId, new Set(mails.map(({ recipientId }) => recipientId)))),
    )
  }
  return stopped
}

async function stop(
  desk: ErasureParts,
  { tenantId, placeholder }: MailsOfErasure,
  messageId: Uuid,
  recipientIds: ReadonlySet<Uuid>,
): Promise<Uuid[]> {
  const tell = tellCancelled(desk)
  const outcome = await cancelMessage(
    desk.database,
    { tenantId, messageId },
    // The event is written as it is to be read: nobody need erase it, and no webhook is told the address by it.
    (message, recipient, seq) => tell(message, { ...recipient, email: placeholder }, seq),
    (id) => recipientIds.has(id),
  )
  const changed = (outcome?.changed ?? []).map(({ id }) => id)
  for (const recipientId of changed) {
    const end = { tenantId, messageId, recipientId, email: placeholder }
    desk.mailLog.ended({ ...end, outcome: stateAfter('cancel'), reason: '' })
  }
  if (outcome?.hasWebhooks) desk.wake.send('webhooks')
  return changed
}

/** @throws {ProductError} not_found */
export async function showErasure(
  { database }: Pick<ErasureParts, 'database'>,
  caller: Caller,
  id: string,
): Promise<ErasureView> {
  const uuid = parseId('erasure', id)
  const stored = uuid && (await findErasure(database, caller.tenantId, uuid))
  if (!stored) throw new ProductError('not_found')
  return toErasureView(stored)
}

/** @throws {ProductError} invalid_request */
export function showErasures(
  { database }: Pick<ErasureParts, 'database'>,
  caller: Caller,
  request: PageRequest,
): Promise<PageAnswer<ErasureView>> {
  return readPage('erasure', request, (page) => listErasures(database, caller.tenantId, page), toErasureView)
}

function toErasureView(stored: StoredErasure): ErasureView {
  const { cancelled, recipients, bodies, events, attempts } = stored
  return {
    id: formatId('erasure', stored.id),
    status: stored.status,
    placeholder: stored.placeholder,
    being_sent: stored.beingSent,
    counts: { cancelled, recipients, bodies, events, attempts },
    requested_at: stored.requestedAt.toISOString(),
    completed_at: stored.completedAt?.toISOString() ?? null,
  }
}
