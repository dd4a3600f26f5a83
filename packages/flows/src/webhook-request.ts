/**
 * What an endpoint is sent: an event as GET /events shows it, signed (Standard Webhooks).
 */
import {
  type EventBody,
  formatId,
  type Sealer,
  signWebhook,
  splitWebhookSecrets,
  webhookSecretOwner,
} from '@valija/core'
import type { ClaimedWebhook } from '@valija/store'

const userAgent = 'Valija-Webhooks'

export interface WebhookRequest {
  headers: Record<string, string>
  body: string
}

/**
 * @param timeMs when the try is made, by PostgreSQL's clock; it is part of what is signed, so each try has its own signature
 * @throws {SealError} when no configured secret key opens the endpoint's secret
 */
export function buildWebhookRequest(webhook: ClaimedWebhook, sealer: Sealer, timeMs: number): WebhookRequest {
  const { type, createdAt, data } = webhook.event
  const id = formatId('event', webhook.eventId)
  const body = JSON.stringify({ id, type, timestamp: createdAt.toISOString(), data } satisfies EventBody)
  const owner = webhookSecretOwner(webhook.tenantId, webhook.webhookId)
  const secrets = splitWebhookSecrets(sealer.open(webhook.sealedSecret, owner))
  return {
    headers: {
      'content-type': 'application/json',
      'user-agent': userAgent,
      ...signWebhook(id, timeMs, body, secrets),
    },
    body,
  }
}
