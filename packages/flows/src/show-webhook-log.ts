/** What an endpoint was told, and what it has still to be told. */
import { type Caller, type EventType, formatId, invalidRequest, ProductError, parseId } from '@valija/core'
import {
  type EventAtWebhook,
  findEventAtWebhook,
  listPendingWebhooks,
  listWebhookTries,
  type PendingWebhook,
  type StoredWebhook,
  type WebhookTryRecord,
  type WebhookTrySearch,
} from '@valija/store'
import { type PageAnswer, type PageRequest, readPage } from './manage-pages.ts'
import { requireWebhook, type WebhookDesk } from './manage-webhooks.ts'

export interface WebhookTryView {
  id: string
  event_id: string
  batch_id: string | null
  type: EventType
  number: number
  outcome: string
  status_code: number | null
  error: string | null
  response_start: string | null
  started_at: string
  duration_ms: number
  next_try_at: string | null
}

export interface WebhookTryRequest extends PageRequest, Omit<WebhookTrySearch, 'eventId'> {
  event_id?: string
}

export interface PendingWebhookView {
  event_id: string
  type: EventType
  timestamp: string
  tries: number
  status: 'waiting' | 'sending'
  next_try_at: string | null
}

export interface EventAtWebhookView {
  event_id: string
  type: EventType
  timestamp: string
  status: 'delivered' | 'sending' | 'waiting' | 'not_told'
  summary: string
  next_try_at: string | null
  /** The last ones, newest first. */
  tries: WebhookTryView[]
}

/** How many tries the answer about one event has. */
const shownTries = 100

/** The tries at one endpoint, newest first. @throws {ProductError} not_found, invalid_request */
export async function showWebhookTries(
  desk: WebhookDesk,
  caller: Caller,
  id: string,
  { event_id: eventText, limit, cursor, ...search }: WebhookTryRequest,
): Promise<PageAnswer<WebhookTryView>> {
  const webhook = await requireWebhook(desk, caller, id)
  const eventId = eventText === undefined ? undefined : parseId('event', eventText)
  if (eventId === null) throw invalidRequest([{ path: 'event_id', message: 'is no id of an event' }])
  const read = (page: { limit: number; after: string | null }) =>
    listWebhookTries(
      desk.database,
      caller.tenantId,
      webhook.id,
      { ...search, ...(eventId !== undefined && { eventId }) },
      page,
    )
  return readPage('webhookTry', { limit, ...(cursor !== undefined && { cursor }) }, read, toTryView)
}

/** What one endpoint has still to be told, oldest first. @throws {ProductError} not_found */
export async function showPendingWebhooks(
  desk: WebhookDesk,
  caller: Caller,
  id: string,
  request: PageRequest,
): Promise<PageAnswer<PendingWebhookView>> {
  const webhook = await requireWebhook(desk, caller, id)
  const isEnabled = webhook.status === 'enabled'
  const read = (page: { limit: number; after: string | null }) =>
    listPendingWebhooks(desk.database, caller.tenantId, webhook.id, page)
  return readPage('event', request, read, (pending) => toPendingView(pending, isEnabled))
}

/** Whether an endpoint was told of an event. @throws {ProductError} not_found */
export async function showEventAtWebhook(
  desk: WebhookDesk,
  caller: Caller,
  id: string,
  eventText: string,
): Promise<EventAtWebhookView> {
  const webhook = await requireWebhook(desk, caller, id)
  const eventId = parseId('event', eventText)
  if (eventId === null) throw new ProductError('not_found')
  const { database } = desk
  const found = await findEventAtWebhook(database, caller.tenantId, webhook.id, eventId)
  if (found === null) throw new ProductError('not_found')
  const page = { limit: shownTries, after: null }
  const tries = await listWebhookTries(database, caller.tenantId, webhook.id, { eventId }, page)
  const status = statusOf(found, tries)
  const isEnabled = webhook.status === 'enabled'
  const pending = found.pending && toPendingView(found.pending, isEnabled)
  return {
    event_id: formatId('event', eventId),
    type: found.type,
    timestamp: found.createdAt.toISOString(),
    status,
    summary: summaries[summaryOf(status, webhook, found)],
    next_try_at: pending?.next_try_at ?? null,
    tries: tries.map(toTryView),
  }
}

const summaries = {
  delivered: 'The endpoint answered with success.',
  sending: 'It is being told at this moment.',
  waiting: 'It has not been told yet: next_try_at says when it is tried.',
  held: 'It has not been told, because the webhook is disabled: it is once it is enabled again.',
  missed:
    'It has not been told, because the webhook was disabled when it happened and still is. It will be once it is enabled again, if it asks for this event; until then /pending does not have it.',
  not_told:
    'It was not told and will not be: the webhook did not ask for this event, was not there or was disabled when it happened, or gave it up beyond the retention. POST /webhooks/:id/replay with this event_id tells it.',
} as const

function summaryOf(
  status: EventAtWebhookView['status'],
  { disabledAt, status: state }: StoredWebhook,
  { createdAt }: EventAtWebhook,
): keyof typeof summaries {
  if (status === 'waiting' && state === 'disabled') return 'held'
  if (status === 'not_told' && disabledAt !== null && createdAt >= disabledAt) return 'missed'
  return status
}

function statusOf(
  { pending }: EventAtWebhook,
  tries: readonly WebhookTryRecord[],
): EventAtWebhookView['status'] {
  if (pending !== null) return pending.isBeingTold ? 'sending' : 'waiting'
  return tries.some(({ outcome }) => outcome === 'delivered') ? 'delivered' : 'not_told'
}

function toPendingView(pending: PendingWebhook, isEnabled: boolean): PendingWebhookView {
  const { id, type, createdAt, tries, dueAt, isBeingTold } = pending
  return {
    event_id: formatId('event', id),
    type,
    timestamp: createdAt.toISOString(),
    tries,
    status: isBeingTold ? 'sending' : 'waiting',
    next_try_at: isBeingTold || !isEnabled ? null : dueAt.toISOString(),
  }
}

function toTryView(made: WebhookTryRecord): WebhookTryView {
  return {
    id: formatId('webhookTry', made.id),
    event_id: formatId('event', made.eventId),
    batch_id: made.batchId && formatId('webhookBatch', made.batchId),
    type: made.eventType,
    number: made.number,
    outcome: made.outcome,
    status_code: made.statusCode,
    error: made.error,
    response_start: made.responseStart,
    started_at: made.startedAt.toISOString(),
    duration_ms: made.durationMs,
    next_try_at: made.nextTryAt?.toISOString() ?? null,
  }
}
