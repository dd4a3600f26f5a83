/**
 * Writing events: the rows of the tenant's stream and, in the same statement, one row per event and webhook that asked for
 * it. Whoever changes a recipient's state writes its events in the same transaction, so neither can be there alone.
 */
import { type EventType, namedOnlyEventTypes, type Uuid } from '@valija/core'
import { textArray, timeArray, uuidArray } from './array-parameters.ts'
import { dueNowSql } from './due-now.ts'

export interface NewEvent {
  id: Uuid
  tenantId: Uuid
  type: EventType
  /** Null for events that are not about a message. */
  messageId: Uuid | null
  createdAtMs: number
  /** What GET /events and webhooks show as `data`; `domain` and `tags` in it are what webhooks filter by. */
  data: object
}

/** How many parameters `eventParameters` gives. */
export const eventParameterCount = 6

/**
 * Common table expressions named `new_event`, `event` and `outbox`, to be put behind WITH.
 *
 * @param first the number of the first of the statement's parameters that `eventParameters` fills
 * @param condition an SQL condition on the event's `id` that drops events of what did not happen after all
 */
export function eventExpressions(first: number, condition = 'true'): string {
  return `
  new_event AS (
    SELECT id, tenant_id, type, message_id, created_at, data::jsonb AS data
    FROM ${inputFrom(first)}
    WHERE ${condition}
  ), ${writeSql}`
}

/**
 * The same where the statement has an expression `event_owner` with the `event_id` of each event that is to be written, and by
 * how much the `seq` in its data is too low (`ahead`).
 */
export function numberedEventExpressions(first: number): string {
  return `
  new_event AS (
    SELECT id, tenant_id, type, message_id, created_at,
      CASE WHEN ahead = 0 THEN data::jsonb
        ELSE jsonb_set(data::jsonb, '{seq}', to_jsonb((data::jsonb ->> 'seq')::integer + ahead)) END AS data
    FROM event_owner JOIN ${inputFrom(first)} ON input.id = event_owner.event_id
  ), ${writeSql}`
}

/** The parameters from `first` on as rows. */
function inputFrom(first: number): string {
  const at = (index: number) => `$${first + index}`
  return `unnest(${at(0)}::uuid[], ${at(1)}::uuid[], ${at(2)}::text[], ${at(3)}::uuid[], ${at(4)}::timestamptz[], ${at(5)}::text[])
      AS input (id, tenant_id, type, message_id, created_at, data)`
}

/**
 * The same for events of rows that the statement itself makes or changes, and that are about no message's timeline.
 *
 * @param rows a query that gives `tenant_id`, `type` and `data` (jsonb) of each
 */
export function eventExpressionsOf(rows: string): string {
  return `
  new_event AS MATERIALIZED (
    SELECT valija.new_id() AS id, tenant_id, type, NULL::uuid AS message_id, clock_timestamp() AS created_at, data
    FROM (${rows}) AS made
  ), ${writeSql}`
}

/**
 * Whether an endpoint asks for an event, as an SQL condition.
 *
 * @param event and the other are names of rows in the statement
 */
export const wantsEvent = (event: string, webhook: string) => `(
        (${event}.type = ANY (${webhook}.events)
          OR ('*' = ANY (${webhook}.events) AND ${event}.type NOT IN (${namedOnlyEventTypes.map((type) => `'${type}'`).join(', ')})))
        AND (${webhook}.domains = '{}' OR ${event}.data ->> 'domain' = ANY (${webhook}.domains))
        AND (${webhook}.tags = '{}' OR ${event}.data -> 'tags' ?| ${webhook}.tags))`

const writeSql = `event AS (
    INSERT INTO valija.events (id, tenant_id, type, message_id, created_at, data)
    SELECT id, tenant_id, type, message_id, created_at, data FROM new_event
  ), outbox AS (
    INSERT INTO valija.webhook_outbox (webhook_id, event_id, tenant_id, due_at)
    SELECT webhook.id, new_event.id, new_event.tenant_id, ${dueNowSql}
    FROM new_event JOIN valija.webhooks AS webhook ON webhook.tenant_id = new_event.tenant_id
    WHERE webhook.status = 'enabled' AND ${wantsEvent('new_event', 'webhook')}
    RETURNING webhook_id
  )`

/** The parameters for `eventExpressions`. */
export function eventParameters(events: readonly NewEvent[]): unknown[] {
  return [
    uuidArray(events.map((event) => event.id)),
    uuidArray(events.map((event) => event.tenantId)),
    textArray(events.map((event) => event.type)),
    uuidArray(events.map((event) => event.messageId)),
    timeArray(events.map((event) => event.createdAtMs)),
    textArray(events.map((event) => JSON.stringify(event.data))),
  ]
}
