/**
 * Erasing what is kept about one person: asked for by a tenant, worked off by workers (erasure-rounds.ts).
 *
 * Whoever asks is answered when nothing is sent to the person any more: what waits is cancelled, and what workers hold is asked back, as with a
 * cancelled message (change-message.ts). Mails that a worker has past recall are told as they are.
 */
import { setTimeout as delay } from 'node:timers/promises'
import {
  type Caller,
  erasedAddress,
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
  insertErasure,
  listErasures,
  noteLiveMails,
  type PendingErasure,
  type StoredErasure,
  type Wake,
} from '@valija/store'
import { tellCancelled } from './change-message.ts'
import { type PageAnswer, type PageRequest, readPage } from './manage-pages.ts'

export interface ErasureDesk {
  database: Database
  clock: Pick<DatabaseClock, 'nowMs'>
  nextId: IdSource
  wake: Pick<Wake, 'send'>
  mailLog: Pick<MailLog, 'ended'>
  sealer: Pick<Sealer, 'signingKeys'>
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

/** Mails that are stopped between two looks. */
const stoppedTogether = 200

/**
 * Has all erased that was accepted for an address so far. Asked again while that is under way, it reaches up to now.
 *
 * @throws {ProductError} invalid_request
 */
export async function eraseAddress(
  desk: ErasureDesk,
  { tenantId }: Pick<Caller, 'tenantId'>,
  email: string,
): Promise<ErasureView> {
  const address = parseAddress(email)
  if (!address.ok) throw invalidRequest([{ path: '/email', message: address.message }])
  const emailKey = `${address.value.key}@${address.value.domain}`
  const placeholder = erasedAddress(desk.sealer.signingKeys(erasurePurpose), tenantId, emailKey)
  const erasure = { tenantId, emailKey, placeholder }
  const { id, boundId } = await insertErasure(desk.database, { id: desk.nextId(), ...erasure })
  await stopMails(desk, { id, boundId, ...erasure })
  desk.wake.send('erasures')
  const stored = await findErasure(desk.database, tenantId, id)
  if (stored === null) throw new ProductError('not_found')
  return toErasureView(stored)
}

/**
 * Cancels what waits, again while workers give more of it back.
 *
 * @param pausesMs between two looks, while workers have some of it
 */
export async function stopMails(
  desk: Omit<ErasureDesk, 'sealer'>,
  erasure: MailsOfErasure,
  pausesMs: readonly number[] = recallPausesMs,
): Promise<void> {
  let cancelled = 0
  for (let turn = 0; ; ) {
    const live = await findLiveMails(desk.database.engine, erasure, stoppedTogether)
    const waiting = live.filter(({ isLeased }) => !isLeased)
    let stopped = 0
    for (const [messageId, mails] of Map.groupBy(waiting, (mail) => mail.messageId))
      stopped += await stop(desk, erasure, messageId, new Set(mails.map(({ recipientId }) => recipientId)))
    cancelled += stopped
    if (stopped > 0) continue
    const leased = live.filter(({ isLeased }) => isLeased)
    for (const messageId of new Set(leased.map((mail) => mail.messageId))) desk.wake.send('recall', messageId)
    const pauseMs = pausesMs[turn]
    if (live.length === 0 || pauseMs === undefined) {
      return noteLiveMails(desk.database.engine, erasure.id, { cancelled, beingSent: leased.length })
    }
    await delay(pauseMs)
    turn += 1
  }
}

/** @returns how many were stopped */
async function stop(
  desk: Omit<ErasureDesk, 'sealer'>,
  { tenantId, placeholder }: MailsOfErasure,
  messageId: Uuid,
  recipientIds: ReadonlySet<Uuid>,
): Promise<number> {
  const tell = tellCancelled(desk)
  const outcome = await cancelMessage(
    desk.database,
    { tenantId, messageId },
    // The event is written as it is to be read: nobody need erase it, and no webhook is told the address by it.
    (message, recipient, seq) => tell(message, { ...recipient, email: placeholder }, seq),
    (id) => recipientIds.has(id),
  )
  for (const { id: recipientId } of outcome?.changed ?? []) {
    const end = { tenantId, messageId, recipientId, email: placeholder }
    desk.mailLog.ended({ ...end, outcome: stateAfter('cancel'), reason: '' })
  }
  if (outcome?.hasWebhooks) desk.wake.send('webhooks')
  return outcome?.changed.length ?? 0
}

/** @throws {ProductError} not_found */
export async function showErasure(
  { database }: Pick<ErasureDesk, 'database'>,
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
  { database }: Pick<ErasureDesk, 'database'>,
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
