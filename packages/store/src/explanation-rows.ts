/**
 * What `explain` reads of a message: its recipients with their delivery rows, the last attempt of each, what suppresses their
 * addresses, and, of what is not the tenant's own, only that which keeps its mail: routes, TLS policies of the receiving domains,
 * how many mails are before it, and whether anybody works.
 *
 * A bounded number of statements, whatever the number of recipients.
 */
import {
  type DeliveryState,
  lowestUuidAt,
  type RecipientState,
  type RouteKind,
  type SitePace,
  type Stream,
  type Uuid,
} from '@valija/core'
import type pg from 'pg'
import { type Database, readAsTenant } from './database.ts'
import { earliestIdOf } from './message-ids.ts'
import type { BulkPause } from './pause-bulk.ts'
import { lateEventsMs } from './read-events.ts'
import type { RouteCondition } from './route-health.ts'
import { extendedSql } from './suspend-tenant.ts'

export interface ExplainedMessage {
  id: Uuid
  createdAt: Date
  stream: Stream
  delivery: string
  fromDomain: string
  sendAt: Date | null
  expiresAt: Date
  /** Since when the tenant is suspended; null when it is not. */
  suspendedAt: Date | null
  /** Since when bulk mail of the tenant is held, and why; null when it is not, and for other mail. */
  bulkPausedAt: Date | null
  bulkPause: BulkPause | null
  requireTls: boolean
  /** It could be sent again. */
  isContentKept: boolean
}

export interface ExplainedRecipient {
  id: Uuid
  email: string
  /** With the local part in lower case: what the suppression list goes by. */
  emailKey: string
  domain: string
  /** As stored. */
  status: RecipientState
  reason: string | null
  reply: string | null
  attempts: number
  nextAttemptAt: Date | null
  deliveredAt: Date | null
  /** When its reader followed the link of this mail. */
  unsubscribedAt: Date | null
  /** The rest is its delivery row's; null at its end. */
  state: DeliveryState | null
  dueAt: Date | null
  route: string | null
  hold: string | null
  simulation: string | null
  isLeased: boolean
  /** Leases in a row that ran out under it. */
  crashes: number
}

export interface LastAttempt {
  recipientId: Uuid
  number: number
  outcome: string
  reason: string | null
  startedAt: Date
  /** As settle kept it (packages/flows/src/judge-attempt.ts), without the conversation. */
  report: Record<string, unknown>
  /** How many of the recipient's attempts have an unknown end. */
  uncertain: number
}

export interface SuppressionEntry {
  emailKey: string
  id: Uuid
  reason: string
  isQuarantined: boolean
  reply: string | null
  createdAt: Date
}

export interface ExplainedRows {
  message: ExplainedMessage
  /** In the order they were given. */
  recipients: ExplainedRecipient[]
  lastAttempts: Map<Uuid, LastAttempt>
  /** By address key; what is in force before what is quarantined. */
  suppressions: Map<string, SuppressionEntry>
  /** When a recipient complained, by its id as programs see it. */
  complaints: Map<string, Date>
}

/** Recipients are made in the same moment as their message; attempts end a known time after its expiry. */
const recipientsWithinMs = 3_600_000
const slackMs = 86_400_000

/** @returns null for a message that is unknown or another tenant's */
export async function readExplainedMessage(
  database: Database,
  tenantId: Uuid,
  id: Uuid,
): Promise<ExplainedRows | null> {
  return readAsTenant(database, tenantId, async (client) => {
    const message = await findMessageRow(client, tenantId, id)
    if (message === null) return null
    const recipients = await findRecipientRows(client, tenantId, message)
    const attempts = await findLastAttempts(client, tenantId, message)
    const suppressions = await findEntries(client, tenantId, message.stream, recipients)
    const complaints = recipients.some(({ deliveredAt }) => deliveredAt !== null)
      ? await findComplaints(client, tenantId, message)
      : []
    return {
      message,
      recipients,
      complaints: new Map(complaints.map(({ recipient, at }) => [recipient, at])),
      lastAttempts: new Map(attempts.map((attempt) => [attempt.recipientId, attempt])),
      suppressions: new Map(suppressions.reverse().map((entry) => [entry.emailKey, entry])),
    }
  })
}

async function findMessageRow(
  client: pg.PoolClient,
  tenantId: Uuid,
  id: Uuid,
): Promise<ExplainedMessage | null> {
  const result = await client.query<ExplainedMessage>({
    name: 'explain-message',
    text: `SELECT m.id, m.created_at AS "createdAt", m.stream, m.delivery, m.from_domain AS "fromDomain", m.send_at AS "sendAt",
             ${extendedSql('m', 'messages')} AS "expiresAt", m.require_tls AS "requireTls",
             EXISTS (SELECT FROM valija.bodies AS b WHERE b.tenant_id = $1 AND b.message_id = $2) AS "isContentKept",
             (SELECT t.suspended_at FROM valija.tenants AS t WHERE t.id = m.tenant_id) AS "suspendedAt",
             held.bulk_paused_at AS "bulkPausedAt", held.bulk_pause AS "bulkPause"
           FROM valija.messages AS m LEFT JOIN valija.tenants AS held ON held.id = m.tenant_id AND m.stream = 'bulk'
           WHERE m.tenant_id = $1 AND m.id = $2`,
    values: [tenantId, id],
  })
  return result.rows[0] ?? null
}

async function findRecipientRows(
  client: pg.PoolClient,
  tenantId: Uuid,
  { id, createdAt }: ExplainedMessage,
): Promise<ExplainedRecipient[]> {
  const result = await client.query<ExplainedRecipient>({
    name: 'explain-recipients',
    text: `SELECT r.id, r.email, r.email_key AS "emailKey", r.domain, r.status, r.reason, r.reply, r.attempts,
             r.next_attempt_at AS "nextAttemptAt", r.delivered_at AS "deliveredAt", r.unsubscribed_at AS "unsubscribedAt",
             d.state, d.due_at AS "dueAt", d.route, d.hold, d.simulation, coalesce(d.crashes, 0) AS crashes,
             coalesce(d.state = 'leased' AND d.leased_until > now(), false) AS "isLeased"
           FROM valija.recipients AS r LEFT JOIN valija.deliveries AS d ON d.recipient_id = r.id AND d.tenant_id = r.tenant_id
           WHERE r.tenant_id = $1 AND r.message_id = $2 AND r.id > $2 AND r.id < $3
           ORDER BY r.ordinal`,
    values: [tenantId, id, lowestUuidAt(createdAt.getTime() + recipientsWithinMs)],
  })
  return result.rows
}

async function findLastAttempts(
  client: pg.PoolClient,
  tenantId: Uuid,
  { id, expiresAt }: ExplainedMessage,
): Promise<LastAttempt[]> {
  const result = await client.query<LastAttempt>({
    name: 'explain-attempts',
    text: `SELECT DISTINCT ON (recipient_id) recipient_id AS "recipientId", number, outcome, reason, started_at AS "startedAt",
             report - 'transcript' AS report,
             (count(*) FILTER (WHERE report ->> 'uncertain' = 'true') OVER (PARTITION BY recipient_id))::int AS uncertain
           FROM valija.attempts
           WHERE tenant_id = $1 AND message_id = $2 AND id > $3 AND id < $4
           ORDER BY recipient_id, number DESC, id DESC`,
    values: [tenantId, id, earliestIdOf(id), lowestUuidAt(expiresAt.getTime() + slackMs)],
  })
  return result.rows
}

async function findComplaints(
  client: pg.PoolClient,
  tenantId: Uuid,
  { id, expiresAt }: ExplainedMessage,
): Promise<{ recipient: string; at: Date }[]> {
  const result = await client.query<{ recipient: string; at: Date }>({
    name: 'explain-complaints',
    text: `SELECT data ->> 'recipient_id' AS recipient, min(created_at) AS at FROM valija.events
           WHERE tenant_id = $1 AND message_id = $2 AND id > $3 AND id < $4 AND type = 'message.complained'
           GROUP BY data ->> 'recipient_id'`,
    values: [tenantId, id, earliestIdOf(id), lowestUuidAt(expiresAt.getTime() + lateEventsMs)],
  })
  return result.rows
}

async function findEntries(
  client: pg.PoolClient,
  tenantId: Uuid,
  stream: Stream,
  recipients: readonly ExplainedRecipient[],
): Promise<SuppressionEntry[]> {
  const result = await client.query<SuppressionEntry>({
    name: 'explain-suppressions',
    text: `SELECT email_key AS "emailKey", id, reason, quarantined_at IS NOT NULL AS "isQuarantined", reply, created_at AS "createdAt"
           FROM valija.suppressions
           WHERE tenant_id = $1 AND email_key = ANY ($2::text[]) AND (stream IS NULL OR stream = $3)
           ORDER BY quarantined_at IS NOT NULL, id`,
    values: [tenantId, recipients.map(({ emailKey }) => emailKey), stream],
  })
  return result.rows
}

export interface ExplainedRoute {
  id: Uuid | null
  name: string
  kind: RouteKind
  isOperators: boolean
  isPaused: boolean
  pausedReason: string | null
  pausedReply: string | null
  pausedUntil: Date | null
  condition: RouteCondition | null
  downReply: string | null
  since: Date | null
}

/**
 * Routes of these names that the tenant may take, its own before the operator's, with what is known against them; what was said to
 * the operator's is left out, as in GET /routes.
 */
export async function findExplainedRoutes(
  engine: pg.Pool,
  tenantId: Uuid,
  names: readonly string[],
): Promise<ExplainedRoute[]> {
  const result = await engine.query<ExplainedRoute>({
    name: 'explain-routes',
    text: `SELECT DISTINCT ON (r.name) r.id, r.name, r.kind, r.tenant_id IS NULL AS "isOperators", pause.holds AS "isPaused",
             CASE WHEN pause.holds THEN r.paused_reason END AS "pausedReason",
             CASE WHEN pause.holds AND r.tenant_id = $1 THEN r.paused_reply END AS "pausedReply",
             CASE WHEN pause.holds THEN r.paused_until END AS "pausedUntil",
             h.condition, CASE WHEN r.tenant_id = $1 THEN h.reply END AS "downReply", h.since
           FROM valija.routes AS r
             CROSS JOIN LATERAL (SELECT r.state = 'paused' AND (r.paused_until IS NULL OR r.paused_until > now()) AS holds) AS pause
             LEFT JOIN valija.route_health AS h ON h.route = r.id::text
           WHERE r.name = ANY ($2::text[]) AND (r.tenant_id = $1 OR r.tenant_id IS NULL)
           ORDER BY r.name, r.tenant_id NULLS LAST`,
    values: [tenantId, names],
  })
  return result.rows
}

/** What is known against the relay that VALIJA_SMARTHOST_URL names; null when nothing is. What it said is the operator's. */
export async function findInstallationTrouble(
  engine: pg.Pool,
): Promise<{ condition: RouteCondition; since: Date } | null> {
  const result = await engine.query<{ condition: RouteCondition; since: Date }>({
    name: 'explain-installation',
    text: `SELECT condition, since FROM valija.route_health WHERE route = 'installation'`,
  })
  return result.rows[0] ?? null
}

/** Those of these recipients' domains whose MTA-STS policy demands TLS. */
export async function findEnforcedSts(engine: pg.Pool, domains: readonly string[]): Promise<Set<string>> {
  const result = await engine.query<{ domain: string }>({
    name: 'explain-sts',
    text: `SELECT domain FROM valija.mta_sts_policies
           WHERE domain = ANY ($1::text[]) AND policy ~* 'mode:\\s*enforce' AND fetched_at > now() - make_interval(secs => max_age_seconds)`,
    values: [domains],
  })
  return new Set(result.rows.map(({ domain }) => domain))
}

/** A receiving site, as all workers know it. */
export interface ExplainedSite {
  key: string
  /** As the operator's routes have it: POST /queue/sites/:id/resume. */
  id: string
  provider: string | null
  site: string
  pace: SitePace | null
  pausedUntil: Date | null
  since: Date | null
  /** A recipient's domain whose mail goes there, as far as was noted. */
  domain: string | null
}

/** The sites of these keys, and those that the mail of these domains went to, the one used last first. */
export async function findExplainedSites(
  engine: pg.Pool,
  keys: readonly string[],
  domains: readonly string[],
): Promise<ExplainedSite[]> {
  const result = await engine.query<ExplainedSite>({
    name: 'explain-sites',
    text: `SELECT s.key, s.id, s.provider, s.site, s.pace, s.paused_until AS "pausedUntil", s.since, wanted.domain
           FROM (
             SELECT unnest($1::text[]) AS key, NULL::text AS domain, NULL::timestamptz AS seen_at
             UNION ALL SELECT scope_key, domain, seen_at FROM valija.destinations WHERE domain = ANY ($2::text[])
           ) AS wanted JOIN valija.shaping_sites AS s ON s.key = wanted.key
           ORDER BY wanted.seen_at DESC NULLS LAST LIMIT 5000`,
    values: [keys, domains],
  })
  return result.rows
}

/** What of a tenant's mail, or of that from one of its domains, rules hold back now, where, and for which reply. */
export async function findSenderHolds(
  engine: pg.Pool,
  tenantId: Uuid,
  fromDomain: string,
): Promise<{ name: string; reply: string | null }[]> {
  const result = await engine.query<{ name: string; reply: string | null }>({
    name: 'explain-sender-holds',
    text: `SELECT coalesce(s.provider, s.site) AS name, h.hold ->> 'reply' AS reply
           FROM valija.shaping_holds AS h JOIN valija.shaping_sites AS s ON s.key = h.scope_key
           WHERE h.tenant_id = $1 AND h.part = ANY (ARRAY['*', $2]) AND h.until > now()
           ORDER BY h.until DESC LIMIT 100`,
    values: [tenantId, fromDomain],
  })
  return result.rows
}

/** Nobody reads a larger number as anything but "very many". */
const mostAhead = 10_000

/** Mails of the same tenant and stream that wait and are due before this time. */
export async function countAhead(
  engine: pg.Pool,
  { tenantId, stream, messageId, dueAt }: { tenantId: Uuid; stream: Stream; messageId: Uuid; dueAt: Date },
): Promise<{ count: number; isMore: boolean }> {
  const result = await engine.query<{ count: number }>({
    name: 'explain-ahead',
    text: `SELECT count(*)::int AS count FROM (
             SELECT FROM valija.deliveries
             WHERE tenant_id = $1 AND stream = $2 AND state = 'waiting' AND due_at < $3 AND message_id <> $4
             LIMIT ${mostAhead + 1}) AS ahead`,
    values: [tenantId, stream, dueAt, messageId],
  })
  const count = result.rows[0]?.count ?? 0
  return { count: Math.min(count, mostAhead), isMore: count > mostAhead }
}
