/**
 * What it costs that many wait: each line is an installation of its own, measured while nothing else waits, then filled and
 * measured again. What waits is not delivered to the end, but what came must have come once.
 */
import { startExchangers } from './exchangers.ts'
import type { Tally } from './ledger.ts'
import type { MailShape } from './mails.ts'
import { type Settings, say } from './options.ts'
import { VoidRun } from './phase.ts'
import type { Quantiles } from './quantiles.ts'
import { measure, openStage, post, type Stage } from './stage.ts'
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
const acceptPerS = 200
/** Of the mails that are delivered for a measurement the first and last tenth do not count: workers start, and end. */
const edge = 0.1
/** From this many domains on exchangers share addresses. */
const maxHosts = 250

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

export async function measureGrowth(settings: Settings): Promise<GrowthRow[]> {
  const rows: GrowthRow[] = []
  for (const queue of settings.queues) {
    for (const plan of growthPlan(settings)) {
      const { waiting, domains, tenants } = plan
      say(`queue in ${queue}: ${waiting} waiting, ${domains} domains, ${tenants} tenants`)
      rows.push({ ...plan, queue, ...(await measureRow(settings, queue, plan)) })
    }
  }
  return rows
}

async function measureRow(
  settings: Settings,
  queue: QueueBackend,
  { waiting, domains, tenants }: ReturnType<typeof growthPlan>[number],
): Promise<{ empty: GrowthState; full: GrowthState }> {
  const shape: MailShape = { kind: 'receipt', domains, tenants }
  // One domain: a smarthost, so that no limit of a single site is measured.
  const exchangers = domains > 1 ? await startExchangers(domains, maxHosts) : null
  try {
    const sink = { ...settings.sink, ...(exchangers && { hosts: exchangers.hosts }) }
    const stage = await openStage({ ...settings, shape, sink })
    try {
      const dns = exchangers && { dnsServer: exchangers.dnsServer }
      const { sinkPort } = stage
      const installation = await install({ queue, sinkPort, tenants, profileFolder: null, ...dns })
      try {
        return await measureBoth(stage, installation, waiting)
      } finally {
        await installation.remove()
      }
    } finally {
      await stage.close()
    }
  } finally {
    await exchangers?.stop()
  }
}

async function measureBoth(stage: Stage, installation: Installation, waiting: number) {
  const { warmUp, mails } = stage
  await stage.sink.ask('expect', { first: 0, count: warmUp + waiting + 2 * mails })
  await installation.startWorkers(1)
  await post(stage, { ...installation, first: 0, count: warmUp })
  await stage.sink.ask('some', { count: warmUp })
  await installation.stopWorkers()
  const empty = await measureState(stage, installation, warmUp)
  await post(stage, { ...installation, first: warmUp + mails, count: waiting })
  return { empty, full: await measureState(stage, installation, warmUp + mails + waiting) }
}

/** Accepts mails from number `first` on, then delivers as many of those that wait. */
async function measureState(stage: Stage, installation: Installation, first: number): Promise<GrowthState> {
  const { mails, sink } = stage
  const { answer } = await post(stage, { ...installation, first, count: mails, perS: acceptPerS })
  const { distinct } = await sink.ask<Tally>('tally')
  await installation.startWorkers(1)
  const came = (share: number) => sink.ask<number>('some', { count: distinct + Math.ceil(share * mails) })
  const { result, memoryMb } = await measure(stage, mails, installation.processes(), async () => {
    const [beganAtMs, endedAtMs] = await Promise.all([came(edge), came(1 - edge)])
    return ((1 - 2 * edge) * mails * 1000) / (endedAtMs - beganAtMs)
  })
  await installation.stopWorkers()
  const tally = await sink.ask<Tally>('tally')
  if (tally.doubled > 0 || tally.foreign > 0) {
    throw new VoidRun(`the sink has mails twice, or of nobody: ${JSON.stringify(tally)}`)
  }
  return { answer, deliveredPerS: result, memoryMb }
}
