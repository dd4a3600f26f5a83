/**
 * What an endpoint is sent: an event as GET /events shows it, or an array of them, signed (Standard Webhooks).
 */
import {
  formatId,
  type Sealer,
  signWebhook,
  splitWebhookSecrets,
  type Uuid,
  webhookSecretOwner,
} from '@valija/core'
import type { ClaimedEvent, ClaimedWebhook, WebhookSigner } from '@valija/store'

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
  const [first] = webhook.events
  if (first === undefined) throw new RangeError('a webhook tells at least one event')
  const [id, content] =
    webhook.batchId === null
      ? [formatId('event', first.id), toBody(first)]
      : [formatId('webhookBatch', webhook.batchId), webhook.events.map(toBody)]
  return signedRequest(webhook, sealer, { id, timeMs, content })
}

/**
 * @param signer the endpoint and its secrets
 * @param message.id the `webhook-id`
 * @throws {SealError} as above
 */
export function signedRequest(
  signer: WebhookSigner & { tenantId: Uuid; webhookId: Uuid },
  sealer: Sealer,
  message: { id: string; timeMs: number; content: object },
): WebhookRequest {
  const owner = webhookSecretOwner(signer.tenantId, signer.webhookId)
  const secrets = splitWebhookSecrets(sealer.open(signer.sealedSecret, owner))
  const body = JSON.stringify(message.content)
  return {
    headers: {
      'content-type': 'application/json',
      'user-agent': userAgent,
      ...signWebhook(message.id, message.timeMs, body, secrets.slice(0, signer.signingSecrets)),
    },
    body,
  }
}

function toBody({ id, type, createdAt, data }: ClaimedEvent) {
  return { id: formatId('event', id), type, timestamp: createdAt.toISOString(), data }
}
