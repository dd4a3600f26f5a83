/** Trying a template out: what it renders to, and a mail of it to somebody who wants to see it. Both take the newest version unless told. */
import { type AddressInput, type AddressListInput, type Caller, invalidRequest } from '@valija/core'
import { type Database, listDomains } from '@valija/store'
import { requireAccess } from './authenticate.ts'
import { requireTemplate } from './manage-templates.ts'
import type { SendAnswer, SendDesk } from './send-message.ts'
import type { TemplateDesk } from './template-desk.ts'

export interface TryInput {
  version?: number
  variables?: Record<string, unknown>
}

export interface TemplateRenderingView {
  version: number
  subject: string | null
  text: string | null
  html: string | null
  warnings: { code: string; message: string }[]
}

/** @throws {ProductError} not_found, invalid_request, rate_limited, overloaded */
export async function showRendering(
  { database, templateDesk }: { database: Database; templateDesk: Pick<TemplateDesk, 'render'> },
  caller: Caller,
  id: string,
  { version, variables = {} }: TryInput,
): Promise<TemplateRenderingView> {
  const { slug, latestVersion } = await requireTemplate({ database }, caller, id)
  const rendered = await templateDesk.render(caller.tenantId, {
    slug,
    version: version ?? latestVersion,
    variables,
  })
  if (!rendered.ok) throw invalidRequest(rendered.faults)
  const { subject, text, html, unused } = rendered.rendering
  const warnings = unused.map((name) => {
    return { code: 'variable_unused', message: `Nothing in it asked for ${name}.` }
  })
  return { version: rendered.version, subject, text, html, warnings }
}

/**
 * Sends it as POST /send does.
 *
 * @throws {ProductError} not_found, insufficient_scope, and whatever POST /send refuses
 */
export async function sendTestMail(
  { database, sendDesk }: { database: Database; sendDesk: Pick<SendDesk, 'send'> },
  caller: Caller,
  id: string,
  { to, from, version, variables = {} }: TryInput & { to?: AddressListInput; from?: AddressInput },
  answerByMs: number,
): Promise<SendAnswer> {
  const { slug, latestVersion } = await requireTemplate({ database }, caller, id)
  if (to === undefined)
    throw invalidRequest([{ path: '/to', message: 'Is missing. Give at least one address.' }])
  // Its route asks for what changes need, and this sends.
  requireAccess(caller, 'send')
  const template = { slug, version: version ?? latestVersion, variables }
  const sender = from ?? (await usualSender(database, caller))
  return sendDesk.send(caller, { from: sender, to, template }, null, answerByMs)
}

/** Somebody at the tenant's newest domain that may send. */
async function usualSender(database: Database, { tenantId, domains }: Caller): Promise<string> {
  const own = await listDomains(database, tenantId, { limit: 100, after: null })
  const usable = own.find(
    ({ name, status }) => status === 'verified' && (domains.length === 0 || domains.includes(name)),
  )
  if (usable) return `templates@${usable.name}`
  throw invalidRequest([
    { path: '/from', message: 'Is missing, and no domain of yours is verified. Give an address.' },
  ])
}
