/** Webhook endpoints, and the tries that were made at them. */
import type { EventType, Uuid } from '@valija/core'
import { asTenant, type Database, readAsTenant } from './database.ts'
import type { WebhookModel } from './generated/prisma/models/Webhook.ts'
import type { Page } from './keys.ts'

export interface StoredWebhook {
  id: Uuid
  tenantId: Uuid
  url: string
  /** Event types, or `*`. */
  events: string[]
  /** Sender domains whose events it wants; empty: all. */
  domains: string[]
  /** Wants events of mails with one of these tags; empty: all. */
  tags: string[]
  status: 'enabled' | 'disabled'
  disabledReason: string | null
  createdAt: Date
}

export interface NewWebhook {
  id: Uuid
  tenantId: Uuid
  url: string
  events: string[]
  domains: string[]
  tags: string[]
  /** Sealed for its owner (packages/core/src/webhook-signature.ts). */
  secret: Buffer
}

/** Newest first. */
export async function listWebhooks(database: Database, tenantId: Uuid, page: Page): Promise<StoredWebhook[]> {
  const rows = await asTenant(database, tenantId, (prisma) =>
    prisma.webhook.findMany({
      where: { tenantId, ...(page.after !== null && { id: { lt: page.after } }) },
      orderBy: { id: 'desc' },
      take: page.limit,
    }),
  )
  return rows.map(toStoredWebhook)
}

export async function findWebhook(
  database: Database,
  tenantId: Uuid,
  id: Uuid,
): Promise<StoredWebhook | null> {
  const row = await asTenant(database, tenantId, (prisma) =>
    prisma.webhook.findFirst({ where: { id, tenantId } }),
  )
  return row && toStoredWebhook(row)
}

export async function insertWebhook(database: Database, webhook: NewWebhook): Promise<StoredWebhook> {
  const data = { ...webhook, secret: new Uint8Array(webhook.secret) }
  return toStoredWebhook(
    await asTenant(database, webhook.tenantId, (prisma) => prisma.webhook.create({ data })),
  )
}

export type WebhookChanges = Partial<Pick<StoredWebhook, 'url' | 'events' | 'domains' | 'tags' | 'status'>>

/** One that is enabled begins anew: its five days without a success are counted from the next failure. */
export async function updateWebhook(
  database: Database,
  tenantId: Uuid,
  id: Uuid,
  changes: WebhookChanges,
): Promise<StoredWebhook | null> {
  const data = {
    ...changes,
    ...(changes.status === 'enabled' && { disabledReason: null, failingSince: null }),
  }
  const rows = await asTenant(database, tenantId, (prisma) =>
    prisma.webhook.updateManyAndReturn({ where: { id, tenantId }, data }),
  )
  return rows[0] ? toStoredWebhook(rows[0]) : null
}

/** Removes it and what it has still to be told. @returns whether there was one */
export async function deleteWebhook(database: Database, tenantId: Uuid, id: Uuid): Promise<boolean> {
  const { count } = await asTenant(database, tenantId, (prisma) =>
    prisma.webhook.deleteMany({ where: { id, tenantId } }),
  )
  return count > 0
}

/** One try to tell an endpoint of one event. */
export interface WebhookTryRecord {
  id: Uuid
  eventId: Uuid
  eventType: EventType
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

/** Newest first. */
export async function listWebhookTries(
  database: Database,
  tenantId: Uuid,
  webhookId: Uuid,
  page: Page,
): Promise<WebhookTryRecord[]> {
  return readAsTenant(database, tenantId, async (client) => {
    const result = await client.query<WebhookTryRecord>({
      name: 'list-webhook-tries',
      text: `SELECT id, event_id AS "eventId", event_type AS "eventType", number, outcome, status_code AS "statusCode",
                    error, response_start AS "responseStart", started_at AS "startedAt", duration_ms AS "durationMs",
                    next_try_at AS "nextTryAt"
               FROM valija.webhook_tries
              WHERE tenant_id = $1 AND webhook_id = $2 AND ($3::uuid IS NULL OR id < $3)
              ORDER BY id DESC LIMIT $4`,
      values: [tenantId, webhookId, page.after, page.limit],
    })
    return result.rows
  })
}

function toStoredWebhook(row: WebhookModel): StoredWebhook {
  const { id, tenantId, url, events, domains, tags, disabledReason, createdAt } = row
  // The database's CHECK knows no other word.
  const status = row.status as StoredWebhook['status']
  return { id, tenantId, url, events, domains, tags, status, disabledReason, createdAt }
}
