import type { TransactionReport } from '@valija/core'
import { parseAddress } from '@valija/mail'
import { afterEach, describe, expect, test } from 'vitest'
import { createNetworkGuard } from './network-guard.ts'
import { createOpenSession } from './open-session.ts'
import { captureTarget } from './routes.ts'
import { defaultDeadlines, type Session } from './session.ts'
import { createSiteScheduler, type SiteJob, type SiteLimits, type SiteScheduler } from './site-scheduler.ts'
import { type PeerScript, type ScriptedPeer, startScriptedPeer } from './testing/scripted-peer.ts'

const limits: SiteLimits = {
  connectionsPerSite: 20,
  mailsPerConnection: 1_000,
  idleMs: 60_000,
  sockets: 100,
  waitingWhileDown: 100,
}
const bytes = Buffer.from('Subject: x\r\n\r\nx\r\n')

/** A real delivery that tells when it begins and how it ended. */
class Delivery implements SiteJob {
  readonly turn = 'one'
  readonly #begun = Promise.withResolvers<void>()
  readonly #settled = Promise.withResolvers<TransactionReport>()
  readonly address: string
  runs = 0
  hold: () => Promise<void> = async () => {}

  constructor(address = 'ann@example.com') {
    this.address = address
  }

  get begun(): Promise<void> {
    return this.#begun.promise
  }

  get settled(): Promise<TransactionReport> {
    return this.#settled.promise
  }

  async run(session: Session): Promise<TransactionReport> {
    this.runs += 1
    this.#begun.resolve()
    await this.hold()
    const to = parseAddress(this.address)
    if (!to.ok) throw new Error(to.message)
    const envelope = { from: '', to: to.value, needsSmtpUtf8: false, envid: null }
    return await session.send(envelope, bytes, { isStillMine: () => true }, { route: 'capture' })
  }

  settle(report: TransactionReport): void {
    this.#settled.resolve(report)
  }
}

const peers: ScriptedPeer[] = []
let scheduler: SiteScheduler<Delivery>
let heldBack: { jobs: Delivery[]; untilMs: number }[]
let crashes: unknown[]
let onHeldBack: () => void

afterEach(async () => {
  await scheduler.close()
  expect(scheduler.sockets).toBe(0)
  await Promise.all(peers.splice(0).map((peer) => peer.close()))
})

async function startPeer(script: Parameters<typeof startScriptedPeer>[0] = {}): Promise<ScriptedPeer> {
  const peer = await startScriptedPeer(script)
  peers.push(peer)
  return peer
}

/** The site's key is its port; another one cannot even be tried. */
function begin(overrides: Partial<SiteLimits> = {}): void {
  const openSession = createOpenSession({ guard: createNetworkGuard([]) })
  heldBack = []
  crashes = []
  onHeldBack = () => {}
  scheduler = createSiteScheduler<Delivery>({
    open: (site) => {
      if (site === 'broken') throw new Error('a broken target')
      return openSession(
        captureTarget({ host: '127.0.0.1', port: Number(site) }, 'us.example'),
        defaultDeadlines,
      )
    },
    limits: { ...limits, ...overrides },
    onHeldBack: (jobs, untilMs) => {
      heldBack.push({ jobs, untilMs })
      onHeldBack()
    },
    onCrash: (_, error) => crashes.push(error),
  })
}

function submit(site: ScriptedPeer | string, count: number): Delivery[] {
  const key = typeof site === 'string' ? site : String(site.port)
  const deliveries = Array.from({ length: count }, (_, i) => new Delivery(`r${i}@example.com`))
  for (const delivery of deliveries) scheduler.submit(key, delivery)
  return deliveries
}

const settled = (deliveries: Delivery[]) => Promise.all(deliveries.map((delivery) => delivery.settled))

const connectionsOf = (peer: ScriptedPeer) => peer.connections.length

describe('sessions are shared', () => {
  test('mails that come one after the other take one connection', async () => {
    begin()
    const peer = await startPeer()
    for (let i = 0; i < 20; i += 1) await settled(submit(peer, 1))
    expect(peer.mails).toHaveLength(20)
    expect(connectionsOf(peer)).toBe(1)
  })

  test('a burst takes several, never more than its site may have, and each mail goes once', async () => {
    begin({ connectionsPerSite: 5 })
    const peer = await startPeer()
    const reports = await settled(submit(peer, 500))
    expect(reports.every((report) => report.reply?.code === 250)).toBe(true)
    expect(new Set(peer.mails.map(({ rcptLines }) => rcptLines[0])).size).toBe(500)
    expect(peer.mails).toHaveLength(500)
    expect(connectionsOf(peer)).toBeGreaterThan(1)
    expect(connectionsOf(peer)).toBeLessThanOrEqual(5)
  })

  test('a session is closed after its share of mails', async () => {
    begin({ connectionsPerSite: 1, mailsPerConnection: 10 })
    const peer = await startPeer()
    await settled(submit(peer, 35))
    expect(connectionsOf(peer)).toBe(4)
    expect(peer.connections[0]?.filter((line) => line === 'DATA')).toHaveLength(10)
    expect(peer.connections[0]?.at(-1)).toBe('QUIT')
  })

  test('an idle session is closed', async () => {
    begin({ idleMs: 20 })
    const peer = await startPeer()
    await settled(submit(peer, 1))
    await expect.poll(() => scheduler.sockets).toBe(0)
    expect(peer.connections[0]?.at(-1)).toBe('QUIT')
  })

  test('a mail that meets a session which the peer had given up goes over another one', async () => {
    begin({ connectionsPerSite: 1 })
    const stale: PeerScript = { mail: '250 ok' }
    let mails = 0
    Object.defineProperty(stale, 'mail', {
      get: () => {
        mails += 1
        return mails === 1 ? '250 ok' : { reply: '421 4.4.2 idle for too long', thenClose: true }
      },
    })
    const peer = await startPeer((connection) => (connection === 0 ? stale : {}))
    await settled(submit(peer, 1))
    const [second] = submit(peer, 1)
    expect((await second?.settled)?.reply?.code).toBe(250)
    expect(second?.runs).toBe(2)
    expect(connectionsOf(peer)).toBe(2)
  })

  test('a fresh session that is refused with 421 counts', async () => {
    begin()
    const peer = await startPeer({ mail: '421 4.7.0 no' })
    const [only] = submit(peer, 1)
    expect((await only?.settled)?.reply?.code).toBe(421)
    expect(only?.runs).toBe(1)
  })
})

describe('a site that cannot be reached', () => {
  /** Refuses this many connections, then works. */
  const startRefusing = (count: number) =>
    startPeer((connection) => (connection < count ? { greeting: '421 4.3.2 busy' } : {}))

  test('tells one job why at each try, with a pause that doubles; the others keep their turns and go when it is back', async () => {
    begin({ connectionsPerSite: 1 })
    const peer = await startRefusing(2)
    const startedAt = performance.now()
    const deliveries = submit(peer, 10)
    const reports = await settled(deliveries)
    expect(reports.map(({ phase, reply }) => [phase, reply?.code])).toEqual([
      ['greeting', 421],
      ['greeting', 421],
      ...Array(8).fill(['body', 250]),
    ])
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(740)
    expect(peer.mails.map(({ rcptLines }) => rcptLines[0])).toEqual(
      deliveries.slice(2).map(({ address }) => `RCPT TO:<${address}>`),
    )
    expect(connectionsOf(peer)).toBe(3)
    expect(heldBack).toEqual([])
  })

  test('keeps no more than its share; the rest is handed back until the pause is over', async () => {
    begin({ connectionsPerSite: 1, waitingWhileDown: 4 })
    const peer = await startRefusing(1)
    const deliveries = submit(peer, 10)
    await deliveries[0]?.settled
    expect(heldBack.map(({ jobs }) => jobs)).toEqual([deliveries.slice(5)])
    const late = submit(peer, 2)
    expect(heldBack.slice(1).map(({ jobs }) => jobs)).toEqual(late.map((delivery) => [delivery]))
    expect(scheduler.waiting).toBe(4)
    for (const { untilMs } of heldBack) expect(untilMs - Date.now()).toBeGreaterThan(0)
    for (const { untilMs } of heldBack) expect(untilMs - Date.now()).toBeLessThanOrEqual(250)
    await settled(deliveries.slice(1, 5))
    await settled(submit(peer, 10))
  })

  test('gives up a job whose time is over, and all of them at a drain', async () => {
    begin()
    const peer = await startPeer({ greeting: '421 4.3.2 busy' })
    const [first, ...others] = submit(peer, 5)
    await first?.settled
    expect(scheduler.withdraw((job) => job === others[1])).toEqual([others[1]])
    expect(scheduler.waiting).toBe(3)
    const { returned, done } = scheduler.drain()
    expect(returned).toEqual([others[0], others[2], others[3]])
    await done
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(connectionsOf(peer)).toBe(1)
  })

  test('because opening it throws is down as well: its job is handed over with the error, the others wait', async () => {
    begin()
    const [good] = [await startPeer()]
    const broken = submit('broken', 2)
    await expect.poll(() => crashes).toEqual([expect.objectContaining({ message: 'a broken target' })])
    expect(scheduler.waiting).toBe(1)
    expect(scheduler.sockets).toBe(0)
    await settled(submit(good, 5))
    await expect.poll(() => crashes.length).toBe(2)
    expect(broken.map(({ runs }) => runs)).toEqual([0, 0])
  })

  test('costs the others nothing', async () => {
    begin({ sockets: 3 })
    const [silent, good] = [await startPeer({ greeting: 'SILENCE' }), await startPeer()]
    submit(silent, 50)
    const reports = await settled(submit(good, 100))
    expect(reports.every((report) => report.reply?.code === 250)).toBe(true)
    expect(connectionsOf(silent)).toBe(1)
    await silent.close()
  })
})

describe('the bound on all sockets', () => {
  test('holds over many sites, and every mail still goes', async () => {
    begin({ sockets: 4 })
    const sites = await Promise.all(Array.from({ length: 10 }, () => startPeer()))
    let highest = 0
    const watch = setInterval(() => {
      highest = Math.max(highest, scheduler.sockets)
    }, 1)
    const deliveries = sites.flatMap((site) => submit(site, 20))
    highest = Math.max(highest, scheduler.sockets)
    await settled(deliveries)
    clearInterval(watch)
    expect(highest).toBeLessThanOrEqual(4)
    expect(sites.map((site) => site.mails.length)).toEqual(sites.map(() => 20))
  })
})

describe('fairness between sites', () => {
  test('a site with a long line lets another one in', async () => {
    begin({ sockets: 4 })
    const [busy, late] = [await startPeer(), await startPeer()]
    let isOver = false
    const many = settled(submit(busy, 3_000)).then(() => {
      isOver = true
    })
    await expect.poll(() => scheduler.sockets, { interval: 1 }).toBe(4)
    await settled(submit(late, 10))
    expect(isOver).toBe(false)
    await many
    expect(busy.mails).toHaveLength(3_000)
  })
})

describe('drain', () => {
  test('returns what was not begun, and lets what runs come to its end', async () => {
    begin({ connectionsPerSite: 1 })
    const peer = await startPeer()
    const release = Promise.withResolvers<void>()
    const running = new Delivery('running@example.com')
    running.hold = () => release.promise
    scheduler.submit(String(peer.port), running)
    await running.begun
    const waiting = submit(peer, 5)
    expect(scheduler.waiting).toBe(5)
    const { returned, done } = scheduler.drain()
    expect(returned).toEqual(waiting)
    expect(scheduler.waiting).toBe(0)
    const late = submit(peer, 1)
    expect(heldBack.map(({ jobs }) => jobs)).toEqual([late])
    let isDone = false
    void done.then(() => {
      isDone = true
    })
    await new Promise(setImmediate)
    expect(isDone).toBe(false)
    release.resolve()
    expect((await running.settled).reply?.code).toBe(250)
    await done
    expect(peer.mails).toHaveLength(1)
    expect(waiting.every(({ runs }) => runs === 0)).toBe(true)
  })

  test('without work is done at once', async () => {
    begin()
    const { returned, done } = scheduler.drain()
    expect(returned).toEqual([])
    await done
  })
})

test('a job that rejects is reported, and the session goes on', async () => {
  begin({ connectionsPerSite: 1 })
  const peer = await startPeer()
  const bad = new Delivery('bad@example.com')
  bad.hold = () => Promise.reject(new Error('broken'))
  scheduler.submit(String(peer.port), bad)
  await settled(submit(peer, 3))
  expect(crashes).toEqual([expect.objectContaining({ message: 'broken' })])
  expect(connectionsOf(peer)).toBe(1)
})
