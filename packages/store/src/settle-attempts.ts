/**
 * Settle: what came out of attempts, for many recipients in one commit: the recipient's state, the attempt, the events, the
 * webhook outbox, the delivery row gone or due later, and the suppressions that follow. Until it has committed nobody has been told anything.
 */
import {
  type EventType,
  isEnd,
  type MailboxFault,
  type RecipientState,
  recipientStates,
  type Uuid,
} from '@valija/core'
import type pg from 'pg'
import { isInState } from './admission.ts'
import { textArray, uuidArray } from './array-parameters.ts'
import { inTransaction } from './database.ts'
import { eraseLateAttempts } from './erase-mail-rows.ts'
import {
  eventParameterCount,
  eventParameters,
  type NewEvent,
  numberedEventExpressions,
} from './new-events.ts'
import { planOnce } from './plan-once.ts'
import { dropSensitiveBodies } from './sensitive-bodies.ts'
import { suppressMailboxes } from './suppress-mailboxes.ts'
import { extendedSql } from './suspend-tenant.ts'

export interface NewAttempt {
  id: Uuid
  number: number
  outcome: string
  reason: string | null
  startedAt: Date
  /** The rest of what GET /messages/:id/attempts shows. */
  report: object
}

/** The end of one recipient's turn. */
export interface Settlement {
  recipientId: Uuid
  messageId: Uuid
  tenantId: Uuid
  /** The lease under which it was worked on. */
  epoch: number
  /** The message's body goes with the end of its last recipient (sensitive-bodies.ts). */
  isSensitive: boolean
  /**
   * Whether the outcome is a fact, whoever holds the lease by now: the receiving server took the mail, or refused it for
   * good. Anything else counts only while the lease is ours.
   */
  isFact: boolean
  /** The new state and those it may follow; null leaves the recipient as it is. */
  change: { to: RecipientState; from: readonly RecipientState[] } | null
  reason: string | null
  reply: string | null
  enhancedStatus: string | null
  /** Attempts made so far, this one included. */
  attempts: number
  /** Steps of the retry schedule used up: fewer than attempts when the host was to blame (DESIGN 4.16). */
  retrySteps: number
  /** When to work on it again; null: never, its delivery row goes. */
  nextInMs: number | null
  deliveredAt: Date | null
  sizeBytes: number | null
  /** The number of the last of `events`, counted on from the recipient's number at the lease. */
  seq: number
  /** What the end says of the recipient's mailbox, and who said so: the provider of its domain. */
  mailboxFault: { fault: MailboxFault; provider: string } | null
  attempt: NewAttempt | null
  events: readonly (Omit<NewEvent, 'tenantId' | 'messageId'> & { type: EventType })[]
}

const liveStates = recipientStates
  .filter((state) => !isEnd(state))
  .map((state) => `'${state}'`)
  .join(', ')

const columnCount = 17
const attemptColumns = 9
const firstAttempt = columnCount + 1
const firstEvent = firstAttempt + attemptColumns
const firstEventOwner = firstEvent + eventParameterCount

/*
 * `held` is every row that the settlement may speak for, taken in one order by all (lease-deliveries.ts), with what came of it and its next
 * time: nothing is joined with the input again, which PostgreSQL takes for ten rows, and would look through for each row.
 * The state changes only where the present one is among those it may follow, and a recipient whose state does not change gets no event either. next_attempt_at is what the delivery row says, so people and queue
 * never see different times. An attempt was made in any case; one that is there already was written by a commit whose
 * answer was lost. Events need no such care: what that commit settled is not held any more.
 *
 * What others told of the recipient since the lease (an unsubscribe, a late report) has taken numbers meanwhile: `ahead` is how many,
 * and our events' numbers go up by it. For example: leased at seq 4, our two events call themselves 5 and 6 (input.seq 6, event_count 2).
 * Meanwhile an unsubscribe has taken 5, so r.seq is 5 where 6 - 2 = 4 was expected: r.seq becomes 7, `ahead` is 7 - 6 = 1, and ours
 * are written as 6 and 7.
 *
 * Recipients are named by an array besides: by the bounds alone, which are there for the partitions, PostgreSQL would read all between them.
 */
const settleSql = `
WITH input AS MATERIALIZED (
  SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::boolean[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
      $9::integer[], $10::float8[], $11::timestamptz[], $12::integer[], $13::integer[],
      $14::integer[], $15::integer[])
    AS input (recipient_id, epoch, is_fact, status, status_before, reason, reply, enhanced_status, attempts, next_in_ms,
      delivered_at, size_bytes, seq, event_count, retry_steps)
), held AS MATERIALIZED (
  SELECT input.*, d.due_at
  FROM (SELECT * FROM input ORDER BY recipient_id) AS input CROSS JOIN LATERAL (
    SELECT CASE WHEN input.next_in_ms IS NOT NULL
        THEN least(${extendedSql('d', 'deliveries')}, now() + make_interval(secs => input.next_in_ms / 1000)) END AS due_at
    FROM valija.deliveries AS d
    WHERE d.recipient_id = input.recipient_id
      AND ((input.is_fact AND input.next_in_ms IS NULL) OR (d.epoch = input.epoch AND ${isInState('d.state', 'leased')}))
    FOR UPDATE) AS d
), ended AS (
  DELETE FROM valija.deliveries AS d USING held
  WHERE d.recipient_id = held.recipient_id AND held.next_in_ms IS NULL
), kept AS (
  UPDATE valija.deliveries AS d
  SET state = 'waiting', leased_until = NULL, crashes = 0, dot_epoch = NULL, retry_steps = held.retry_steps, due_at = held.due_at
  FROM held
  WHERE d.recipient_id = held.recipient_id AND held.next_in_ms IS NOT NULL
), recipient AS (
  UPDATE valija.recipients AS r
  SET status = coalesce(held.status, r.status), reason = CASE WHEN held.status IS NULL THEN r.reason ELSE held.reason END,
    reply = coalesce(held.reply, r.reply), enhanced_status = CASE WHEN held.reply IS NULL THEN r.enhanced_status ELSE held.enhanced_status END,
    attempts = held.attempts, next_attempt_at = CASE WHEN held.status = ANY (ARRAY[${liveStates}]) THEN held.due_at END,
    delivered_at = coalesce(held.delivered_at, r.delivered_at), size_bytes = coalesce(held.size_bytes, r.size_bytes),
    seq = held.seq + greatest(0, r.seq - (held.seq - held.event_count))
  FROM held
  WHERE r.id = held.recipient_id AND r.id = ANY ($1::uuid[]) AND r.id BETWEEN $16::uuid AND $17::uuid
    AND (held.status IS NULL OR r.status = ANY (string_to_array(held.status_before, ',')))
  RETURNING r.id AS recipient_id, r.seq - held.seq AS ahead
), attempt AS (
  INSERT INTO valija.attempts (id, message_id, recipient_id, tenant_id, number, outcome, reason, started_at, report)
  SELECT a.id, a.message_id, a.recipient_id, a.tenant_id, a.number, a.outcome, a.reason, a.started_at, a.report::jsonb
  FROM unnest($${firstAttempt}::uuid[], $${firstAttempt + 1}::uuid[], $${firstAttempt + 2}::uuid[], $${firstAttempt + 3}::uuid[],
      $${firstAttempt + 4}::integer[], $${firstAttempt + 5}::text[], $${firstAttempt + 6}::text[], $${firstAttempt + 7}::timestamptz[],
      $${firstAttempt + 8}::text[])
    AS a (id, message_id, recipient_id, tenant_id, number, outcome, reason, started_at, report)
  ON CONFLICT DO NOTHING
), event_owner AS MATERIALIZED (
  SELECT event_id, ahead FROM unnest($${firstEventOwner}::uuid[], $${firstEventOwner + 1}::uuid[]) AS owner (event_id, recipient_id)
  JOIN recipient USING (recipient_id)
), ${numberedEventExpressions(firstEvent)}
SELECT held.recipient_id AS "recipientId", (SELECT count(*) FROM outbox)::int AS outbox FROM held`

export interface SettleOutcome {
  /** Which recipients the settlements spoke for; the others had been taken over. */
  settled: Set<Uuid>
  /** Endpoints have something to be told: the webhooks are to be woken. */
  hasWebhooks: boolean
}

/**
 * Settles a batch in one transaction: BEGIN, a statement, COMMIT, and further statements only where the end of a mail says something of its mailbox
 * (suppress-mailboxes.ts) or is that of a sensitive one (sensitive-bodies.ts), or somebody else had taken a mail over (`eraseLateAttempts`). Of several settlements of one recipient (its lease was lost and given
 * to the same worker again) one counts, by `oneEach`; the attempts of all are kept.
 */
export async function settleAttempts(
  pool: pg.Pool,
  allSettlements: readonly Settlement[],
): Promise<SettleOutcome> {
  const settlements = oneEach(allSettlements)
  const sensitive = settlements.filter(({ isSensitive, change }) => isSensitive && change && isEnd(change.to))
  return inTransaction(pool, `BEGIN; ${planOnce}`, async (client) => {
    const outcome = await settle(client, settlements, allSettlements)
    const ended = settlements.flatMap(({ recipientId, mailboxFault, reply }) =>
      mailboxFault && outcome.settled.has(recipientId) ? [{ recipientId, ...mailboxFault, reply }] : [],
    )
    const late = allSettlements.filter(
      ({ recipientId, attempt }) => attempt && !outcome.settled.has(recipientId),
    )
    await eraseLateAttempts(
      client,
      late.map(({ recipientId }) => recipientId),
      late.flatMap(({ attempt }) => attempt?.id ?? []),
    )
    const isTold = ended.length > 0 && (await suppressMailboxes(client, ended))
    await dropSensitiveBodies(
      client,
      sensitive.map(({ messageId }) => messageId),
    )
    return { ...outcome, hasWebhooks: outcome.hasWebhooks || isTold }
  })
}

async function settle(
  client: pg.PoolClient,
  settlements: readonly Settlement[],
  allSettlements: readonly Settlement[],
): Promise<SettleOutcome> {
  const ids = settlements.map((settlement) => settlement.recipientId).sort()
  const attempts = allSettlements.flatMap((settlement) =>
    settlement.attempt ? [{ settlement, ...settlement.attempt }] : [],
  )
  const events = settlements.flatMap((settlement) =>
    settlement.events.map((event) => ({
      ...event,
      tenantId: settlement.tenantId,
      messageId: settlement.messageId,
    })),
  )
  const owners = settlements.flatMap((settlement) => settlement.events.map(() => settlement.recipientId))
  const result = await client.query<{ recipientId: Uuid; outbox: number }>({
    name: 'settle-attempts',
    text: settleSql,
    values: [
      ...settlementParameters(settlements),
      ids[0],
      ids.at(-1),
      ...attemptParameters(attempts),
      ...eventParameters(events),
      uuidArray(events.map((event) => event.id)),
      uuidArray(owners),
    ],
  })
  return {
    settled: new Set(result.rows.map((row) => row.recipientId)),
    hasWebhooks: (result.rows[0]?.outbox ?? 0) > 0,
  }
}

/** Per recipient the settlement that counts: a fact before anything else, then the one of the later lease. */
function oneEach(settlements: readonly Settlement[]): Settlement[] {
  const chosen = new Map<Uuid, Settlement>()
  for (const settlement of settlements) {
    const other = chosen.get(settlement.recipientId)
    const isBetter =
      other === undefined ||
      (settlement.isFact === other.isFact ? settlement.epoch > other.epoch : settlement.isFact)
    if (isBetter) chosen.set(settlement.recipientId, settlement)
  }
  return [...chosen.values()]
}

function settlementParameters(settlements: readonly Settlement[]): unknown[] {
  return [
    uuidArray(settlements.map((row) => row.recipientId)),
    settlements.map((row) => row.epoch),
    settlements.map((row) => row.isFact),
    textArray(settlements.map((row) => row.change?.to ?? null)),
    textArray(settlements.map((row) => row.change?.from.join(',') ?? null)),
    textArray(settlements.map((row) => row.reason)),
    textArray(settlements.map((row) => row.reply)),
    textArray(settlements.map((row) => row.enhancedStatus)),
    settlements.map((row) => row.attempts),
    settlements.map((row) => row.nextInMs),
    settlements.map((row) => row.deliveredAt),
    settlements.map((row) => row.sizeBytes),
    settlements.map((row) => row.seq),
    settlements.map((row) => row.events.length),
    settlements.map((row) => row.retrySteps),
  ]
}

function attemptParameters(rows: readonly (NewAttempt & { settlement: Settlement })[]): unknown[] {
  return [
    uuidArray(rows.map((row) => row.id)),
    uuidArray(rows.map((row) => row.settlement.messageId)),
    uuidArray(rows.map((row) => row.settlement.recipientId)),
    uuidArray(rows.map((row) => row.settlement.tenantId)),
    rows.map((row) => row.number),
    textArray(rows.map((row) => row.outcome)),
    textArray(rows.map((row) => row.reason)),
    rows.map((row) => row.startedAt),
    textArray(rows.map((row) => JSON.stringify(row.report))),
  ]
}
