/** Managing source addresses and their warm-up: the operator's business. */
import { isIP } from 'node:net'
import {
  conflict,
  continueWarmUp,
  defaultWarmUp,
  type FieldFault,
  formatId,
  type IdSource,
  invalidRequest,
  ProductError,
  parseId,
  type WarmUpPlan,
  warmUpCaps,
} from '@valija/core'
import { parseDomain } from '@valija/mail'
import {
  type Database,
  deleteSource,
  findSource,
  insertSource,
  listSources,
  readWarmUps,
  restartWarmUps,
  type SourceConfig,
  type StoredSource,
  updateSource,
  type Wake,
  type WarmUpProgress,
} from '@valija/store'
import { type PageAnswer, type PageRequest, readPage } from './manage-pages.ts'

export interface SourceDesk {
  database: Database
  wake: Wake
  nextId: IdSource
  clock: { nowMs(): number }
}

export interface WarmUpInput {
  caps?: number[]
  max_deferral_rate?: number
  max_complaint_rate?: number
}

/** The body of PATCH /source-ips/:id. */
export interface SourceChange {
  bind?: string | null
  ipv6?: string | null
  ehlo_name?: string
  pool?: string
  weight?: number
  state?: 'enabled' | 'paused'
  /** True: the usual schedule; false and null: it is warm. */
  warm_up?: WarmUpInput | boolean | null
}

/** The body of POST /source-ips. */
export interface SourceInput extends SourceChange {
  address: string
  ehlo_name: string
}

export interface WarmUpProviderView {
  provider: string
  /** From 1. */
  stage: number
  /** Null when the warm-up is over. */
  cap_per_day: number | null
  cap_per_hour: number | null
  used_in_day: number
  used_in_hour: number
  handed_off: number
  deferred: number
  complained: number
}

export interface SourceView {
  id: string
  address: string
  bind: string
  ipv6: string | null
  ehlo_name: string
  pool: string
  weight: number
  state: 'enabled' | 'paused'
  warm_up: (Required<WarmUpInput> & { providers: WarmUpProviderView[] }) | null
  health: {
    status: 'ok' | 'unbound' | 'blocked'
    bound_at: string | null
    blocked_at: string | null
    blocked_reply: string | null
  }
  created_at: string
}

export async function showSources(desk: SourceDesk, request: PageRequest): Promise<PageAnswer<SourceView>> {
  const { data, next_cursor } = await readPage(
    'source',
    request,
    (page) => listSources(desk.database, page),
    (source) => source,
  )
  return { data: await toViews(desk, data), next_cursor }
}

/** @throws {ProductError} not_found */
export async function showSource(desk: SourceDesk, id: string): Promise<SourceView> {
  const uuid = parseId('source', id)
  const source = uuid && (await findSource(desk.database, uuid))
  if (!source) throw new ProductError('not_found')
  return (await toViews(desk, [source]))[0]!
}

/** @throws {ProductError} invalid_request, conflict */
export async function addSource(desk: SourceDesk, input: SourceInput): Promise<SourceView> {
  const faults: FieldFault[] = []
  if (isIP(input.address) !== 4) {
    faults.push({
      path: '/address',
      message: 'must be an IPv4 address; an IPv6 address that it also sends from goes into ipv6.',
    })
  }
  const config = readConfig(input, faults)
  if (faults.length > 0) throw invalidRequest(faults)
  const added = await insertSource(desk.database, {
    id: desk.nextId(),
    address: input.address,
    ipv6: null,
    pool: 'default',
    weight: 1,
    state: 'enabled',
    warmUp: null,
    ehloName: input.ehlo_name,
    ...config,
    bind: config.bind ?? input.address,
  })
  if (added === null) throw conflict('exists', { detail: `There is a source ${input.address} already.` })
  desk.wake.send('routes')
  return (await toViews(desk, [added]))[0]!
}

/** @throws {ProductError} not_found, invalid_request */
export async function changeSource(desk: SourceDesk, id: string, input: SourceChange): Promise<SourceView> {
  const uuid = parseId('source', id)
  const known = uuid && (await findSource(desk.database, uuid))
  if (!known) throw new ProductError('not_found')
  const faults: FieldFault[] = []
  const config = readConfig(input, faults)
  if (faults.length > 0) throw invalidRequest(faults)
  const { bind, ...rest } = config
  const changed = await updateSource(desk.database, uuid, {
    ...rest,
    ...(bind !== undefined && { bind: bind ?? known.address }),
  })
  if (!changed) throw new ProductError('not_found')
  // A warm-up that begins after there was none begins at its first stage.
  if (known.warmUp === null && changed.warmUp !== null) await restartWarmUps(desk.database.engine, uuid)
  desk.wake.send('routes')
  return (await toViews(desk, [changed]))[0]!
}

/** @throws {ProductError} not_found */
export async function removeSource(desk: SourceDesk, id: string): Promise<void> {
  const uuid = parseId('source', id)
  if (uuid === null || !(await deleteSource(desk.database, uuid))) throw new ProductError('not_found')
  desk.wake.send('routes')
}

type ReadConfig = Partial<Omit<SourceConfig, 'bind'>> & { bind?: string | null }

function readConfig(input: SourceChange, faults: FieldFault[]): ReadConfig {
  const fault = (path: string, message: string) => faults.push({ path, message })
  if (input.bind != null && isIP(input.bind) !== 4) fault('/bind', 'must be an IPv4 address of this machine.')
  if (input.ipv6 != null && (isIP(input.ipv6) !== 6 || input.ipv6.includes('%')))
    fault('/ipv6', 'must be an IPv6 address.')
  const name = input.ehlo_name === undefined ? null : parseDomain(input.ehlo_name)
  if (name !== null && !name.ok) fault('/ehlo_name', name.message)
  const warmUp = readWarmUp(input.warm_up, fault)
  return {
    ...(input.bind !== undefined && { bind: input.bind }),
    ...(input.ipv6 !== undefined && { ipv6: input.ipv6?.toLowerCase() ?? null }),
    ...(name?.ok && { ehloName: name.value }),
    ...(input.pool !== undefined && { pool: input.pool }),
    ...(input.weight !== undefined && { weight: input.weight }),
    ...(input.state !== undefined && { state: input.state }),
    ...(warmUp !== undefined && { warmUp }),
  }
}

/** @returns undefined when nothing was said of it */
function readWarmUp(
  input: SourceChange['warm_up'],
  fault: (path: string, message: string) => void,
): WarmUpPlan | null | undefined {
  if (input === undefined) return undefined
  if (input === null || input === false) return null
  if (input === true) return defaultWarmUp
  const caps = input.caps ?? defaultWarmUp.caps
  for (const [i, cap] of caps.entries()) {
    if (i > 0 && cap <= caps[i - 1]!) fault(`/warm_up/caps/${i}`, 'must be larger than the stage before it.')
  }
  return {
    caps,
    maxDeferralRate: input.max_deferral_rate ?? defaultWarmUp.maxDeferralRate,
    maxComplaintRate: input.max_complaint_rate ?? defaultWarmUp.maxComplaintRate,
  }
}

/** Workers say every minute what they can bind. */
const boundForMs = 3 * 60_000
/** A refusal by reputation is shown as the source's state for a day. */
const blockedForMs = 24 * 3_600_000

async function toViews(desk: SourceDesk, sources: readonly StoredSource[]): Promise<SourceView[]> {
  const ids = sources.filter((source) => source.warmUp !== null).map((source) => source.id)
  const progress = ids.length > 0 ? await readWarmUps(desk.database.engine, ids) : []
  const nowMs = desk.clock.nowMs()
  const isWithin = (at: Date | null, forMs: number) => at !== null && nowMs - at.getTime() < forMs
  return sources.map((source) => ({
    id: formatId('source', source.id),
    address: source.address,
    bind: source.bind,
    ipv6: source.ipv6,
    ehlo_name: source.ehloName,
    pool: source.pool,
    weight: source.weight,
    state: source.state,
    warm_up: source.warmUp && showWarmUp(source.warmUp, progress, source.id),
    health: {
      status: isWithin(source.blockedAt, blockedForMs)
        ? 'blocked'
        : isWithin(source.boundAt, boundForMs)
          ? 'ok'
          : 'unbound',
      bound_at: source.boundAt?.toISOString() ?? null,
      blocked_at: source.blockedAt?.toISOString() ?? null,
      blocked_reply: source.blockedReply,
    },
    created_at: source.createdAt.toISOString(),
  }))
}

function showWarmUp(plan: WarmUpPlan, progress: readonly WarmUpProgress[], sourceId: string) {
  const providers = progress
    .filter((row) => row.sourceId === sourceId)
    .map(({ provider, nowMs, sourceId: _, ...stored }): WarmUpProviderView => {
      const state = continueWarmUp(plan, stored, nowMs)
      const caps = warmUpCaps(plan, state.stage)
      return {
        provider,
        stage: state.stage + 1,
        cap_per_day: caps?.day ?? null,
        cap_per_hour: caps?.hour ?? null,
        used_in_day: state.drawnInDay,
        used_in_hour: state.drawnInHour,
        handed_off: state.handedOff,
        deferred: state.deferred,
        complained: state.complained,
      }
    })
  return {
    caps: plan.caps,
    max_deferral_rate: plan.maxDeferralRate,
    max_complaint_rate: plan.maxComplaintRate,
    providers,
  }
}
