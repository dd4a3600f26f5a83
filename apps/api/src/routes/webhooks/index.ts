/** Webhooks. */
import type { RouteGroup } from '../../route.ts'
import { createWebhook } from './create-webhook.ts'
import { deleteWebhook } from './delete-webhook.ts'
import { getWebhook } from './get-webhook.ts'
import { getWebhookDelivery } from './get-webhook-delivery.ts'
import { listPendingWebhooks } from './list-pending-webhooks.ts'
import { listWebhookDeliveries } from './list-webhook-deliveries.ts'
import { listWebhooks } from './list-webhooks.ts'
import { replayWebhook } from './replay-webhook.ts'
import { rotateWebhookSecret } from './rotate-webhook-secret.ts'
import {
  CreatedWebhook,
  EventAtWebhook,
  PendingWebhook,
  RotatedSecret,
  Webhook,
  WebhookChange,
  WebhookDelivery,
  WebhookInput,
  WebhookReplay,
  WebhookReplayInput,
  WebhookTest,
} from './schemas.ts'
import { testWebhook } from './test-webhook.ts'
import { updateWebhook } from './update-webhook.ts'

export const webhookRoutes: RouteGroup = {
  tag: { name: 'Webhooks', description: 'Endpoints that are told of events, and every try to tell them.' },
  schemas: [
    Webhook,
    CreatedWebhook,
    WebhookInput,
    WebhookChange,
    WebhookDelivery,
    PendingWebhook,
    EventAtWebhook,
    RotatedSecret,
    WebhookReplayInput,
    WebhookReplay,
    WebhookTest,
  ],
  routes: [
    listWebhooks,
    createWebhook,
    getWebhook,
    updateWebhook,
    deleteWebhook,
    listWebhookDeliveries,
    getWebhookDelivery,
    listPendingWebhooks,
    rotateWebhookSecret,
    replayWebhook,
    testWebhook,
  ],
}
