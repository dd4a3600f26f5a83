/** Managing webhook endpoints. The secret is shown once, when it is made, and is sealed at rest. */
import {
  type Caller,
  conflict,
  createWebhookSecret,
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
  endContinuation,
  findWebhook,
  insertWebhook,
  listWebhooks,
  maxWebhooks,
  readWebhookStandings,
  type StoredWebhook,
  updateWebhook,
  type Wake,
  type WebhookBatch,
  type WebhookStanding,
} from '@valija/store'
import { type PageAnswer, type PageRequest, readPage } from './manage-pages.ts'

export interface WebhookDesk {
  database: Database
  sealer: Sealer
  wake: Pick<Wake, 'send'>
  nextId: IdSource
  /** PostgreSQL's. */
  clock: { nowMs(): number }
}

/** The body of POST /webhooks. */
export interface WebhookInput {
  url: string
  events: string[]
  domains?: string[]
  tags?: string[]
  batch?: WebhookBatchView | null
}

export interface WebhookBatchView {
  max_events: number
  max_wait_ms: number
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
  batch: WebhookBatchView | null
  status: 'enabled' | 'disabled'
  disabled_reason: string | null
  disabled_at: string | null
  failing_since: string | null
  /** The last try, while it fails or after it was given up. */
  last_error: { status_code: number | null; error: string | null; at: string } | null
  pending: { events: number; is_exact: boolean }
  former_secret_until: string | null
  created_at: string
}

/** What waits for an endpoint is counted so far: of one, and of each in a list, where there may be a hundred. */
const countedOfOne = 10_000
const countedInList = 1_000

export function showWebhooks(
  desk: WebhookDesk,
  caller: Caller,
  request: PageRequest,
): Promise<PageAnswer<WebhookView>> {
  const read = async (page: { limit: number; after: string | null }) => {
    const webhooks = await listWebhooks(desk.database, caller.tenantId, page)
    const standings = await readWebhookStandings(desk.database, caller.tenantId, webhooks, countedInList)
    return webhooks.map((webhook, i) => ({ ...webhook, standing: standings[i] }))
  }
  return readPage('webhook', request, read, (webhook) => toView(desk, webhook, webhook.standing))
}

/** @throws {ProductError} not_found */
export async function showWebhook(desk: WebhookDesk, caller: Caller, id: string): Promise<WebhookView> {
  return showStanding(desk, await requireWebhook(desk, caller, id))
}

async function showStanding(desk: WebhookDesk, webhook: StoredWebhook): Promise<WebhookView> {
  const { database } = desk
  const [standing] = await readWebhookStandings(database, webhook.tenantId, [webhook], countedOfOne)
  return toView(desk, webhook, standing)
}

/** @throws {ProductError} invalid_request, conflict */
export async function addWebhook(
  desk: WebhookDesk,
  caller: Caller,
  input: WebhookInput,
): Promise<WebhookView & { secret: string }> {
  const { url, events, domains = [], tags = [], batch = null } = readInput(input)
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
    batch: readBatch(batch),
    secret: sealed,
  })
  if (stored === 'full')
    throw conflict('full', {
      detail: `There are ${maxWebhooks} webhooks already; delete those that nobody needs.`,
    })
  return { ...toView(desk, stored), secret }
}

/** @throws {ProductError} not_found, invalid_request */
export async function changeWebhook(
  desk: WebhookDesk,
  caller: Caller,
  id: string,
  input: WebhookChange,
): Promise<WebhookView> {
  const uuid = parseId('webhook', id)
  if (uuid === null) throw new ProductError('not_found')
  const { batch, ...changes } = readInput(input)
  const isEnabling = input.status === 'enabled'
  const ids = [desk.nextId(), desk.nextId()] as const
  // First: after a crash in between it will be told, and not miss, what happened while it was disabled.
  if (isEnabling) await continueWebhook(desk.database.engine, caller.tenantId, uuid, ids)
  const changed = await updateWebhook(desk.database, caller.tenantId, uuid, {
    ...changes,
    ...(batch !== undefined && { batch: readBatch(batch) }),
  })
  if (!changed) throw new ProductError('not_found')
  if (isEnabling) {
    await endContinuation(desk.database.engine, uuid)
    desk.wake.send('webhooks')
  }
  return showStanding(desk, changed)
}

/** @throws {ProductError} not_found */
export async function removeWebhook(desk: WebhookDesk, caller: Caller, id: string): Promise<void> {
  const uuid = parseId('webhook', id)
  if (uuid === null || !(await deleteWebhook(desk.database, caller.tenantId, uuid))) {
    throw new ProductError('not_found')
  }
}

/** @throws {ProductError} not_found */
export async function requireWebhook(desk: WebhookDesk, caller: Caller, id: string): Promise<StoredWebhook> {
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

function readBatch(batch: WebhookBatchView | null): WebhookBatch | null {
  return batch && { maxEvents: batch.max_events, maxWaitMs: batch.max_wait_ms }
}

/** Of a new one nothing waits and nothing failed. */
const newStanding: WebhookStanding = { pending: 0, isExact: true, lastError: null }

function toView(
  { clock }: Pick<WebhookDesk, 'clock'>,
  webhook: StoredWebhook,
  { pending, isExact, lastError } = newStanding,
): WebhookView {
  const { batch, formerSecretUntil } = webhook
  const isOverlapping = formerSecretUntil !== null && formerSecretUntil.getTime() > clock.nowMs()
  return {
    id: formatId('webhook', webhook.id),
    url: webhook.url,
    events: webhook.events,
    domains: webhook.domains,
    tags: webhook.tags,
    batch: batch && { max_events: batch.maxEvents, max_wait_ms: batch.maxWaitMs },
    status: webhook.status,
    disabled_reason: webhook.disabledReason,
    disabled_at: webhook.disabledAt?.toISOString() ?? null,
    failing_since: webhook.failingSince?.toISOString() ?? null,
    last_error: lastError && {
      status_code: lastError.statusCode,
      error: lastError.error,
      at: lastError.startedAt.toISOString(),
    },
    pending: { events: pending, is_exact: isExact },
    former_secret_until: isOverlapping ? formerSecretUntil.toISOString() : null,
    created_at: webhook.createdAt.toISOString(),
  }
}
