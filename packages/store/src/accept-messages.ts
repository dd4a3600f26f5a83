/**
 * The accept transaction: messages, bodies, recipients, deliveries, events, webhook outbox and idempotency rows of all
 * requests that arrived together, in one commit. After it the 202 is a promise.
 *
 * It is we who commit, and only in time. A statement that commits by itself would go on in PostgreSQL after its clients have been
 * told that it failed: what they send again would be there twice. The price is two more round trips for a batch, 0.05 ms on one machine.
 *
 * Rows whose tenant has nothing waiting and a free share are written as `admitted` at once, as many as that share has room for,
 * and come back to be hinted to the workers; the others wait for the dispatcher (packages/flows/src/dispatch-deliveries.ts).
 *
 * The same statement looks for recipients that are suppressed. A message with one is left out, and comes back with what was found:
 * its events and its answer have to say so, and those are made by flows. So the many that nothing is known against pay one look-up in
 * an index (3 µs, with 100,000 entries), and the few are sent here twice.
 *
 * Many rows travel as one array per column (`unnest`), and all bodies as one binary parameter that is cut in the database:
 * 18,900 rows a second against 3,000 for Prisma's createMany on the same machine.
 */
import {
  type DeliveryState,
  isEnd,
  ProductError,
  type RecipientState,
  recipientStates,
  type Simulation,
  type Stream,
  type SuppressionReason,
  type TemplateVersionName,
  type Uuid,
} from '@valija/core'
import type pg from 'pg'
import { hasDueRow, isInFlight } from './admission.ts'
import { booleanArray, integerArray, textArray, timeArray, uuidArray } from './array-parameters.ts'
import { dueNowSql } from './due-now.ts'
import { claimKeys, type KeyResult, type NewIdempotencyRow } from './idempotency-keys.ts'
import { eventExpressions, eventParameterCount, eventParameters, type NewEvent } from './new-events.ts'
import { inIndexOrder, planOnce } from './plan-once.ts'
import { retryConflicts } from './retry-conflicts.ts'
import { hitSql, type SuppressionHit } from './suppressions.ts'
import { answerWithin } from './watch-connection.ts'

export interface NewRecipient {
  id: Uuid
  email: string
  emailKey: string
  domain: string
  type: 'to' | 'cc' | 'bcc'
  status: RecipientState
  reason: string | null
  simulation: Simulation | null
  /** The last event's number. */
  seq: number
}

export interface NewMessage {
  id: Uuid
  tenantId: Uuid
  createdAtMs: number
  stream: Stream
  delivery: string
  /** The route that its recipients take first. */
  route: string
  fromHeader: string
  fromEmail: string
  fromDomain: string
  subject: string
  tags: readonly string[]
  metadata: Readonly<Record<string, string>>
  sendAtMs: number | null
  expiresAtMs: number
  rfcMessageId: string
  /** To be sent over verified TLS only. */
  requireTls: boolean
  isSimulated: boolean
  /** Its body is dropped as soon as no recipient is left to be sent to; where there is none from the beginning it is not stored. */
  isSensitive: boolean
  /** Never to leave the machine, whatever its addresses are. */
  isSandbox: boolean
  /** The message that is sent again with it. */
  resentFrom: Uuid | null
  /** What it was made from, if from a template. */
  template: TemplateVersionName | null
  /** When somebody is told of each recipient whose mail is not handed off yet; null: never. */
  lateAtMs: number | null
  /** As `encodeBody` made it. */
  body: Buffer
  recipients: readonly NewRecipient[]
  events: readonly NewEvent[]
  idempotency: NewIdempotencyRow | null
}

/** What became of one message of the batch. */
export type AcceptResult =
  | { kind: 'accepted'; admitted: Uuid[] }
  | KeyResult
  /** Not written: these of its recipients are suppressed, and it says otherwise. To be accepted again, with that in it. */
  | { kind: 'suppressed'; hits: ReadonlyMap<Uuid, SuppressionHit> }

export interface AcceptLimits {
  /**
   * So many rows of a tenant may be admitted, and not leased yet, before further ones wait for the dispatcher; twice as many may be
   * in flight.
   */
  directShare: number
  /** By `performance.now()`: COMMIT is sent before this, or never; the usual time when it is absent. */
  commitByMs?: number
}

export interface AcceptOutcome {
  /** Per message, in order. */
  results: AcceptResult[]
  /** Rows were left waiting: the dispatcher is to be woken. */
  hasWaiting: boolean
  /** Endpoints have something to be told: the webhooks are to be woken. */
  hasWebhooks: boolean
}

/**
 * Writes a batch in one transaction and commits it.
 *
 * @throws what PostgreSQL throws, and database_unavailable when its time is over: then nothing of the batch is kept, unless it was
 *   the COMMIT that got no answer
 */
export async function acceptMessages(
  pool: pg.Pool,
  messages: readonly NewMessage[],
  limits: AcceptLimits,
): Promise<AcceptOutcome> {
  const commitByMs = limits.commitByMs ?? performance.now() + acceptTimeoutMs
  return retryConflicts(() => acceptInTransaction(pool, messages, { ...limits, commitByMs }))
}

/** Limits with their time. */
export type TimedLimits = Required<AcceptLimits>

function acceptInTransaction(pool: pg.Pool, messages: readonly NewMessage[], limits: TimedLimits) {
  return commitInTime(pool, limits.commitByMs, async (client) => ({
    keeps: true,
    outcome: await writeBatch(client, messages, limits),
  }))
}

/**
 * A transaction that is committed in its time or never.
 *
 * @param commitByMs by `performance.now()`: COMMIT is sent before this, or never
 * @param write what it says becomes the result; where it keeps nothing, the transaction is undone
 */
export async function commitInTime<Outcome>(
  pool: pg.Pool,
  commitByMs: number,
  write: (client: pg.PoolClient) => Promise<{ keeps: boolean; outcome: Outcome }>,
): Promise<Outcome> {
  timeLeft(commitByMs)
  const client = await pool.connect()
  let broken: Error | undefined
  try {
    // PostgreSQL is told to stop first: then the connection is good for the next batch.
    const serverMs = Math.ceil(timeLeft(commitByMs))
    // Planned anew for each batch of a few, it took 1.6 ms for two messages instead of 0.4.
    const begin = `BEGIN; SET LOCAL statement_timeout = ${serverMs}; ${planOnce}; ${inIndexOrder}`
    await client.query({ text: begin, ...answerBy(commitByMs) })
    const { keeps, outcome } = await write(client)
    if (keeps) {
      timeLeft(commitByMs)
      await client.query({ text: 'COMMIT', ...answerWithin(acceptTimeoutMs) })
    } else await client.query({ text: 'ROLLBACK', ...answerWithin(rollbackTimeoutMs) })
    return outcome
  } catch (error) {
    await client.query({ text: 'ROLLBACK', ...answerWithin(rollbackTimeoutMs) }).catch((cause: Error) => {
      broken = cause
    })
    throw error
  } finally {
    client.release(broken)
  }
}

/** @throws {ProductError} when there is none */
function timeLeft(commitByMs: number): number {
  const leftMs = commitByMs - performance.now()
  if (leftMs > 0) return leftMs
  const detail = 'The database was too slow for this message. It was not stored.'
  throw new ProductError('database_unavailable', { detail, retryAfterS: 5 })
}

/** For a query's configuration: a little later than PostgreSQL itself gives up. */
export function answerBy(commitByMs: number): object {
  return answerWithin(timeLeft(commitByMs) + serverGraceMs)
}

async function writeBatch(client: pg.PoolClient, messages: readonly NewMessage[], limits: TimedLimits) {
  const results = await claimKeys(client, messages, answerBy(limits.commitByMs))
  const fresh = messages.filter((_, index) => results[index] === null)
  const inserted = fresh.length > 0 ? await insertMessages(client, fresh, limits) : null
  let next = 0
  return {
    results: results.map((result) => result ?? inserted!.results[next++]!),
    hasWaiting: inserted?.hasWaiting ?? false,
    hasWebhooks: inserted?.hasWebhooks ?? false,
  }
}

/** A client that waits for a 202 waits for its whole batch; and those of the next batch wait as well. */
const acceptTimeoutMs = 8_000
/** What PostgreSQL's own time-out may be late. */
const serverGraceMs = 500
/** A connection that does not take even this in time is dropped, and the transaction with it. */
const rollbackTimeoutMs = 1_000

const messageColumns = 24
const recipientColumns = 12
const firstRecipient = messageColumns + 1
const firstKey = firstRecipient + recipientColumns
const keyColumns = 6
const firstEvent = firstKey + keyColumns
const share = `$${firstEvent + eventParameterCount}::integer`
const recipientCounts = `$${firstEvent + eventParameterCount + 1}::integer[]`

const liveStates = recipientStates
  .filter((state) => !isEnd(state))
  .map((state) => `'${state}'`)
  .join(', ')

/** So many rows of all tenants may be admitted and not leased yet: in that line nobody takes turns, so it is kept short. */
const directTotal = 256

/** How many rows of the condition there are, counted no further than `limit`. */
const countUpTo = (condition: string, limit: string): string =>
  `(SELECT count(*) FROM (SELECT FROM valija.deliveries WHERE ${condition} LIMIT ${limit}) AS busy)::integer`

/*
 * The last row, of no recipient and with the state `told`, is there when webhooks have something to tell.
 * $1…$24 messages (with bodies: one blob, $18, and the offset and length of each) · recipients · idempotency rows · events · share ·
 * how many recipients each message has: to count them here is to look through those of the whole batch for each message.
 * `share` says how many rows each tenant may have admitted at once: the first of them. A row that is not due yet waits in any case.
 * Rows that are `suppressed` are the hits of messages that were left out.
 */
const insertSql = `
WITH given_message AS MATERIALIZED (
  SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
      $9::text[], $10::text[], $11::text[], $12::timestamptz[], $13::timestamptz[], $14::text[], $15::boolean[], $16::boolean[], $17::text[],
      $19::boolean[], $20::boolean[], $21::uuid[], $22::timestamptz[], $23::text[], $24::integer[], ${recipientCounts})
    AS input (id, tenant_id, created_at, stream, delivery, from_header, from_email, from_domain, subject, tags, metadata,
      send_at, expires_at, rfc_message_id, is_simulated, require_tls, slice, is_sensitive, is_sandbox, resent_from, late_at,
      template_slug, template_version, recipient_count)
), given_recipient AS MATERIALIZED (
  SELECT input.*, m.tenant_id, m.stream, m.send_at, m.expires_at, m.late_at
  FROM unnest($25::uuid[], $26::uuid[], $27::integer[], $28::text[], $29::text[], $30::text[], $31::text[], $32::text[],
      $33::text[], $34::text[], $35::text[], $36::integer[])
    AS input (id, message_id, ordinal, email, email_key, domain, type, status, reason, simulation, route, seq)
  JOIN given_message AS m ON m.id = input.message_id
), hit AS MATERIALIZED (
  SELECT r.id AS recipient_id, r.message_id, found.id, found.reason
  FROM given_recipient AS r CROSS JOIN LATERAL (${hitSql('r.tenant_id', 'r.email_key', 'r.stream')}) AS found
  WHERE r.simulation IS NULL AND r.status = ANY (ARRAY[${liveStates}])
), new_message AS MATERIALIZED (
  SELECT * FROM given_message WHERE id NOT IN (SELECT message_id FROM hit)
), new_recipient AS MATERIALIZED (
  SELECT * FROM given_recipient WHERE message_id NOT IN (SELECT message_id FROM hit)
), message AS (
  INSERT INTO valija.messages (id, tenant_id, created_at, stream, delivery, from_header, from_email, from_domain, subject, tags,
    metadata, send_at, expires_at, rfc_message_id, is_simulated, require_tls, is_sensitive, is_sandbox, resent_from,
    template_slug, template_version, late_after, recipient_count)
  SELECT id, tenant_id, created_at, stream, delivery, from_header, from_email, from_domain, subject, tags::text[],
    metadata::jsonb, send_at, expires_at, rfc_message_id, is_simulated, require_tls, is_sensitive, is_sandbox, resent_from,
    template_slug, template_version, extract(epoch FROM late_at - coalesce(send_at, created_at))::integer, recipient_count
  FROM new_message
), body AS (
  INSERT INTO valija.bodies (message_id, tenant_id, content)
  SELECT id, tenant_id, substr($18::bytea, split_part(slice, ':', 1)::integer, split_part(slice, ':', 2)::integer) FROM new_message AS m
  WHERE NOT m.is_sensitive OR EXISTS (SELECT FROM new_recipient AS r WHERE r.message_id = m.id AND r.status = ANY (ARRAY[${liveStates}]))
  RETURNING message_id, tenant_id
), sensitive AS (
  INSERT INTO valija.sensitive_messages (message_id, tenant_id)
  SELECT message_id, tenant_id FROM body WHERE message_id IN (SELECT id FROM new_message WHERE is_sensitive)
), recipient AS (
  INSERT INTO valija.recipients (id, message_id, tenant_id, ordinal, email, email_key, domain, type, status, reason,
    next_attempt_at, seq)
  SELECT id, message_id, tenant_id, ordinal, email, email_key, domain, type, status, reason,
    CASE WHEN status = ANY (ARRAY[${liveStates}]) THEN send_at END, seq
  FROM new_recipient
), share AS MATERIALIZED (
  SELECT tenant_id, is_bulk_held, CASE
    WHEN is_held OR (NOT is_bulk_held AND ${hasDueRow('t.tenant_id', "'bulk'")}) OR ${hasDueRow('t.tenant_id', "'transactional'")} THEN 0
    ELSE least(
      ${share} - ${countUpTo(`tenant_id = t.tenant_id AND state = 'admitted'`, share)},
      2 * ${share} - ${countUpTo(`tenant_id = t.tenant_id AND ${isInFlight}`, `2 * ${share}`)},
      ${directTotal} - ${countUpTo(`state = 'admitted'`, `${directTotal}`)}) END AS room
  FROM (
    SELECT tenant_id, coalesce((SELECT suspended_at IS NOT NULL FROM valija.tenants WHERE id = m.tenant_id), false) AS is_held,
      coalesce((SELECT bulk_paused_at IS NOT NULL FROM valija.tenants WHERE id = m.tenant_id), false) AS is_bulk_held
    FROM (SELECT DISTINCT tenant_id FROM new_message) AS m) AS t
), placed AS (
  SELECT r.*, CASE WHEN send_at IS NULL AND NOT (is_bulk_held AND stream = 'bulk')
    AND row_number() OVER (PARTITION BY tenant_id ORDER BY send_at NULLS FIRST, stream = 'bulk', id) <= room THEN 'admitted' ELSE 'waiting' END AS state
  FROM new_recipient AS r JOIN share USING (tenant_id)
  WHERE status = ANY (ARRAY[${liveStates}])
), delivery AS (
  INSERT INTO valija.deliveries (recipient_id, message_id, tenant_id, stream, route, domain, simulation, state, due_at,
    expires_at, admitted_at, late_at, starts_at)
  SELECT id, message_id, tenant_id, stream, route, domain, simulation,
    state, coalesce(send_at, ${dueNowSql}), expires_at, now(), late_at, send_at
  FROM placed
  RETURNING recipient_id, message_id, state
), key AS (
  INSERT INTO valija.idempotency_keys (tenant_id, key, body_hash, message_id, response, expires_at)
  SELECT * FROM unnest($${firstKey}::uuid[], $${firstKey + 1}::text[], $${firstKey + 2}::bytea[], $${firstKey + 3}::uuid[],
    $${firstKey + 4}::text[], $${firstKey + 5}::timestamptz[]) AS input (tenant_id, key, body_hash, message_id, response, expires_at)
  WHERE message_id NOT IN (SELECT message_id FROM hit)
  ON CONFLICT (tenant_id, key) DO UPDATE SET body_hash = excluded.body_hash, message_id = excluded.message_id,
    response = excluded.response, expires_at = excluded.expires_at
), ${eventExpressions(firstEvent, 'message_id NOT IN (SELECT message_id FROM hit)')}
SELECT recipient_id AS "recipientId", message_id AS "messageId", state, NULL::uuid AS "suppressionId", NULL AS reason FROM delivery
UNION ALL (SELECT NULL, NULL, 'told', NULL, NULL FROM outbox LIMIT 1)
UNION ALL SELECT recipient_id, message_id, 'suppressed', id, reason FROM hit`

interface AcceptRow {
  recipientId: Uuid
  messageId: Uuid
  state: DeliveryState | 'told' | 'suppressed'
  suppressionId: Uuid | null
  reason: SuppressionReason | null
}

/** Writes messages whose keys are ours, in one statement. */
export async function insertMessages(
  client: pg.PoolClient,
  messages: readonly NewMessage[],
  limits: TimedLimits,
): Promise<AcceptOutcome> {
  const rows = await client.query<AcceptRow>({
    name: 'accept-messages',
    text: insertSql,
    ...answerBy(limits.commitByMs),
    values: [
      ...messageParameters(messages),
      ...recipientParameters(messages),
      ...keyParameters(messages),
      ...eventParameters(messages.flatMap((message) => message.events)),
      limits.directShare,
      integerArray(messages.map(({ recipients }) => recipients.length)),
    ],
  })
  const admitted = new Map<Uuid, Uuid[]>()
  const hits = new Map<Uuid, Map<Uuid, SuppressionHit>>()
  let hasWaiting = false
  let hasWebhooks = false
  for (const { recipientId, messageId, state, suppressionId, reason } of rows.rows) {
    if (state === 'told') hasWebhooks = true
    else if (state === 'waiting') hasWaiting = true
    else if (suppressionId === null || reason === null)
      entryOf(admitted, messageId, () => []).push(recipientId)
    else entryOf(hits, messageId, () => new Map()).set(recipientId, { id: suppressionId, reason })
  }
  const results = messages.map(({ id }): AcceptResult => {
    const found = hits.get(id)
    return found
      ? { kind: 'suppressed', hits: found }
      : { kind: 'accepted', admitted: admitted.get(id) ?? [] }
  })
  return { results, hasWaiting, hasWebhooks }
}

/** What a map holds under a key, put there when it is missing. */
function entryOf<T>(map: Map<Uuid, T>, key: Uuid, make: () => T): T {
  const present = map.get(key)
  if (present !== undefined) return present
  const made = make()
  map.set(key, made)
  return made
}

function messageParameters(messages: readonly NewMessage[]): unknown[] {
  let offset = 1
  const slices = messages.map(({ body }) => {
    const slice = `${offset}:${body.length}`
    offset += body.length
    return slice
  })
  return [
    uuidArray(messages.map((message) => message.id)),
    uuidArray(messages.map((message) => message.tenantId)),
    timeArray(messages.map((message) => message.createdAtMs)),
    textArray(messages.map((message) => message.stream)),
    textArray(messages.map((message) => message.delivery)),
    textArray(messages.map((message) => message.fromHeader)),
    textArray(messages.map((message) => message.fromEmail)),
    textArray(messages.map((message) => message.fromDomain)),
    textArray(messages.map((message) => message.subject)),
    textArray(messages.map((message) => arrayLiteral(message.tags))),
    textArray(messages.map((message) => JSON.stringify(message.metadata))),
    timeArray(messages.map((message) => message.sendAtMs)),
    timeArray(messages.map((message) => message.expiresAtMs)),
    textArray(messages.map((message) => message.rfcMessageId)),
    booleanArray(messages.map((message) => message.isSimulated)),
    booleanArray(messages.map((message) => message.requireTls)),
    textArray(slices),
    Buffer.concat(messages.map((message) => message.body)),
    booleanArray(messages.map((message) => message.isSensitive)),
    booleanArray(messages.map((message) => message.isSandbox)),
    uuidArray(messages.map((message) => message.resentFrom)),
    timeArray(messages.map((message) => message.lateAtMs)),
    textArray(messages.map((message) => message.template?.slug ?? null)),
    integerArray(messages.map((message) => message.template?.version ?? null)),
  ]
}

/** A `text[]` inside an array of texts: PostgreSQL's arrays have no rows of different lengths. */
function arrayLiteral(values: readonly string[]): string {
  return `{${values.map((value) => `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`).join(',')}}`
}

function recipientParameters(messages: readonly NewMessage[]): unknown[] {
  const rows = messages.flatMap(({ id, route, recipients }) =>
    recipients.map((recipient, ordinal) => ({ recipient, ordinal, messageId: id, route })),
  )
  return [
    uuidArray(rows.map(({ recipient }) => recipient.id)),
    uuidArray(rows.map(({ messageId }) => messageId)),
    integerArray(rows.map(({ ordinal }) => ordinal)),
    textArray(rows.map(({ recipient }) => recipient.email)),
    textArray(rows.map(({ recipient }) => recipient.emailKey)),
    textArray(rows.map(({ recipient }) => recipient.domain)),
    textArray(rows.map(({ recipient }) => recipient.type)),
    textArray(rows.map(({ recipient }) => recipient.status)),
    textArray(rows.map(({ recipient }) => recipient.reason)),
    textArray(rows.map(({ recipient }) => recipient.simulation)),
    textArray(rows.map(({ recipient, route }) => (recipient.simulation === null ? route : 'simulator'))),
    integerArray(rows.map(({ recipient }) => recipient.seq)),
  ]
}

function keyParameters(messages: readonly NewMessage[]): unknown[] {
  const rows = messages.flatMap((message) =>
    message.idempotency ? [{ message, ...message.idempotency }] : [],
  )
  return [
    uuidArray(rows.map((row) => row.message.tenantId)),
    textArray(rows.map((row) => row.key)),
    rows.map((row) => row.bodyHash),
    uuidArray(rows.map((row) => row.message.id)),
    textArray(rows.map((row) => row.response)),
    timeArray(rows.map((row) => row.expiresAtMs)),
  ]
}
