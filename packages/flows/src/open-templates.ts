/** What renders templates in this process. No thread is started before the first one is rendered. */
import type { Uuid } from '@valija/core'
import { createRenderer, type TemplateRenderer } from '@valija/templates'
import type { Foundation } from './open-foundation.ts'
import { createTemplateDesk, type TemplateDesk } from './template-desk.ts'

export interface OpenedTemplates {
  renderer: TemplateRenderer
  templateDesk: TemplateDesk
}

/** @param onKill told of each thread that had to be ended, and by whose template */
export function openTemplates(
  { database, clock }: Pick<Foundation, 'database' | 'clock'>,
  maxMessageSizeBytes: number,
  onKill?: (tenantId: Uuid, why: string) => void,
): OpenedTemplates {
  const renderer = createRenderer({ ...(onKill && { onKill }) })
  return { renderer, templateDesk: createTemplateDesk({ database, renderer, clock, maxMessageSizeBytes }) }
}
