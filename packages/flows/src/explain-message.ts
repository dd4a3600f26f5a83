/**
 * Explains every recipient of a message: where it stands, why, when the next try is, what to do. Reads the facts, in a bounded number
 * of queries, and has packages/core/src/explanation say what they mean.
 */
import {
  type AttemptFacts,
  type Cause,
  conditionOf,
  type DeliveryFacts,
  type ExplanationFacts,
  explainRecipient,
  formatId,
  isEnd,
  type JudgementFacts,
  type Phase,
  type RecipientState,
  type RouteFacts,
  type RouteKind,
  type SenderFacts,
  type SiteFacts,
  type SuppressionFacts,
  type SuppressionReason,
  type SystemFacts,
  shownState,
  simulationOf,
  steadyPace,
  type TlsFacts,
  type TransportFailure,
  type Uuid,
} from '@valija/core'
import {
  countAhead,
  countWorkers,
  type Database,
  type ExplainedMessage,
  type ExplainedRecipient,
  type ExplainedRoute,
  type ExplainedRows,
  type ExplainedSite,
  findDomainsNamed,
  findEnforcedSts,
  findExplainedRoutes,
  findExplainedSites,
  findInstallationTrouble,
  findSenderHolds,
  type HintQueue,
  type LastAttempt,
  readExplainedMessage,
  type SuppressionEntry,
} from '@valija/store'
import { noHosts } from './domain-hosts.ts'
import { showRecords } from './domain-records.ts'
import { namesThatCover } from './sender-domains.ts'

export interface ExplanationDesk {
  database: Database
  /** PostgreSQL's clock. */
  clock: { nowMs(): number }
  queue: Pick<HintQueue, 'backend' | 'isUp' | 'lastError'>
  /** VALIJA_DELIVERY. */
  delivery: RouteKind
}

export interface ExplainedView {
  email: string
  status: RecipientState
  summary: string
  because: Cause[]
  next_attempt_at: string | null
  remedy: string
}

/** @returns null for a message that is unknown or another tenant's */
export async function explainMessage(
  desk: ExplanationDesk,
  tenantId: Uuid,
  messageId: Uuid,
): Promise<ExplainedView[] | null> {
  const rows = await readExplainedMessage(desk.database, tenantId, messageId)
  if (rows === null) return null
  const around = await readSurroundings(desk, tenantId, rows)
  return rows.recipients.map((recipient) => {
    const facts = factsOf(rows, around, recipient)
    const { email, status, nextAttemptAtMs } = facts.recipient
    const next_attempt_at = nextAttemptAtMs === null ? null : new Date(nextAttemptAtMs).toISOString()
    const { summary, because, remedy } = explainRecipient(facts)
    return { email, status, summary, because, next_attempt_at, remedy }
  })
}

/** What is not the message's own. */
interface Surroundings {
  nowMs: number
  system: SystemFacts
  ahead: ExplanationFacts['ahead']
  sender: SenderFacts | null
  routes: ReadonlyMap<string, ExplainedRoute>
  stsDomains: ReadonlySet<string>
  /** By `site:` and the key that a hold names, and by the recipient's domain. */
  sites: ReadonlyMap<string, ExplainedSite>
  senderHolds: ReadonlyMap<string, string | null>
}

async function readSurroundings(
  { database, clock, queue, delivery }: ExplanationDesk,
  tenantId: Uuid,
  rows: ExplainedRows,
): Promise<Surroundings> {
  const { engine } = database
  const { message, recipients, lastAttempts } = rows
  const live = recipients.filter(({ status }) => !isEnd(status))
  const failed = recipients.filter(({ id }) => lastAttempts.get(id)?.report.judgement !== undefined)
  const system: SystemFacts = {
    delivery,
    workers: live.length === 0 ? 1 : await countWorkers(engine),
    queueFault: queue.isUp ? null : (queue.lastError?.message ?? 'no answer'),
    queueBackend: queue.backend,
  }
  const stsDomains = await findEnforcedSts(
    engine,
    failed.map(({ domain }) => domain),
  )
  return {
    nowMs: clock.nowMs(),
    system,
    ahead: await readAhead(database, tenantId, message, live),
    sender: failed.length === 0 ? null : await readSender(database, tenantId, message.fromDomain),
    routes: await readRoutes(database, tenantId, rows),
    sites: await readSites(database, live),
    senderHolds: await readSenderHolds(database, tenantId, message.fromDomain, live),
    stsDomains,
  }
}

/** By the first of its recipients that is due: those of a message are due together, as a rule. */
async function readAhead(
  { engine }: Database,
  tenantId: Uuid,
  { id: messageId, stream }: ExplainedMessage,
  live: readonly ExplainedRecipient[],
): Promise<ExplanationFacts['ahead']> {
  const due = live.flatMap(({ state, dueAt }) => (state === 'waiting' && dueAt !== null ? [dueAt] : []))
  if (due.length === 0) return { count: 0, isMore: false }
  const dueAt = new Date(Math.min(...due.map((date) => date.getTime())))
  return countAhead(engine, { tenantId, stream, messageId, dueAt })
}

/** The nearest of the tenant's domains above the From address, as signing and acceptance find it. */
async function readSender(
  database: Database,
  tenantId: Uuid,
  fromDomain: string,
): Promise<SenderFacts | null> {
  const names = namesThatCover(fromDomain)
  const domains = await findDomainsNamed(database, tenantId, names)
  const nearest = names.find((name) => domains.some((domain) => domain.name === name))
  const domain = domains.find(({ name }) => name === nearest)
  if (domain === undefined) return null
  const fault = showRecords(domain, noHosts).find(
    ({ required, status }) => required && (status === 'missing' || status === 'wrong'),
  )
  return {
    id: formatId('domain', domain.id),
    name: domain.name,
    isVouched: domain.isVouched,
    signsDkim: domain.signsDkim,
    fault: fault === undefined ? null : { name: fault.name, sentence: `is ${fault.status}: ${fault.fix}` },
  }
}

const siteMark = 'site:'
const senderMark = 'held_at:'

async function readSites(
  { engine }: Database,
  live: readonly ExplainedRecipient[],
): Promise<Map<string, ExplainedSite>> {
  if (live.length === 0) return new Map()
  const keys = live.flatMap(({ hold }) => (hold?.startsWith(siteMark) ? [hold.slice(siteMark.length)] : []))
  const domains = live.map(({ domain }) => domain)
  const found = await findExplainedSites(engine, [...new Set(keys)], [...new Set(domains)])
  // Of a domain's sites the one used last, which comes first, is kept.
  const sites = new Map<string, ExplainedSite>()
  for (const site of found.reverse()) {
    sites.set(`${siteMark}${site.key}`, site)
    if (site.domain !== null) sites.set(site.domain, site)
  }
  return sites
}

async function readSenderHolds(
  { engine }: Database,
  tenantId: Uuid,
  fromDomain: string,
  live: readonly ExplainedRecipient[],
): Promise<Map<string, string | null>> {
  if (!live.some(({ hold }) => hold?.startsWith(senderMark))) return new Map()
  const holds = await findSenderHolds(engine, tenantId, fromDomain)
  return new Map(holds.map(({ name, reply }) => [name, reply]))
}

async function readRoutes(
  { engine }: Database,
  tenantId: Uuid,
  { recipients, lastAttempts }: ExplainedRows,
): Promise<Map<string, ExplainedRoute>> {
  const names = new Set<string>()
  for (const { hold } of recipients) if (hold !== null) names.add(hold.slice(hold.indexOf(':') + 1))
  for (const { report } of lastAttempts.values()) names.add(String(report.route))
  if (names.size === 0) return new Map()
  const found = await findExplainedRoutes(engine, tenantId, [...names])
  const routes = new Map(found.map((route) => [route.name, route]))
  if (names.has('smarthost')) routes.set('smarthost', await readOwnRelay(engine))
  return routes
}

async function readOwnRelay(engine: Database['engine']): Promise<ExplainedRoute> {
  const trouble = await findInstallationTrouble(engine)
  return {
    id: null,
    name: 'smarthost',
    kind: 'smarthost',
    isOperators: true,
    isPaused: false,
    pausedReason: null,
    pausedReply: null,
    pausedUntil: null,
    condition: trouble?.condition ?? null,
    downReply: null,
    since: trouble?.since ?? null,
  }
}

function factsOf(
  { message, lastAttempts, suppressions, complaints }: ExplainedRows,
  around: Surroundings,
  row: ExplainedRecipient,
): ExplanationFacts {
  const last = lastAttempts.get(row.id) ?? null
  const status = shownState(row.status, row.isLeased)
  const attempt = last === null ? null : attemptFacts(last, around.routes)
  const routeName = row.hold?.startsWith('route_')
    ? row.hold.slice(row.hold.indexOf(':') + 1)
    : attempt?.route
  return {
    nowMs: around.nowMs,
    message: {
      stream: message.stream,
      delivery: message.delivery,
      sendAtMs: message.sendAt?.getTime() ?? null,
      expiresAtMs: message.expiresAt.getTime(),
      suspendedAtMs: message.suspendedAt?.getTime() ?? null,
      bulkPause:
        message.bulkPausedAt && message.bulkPause
          ? { sinceMs: message.bulkPausedAt.getTime(), reason: message.bulkPause.reason }
          : null,
      requireTls: message.requireTls,
      fromDomain: message.fromDomain,
      isContentKept: message.isContentKept,
    },
    recipient: {
      email: row.email,
      domain: row.domain,
      status,
      reason: row.reason,
      reply: row.reply,
      attempts: row.attempts,
      // What is at its end, or being sent, has no next attempt; as GET /messages/:id shows it.
      nextAttemptAtMs: row.isLeased || isEnd(row.status) ? null : (row.nextAttemptAt?.getTime() ?? null),
      deliveredAtMs: row.deliveredAt?.getTime() ?? null,
      complainedAtMs: complaints.get(formatId('recipient', row.id))?.getTime() ?? null,
      unsubscribedAtMs: row.unsubscribedAt?.getTime() ?? null,
      isSimulated: isPlayed(row, last),
    },
    delivery: deliveryFacts(row),
    lastAttempt: attempt,
    uncertainAttempts: last?.uncertain ?? 0,
    suppression: suppressionFacts(suppressions.get(row.emailKey)),
    site: siteOf(around, row),
    senderHolds: around.senderHolds,
    route: routeFacts(routeName === undefined ? undefined : around.routes.get(routeName)),
    ahead: around.ahead,
    sender: around.sender,
    hasStsPolicy: around.stsDomains.has(row.domain),
    system: around.system,
  }
}

/** Its row says so while there is one; afterwards its attempt, or its address. */
function isPlayed({ simulation, domain, emailKey }: ExplainedRecipient, last: LastAttempt | null): boolean {
  if (simulation !== null || last?.report.route === 'simulator') return true
  return simulationOf({ domain, key: emailKey }, false) !== null
}

function deliveryFacts({ state, dueAt, hold, crashes }: ExplainedRecipient): DeliveryFacts | null {
  return state === null || dueAt === null ? null : { state, dueAtMs: dueAt.getTime(), hold, crashes }
}

/** As settle kept it; what an earlier version did not keep is null. */
interface KeptReport {
  route: string
  host: string | null
  ip: string | null
  port: number | null
  tls: TlsFacts | null
  phase: Phase
  reply: string | null
  uncertain: boolean
  judgement?: { failure: TransportFailure | null; taught_by: string | null } & Omit<
    JudgementFacts,
    'failure' | 'taughtBy'
  >
}

function attemptFacts(last: LastAttempt, routes: ReadonlyMap<string, ExplainedRoute>): AttemptFacts {
  // The worker wrote it so (judge-attempt.ts).
  const { judgement, uncertain, ...report } = last.report as unknown as KeptReport
  const { route, host, ip, port, tls, phase, reply } = report
  return {
    ...{
      number: last.number,
      outcome: last.outcome,
      reason: last.reason,
      startedAtMs: last.startedAt.getTime(),
    },
    ...{ route, host, ip, port, tls, phase, reply, isUncertain: uncertain },
    isRelay: routes.get(route)?.kind === 'smarthost',
    judgement: judgement === undefined ? null : judgementFacts(judgement),
  }
}

function judgementFacts({ taught_by, ...judgement }: NonNullable<KeptReport['judgement']>): JudgementFacts {
  return { ...judgement, taughtBy: taught_by }
}

/** The site that holds the mail, else the one that its domain's mail went to last. */
function siteOf({ sites, nowMs }: Surroundings, { hold, domain }: ExplainedRecipient): SiteFacts | null {
  const found = (hold === null ? undefined : sites.get(hold)) ?? sites.get(domain)
  if (found === undefined) return null
  const { id, provider, site, pausedUntil, since } = found
  const pace = found.pace ?? steadyPace
  return {
    ...{
      id,
      name: provider ?? site,
      condition: conditionOf(pace, nowMs),
      pausedUntilMs: pausedUntil?.getTime() ?? null,
    },
    sinceMs: since?.getTime() ?? null,
    reply: pace.cause?.reply ?? null,
    connections: pace.connections,
    mailsPerSecond: pace.mailsPerSecond,
  }
}

function suppressionFacts(entry: SuppressionEntry | undefined): SuppressionFacts | null {
  if (entry === undefined) return null
  return {
    id: formatId('suppression', entry.id),
    reason: entry.reason as SuppressionReason,
    isQuarantined: entry.isQuarantined,
    reply: entry.reply,
    createdAtMs: entry.createdAt.getTime(),
  }
}

function routeFacts(route: ExplainedRoute | undefined): RouteFacts | null {
  if (route === undefined) return null
  const {
    id,
    name,
    isOperators,
    isPaused,
    pausedReason,
    pausedReply,
    pausedUntil,
    condition,
    downReply,
    since,
  } = route
  return {
    ...{ name, isOperators, isPaused, pausedReason, condition },
    id: id === null ? null : formatId('route', id),
    pausedUntilMs: pausedUntil?.getTime() ?? null,
    reply: pausedReply ?? downReply,
    sinceMs: since?.getTime() ?? null,
  }
}
