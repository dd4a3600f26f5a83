/** How endpoints stand: how much each has still to be told, and what went wrong last. For whoever looks at them; no worker reads it. */
import { lowestUuidAt, type Uuid } from '@valija/core'
import { type Database, readAsTenant } from './database.ts'
import { longestTryMs } from './webhook-tries.ts'
import type { StoredWebhook } from './webhooks.ts'

export interface WebhookStanding {
  /** Events that it has still to be told of; of more than were to be counted, so many. */
  pending: number
  isExact: boolean
  /** Null while it does not fail, and when that try is not kept any more. */
  lastError: { statusCode: number | null; error: string | null; startedAt: Date } | null
}

/** Of one that was given up: its last try ended before, by no more than this. */
const givenUpMs = 86_400_000

/**
 * @param countedAtMost rows of each endpoint that are looked at: 10,000 of one took 91 ms, and 1,000 of each of a hundred 164 ms, with the answer of the
 *   API, on two cores that had six times as much to do
 * @returns one for each, in their order
 */
export async function readWebhookStandings(
  database: Database,
  tenantId: Uuid,
  webhooks: readonly StoredWebhook[],
  countedAtMost: number,
): Promise<WebhookStanding[]> {
  if (webhooks.length === 0) return []
  const { rows } = await readAsTenant(database, tenantId, (client) =>
    client.query<WebhookStanding>(
      `SELECT least(counted.rows, $4) AS pending, counted.rows <= $4 AS "isExact", failed.try AS "lastError"
         FROM unnest($2::uuid[], $3::uuid[]) WITH ORDINALITY AS input (id, since, place)
         CROSS JOIN LATERAL (SELECT count(*)::integer AS rows FROM (
           SELECT FROM valija.webhook_outbox WHERE webhook_id = input.id AND tenant_id = $1 LIMIT $4::integer + 1) AS row) AS counted
         LEFT JOIN LATERAL (
           SELECT json_build_object('statusCode', status_code, 'error', error, 'startedAt', started_at) AS try
             FROM valija.webhook_tries
            WHERE webhook_id = input.id AND tenant_id = $1 AND id >= input.since AND outcome = 'failed'
            ORDER BY id DESC LIMIT 1) AS failed ON true
        ORDER BY input.place`,
      [tenantId, webhooks.map(({ id }) => id), webhooks.map(failedTriesFrom), countedAtMost],
    ),
  )
  return rows.map(({ lastError, ...standing }) => ({
    ...standing,
    lastError: lastError && { ...lastError, startedAt: new Date(lastError.startedAt) },
  }))
}

/** The lowest id of a try that is part of what goes wrong now; null when nothing does. So no more days are opened than it lasts. */
function failedTriesFrom({ failingSince, disabledReason, disabledAt }: StoredWebhook): Uuid | null {
  if (failingSince !== null) return lowestUuidAt(failingSince.getTime() - longestTryMs)
  if (disabledReason === null || disabledAt === null) return null
  return lowestUuidAt(disabledAt.getTime() - givenUpMs)
}
