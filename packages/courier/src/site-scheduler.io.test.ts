import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { Destination } from './destination.ts'
import { mxDestination } from './mx-destination.ts'
import { createFixedShaper, type SiteShaper } from './site-shaper.ts'
import {
  begin,
  connectionsOf,
  crashes,
  Delivery,
  destinationOf,
  heldBack,
  openAt,
  scheduler,
  settled,
  startPeer,
  submit,
} from './testing/scheduler-bench.ts'
import type { PeerScript, ScriptedPeer } from './testing/scripted-peer.ts'

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

  test('a mail that its owner takes back is not run again, and its session goes on with the next', async () => {
    begin({ connectionsPerSite: 1 })
    const peer = await startPeer()
    const [withdrawn, next] = [new Delivery('r0@example.com'), new Delivery('r1@example.com')]
    withdrawn.isWithdrawn = true
    for (const delivery of [withdrawn, next]) scheduler.submit(destinationOf(peer), delivery)
    expect((await next.settled).reply?.code).toBe(250)
    expect(withdrawn.runs).toBe(1)
    expect(connectionsOf(peer)).toBe(1)
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

  /** Takes mails and never ends with them, until the test is over. */
  async function silentSites(count: number, release: Promise<void>): Promise<ScriptedPeer[]> {
    const peers = await Promise.all(Array.from({ length: count }, () => startPeer()))
    for (const peer of peers) {
      const held = Array.from({ length: 10 }, () => new Delivery())
      for (const delivery of held) {
        delivery.hold = () => release
        scheduler.submit(destinationOf(peer), delivery)
      }
      // The others come when this one is under way.
      await held[0]?.begun
    }
    return peers
  }

  async function whileSilent(count: number, then: (silent: ScriptedPeer[]) => Promise<void>): Promise<void> {
    const release = Promise.withResolvers<void>()
    try {
      await then(await silentSites(count, release.promise))
    } finally {
      release.resolve()
    }
  }

  test('sites that answer nothing take little more than one socket each, and one that answers has the rest', async () => {
    begin({ sockets: 40 })
    await whileSilent(20, async (silent) => {
      const well = await startPeer()
      await settled(submit(well, 2_000))
      const taken = silent.map(openAt).reduce((sum, open) => sum + open, 0)
      expect(taken).toBeLessThanOrEqual(40 / 8 + 20)
      expect(connectionsOf(well)).toBe(Math.min(20, 40 - taken))
    })
  })

  test('sessions without work leave a new site as many as it begins with', async () => {
    begin({ sockets: 40 })
    for (const peer of await Promise.all(Array.from({ length: 20 }, () => startPeer())))
      await settled(submit(peer, 1))
    expect(scheduler.sockets).toBe(20)
    await whileSilent(1, async ([only]) => {
      await expect.poll(() => openAt(only!)).toBe(5)
    })
  })

  test('a relay that has nobody beside it has all that a small worker has', async () => {
    begin({ sockets: 4 })
    await whileSilent(1, async ([only]) => {
      await expect.poll(() => openAt(only!)).toBe(4)
    })
  })

  test('a receiver that ends each session after a mail is trusted by what it answered', async () => {
    begin({ sockets: 16 })
    // Sockets are short from here on.
    await whileSilent(1, async ([only]) => {
      await expect.poll(() => openAt(only!)).toBe(5)
      const peer = await startPeer({ dot: { reply: '250 ok', thenClose: true } })
      let highest = 0
      const watch = setInterval(() => {
        highest = Math.max(highest, scheduler.sockets - 5)
      }, 1)
      await settled(submit(peer, 200))
      clearInterval(watch)
      expect(highest).toBeGreaterThan(3)
    })
  })

  test('a site whose mails were taken back wants no socket any more', async () => {
    begin({ sockets: 1 })
    const [peer, other] = [await startPeer(), await startPeer()]
    const release = Promise.withResolvers<void>()
    const running = new Delivery()
    running.hold = () => release.promise
    scheduler.submit(destinationOf(peer), running)
    await running.begun
    const withdrawn = submit(other, 3)
    expect(scheduler.withdraw((job) => withdrawn.includes(job))).toHaveLength(3)
    release.resolve()
    await settled([running])
    await settled(submit(peer, 1))
    expect(connectionsOf(peer)).toBe(1)
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

  test('a site that comes late has as many sessions soon as one that was first', async () => {
    begin({ sockets: 10, mailsPerConnection: 100_000 })
    const [first, late] = [await startPeer(), await startPeer()]
    submit(first, 6_000)
    const often = { interval: 1, timeout: 10_000 }
    await expect.poll(() => openAt(first), often).toBe(10)
    submit(late, 6_000)
    await expect.poll(() => [openAt(first), openAt(late)], often).toEqual([5, 5])
    // Nothing moves between sites that are alike.
    const connections = connectionsOf(first) + connectionsOf(late)
    const soFar = late.mails.length
    await expect.poll(() => late.mails.length, often).toBeGreaterThan(soFar + 200)
    expect(connectionsOf(first) + connectionsOf(late)).toBe(connections)
    scheduler.drain()
  }, 30_000)
})

describe('fairness between tenants', () => {
  test('a line that is full of one tenant’s mails has room for another’s, and it is the next', async () => {
    begin({ connectionsPerSite: 1, waitingInTrouble: 4, slowAfterMs: 0 })
    const peer = await startPeer()
    const release = Promise.withResolvers<void>()
    const running = new Delivery('running@example.com')
    running.hold = () => release.promise
    scheduler.submit(destinationOf(peer), running)
    await running.begun
    const many = submit(peer, 10)
    const other = new Delivery('other@example.com', 'two')
    scheduler.submit(destinationOf(peer), other)
    // Of those that were in line, the last gave way.
    expect(new Set(heldBack.flatMap(({ jobs }) => jobs))).toEqual(new Set(many.slice(3)))
    release.resolve()
    await settled([running, other, ...many.slice(0, 3)])
    expect(peer.mails.map(({ rcptLines }) => rcptLines[0])).toEqual(
      [running, other, ...many.slice(0, 3)].map(({ address }) => `RCPT TO:<${address}>`),
    )
  })
})

describe('drain', () => {
  test('returns what was not begun, and lets what runs come to its end', async () => {
    begin({ connectionsPerSite: 1 })
    const peer = await startPeer()
    const release = Promise.withResolvers<void>()
    const running = new Delivery('running@example.com')
    running.hold = () => release.promise
    scheduler.submit(destinationOf(peer), running)
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
  scheduler.submit(destinationOf(peer), bad)
  await settled(submit(peer, 3))
  expect(crashes).toEqual([expect.objectContaining({ message: 'broken' })])
  expect(connectionsOf(peer)).toBe(1)
})

describe('destinations of one scope', () => {
  /** A domain's exchangers: this peer, under a name of its own for each domain. */
  function mxAt(peer: ScriptedPeer, domain: string, host = 'mx.provider.example'): Destination {
    return mxDestination({
      route: 'mx',
      port: peer.port,
      source: { name: 'default', address: null, address6: null, ehloName: 'us.example', hasIpv6: false },
      scope: { key: 'provider', provider: 'provider', site: host, source: 'default', kind: 'mx' },
      // The second one tells the destinations apart: each has a way out of its own.
      hosts: [
        { host: hostOf(host, 10), demand: { tls: 'opportunistic' } },
        { host: hostOf(`backup.${domain}`, 20), demand: { tls: 'opportunistic' } },
      ],
      isExemptFromGuard: true,
    })
  }
  const hostOf = (name: string, priority: number) => ({
    name,
    priority,
    addresses: ['127.0.0.1'],
    isAuthenticated: false,
  })

  function submitTo(destination: Destination, count: number): Delivery[] {
    const deliveries = Array.from({ length: count }, (_, i) => new Delivery(`r${i}@example.com`))
    for (const delivery of deliveries) scheduler.submit(destination, delivery)
    return deliveries
  }

  /** One connection for all of them. */
  function onePlace(): SiteShaper {
    let inUse = 0
    const release = () => {
      inUse -= 1
    }
    return {
      ...createFixedShaper({ connections: 1, mailsPerConnection: 1_000 }),
      takeConnection: async () => {
        if (inUse > 0) return { isGranted: false, retryAtMs: Date.now() + 60_000 }
        inUse += 1
        return { isGranted: true, isValid: () => true, release }
      },
    }
  }

  test('use the session of another one that goes to the same host', async () => {
    begin()
    const peer = await startPeer()
    await settled(submitTo(mxAt(peer, 'a.example'), 3))
    const opened = connectionsOf(peer)
    await settled(submitTo(mxAt(peer, 'b.example'), 1))
    expect(peer.mails).toHaveLength(4)
    expect(connectionsOf(peer)).toBe(opened)
  })

  test('take turns where there are fewer places than destinations', async () => {
    const held = { now: 0, highest: 0 }
    const places: SiteShaper = {
      ...createFixedShaper({ connections: 2, mailsPerConnection: 1_000 }),
      takeConnection: async () => {
        if (held.now >= 2) return { isGranted: false, retryAtMs: Date.now() + 60_000 }
        held.now += 1
        held.highest = Math.max(held.highest, held.now)
        const release = () => {
          held.now -= 1
        }
        return { isGranted: true, isValid: () => true, release }
      },
    }
    begin({}, places)
    const peers = await Promise.all(Array.from({ length: 5 }, () => startPeer()))
    const deliveries = peers.flatMap((peer, i) => submitTo(mxAt(peer, `${i}.example`, `mx${i}.example`), 30))
    await settled(deliveries)
    expect(peers.map(({ mails }) => mails.length)).toEqual(peers.map(() => 30))
    expect(held.highest).toBe(2)
  })

  test('a session without work gives its place to one that has none', async () => {
    begin({}, onePlace())
    const [first, second] = [await startPeer(), await startPeer()]
    await settled(submitTo(mxAt(first, 'a.example', 'mx1.example'), 1))
    await settled(submitTo(mxAt(second, 'b.example', 'mx2.example'), 1))
    expect([first, second].map(({ mails }) => mails.length)).toEqual([1, 1])
  })

  test('a socket is free when it is closed, a place a little later', async () => {
    const told: string[] = []
    const fixed = createFixedShaper({ connections: 2, mailsPerConnection: 1_000 })
    const takeConnection: SiteShaper['takeConnection'] = async () => {
      told.push('taken')
      return { isGranted: true, isValid: () => true, release: () => void told.push('released') }
    }
    begin({ sockets: 1 }, { ...fixed, takeConnection })
    const [first, second] = [await startPeer(), await startPeer()]
    await settled(submitTo(mxAt(first, 'a.example', 'mx1.example'), 1))
    await settled(submitTo(mxAt(second, 'b.example', 'mx2.example'), 1))
    await scheduler.close()
    expect(told).toEqual(['taken', 'taken', 'released', 'released'])
  })

  test('who gives its place away after its turn comes last, and no other waits for the end of its line', async () => {
    begin({}, onePlace())
    const peers = await Promise.all(Array.from({ length: 3 }, () => startPeer()))
    const lines = peers.map((peer, i) => submitTo(mxAt(peer, `${i}.example`, `mx${i}.example`), 30))
    const order: number[] = []
    for (const [nth, line] of lines.entries())
      for (const { settled: end } of line) void end.then(() => order.push(nth))
    await settled(lines.flat())
    const firsts = lines.map((_, nth) => order.indexOf(nth))
    expect(Math.max(...firsts)).toBeLessThan(30)
  })

  test('a session whose line is empty serves another site of its host, also where sockets are short', async () => {
    begin({ sockets: 1 })
    const peer = await startPeer()
    const [first] = submitTo(mxAt(peer, 'a.example'), 1)
    const release = Promise.withResolvers<void>()
    first!.hold = () => release.promise
    await first!.begun
    const others = ['b', 'c', 'd'].flatMap((name) => submitTo(mxAt(peer, `${name}.example`), 2))
    release.resolve()
    await settled([first!, ...others])
    expect(connectionsOf(peer)).toBe(1)
  })

  test('a session whose place was lost carries no further mail', async () => {
    let isValid = true
    begin(
      {},
      {
        ...createFixedShaper({ connections: 1, mailsPerConnection: 1_000 }),
        takeConnection: async () => {
          const granted = isValid
          return { isGranted: true, isValid: () => !granted || isValid, release: () => {} }
        },
      },
    )
    const peer = await startPeer()
    await settled(submit(peer, 2))
    isValid = false
    await settled(submit(peer, 2))
    expect(connectionsOf(peer)).toBe(2)
  })

  test('a mail waits for its right, and keeps its session meanwhile', async () => {
    const rights = [0, 60, 60]
    const fixed = createFixedShaper({ connections: 1, mailsPerConnection: 1_000 })
    begin({}, { ...fixed, takeMail: () => delay(rights.shift() ?? 0) })
    const peer = await startPeer()
    const startedAt = performance.now()
    await settled(submit(peer, 3))
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(118)
    expect(connectionsOf(peer)).toBe(1)
  })

  test('a mail that waits for its right when the end comes is handed back, not begun', async () => {
    const fixed = createFixedShaper({ connections: 1, mailsPerConnection: 1_000 })
    begin({}, { ...fixed, takeMail: () => new Promise(() => {}) })
    const peer = await startPeer()
    const [first, second] = submit(peer, 2)
    await first?.begun
    const { returned, done } = scheduler.drain()
    expect(returned).toEqual([second])
    await done
    expect(heldBack.flatMap(({ jobs }) => jobs)).toEqual([first])
    expect(peer.mails).toEqual([])
  })

  test('a suspension sends everything back at once, and its end lets mail in', async () => {
    let pausedUntilMs = 0
    const listeners: ((key: string) => void)[] = []
    const fixed = createFixedShaper({ connections: 1, mailsPerConnection: 1_000 })
    begin(
      {},
      {
        ...fixed,
        limitsOf: (scope) => ({ ...fixed.limitsOf(scope), pausedUntilMs }),
        onChange: (listener) => {
          listeners.push(listener)
          return () => {}
        },
      },
    )
    const peer = await startPeer()
    await settled(submit(peer, 1))
    pausedUntilMs = Date.now() + 60_000
    const late = submit(peer, 2)
    expect(heldBack.map(({ jobs, untilMs }) => [jobs, untilMs])).toEqual(
      late.map((job) => [[job], pausedUntilMs]),
    )
    pausedUntilMs = 0
    await settled(submit(peer, 2))
    expect(peer.mails).toHaveLength(3)
  })
})
