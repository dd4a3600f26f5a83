/** The webhooks' part of the mail log: one line per try, event id first, fields in a fixed order. */
import { formatId } from '@valija/core'
import type { WebhookLog } from '@valija/flows'
import type { Logger } from '@valija/runtime'

export function createWebhookLog(log: Logger): WebhookLog {
  return {
    webhookTried: (entry) =>
      log.info(
        {
          event: formatId('event', entry.eventId),
          webhook: formatId('webhook', entry.webhookId),
          tenant: formatId('tenant', entry.tenantId),
          try: entry.number,
          outcome: entry.outcome,
          status: entry.statusCode,
          error: entry.error,
          nextInMs: entry.nextTryInMs,
          durationMs: entry.durationMs,
        },
        'webhook',
      ),
    webhookDisabled: ({ webhookId, tenantId, reason }) =>
      log.warn(
        { webhook: formatId('webhook', webhookId), tenant: formatId('tenant', tenantId), reason },
        'webhook disabled',
      ),
    webhookTrouble: (err) => log.error({ err }, 'webhook trouble'),
  }
}
