/** What follows from a complaint: the address gets no more mail of that stream, told of as `suppression.added`. */
import type { Stream, SuppressionReason, Uuid } from '@valija/core'
import type pg from 'pg'
import { eventExpressionsOf } from './new-events.ts'
import { suppressionEvents } from './suppressions.ts'

export interface ComplainedMail {
  recipientId: Uuid
  messageId: Uuid
  tenantId: Uuid
  email: string
  emailKey: string
  stream: Stream
  fromDomain: string
  tags: readonly string[]
}

const reason: SuppressionReason = 'complaint'

/**
 * Suppresses the recipient for the mail's stream, in the transaction that writes the complaint. Who is suppressed for it already
 * stays so.
 *
 * @returns whether webhooks are to be told
 */
export async function suppressForComplaint(client: pg.PoolClient, mail: ComplainedMail): Promise<boolean> {
  const sender = `jsonb_build_object('domain', $7::text, 'tags', $8::text[])`
  const { rows } = await client.query<{ isTold: boolean }>({
    name: 'suppress-for-complaint',
    text: `
WITH kept AS (
  INSERT INTO valija.suppressions AS s (id, tenant_id, email, email_key, stream, reason, recipient_id, message_id)
  VALUES (valija.new_id(), $1, $2, $3, $4, '${reason}', $5, $6)
  ON CONFLICT (tenant_id, email_key, stream) DO UPDATE
    SET reason = excluded.reason, quarantined_at = NULL, recipient_id = excluded.recipient_id, message_id = excluded.message_id, reply = NULL
    WHERE s.quarantined_at IS NOT NULL
  RETURNING *
), ${eventExpressionsOf(suppressionEvents('suppression.added', 'SELECT * FROM kept', sender))}
SELECT EXISTS (SELECT FROM outbox) AS "isTold"`,
    values: [
      mail.tenantId,
      mail.email,
      mail.emailKey,
      mail.stream,
      mail.recipientId,
      mail.messageId,
      mail.fromDomain,
      mail.tags,
    ],
  })
  return rows[0]?.isTold ?? false
}
