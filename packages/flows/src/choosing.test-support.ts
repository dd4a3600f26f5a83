/** A route chooser over a real database, and what a conversation with a real host came to. */
import {
  type Caller,
  createIdSource,
  createJudge,
  createSealer,
  type Disposition,
  loadReplyRules,
  noLimits,
  scopes,
  type TransactionReport,
  type Uuid,
} from '@valija/core'
import { createNetworkGuard, createOpenSession, defaultDeadlines, smarthostTarget } from '@valija/courier'
import { parseSmtpReply } from '@valija/mail'
import { type Database, openDatabase, openWake, type Wake } from '@valija/store'
import { createDatabase } from '../../../tests/support/database.ts'
import { noTenant } from './authenticate.ts'
import { openRouteChooser, type RouteChooserParts } from './choose-route.ts'
import { addRouteList, type RouteListInput } from './manage-route-lists.ts'
import { addRoute, type RouteDesk, type RouteInput } from './manage-routes.ts'
import { addSource, type SourceInput } from './manage-sources.ts'
import { configuredSources } from './own-routes.ts'
import type { ChoosableDelivery, ChosenRoute, RouteChooser } from './route-choice.ts'

export const judge = createJudge(loadReplyRules())
const nextId = createIdSource(Date.now)

export interface RoutingBench extends RouteDesk {
  database: Database
  wake: Wake
  tenant: Caller
  operator: Caller
  trouble: Error[]
  /** A worker of its own. Its relay is at the port of nobody, unless `more` says otherwise. */
  worker(more?: Partial<RouteChooserParts>): Promise<RouteChooser>
  route(caller: Caller, name: string, more?: Partial<RouteInput>): Promise<string>
  list(caller: Caller, routes: RouteListInput['routes'], more?: Partial<RouteListInput>): Promise<string>
  source(address: string, more?: Partial<SourceInput>): Promise<string>
  delivery(more?: Partial<ChoosableDelivery>): ChoosableDelivery
  events(type: string): Promise<{ tenantId: Uuid; data: Record<string, unknown> }[]>
  /** Takes back all that a test made, and closes its workers. */
  clear(): Promise<void>
  close(): Promise<void>
}

export async function openRoutingBench(): Promise<RoutingBench> {
  const target = await createDatabase()
  const trouble: Error[] = []
  const database = openDatabase({ url: target.url, onError: () => undefined })
  const wake = await openWake(target.url, () => undefined)
  const sealer = createSealer(['a secret of this test'])
  const clock = { nowMs: Date.now }
  const [tenant, operator] = [callerOf(nextId(), false), callerOf(noTenant, true)]
  await database.engine.query(`INSERT INTO valija.tenants (id, name) VALUES ($1, 'acme')`, [tenant.tenantId])
  const parts = { database, wake, sealer, clock, nextId }
  const workers: RouteChooser[] = []
  const clear = async () => {
    await Promise.all(workers.splice(0).map((worker) => worker.close()))
    for (const table of ['route_lists', 'routes', 'source_ips', 'route_health', 'events', 'deliveries'])
      await database.engine.query(`DELETE FROM valija.${table}`)
  }
  return {
    ...parts,
    tenant,
    operator,
    trouble,
    worker: async (more = {}) => {
      const worker = await openRouteChooser({
        ...parts,
        delivery: 'smarthost',
        smarthost: { secure: false, host: '127.0.0.1', port: 9, user: null, pass: null },
        hasBounceDomain: true,
        sources: configuredSources([], 'us.example'),
        localAddresses: () => ['127.0.0.1'],
        onError: (error) => void trouble.push(error),
        log: () => undefined,
        ...more,
      })
      workers.push(worker)
      return worker
    },
    route: async (caller, name, more = {}) => {
      const relay = { kind: 'smarthost' as const, host: '127.0.0.1' }
      const input = { name, ...(more.kind === undefined && relay), kind: relay.kind, ...more }
      return (await addRoute(parts, caller, input)).id
    },
    list: async (caller, routes, more = {}) =>
      (await addRouteList({ ...parts, delivery: 'smarthost' }, caller, { routes, ...more })).id,
    source: async (address, more = {}) =>
      (await addSource(parts, { address, ehlo_name: 'mail.test', ...more })).id,
    delivery: (more = {}) => ({ ...deliveryOf(tenant), ...more }),
    events: async (type) => {
      const found = await database.engine.query(
        `SELECT tenant_id AS "tenantId", data FROM valija.events WHERE type = $1 ORDER BY id`,
        [type],
      )
      return found.rows
    },
    clear,
    close: async () => {
      await clear()
      await wake.close()
      await database.close()
      await target.drop()
    },
  }
}

function deliveryOf({ tenantId }: Caller): ChoosableDelivery {
  return {
    recipientId: nextId(),
    tenantId,
    route: 'smarthost',
    stream: 'transactional',
    fromDomain: 'acme.test',
    email: 'ann@example.test',
    avoid: null,
  }
}

export function callerOf(tenantId: string, isOperator: boolean): Caller {
  return {
    tenantId,
    keyId: null,
    scopes: new Set(scopes),
    domains: [],
    recipients: [],
    route: null,
    isOperator,
    isDefaultTenant: false,
    queuedLimit: null,
    limits: noLimits(),
  }
}

const openSession = createOpenSession({ guard: createNetworkGuard([]) })

/** Opens a session to a relay as a worker does; its failure to open, judged. Throws when it opens. */
export async function tryRelay(
  route: ChosenRoute,
): Promise<{ report: TransactionReport; disposition: Disposition }> {
  if (route.way.kind !== 'smarthost') throw new TypeError('not a relay')
  const target = smarthostTarget(route.way, { route: route.name, ehloName: 'us.example', localAddress: null })
  const opened = await openSession(target, defaultDeadlines)
  if (opened.ok) {
    await opened.session.close()
    throw new Error('it opened')
  }
  return { report: opened.report, disposition: judge(opened.report) }
}

/** What a mail whose content was answered so came to. */
export function answered(line: string): { report: TransactionReport; disposition: Disposition } {
  const report: TransactionReport = {
    route: 'r',
    host: 'relay.test',
    ip: '192.0.2.1',
    port: 25,
    sourceIp: null,
    tls: null,
    phase: 'body',
    reply: parseSmtpReply(line),
    failure: null,
    detail: null,
    isUncertain: false,
    startedAt: new Date(),
    durationMs: 1,
    timingsMs: { dns: 0, connect: 0, tls: 0, ehlo: 0, envelope: 0, data: 0, total: 0 },
    transcript: [],
    sizeBytes: 1,
    isSimulated: false,
  }
  return { report, disposition: judge(report) }
}
