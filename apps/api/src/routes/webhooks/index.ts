/** Webhooks. */
import type { RouteGroup } from '../../route.ts'
import { createWebhook } from './create-webhook.ts'
import { deleteWebhook } from './delete-webhook.ts'
import { getWebhook } from './get-webhook.ts'
import { listWebhookDeliveries } from './list-webhook-deliveries.ts'
import { listWebhooks } from './list-webhooks.ts'
import { CreatedWebhook, Webhook, WebhookChange, WebhookDelivery, WebhookInput } from './schemas.ts'
import { updateWebhook } from './update-webhook.ts'

export const webhookRoutes: RouteGroup = {
  tag: { name: 'Webhooks', description: 'Endpoints that are told of events, and every try to tell them.' },
  schemas: [Webhook, CreatedWebhook, WebhookInput, WebhookChange, WebhookDelivery],
  routes: [listWebhooks, createWebhook, getWebhook, updateWebhook, deleteWebhook, listWebhookDeliveries],
}
