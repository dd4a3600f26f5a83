/** Managing webhook endpoints. The secret is shown once, when it is made, and is sealed at rest. */
import {
  type Caller,
  createWebhookSecret,
  type EventType,
  eventTypes,
  type FieldFault,
  formatId,
  type IdSource,
  invalidRequest,
  joinWebhookSecrets,
  ProductError,
  parseId,
  type Sealer,
  webhookSecretOwner,
} from '@valija/core'
import { parseDomain } from '@valija/mail'
import {
  continueWebhook,
  type Database,
  deleteWebhook,
  findWebhook,
  insertWebhook,
  listWebhooks,
  listWebhookTries,
  type StoredWebhook,
  updateWebhook,
  type Wake,
  type WebhookTryRecord,
} from '@valija/store'
import { type PageAnswer, type PageRequest, readPage } from './manage-pages.ts'

export interface WebhookDesk {
  database: Database
  sealer: Sealer
  wake: Wake
  nextId: IdSource
}

/** The body of POST /webhooks. */
export interface WebhookInput {
  url: string
  events: string[]
  domains?: string[]
  tags?: string[]
}

/** The body of PATCH /webhooks/:id. */
export interface WebhookChange extends Partial<WebhookInput> {
  status?: 'enabled' | 'disabled'
}

export interface WebhookView {
  id: string
  url: string
  events: string[]
  domains: string[]
  tags: string[]
  status: 'enabled' | 'disabled'
  disabled_reason: string | null
  created_at: string
}

export interface WebhookTryView {
  id: string
  event_id: string
  type: EventType
  number: number
  outcome: string
  status_code: number | null
  error: string | null
  response_start: string | null
  started_at: string
  duration_ms: number
  next_try_at: string | null
}

export function showWebhooks(
  desk: WebhookDesk,
  caller: Caller,
  request: PageRequest,
): Promise<PageAnswer<WebhookView>> {
  return readPage('webhook', request, (page) => listWebhooks(desk.database, caller.tenantId, page), toView)
}

/** @throws {ProductError} not_found */
export async function showWebhook(desk: WebhookDesk, caller: Caller, id: string): Promise<WebhookView> {
  return toView(await requireWebhook(desk, caller, id))
}

/** @throws {ProductError} invalid_request */
export async function addWebhook(
  desk: WebhookDesk,
  caller: Caller,
  input: WebhookInput,
): Promise<WebhookView & { secret: string }> {
  const { url, events, domains = [], tags = [] } = readInput(input)
  const { tenantId } = caller
  const id = desk.nextId()
  const secret = createWebhookSecret()
  const sealed = desk.sealer.seal(joinWebhookSecrets([secret]), webhookSecretOwner(tenantId, id))
  const stored = await insertWebhook(desk.database, {
    id,
    tenantId,
    url,
    events,
    domains,
    tags,
    secret: sealed,
  })
  return { ...toView(stored), secret }
}

/** @throws {ProductError} not_found, invalid_request */
export async function changeWebhook(
  desk: WebhookDesk,
  caller: Caller,
  id: string,
  input: WebhookChange,
): Promise<WebhookView> {
  const uuid = parseId('webhook', id)
  const changed = uuid && (await updateWebhook(desk.database, caller.tenantId, uuid, readInput(input)))
  if (!changed) throw new ProductError('not_found')
  if (input.status === 'enabled') {
    // What it was not told while it was disabled is due now.
    await continueWebhook(desk.database.engine, caller.tenantId, uuid)
    desk.wake.send('webhooks')
  }
  return toView(changed)
}

/** @throws {ProductError} not_found */
export async function removeWebhook(desk: WebhookDesk, caller: Caller, id: string): Promise<void> {
  const uuid = parseId('webhook', id)
  if (uuid === null || !(await deleteWebhook(desk.database, caller.tenantId, uuid))) {
    throw new ProductError('not_found')
  }
}

/** The tries at one endpoint, newest first. @throws {ProductError} not_found */
export async function showWebhookTries(
  desk: WebhookDesk,
  caller: Caller,
  id: string,
  request: PageRequest,
): Promise<PageAnswer<WebhookTryView>> {
  const webhook = await requireWebhook(desk, caller, id)
  const read = (page: { limit: number; after: string | null }) =>
    listWebhookTries(desk.database, caller.tenantId, webhook.id, page)
  return readPage('webhookTry', request, read, toTryView)
}

async function requireWebhook(desk: WebhookDesk, caller: Caller, id: string): Promise<StoredWebhook> {
  const uuid = parseId('webhook', id)
  const webhook = uuid && (await findWebhook(desk.database, caller.tenantId, uuid))
  if (!webhook) throw new ProductError('not_found')
  return webhook
}

/** Checks the fields that are there, and brings domains into canonical form. */
function readInput<T extends WebhookChange>(input: T): T {
  const faults: FieldFault[] = []
  const urlFault = input.url === undefined ? null : findUrlFault(input.url)
  if (urlFault !== null) faults.push({ path: '/url', message: urlFault })
  for (const [i, type] of (input.events ?? []).entries()) {
    if (type === '*' || (eventTypes as readonly string[]).includes(type)) continue
    faults.push({ path: `/events/${i}`, message: `${JSON.stringify(type)} is no event type; "*" means all` })
  }
  const domains = input.domains?.map((domain, i) => {
    const reading = parseDomain(domain)
    if (!reading.ok) faults.push({ path: `/domains/${i}`, message: reading.message })
    return reading.ok ? reading.value : domain
  })
  if (faults.length > 0) throw invalidRequest(faults)
  return { ...input, ...(domains && { domains }) }
}

/** Where it leads is checked when it is called (the guard against private addresses), not here: names move. */
function findUrlFault(text: string): string | null {
  const url = URL.parse(text)
  if (url === null || url.hostname === '') return 'is no URL, such as https://example.com/hooks'
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return 'must begin with https:// or http://'
  if (url.username !== '' || url.password !== '') {
    return 'must hold no user or password; check the signature (webhook-signature) instead'
  }
  return null
}

function toView(webhook: StoredWebhook): WebhookView {
  return {
    id: formatId('webhook', webhook.id),
    url: webhook.url,
    events: webhook.events,
    domains: webhook.domains,
    tags: webhook.tags,
    status: webhook.status,
    disabled_reason: webhook.disabledReason,
    created_at: webhook.createdAt.toISOString(),
  }
}

function toTryView(made: WebhookTryRecord): WebhookTryView {
  return {
    id: formatId('webhookTry', made.id),
    event_id: formatId('event', made.eventId),
    type: made.eventType,
    number: made.number,
    outcome: made.outcome,
    status_code: made.statusCode,
    error: made.error,
    response_start: made.responseStart,
    started_at: made.startedAt.toISOString(),
    duration_ms: made.durationMs,
    next_try_at: made.nextTryAt?.toISOString() ?? null,
  }
}
