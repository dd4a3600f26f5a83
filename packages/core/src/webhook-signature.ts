/**
 * Standard Webhooks signatures, symmetric scheme `v1` (https://www.standardwebhooks.com, "Signature scheme"), and the form
 * of their secrets.
 *
 * An endpoint has one secret, and more while it is being rotated: then every webhook carries a signature by each, the newest
 * first, and the receiver may check any. At rest they are one sealed text, newest first, parted by blanks.
 */
import { createHmac, randomBytes } from 'node:crypto'
import type { Uuid } from './ids.ts'

const secretPrefix = 'whsec_'

/** The specification asks for 24 to 64 octets; 32 fill SHA-256. */
const secretOctets = 32

/** Makes a secret as it is shown to its tenant: `whsec_` and base64. */
export function createWebhookSecret(): string {
  return secretPrefix + randomBytes(secretOctets).toString('base64')
}

/** What a webhook's sealed secrets belong to, for `Sealer`. */
export function webhookSecretOwner(tenantId: Uuid, webhookId: Uuid): string {
  return `webhook:${tenantId}:${webhookId}`
}

/** The text that is sealed: the secrets, newest first. */
export function joinWebhookSecrets(secrets: readonly string[]): Buffer {
  return Buffer.from(secrets.join(' '))
}

/** Reads it back. */
export function splitWebhookSecrets(plain: Buffer): string[] {
  return plain.toString().split(' ')
}

/** How long a secret signs on beside the one that takes its place, in seconds, unless it is said. */
export const secretOverlap = { usualS: 86_400, longestS: 7 * 86_400 } as const

/**
 * The headers of a webhook that its receiver verifies.
 *
 * @param id the event's id or the batch's, the same over all tries, so that a receiver can drop what it has seen
 * @param timeMs when this try is made, milliseconds since 1970; receivers refuse what is older than some minutes
 * @param body the exact text that is sent
 * @param secrets `whsec_…`, one signature for each
 */
export function signWebhook(id: string, timeMs: number, body: string, secrets: readonly string[]) {
  const timestamp = String(Math.floor(timeMs / 1000))
  const signatures = secrets.map((secret) => {
    const key = Buffer.from(secret.slice(secretPrefix.length), 'base64')
    return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`
  })
  return {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': signatures.join(' '),
  }
}
