/** Webhook endpoints and their secrets. */
import type { Uuid } from '@valija/core'
import { asTenant, type Database, readAsTenant, writeAsTenant } from './database.ts'
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
  /** Null: each event by itself. */
  batch: WebhookBatch | null
  status: 'enabled' | 'disabled'
  disabledReason: string | null
  /** Since when no try has succeeded; null when the last one did, and once it was given up. */
  failingSince: Date | null
  /** Null while it is enabled, and where an older version disabled it. */
  disabledAt: Date | null
  /** Until when its last secret but one signs or signed as well; null when there is none. */
  formerSecretUntil: Date | null
  createdAt: Date
}

export interface WebhookBatch {
  maxEvents: number
  /** How long an event waits for others. */
  maxWaitMs: number
}

export interface NewWebhook {
  id: Uuid
  tenantId: Uuid
  url: string
  events: string[]
  domains: string[]
  tags: string[]
  batch: WebhookBatch | null
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

/**
 * Webhooks of one tenant: each event of it costs a row for every one that asked for it, in the statement that settles the mail
 * (100,000 rows took 2.4 to 5.8 s on a busy machine; what takes over 15 s is settled in parts).
 */
export const maxWebhooks = 1_000

export async function insertWebhook(
  database: Database,
  webhook: NewWebhook,
): Promise<StoredWebhook | 'full'> {
  const { batch, ...columns } = webhook
  const { tenantId } = webhook
  const data = { ...columns, ...batchColumns(batch), secret: new Uint8Array(webhook.secret) }
  return asTenant(database, tenantId, async (prisma) => {
    // Without a lock, for which others would wait: of some that add the last one at once all may.
    if ((await prisma.webhook.count({ where: { tenantId } })) >= maxWebhooks) return 'full' as const
    return toStoredWebhook(await prisma.webhook.create({ data }))
  })
}

function batchColumns(batch: WebhookBatch | null) {
  return { batchMaxEvents: batch?.maxEvents ?? null, batchMaxWaitMs: batch?.maxWaitMs ?? null }
}

export type WebhookChanges = Partial<
  Pick<StoredWebhook, 'url' | 'events' | 'domains' | 'tags' | 'batch' | 'status'>
>

/** One that is enabled begins anew: its five days without a success are counted from the next failure. */
export async function updateWebhook(
  database: Database,
  tenantId: Uuid,
  id: Uuid,
  changes: WebhookChanges,
): Promise<StoredWebhook | null> {
  const { batch, ...columns } = changes
  const data = {
    ...columns,
    ...(batch !== undefined && batchColumns(batch)),
    ...(changes.status === 'enabled' && { disabledReason: null, failingSince: null, disabledAt: null }),
  }
  const row = await asTenant(database, tenantId, async (prisma) => {
    // Only one that was enabled: for one that was disabled already, the time goes on.
    if (changes.status === 'disabled') {
      await prisma.$executeRaw`UPDATE valija.webhooks SET disabled_at = now()
        WHERE id = ${id}::uuid AND tenant_id = ${tenantId}::uuid AND status = 'enabled'`
    }
    const rows = await prisma.webhook.updateManyAndReturn({ where: { id, tenantId }, data })
    return rows[0]
  })
  return row ? toStoredWebhook(row) : null
}

/** Removes it and what it has still to be told. @returns whether there was one */
export async function deleteWebhook(database: Database, tenantId: Uuid, id: Uuid): Promise<boolean> {
  const { count } = await asTenant(database, tenantId, (prisma) =>
    prisma.webhook.deleteMany({ where: { id, tenantId } }),
  )
  return count > 0
}

/** How many secrets sign at once, at most: the newest and those that overlap with it. */
export const maxSigningSecrets = 5

/**
 * Gives an endpoint a new secret. Former ones sign for the overlap, and none of them longer than it was promised to.
 *
 * @param renew makes the new sealed secrets: from the sealed ones and from how many of them, the newest first, go on signing
 * @param overlapMs 0: no former secret signs any more
 * @returns null when there is no such endpoint, `crowded` when too many secrets sign already
 */
export async function rotateWebhookSecret(
  database: Database,
  { tenantId, id, overlapMs }: { tenantId: Uuid; id: Uuid; overlapMs: number },
  renew: (sealed: Buffer, keptSecrets: number) => Buffer,
): Promise<{ formerSecretUntil: Date | null } | 'crowded' | null> {
  return writeAsTenant(database, tenantId, async (client) => {
    const found = await client.query<{ secret: Buffer; ends: Date[] }>(
      `SELECT secret, ARRAY(SELECT ends_at FROM unnest(former_secrets_end) WITH ORDINALITY AS former (ends_at, place)
                             WHERE ends_at > now() ORDER BY place) AS ends
         FROM valija.webhooks WHERE id = $1 AND tenant_id = $2 FOR NO KEY UPDATE`,
      [id, tenantId],
    )
    const row = found.rows[0]
    if (row === undefined) return null
    const keptSecrets = overlapMs > 0 ? 1 + row.ends.length : 0
    if (keptSecrets >= maxSigningSecrets) return 'crowded'
    const result = await client.query<{ ends: Date[] }>(
      `UPDATE valija.webhooks SET secret = $3, former_secrets_end = CASE WHEN $4::float8 > 0 THEN
         ARRAY(SELECT least(ends_at, now() + $4 * interval '1 millisecond')
                 FROM unnest('infinity'::timestamptz || $5::timestamptz[]) WITH ORDINALITY AS former (ends_at, place) ORDER BY place)
         ELSE '{}' END
        WHERE id = $1 AND tenant_id = $2 RETURNING former_secrets_end AS ends`,
      [id, tenantId, renew(row.secret, keptSecrets), overlapMs, row.ends],
    )
    return { formerSecretUntil: result.rows[0]?.ends[0] ?? null }
  })
}

/** What is needed to sign for an endpoint. */
export interface WebhookSigner {
  sealedSecret: Buffer
  /** How many of the sealed secrets sign now, from the newest on. */
  signingSecrets: number
}

export async function readWebhookSigner(
  database: Database,
  tenantId: Uuid,
  id: Uuid,
): Promise<WebhookSigner | null> {
  return readAsTenant(database, tenantId, async (client) => {
    const { rows } = await client.query<WebhookSigner>(
      `SELECT secret AS "sealedSecret",
              1 + (SELECT count(*)::integer FROM unnest(former_secrets_end) AS ends_at WHERE ends_at > now()) AS "signingSecrets"
         FROM valija.webhooks WHERE id = $1 AND tenant_id = $2`,
      [id, tenantId],
    )
    return rows[0] ?? null
  })
}

function toStoredWebhook(row: WebhookModel): StoredWebhook {
  const { id, tenantId, url, events, domains, tags, disabledReason, failingSince, createdAt } = row
  const { batchMaxEvents, batchMaxWaitMs, formerSecretsEnd, disabledAt } = row
  // The database's CHECK knows no other word.
  const status = row.status as StoredWebhook['status']
  return {
    id,
    tenantId,
    url,
    events,
    domains,
    tags,
    batch:
      batchMaxEvents === null || batchMaxWaitMs === null
        ? null
        : { maxEvents: batchMaxEvents, maxWaitMs: batchMaxWaitMs },
    status,
    disabledReason,
    failingSince,
    disabledAt: status === 'disabled' ? disabledAt : null,
    formerSecretUntil: formerSecretsEnd[0] ?? null,
    createdAt,
  }
}
