/** A site scheduler with real sessions to scripted peers, for the tests of one file; closed after each of them. */
import type { TransactionReport } from '@valija/core'
import { afterEach, expect } from 'vitest'
import type { Destination, ShapingScope } from '../destination.ts'
import { createNetworkGuard } from '../network-guard.ts'
import { createOpenSession } from '../open-first.ts'
import { relayDestination } from '../relay-destination.ts'
import { buildReport, failureVerdict, noTimings } from '../report.ts'
import { captureTarget } from '../routes.ts'
import { defaultDeadlines, type Opening, type Session } from '../session.ts'
import { createSiteScheduler, type SiteJob, type SiteLimits, type SiteScheduler } from '../site-scheduler.ts'
import { createFixedShaper, type SiteShaper } from '../site-shaper.ts'
import { Transcript } from '../transcript.ts'
import { type ScriptedPeer, startScriptedPeer } from './scripted-peer.ts'

/** What the shaper and the scheduler allow. */
type Limits = SiteLimits & { connectionsPerSite: number; mailsPerConnection: number }

export const limits: Limits = {
  connectionsPerSite: 20,
  mailsPerConnection: 1_000,
  idleMs: 60_000,
  sockets: 100,
  waitingInTrouble: 100,
  slowAfterMs: 60_000,
}
const bytes = Buffer.from('Subject: x\r\n\r\nx\r\n')

/** A real delivery that tells when it begins and how it ended. */
export class Delivery implements SiteJob {
  readonly turn: SiteJob['turn']
  readonly #begun = Promise.withResolvers<void>()
  readonly #settled = Promise.withResolvers<TransactionReport>()
  readonly address: string
  runs = 0
  hold: () => Promise<void> = async () => {}
  isWithdrawn = false

  constructor(address = 'ann@example.com', tenantId = 'one') {
    this.address = address
    this.turn = { tenantId, weight: 1, stream: 'transactional' }
  }

  get begun(): Promise<void> {
    return this.#begun.promise
  }

  get settled(): Promise<TransactionReport> {
    return this.#settled.promise
  }

  async run(
    session: Session,
    mayBegin: () => Promise<boolean>,
  ): Promise<TransactionReport | 'withdrawn' | null> {
    this.runs += 1
    this.#begun.resolve()
    await this.hold()
    if (this.isWithdrawn) return 'withdrawn'
    if (!(await mayBegin())) return null
    const envelope = { from: '', to: this.address, needsSmtpUtf8: false, envid: null }
    return await session.send(envelope, bytes, { isStillMine: () => true }, { route: 'capture' })
  }

  settle(report: TransactionReport): void {
    this.#settled.resolve(report)
  }
}

const peers: ScriptedPeer[] = []
export let scheduler: SiteScheduler<Delivery>
export let heldBack: { jobs: Delivery[]; untilMs: number; scope: ShapingScope | null }[]
export let crashes: unknown[]

afterEach(async () => {
  await scheduler.close()
  expect(scheduler.sockets).toBe(0)
  await Promise.all(peers.splice(0).map((peer) => peer.close()))
})

export async function startPeer(script: Parameters<typeof startScriptedPeer>[0] = {}): Promise<ScriptedPeer> {
  const peer = await startScriptedPeer(script)
  peers.push(peer)
  return peer
}

/** A relay at this port, or one that cannot even be tried. */
export function destinationOf(site: ScriptedPeer | string): Destination {
  if (typeof site !== 'string') {
    return relayDestination(
      captureTarget({ host: '127.0.0.1', port: site.port }, 'us.example'),
      'capture',
      'default',
    )
  }
  const candidates = () => {
    throw new Error('a broken target')
  }
  const broken = relayDestination(captureTarget({ host: site, port: 1 }, 'us.example'), 'capture', 'default')
  return { ...broken, candidates }
}

/** An opening for which this process has no socket. */
export function noSocketOpening(): Opening {
  const endpoint = { host: '127.0.0.1', ip: null, port: 25, sourceIp: null }
  const facts = { ...endpoint, route: 'capture', tls: null, timingsMs: noTimings, sizeBytes: null }
  const verdict = failureVerdict('connect', 'no_socket', 'this worker could open no connection')
  return { ok: false, report: buildReport({ ...facts, transcript: new Transcript() }, verdict) }
}

/** @param instead what an opening comes to, by its number from 0; undefined: what it comes to */
export function begin(
  overrides: Partial<Limits> = {},
  shaper?: SiteShaper,
  instead: (opening: number) => Opening | undefined = () => undefined,
): void {
  const openSession = createOpenSession({ guard: createNetworkGuard([]) })
  heldBack = []
  let openings = 0
  crashes = []
  scheduler = createSiteScheduler<Delivery>({
    open: async (destination) =>
      instead(openings++) ?? (await openSession(destination.candidates()[0]!, defaultDeadlines)),
    shaper:
      shaper ??
      createFixedShaper({
        connections: overrides.connectionsPerSite ?? limits.connectionsPerSite,
        mailsPerConnection: overrides.mailsPerConnection ?? limits.mailsPerConnection,
      }),
    limits: { ...limits, ...overrides },
    onHeldBack: (jobs, untilMs, scope) => heldBack.push({ jobs, untilMs, scope }),
    onCrash: (_, error) => crashes.push(error),
  })
}

export function submit(site: ScriptedPeer | string, count: number): Delivery[] {
  const destination = destinationOf(site)
  const deliveries = Array.from({ length: count }, (_, i) => new Delivery(`r${i}@example.com`))
  for (const delivery of deliveries) scheduler.submit(destination, delivery)
  return deliveries
}

export const settled = (deliveries: Delivery[]) => Promise.all(deliveries.map((delivery) => delivery.settled))

/** Sessions open at a peer: those that have not said QUIT. */
export const openAt = (peer: ScriptedPeer) =>
  peer.connections.filter((lines) => lines.at(-1) !== 'QUIT').length

export const connectionsOf = (peer: ScriptedPeer) => peer.connections.length
