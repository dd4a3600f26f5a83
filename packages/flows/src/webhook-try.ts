/**
 * One try: an event, or a batch of them, is posted to its endpoint, and what came back is judged. Nothing is written here.
 */
import {
  type IdSource,
  judgeWebhookTry,
  SealError,
  type Sealer,
  storableText,
  type WebhookPolicy,
  type WebhookVerdict,
} from '@valija/core'
import type { ClaimedWebhook, NewWebhookTry } from '@valija/store'
import { buildWebhookRequest, type WebhookRequest } from './webhook-request.ts'

/** What came of one request; a redirect is an answer like any other. */
export type WebhookAnswer =
  | { kind: 'answer'; statusCode: number; retryAfterMs: number | null; bodyStart: string; durationMs: number }
  | { kind: 'failure'; code: string; message: string; durationMs: number }

/** The outgoing HTTP that a dispatcher needs: never rejects, and always ends within `timeoutMs`. */
export interface WebhookHttp {
  post(
    url: string,
    request: { headers: Record<string, string>; body: string; timeoutMs: number },
  ): Promise<WebhookAnswer>
}

export interface WebhookTryPorts {
  http: WebhookHttp
  sealer: Sealer
  nextId: IdSource
  clock: { nowMs(): number }
  policy: WebhookPolicy
  timeoutMs: number
}

export interface TriedWebhook {
  verdict: WebhookVerdict
  /** Null after a success; otherwise in how many milliseconds it is tried again. */
  retryAfterMs: number | null
  durationMs: number
  /** One for each event. */
  records: NewWebhookTry[]
}

/** Nobody was asked, for want of a socket of ours: `untried` says so. It is no try. */
export interface UntriedWebhook {
  untried: string
}

/** How much of an answer or an error is kept, in UTF-16 units. */
export const keptLength = 1_000

/** Makes one try. */
export async function tryWebhook(
  ports: WebhookTryPorts,
  webhook: ClaimedWebhook,
): Promise<TriedWebhook | UntriedWebhook> {
  const startedAtMs = ports.clock.nowMs()
  const answer = await post(ports, webhook, startedAtMs)
  if (answer.kind === 'failure' && answer.code === 'no_socket') return { untried: answer.message }
  // Events that share a batch share its fate, and its schedule.
  const tries = 1 + Math.max(...webhook.events.map((event) => event.scheduledTries))
  const hasAnswer = answer.kind === 'answer'
  const statusCode = hasAnswer ? answer.statusCode : null
  const verdict = judgeWebhookTry(
    { tries, statusCode, retryAfterMs: hasAnswer ? answer.retryAfterMs : null },
    Math.random(),
    ports.policy,
  )
  const retryAfterMs = verdict.kind === 'delivered' ? null : verdict.afterMs
  const made = {
    webhookId: webhook.webhookId,
    tenantId: webhook.tenantId,
    batchId: webhook.batchId,
    lease: webhook.lease,
    retryAfterMs,
    statusCode,
    error: errorOf(answer),
    responseStart: hasAnswer ? storableText(answer.bodyStart.slice(0, keptLength)) : null,
    startedAt: new Date(startedAtMs),
    durationMs: Math.round(answer.durationMs),
  }
  const records = webhook.events.map((event) => ({
    ...made,
    id: ports.nextId(),
    eventId: event.id,
    eventType: event.type,
    number: event.tries + 1,
  }))
  return { verdict, retryAfterMs, durationMs: made.durationMs, records }
}

/** A secret that cannot be opened is a failed try: on record, and tried again, for the operator may bring the key back. */
async function post(ports: WebhookTryPorts, webhook: ClaimedWebhook, timeMs: number): Promise<WebhookAnswer> {
  let request: WebhookRequest
  try {
    request = buildWebhookRequest(webhook, ports.sealer, timeMs)
  } catch (error) {
    if (!(error instanceof SealError)) throw error
    return { kind: 'failure', code: 'secret_unreadable', message: error.message, durationMs: 0 }
  }
  return ports.http.post(webhook.url, { ...request, timeoutMs: ports.timeoutMs })
}

/** One sentence on what went wrong; null where the status says it. */
export function errorOf(answer: WebhookAnswer): string | null {
  if (answer.kind === 'failure') return storableText(`${answer.code}: ${answer.message}`.slice(0, keptLength))
  return answer.statusCode >= 300 && answer.statusCode < 400 ? 'redirect: not followed' : null
}
