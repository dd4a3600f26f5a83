/**
 * What it costs that many wait: each line is an installation of its own, measured while nothing else waits, then filled and
 * measured again. What waits is not delivered to the end, but what came must have come once.
 */
import { startExchangers } from './exchangers.ts'
import type { Tally } from './ledger.ts'
import type { MailShape } from './mails.ts'
import type { Settings } from './options.ts'
import { VoidRun } from './phase.ts'
import type { Step } from './progress.ts'
import type { Quantiles } from './quantiles.ts'
import { measure, onStage, post, type Stage, type StageOptions } from './stage.ts'
import { type Installation, install, type QueueBackend } from './valija.ts'

export interface GrowthState {
  /** Request → 202 in an open load, while no worker runs. */
  answer: Quantiles
  /** By one worker, which accepts nothing meanwhile. */
  deliveredPerS: number
  /** At the end of that. */
  memoryMb: Record<string, number>
}

export interface GrowthRow {
  waiting: number
  domains: number
  tenants: number
  queue: QueueBackend
  empty: GrowthState
  full: GrowthState
}

/** Requests per second: well below what one API accepts. */
const acceptPerS = 400
/** How many times as many are delivered as accepted: what is done once in a while (a look through all that waits) is to have its share. */
export const deliveredFactor = 4
/** Of the mails that are delivered for a measurement the first and last tenth do not count: workers start, and end. */
const edge = 0.1
/** From this many domains on exchangers share addresses. */
const maxHosts = 250
/** For the guess of a step's time: mails that batches bring per second, and the seconds of all else, and of a tenant. */
const guess = { fillPerS: 3_000, restS: 45, tenantS: 0.03 }

/** Each list in turn, the other two at their first value; domains and tenants with the middle number of waiting mails. */
export function growthPlan({ waiting, domains, tenants }: Pick<Settings, 'waiting' | 'domains' | 'tenants'>) {
  const [domain = 1, ...moreDomains] = domains
  const [tenant = 1, ...moreTenants] = tenants
  const middle = waiting[(waiting.length - 1) >> 1] ?? 1
  return [
    ...waiting.map((count) => ({ waiting: count, domains: domain, tenants: tenant })),
    ...moreDomains.map((count) => ({ waiting: middle, domains: count, tenants: tenant })),
    ...moreTenants.map((count) => ({ waiting: middle, domains: domain, tenants: count })),
  ]
}

/** A step for each line, which adds it to `rows`. */
export function growthSteps(settings: Settings & StageOptions, rows: GrowthRow[]): Step[] {
  const [one = 1, ...moreDomains] = settings.domains
  const [tenant = 1, ...moreTenants] = settings.tenants
  return settings.queues.flatMap((queue, index) => {
    // Domains and tenants are the dispatcher's business, which is in PostgreSQL with either queue: measured with the first.
    const isFirst = index === 0
    const domains = [one, ...(isFirst ? moreDomains : [])]
    const tenants = [tenant, ...(isFirst ? moreTenants : [])]
    return growthPlan({ waiting: settings.waiting, domains, tenants }).map((plan): Step => {
      const name = `queue in ${queue}: ${plan.waiting} waiting, ${plan.domains} domains, ${plan.tenants} tenants`
      return {
        key: name,
        name,
        guessS: plan.waiting / guess.fillPerS + guess.restS + plan.tenants * guess.tenantS,
        run: async () => {
          rows.push({ ...plan, queue, ...(await measureRow(settings, queue, plan)) })
        },
      }
    })
  })
}

async function measureRow(
  settings: Settings & StageOptions,
  queue: QueueBackend,
  { waiting, domains, tenants }: ReturnType<typeof growthPlan>[number],
): Promise<{ empty: GrowthState; full: GrowthState }> {
  const shape: MailShape = { kind: 'receipt', domains, tenants }
  // One domain: a smarthost, so that no limit of a single site is measured.
  const exchangers = domains > 1 ? await startExchangers(domains, maxHosts) : null
  try {
    const sink = { ...settings.sink, ...(exchangers && { hosts: exchangers.hosts }) }
    return await onStage({ ...settings, shape, sink }, async (stage) => {
      const dns = exchangers && { dnsServer: exchangers.dnsServer }
      const { sinkPort } = stage
      const installation = await install({ queue, sinkPort, tenants, profileFolder: null, ...dns })
      try {
        await stage.inspect?.(installation)
        return await measureBoth(stage, installation, waiting)
      } finally {
        await installation.remove()
      }
    })
  } finally {
    await exchangers?.stop()
  }
}

async function measureBoth(stage: Stage, installation: Installation, waiting: number) {
  const { warmUp, mails } = stage
  const warm = 2 * warmUp
  const each = mails * deliveredFactor
  await stage.sink.ask('expect', { first: 0, count: warm + waiting + 2 * each })
  await installation.startWorkers(1)
  // As batches too, so that memory is compared after the same kind of work.
  await fill(stage, installation, 0, warmUp)
  await post(stage, { ...installation, first: warmUp, count: warmUp })
  await stage.sink.ask('some', { count: warm })
  await installation.stopWorkers()
  const empty = await measureState(stage, installation, warm)
  await fill(stage, installation, warm + each, waiting)
  return { empty, full: await measureState(stage, installation, warm + each + waiting) }
}

/** By POST /send/batch: single requests would take an hour for a million. */
async function fill(
  { load, shape }: Stage,
  { port, apiKeys }: Installation,
  first: number,
  count: number,
): Promise<void> {
  await load.ask('fill', { port, apiKeys, shape, first, count })
}

/** Accepts mails from number `first` on, then delivers some times as many of those that wait. */
async function measureState(stage: Stage, installation: Installation, first: number): Promise<GrowthState> {
  const { mails, sink } = stage
  await catchUp(installation)
  const { answer } = await post(stage, { ...installation, first, count: mails, perS: acceptPerS })
  const count = mails * deliveredFactor
  await fill(stage, installation, first + mails, count - mails)
  await catchUp(installation)
  const { distinct } = await sink.ask<Tally>('tally')
  await installation.startWorkers(1)
  const came = (share: number) => sink.ask<number>('some', { count: distinct + Math.ceil(share * count) })
  const { result, memoryMb } = await measure(stage, count, installation.processes(), async () => {
    const [beganAtMs, endedAtMs] = await Promise.all([came(edge), came(1 - edge)])
    return ((1 - 2 * edge) * count * 1000) / (endedAtMs - beganAtMs)
  })
  await installation.stopWorkers()
  const tally = await sink.ask<Tally>('tally')
  if (tally.doubled > 0 || tally.foreign > 0) {
    throw new VoidRun(`the sink has mails twice, or of nobody: ${JSON.stringify(tally)}`)
  }
  return { answer, deliveredPerS: result, memoryMb }
}

/**
 * Has PostgreSQL do now what it would begin to do by itself some time after so many new rows: else it falls into one figure and not into another. What
 * Valija does by itself afterwards (counting statistics, digests for searches) it does while workers run, and so within the figures.
 */
async function catchUp(installation: Installation): Promise<void> {
  await installation.query('VACUUM (ANALYZE)')
  await installation.query('CHECKPOINT')
}
