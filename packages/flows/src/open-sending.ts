/**
 * The desk that accepts mail, with all that it asks: who may send from which domain, by which route, and how much may wait. The same for every
 * process that takes mail in, by HTTP or SMTP.
 */
import type { MailLog, RouteKind, Uuid } from '@valija/core'
import { createAdmission } from './admit-deliveries.ts'
import { type Allowances, createAllowances } from './allowances.ts'
import type { SendOptions } from './build-message.ts'
import type { Foundation } from './open-foundation.ts'
import { type OpenedTemplates, openTemplates } from './open-templates.ts'
import { createQueueLimits } from './queue-limits.ts'
import { openRouteDirectory, type RouteDirectory } from './route-directory.ts'
import { createSendDesk, type SendDesk } from './send-message.ts'
import { createSenderDomains } from './sender-domains.ts'

export interface SendingParts {
  foundation: Foundation
  /** Of the configuration. */
  config: Omit<SendOptions, 'delivery'> & {
    /** Null: capture. */
    delivery: RouteKind | null
    /** The process's role. */
    profile: string
    maxQueuedPerTenant: number
    maxQueued: number
  }
  mailLog: MailLog
  onError: (error: Error) => void
  /** Told of renders that were ended with their thread, and of whose template. */
  onRenderEnded?: (tenantId: Uuid, why: string) => void
}

export interface Sending {
  sendDesk: SendDesk
  allowances: Allowances
  routes: RouteDirectory
  templates: OpenedTemplates
  /** When every acceptance under way has its answer. */
  close(): Promise<void>
}

export async function openSending(parts: SendingParts): Promise<Sending> {
  const { foundation, config, mailLog, onError, onRenderEnded } = parts
  const { database, wake, queue } = foundation
  const { maxMessageSizeBytes, messageTtlMs, publicUrl, maxQueuedPerTenant, maxQueued } = config
  const delivery = config.delivery ?? 'capture'
  const senderDomains = createSenderDomains({
    ...{ database, wake, delivery },
    isAllInOne: config.profile === 'start',
  })
  const routes = await openRouteDirectory({ database, wake, onError })
  const limits = { perTenant: maxQueuedPerTenant, total: maxQueued }
  const allowances = createAllowances({ database, wake, onError })
  const templates = openTemplates(foundation, maxMessageSizeBytes, onRenderEnded)
  const sendDesk = createSendDesk({
    ...foundation,
    senderDomains,
    routes,
    admission: createAdmission({ database, queue, wake, onError }),
    mailLog,
    queueLimits: createQueueLimits({ database, limits, onError }),
    allowances,
    templates: templates.templateDesk,
    options: { maxMessageSizeBytes, delivery, messageTtlMs, publicUrl },
  })
  return {
    sendDesk,
    allowances,
    routes,
    templates,
    close: async () => {
      await sendDesk.drain()
      await templates.renderer.close()
      senderDomains.close()
      await routes.close()
    },
  }
}
