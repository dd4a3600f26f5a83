/** What endpoints were told and what they have still to be told: the log of tries, and the outbox as its tenant sees it. */
import { type EventType, lowestUuidAt, type Uuid, uuidTimeMs } from '@valija/core'
import { type Database, readAsTenant } from './database.ts'
import type { Page } from './keys.ts'

/** One try to tell an endpoint of one event. */
export interface WebhookTryRecord {
  id: Uuid
  eventId: Uuid
  eventType: EventType
  /** What it was told in; null when by itself. */
  batchId: Uuid | null
  /** From 1. */
  number: number
  outcome: string
  statusCode: number | null
  error: string | null
  /** The first characters of what the endpoint answered. */
  responseStart: string | null
  startedAt: Date
  durationMs: number
  nextTryAt: Date | null
}

export interface WebhookTrySearch {
  eventId?: Uuid
  types?: readonly EventType[]
  outcome?: 'delivered' | 'failed'
  /** Tries that began at or after, and before. */
  afterMs?: number
  beforeMs?: number
}

/** A try's id is made at its end, at most this long after its beginning. */
export const longestTryMs = 300_000

const tryColumns = `id, event_id AS "eventId", event_type AS "eventType", batch_id AS "batchId", number, outcome,
  status_code AS "statusCode", error, response_start AS "responseStart", started_at AS "startedAt", duration_ms AS "durationMs",
  next_try_at AS "nextTryAt"`

/** Newest first. */
export async function listWebhookTries(
  database: Database,
  tenantId: Uuid,
  webhookId: Uuid,
  search: WebhookTrySearch,
  page: Page,
): Promise<WebhookTryRecord[]> {
  const values: unknown[] = [tenantId, webhookId]
  const conditions = ['tenant_id = $1', 'webhook_id = $2']
  const where = (condition: (parameter: string) => string, value: unknown) => {
    if (value !== undefined && value !== null) conditions.push(condition(`$${values.push(value)}`))
  }
  const { eventId, types, outcome, afterMs, beforeMs } = search
  where((at) => `id < ${at}`, page.after)
  where((at) => `event_id = ${at}`, eventId)
  // An event is not told before it happens: earlier days need not be opened.
  where((at) => `id >= ${at}`, eventId && lowestUuidAt(uuidTimeMs(eventId) - longestTryMs))
  where((at) => `event_type = ANY (${at})`, types)
  where((at) => `outcome = ${at}`, outcome)
  where((at) => `started_at >= ${at}`, afterMs === undefined ? undefined : new Date(afterMs))
  where((at) => `id >= ${at}`, afterMs === undefined ? undefined : lowestUuidAt(afterMs))
  where((at) => `started_at < ${at}`, beforeMs === undefined ? undefined : new Date(beforeMs))
  where((at) => `id < ${at}`, beforeMs === undefined ? undefined : lowestUuidAt(beforeMs + longestTryMs))
  return readAsTenant(database, tenantId, async (client) => {
    const result = await client.query<WebhookTryRecord>(
      `SELECT ${tryColumns} FROM valija.webhook_tries WHERE ${conditions.join(' AND ')}
        ORDER BY id DESC LIMIT $${values.push(page.limit)}`,
      values,
    )
    return result.rows
  })
}

/** An event that an endpoint has still to be told of. */
export interface PendingWebhook {
  /** The event's. */
  id: Uuid
  type: EventType
  createdAt: Date
  /** Tries made so far. */
  tries: number
  /** When it is told at the earliest, or a dead worker's try is given up. */
  dueAt: Date
  /** A worker is telling it. */
  isBeingTold: boolean
}

const pendingColumns = `row.event_id AS id, event.type, event.created_at AS "createdAt", row.tries, row.due_at AS "dueAt",
  coalesce(row.leased_until > now(), false) AS "isBeingTold"`

/** Oldest first. */
export async function listPendingWebhooks(
  database: Database,
  tenantId: Uuid,
  webhookId: Uuid,
  page: Page,
): Promise<PendingWebhook[]> {
  return readAsTenant(database, tenantId, async (client) => {
    // The page first: a join over the whole backlog would be sorted for every page.
    const result = await client.query<PendingWebhook>(
      `SELECT ${pendingColumns}
         FROM (SELECT * FROM valija.webhook_outbox
                WHERE tenant_id = $1 AND webhook_id = $2 AND ($3::uuid IS NULL OR event_id > $3)
                ORDER BY event_id LIMIT $4) AS row
         JOIN valija.events AS event ON event.id = row.event_id
        ORDER BY row.event_id`,
      [tenantId, webhookId, page.after, page.limit],
    )
    return result.rows
  })
}

/** An event, and the place of an endpoint in telling it. */
export interface EventAtWebhook {
  type: EventType
  createdAt: Date
  pending: PendingWebhook | null
}

/** @returns null when there is no such event, or none any more */
export async function findEventAtWebhook(
  database: Database,
  tenantId: Uuid,
  webhookId: Uuid,
  eventId: Uuid,
): Promise<EventAtWebhook | null> {
  return readAsTenant(database, tenantId, async (client) => {
    const event = await client.query<Omit<EventAtWebhook, 'pending'>>(
      'SELECT type, created_at AS "createdAt" FROM valija.events WHERE id = $1 AND tenant_id = $2',
      [eventId, tenantId],
    )
    const found = event.rows[0]
    if (found === undefined) return null
    const pending = await client.query<PendingWebhook>(
      `SELECT ${pendingColumns} FROM valija.webhook_outbox AS row JOIN valija.events AS event ON event.id = row.event_id
        WHERE row.webhook_id = $1 AND row.event_id = $2 AND row.tenant_id = $3`,
      [webhookId, eventId, tenantId],
    )
    return { ...found, pending: pending.rows[0] ?? null }
  })
}
