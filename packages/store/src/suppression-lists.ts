/** Whole suppression lists: many entries put on it at once, and all of it read. */
import type { Stream, SuppressionReason, Uuid } from '@valija/core'
import { asEngine, type Database, readAsTenant } from './database.ts'
import { eventExpressionsOf } from './new-events.ts'
import { suppressionEvents } from './suppressions.ts'

export interface ListedAddress {
  email: string
  emailKey: string
  stream: Stream | null
  reason: SuppressionReason
}

/**
 * Suppresses addresses, of which none may be there twice for the same stream. One that is suppressed already stays as it is; one
 * that is quarantined comes into force. In the order of their keys, as settle takes them, so that neither waits for the other in a circle.
 */
export async function insertSuppressions(
  database: Database,
  tenantId: Uuid,
  addresses: readonly ListedAddress[],
): Promise<{ added: number; hasWebhooks: boolean }> {
  return asEngine(database, async (client) => {
    const { rows } = await client.query<{ added: number; isTold: boolean }>({
      name: 'insert-suppressions',
      text: `
WITH kept AS (
  INSERT INTO valija.suppressions AS s (id, tenant_id, email, email_key, stream, reason)
  SELECT valija.new_id(), $1, email, email_key, stream, reason
  FROM unnest($2::text[], $3::text[], $4::text[], $5::text[]) AS given (email, email_key, stream, reason)
  ORDER BY email_key, stream
  ON CONFLICT (tenant_id, email_key, stream) DO UPDATE SET reason = excluded.reason, quarantined_at = NULL
    WHERE s.quarantined_at IS NOT NULL
  RETURNING *
), ${eventExpressionsOf(suppressionEvents('suppression.added', 'SELECT * FROM kept'))}
SELECT (SELECT count(*) FROM kept)::int AS added, EXISTS (SELECT FROM outbox) AS "isTold"`,
      values: [tenantId, ...columnsOf(addresses)],
    })
    return { added: rows[0]?.added ?? 0, hasWebhooks: rows[0]?.isTold ?? false }
  })
}

/** How many of these addresses are not suppressed yet. */
export async function countUnsuppressed(
  database: Database,
  tenantId: Uuid,
  addresses: readonly ListedAddress[],
): Promise<number> {
  const { rows } = await readAsTenant(database, tenantId, (client) =>
    client.query<{ count: number }>({
      name: 'count-unsuppressed',
      text: `
SELECT count(*)::int AS count FROM unnest($2::text[], $3::text[], $4::text[], $5::text[]) AS given (email, email_key, stream, reason)
WHERE NOT EXISTS (
  SELECT FROM valija.suppressions AS s
  WHERE s.tenant_id = $1 AND s.email_key = given.email_key AND s.stream IS NOT DISTINCT FROM given.stream
    AND s.quarantined_at IS NULL)`,
      values: [tenantId, ...columnsOf(addresses)],
    }),
  )
  return rows[0]?.count ?? 0
}

function columnsOf(addresses: readonly ListedAddress[]): unknown[] {
  return [
    addresses.map((address) => address.email),
    addresses.map((address) => address.emailKey),
    addresses.map((address) => address.stream),
    addresses.map((address) => address.reason),
  ]
}
