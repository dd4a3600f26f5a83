/** Managing the suppression list: what people put on it, look up, confirm and take off. */
import {
  type Caller,
  conflict,
  formatId,
  type IdSource,
  invalidRequest,
  ProductError,
  parseId,
  type RemovalHow,
  type Stream,
  type SuppressionReason,
  type SuppressionStatus,
  type Uuid,
} from '@valija/core'
import { type Address, parseAddress } from '@valija/mail'
import {
  type Database,
  deleteSuppression,
  findSuppression,
  insertSuppression,
  listSuppressions,
  type StoredSuppression,
  type SuppressionChange,
  type SuppressionSearch,
  updateSuppression,
  type Wake,
} from '@valija/store'
import { type PageAnswer, type PageRequest, readPage } from './manage-pages.ts'

export interface SuppressionDesk {
  database: Database
  wake: Pick<Wake, 'send'>
  nextId: IdSource
}

export interface SuppressionRequest extends PageRequest {
  email?: string
  reason?: SuppressionReason
  status?: SuppressionStatus
  stream?: Stream
}

/** The body of POST /suppressions. */
export interface SuppressionInput {
  email: string
  /** Absent or null: both. */
  stream?: Stream | null
}

/** The body of PATCH /suppressions/:id. */
export interface SuppressionPatch {
  status?: 'active'
  stream?: Stream | null
}

export interface SuppressionView {
  id: string
  email: string
  stream: Stream | null
  reason: SuppressionReason
  status: SuppressionStatus
  message_id: string | null
  reply: string | null
  created_at: string
  /** Whose server said so. */
  provider: string | null
  /** Of what is not on the list any more. */
  removed: { at: string; how: RemovalHow; key_id: string | null } | null
}

/** @throws {ProductError} invalid_request */
export function showSuppressions(
  desk: SuppressionDesk,
  caller: Caller,
  request: SuppressionRequest,
): Promise<PageAnswer<SuppressionView>> {
  const search = searchOf(request)
  const read = (page: { limit: number; after: Uuid | null }) =>
    listSuppressions(desk.database, caller.tenantId, search, page)
  return readPage('suppression', request, read, toSuppressionView)
}

/** @throws {ProductError} invalid_request */
export function searchOf({
  email,
  reason,
  status,
  stream,
}: Omit<SuppressionRequest, keyof PageRequest>): SuppressionSearch {
  return {
    ...(email !== undefined && { emailKey: keyOf(readAddress('email', email)) }),
    ...(reason && { reason }),
    ...(status && { status }),
    ...(stream && { stream }),
  }
}

/** @throws {ProductError} not_found */
export async function showSuppression(
  desk: SuppressionDesk,
  caller: Caller,
  id: string,
): Promise<SuppressionView> {
  const uuid = parseId('suppression', id)
  const stored = uuid && (await findSuppression(desk.database, caller.tenantId, uuid))
  if (!stored) throw new ProductError('not_found')
  return toSuppressionView(stored)
}

/**
 * Suppresses an address. Asked again it answers with the same entry: whoever asks wants it not to be sent to, and so it is.
 *
 * @throws {ProductError} invalid_request
 */
export async function addSuppression(
  desk: SuppressionDesk,
  caller: Caller,
  input: SuppressionInput,
): Promise<SuppressionView> {
  const address = readAddress('/email', input.email)
  const change = await insertSuppression(desk.database, {
    id: desk.nextId(),
    tenantId: caller.tenantId,
    email: address.email,
    emailKey: keyOf(address),
    stream: input.stream ?? null,
  })
  return tell(desk, change)
}

/** @throws {ProductError} not_found, conflict */
export async function changeSuppression(
  desk: SuppressionDesk,
  caller: Caller,
  id: string,
  patch: SuppressionPatch,
): Promise<SuppressionView> {
  const uuid = parseId('suppression', id)
  const change = uuid && (await updateSuppression(desk.database, caller.tenantId, uuid, patch))
  if (!change) throw new ProductError('not_found')
  if (change === 'doubled') {
    const which = patch.stream ? `the stream ${patch.stream}` : 'both streams'
    throw conflict('exists', {
      detail: `The address has another entry for ${which}: see GET /suppressions?email=, and remove one of them.`,
    })
  }
  return tell(desk, change)
}

/** @throws {ProductError} not_found */
export async function removeSuppression(desk: SuppressionDesk, caller: Caller, id: string): Promise<void> {
  const uuid = parseId('suppression', id)
  const remover = { how: 'deleted', keyId: caller.keyId } as const
  const gone = uuid && (await deleteSuppression(desk.database, caller.tenantId, uuid, remover))
  if (!gone) {
    const detail =
      'There is no such entry on the list; what was taken off it is shown by GET /suppressions?status=removed.'
    throw new ProductError('not_found', { detail })
  }
  if (gone.hasWebhooks) desk.wake.send('webhooks')
}

function tell(desk: SuppressionDesk, { suppression, hasWebhooks }: SuppressionChange): SuppressionView {
  if (hasWebhooks) desk.wake.send('webhooks')
  return toSuppressionView(suppression)
}

function readAddress(path: string, text: string): Address {
  const address = parseAddress(text)
  if (!address.ok) throw invalidRequest([{ path, message: address.message }])
  return address.value
}

const keyOf = (address: Address) => `${address.key}@${address.domain}`

export function toSuppressionView(stored: StoredSuppression): SuppressionView {
  return {
    id: formatId('suppression', stored.id),
    email: stored.email,
    stream: stored.stream,
    reason: stored.reason,
    status: stored.removedAt ? 'removed' : stored.quarantinedAt ? 'quarantined' : 'active',
    message_id: stored.messageId && formatId('message', stored.messageId),
    reply: stored.reply,
    created_at: stored.createdAt.toISOString(),
    provider: stored.provider,
    removed: removalOf(stored),
  }
}

function removalOf({ removedAt, removedHow, removedByKey }: StoredSuppression): SuppressionView['removed'] {
  if (removedAt === null || removedHow === null) return null
  return {
    at: removedAt.toISOString(),
    how: removedHow,
    key_id: removedByKey && formatId('key', removedByKey),
  }
}
