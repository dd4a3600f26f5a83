/**
 * A test event: signed and sent at once like any other, to whoever asks what the endpoint says. It is no event of the stream, and
 * no try of the log.
 */
import { type Caller, formatId, ProductError, SealError, type Uuid } from '@valija/core'
import { readWebhookSigner } from '@valija/store'
import { requireWebhook, type WebhookDesk } from './manage-webhooks.ts'
import { signedRequest, type WebhookRequest } from './webhook-request.ts'
import { errorOf, keptLength, type WebhookAnswer, type WebhookHttp } from './webhook-try.ts'

/** As long as any other webhook has. */
const timeoutMs = 15_000
/** Tests under way at once in this process: each holds a connection and its caller's. */
const maxTests = 32
/** Of one tenant: an endpoint that does not answer keeps its tests for as long as they may take. */
const maxTestsOfTenant = 4

export interface WebhookTestView {
  ok: boolean
  event_id: string
  /** The header `webhook-id`. */
  webhook_id: string
  status_code: number | null
  error: string | null
  response_start: string | null
  duration_ms: number
}

export interface WebhookTester {
  /** @throws {ProductError} not_found; overloaded when too many are under way */
  test(caller: Caller, id: string): Promise<WebhookTestView>
}

/** @param http must end within the time-out that it is given */
export function createWebhookTester(desk: WebhookDesk, http: WebhookHttp): WebhookTester {
  const underWay = new Map<Uuid, number>()
  return {
    test: async (caller, id) => {
      const { tenantId } = caller
      const ofTenant = underWay.get(tenantId) ?? 0
      const ofAll = underWay.values().reduce((sum, count) => sum + count, 0)
      if (ofTenant >= maxTestsOfTenant || ofAll >= maxTests)
        throw new ProductError('overloaded', {
          detail: `${ofTenant >= maxTestsOfTenant ? ofTenant : ofAll} webhooks are being tested at this moment.`,
          retryAfterS: 5,
        })
      underWay.set(tenantId, ofTenant + 1)
      try {
        return await testWebhook(desk, http, caller, id)
      } finally {
        const left = (underWay.get(tenantId) ?? 1) - 1
        if (left > 0) underWay.set(tenantId, left)
        else underWay.delete(tenantId)
      }
    },
  }
}

async function testWebhook(
  desk: WebhookDesk,
  http: WebhookHttp,
  caller: Caller,
  id: string,
): Promise<WebhookTestView> {
  const webhook = await requireWebhook(desk, caller, id)
  const eventId = formatId('event', desk.nextId())
  const answer = await post(desk, http, { ...webhook, eventId })
  const hasAnswer = answer.kind === 'answer'
  return {
    ok: hasAnswer && answer.statusCode >= 200 && answer.statusCode < 300,
    event_id: eventId,
    webhook_id: eventId,
    status_code: hasAnswer ? answer.statusCode : null,
    error: errorOf(answer),
    response_start: hasAnswer ? answer.bodyStart.slice(0, keptLength) : null,
    duration_ms: Math.round(answer.durationMs),
  }
}

async function post(
  desk: WebhookDesk,
  http: WebhookHttp,
  webhook: { id: string; tenantId: string; url: string; batch: object | null; eventId: string },
): Promise<WebhookAnswer> {
  const { id: webhookId, tenantId, eventId } = webhook
  const signer = await readWebhookSigner(desk.database, tenantId, webhookId)
  if (signer === null) throw new ProductError('not_found')
  const timeMs = desk.clock.nowMs()
  const event = {
    id: eventId,
    type: 'webhook.test',
    timestamp: new Date(timeMs).toISOString(),
    data: { webhook_id: formatId('webhook', webhookId) },
  }
  let request: WebhookRequest
  try {
    const content = webhook.batch === null ? event : [event]
    request = signedRequest({ ...signer, tenantId, webhookId }, desk.sealer, { id: eventId, timeMs, content })
  } catch (error) {
    if (!(error instanceof SealError)) throw error
    return { kind: 'failure', code: 'secret_unreadable', message: error.message, durationMs: 0 }
  }
  return http.post(webhook.url, { ...request, timeoutMs })
}
