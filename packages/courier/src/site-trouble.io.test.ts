import { steadyNowMs } from '@valija/core'
import { describe, expect, test } from 'vitest'
import { createFixedShaper } from './site-shaper.ts'
import {
  begin,
  connectionsOf,
  crashes,
  heldBack,
  noSocketOpening,
  scheduler,
  settled,
  startPeer,
  submit,
} from './testing/scheduler-bench.ts'

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
    begin({ connectionsPerSite: 1, waitingInTrouble: 4 })
    const peer = await startRefusing(1)
    const deliveries = submit(peer, 10)
    await deliveries[0]?.settled
    expect(heldBack.map(({ jobs }) => jobs)).toEqual([deliveries.slice(5)])
    const late = submit(peer, 2)
    expect(heldBack.slice(1).map(({ jobs }) => jobs)).toEqual(late.map((delivery) => [delivery]))
    expect(scheduler.waiting).toBe(4)
    for (const { untilMs } of heldBack) expect(untilMs - steadyNowMs()).toBeGreaterThan(0)
    for (const { untilMs } of heldBack) expect(untilMs - steadyNowMs()).toBeLessThanOrEqual(250)
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

  test('or that takes mails and never ends with them keeps its share only', async () => {
    // Long enough for both connections to have a mail by then.
    begin({ connectionsPerSite: 2, waitingInTrouble: 3, slowAfterMs: 1_000 })
    const peer = await startPeer({ dot: 'SILENCE' })
    const deliveries = submit(peer, 10)
    await expect.poll(() => heldBack.flatMap(({ jobs }) => jobs)).toEqual(deliveries.slice(5))
    expect(scheduler.waiting).toBe(3)
    await peer.close()
  })

  test('or that has stopped to answer while others do keeps its share only, and shares it with others like it', async () => {
    begin({ connectionsPerSite: 1, waitingInTrouble: 6 })
    const good = await startPeer()
    const still = [await startPeer({ dot: 'SILENCE' }), await startPeer({ greeting: 'SILENCE' })]
    for (const peer of still) submit(peer, 20)
    // As long as nobody is answered nobody is suspect.
    await new Promise((resolve) => setTimeout(resolve, 2_500))
    expect(heldBack).toEqual([])
    const others = setInterval(() => submit(good, 1), 50)
    await expect.poll(() => heldBack.flatMap(({ jobs }) => jobs).length, { timeout: 10_000 }).toBe(33)
    clearInterval(others)
    for (const { untilMs } of heldBack) expect(untilMs - steadyNowMs()).toBeLessThanOrEqual(30_000)
    await Promise.all(still.map((peer) => peer.close()))
  }, 20_000)

  test.each([1, 2, 3, 4, 5, 6, 7, 8])(
    'is looked at again though its pause ended after %i questions of ours',
    async (questions) => {
      let asked = 0
      const limitsOf = () => {
        asked += 1
        const pausedUntilMs = asked <= questions ? steadyNowMs() + 30 : 0
        return { connections: 1, mailsPerConnection: 1_000, pausedUntilMs }
      }
      begin({}, { ...createFixedShaper({ connections: 1, mailsPerConnection: 1_000 }), limitsOf })
      await settled(submit(await startPeer(), 1))
    },
  )

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

describe('while this process has no socket for another session, a site is not taken to be down', () => {
  test('one job is told at each try, every 2 s; what is more than its share waits for nobody; and it is trusted at once when it opens', async () => {
    begin({ connectionsPerSite: 1, waitingInTrouble: 4 }, undefined, (opening) =>
      opening < 2 ? noSocketOpening() : undefined,
    )
    const peer = await startPeer()
    const startedAt = performance.now()
    const deliveries = submit(peer, 10)
    expect(await deliveries[0]?.settled).toMatchObject({ failure: 'no_socket' })
    expect(heldBack).toMatchObject([{ jobs: deliveries.slice(5), scope: null }])
    await deliveries[1]?.settled
    submit(peer, 2)
    expect(heldBack.length).toBeGreaterThan(1)
    for (const { untilMs, scope } of heldBack) {
      expect(untilMs - steadyNowMs()).toBeLessThanOrEqual(2_000)
      expect(scope).toBeNull()
    }
    // The first that is answered: it is not for this mail to show that the site is well.
    await deliveries[2]?.settled
    const before = heldBack.length
    const others = submit(peer, 100)
    const reports = await settled(deliveries.slice(0, 5))
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(3_900)
    expect(reports.map(({ failure }) => failure)).toEqual(['no_socket', 'no_socket', null, null, null])
    await settled(others)
    expect(heldBack).toHaveLength(before)
  })

  test('its sessions go on', async () => {
    begin({ connectionsPerSite: 2 }, undefined, (opening) => (opening === 1 ? noSocketOpening() : undefined))
    const peer = await startPeer()
    await settled(submit(peer, 1))
    const reports = await settled(submit(peer, 50))
    expect(reports.filter(({ failure }) => failure === 'no_socket')).toHaveLength(1)
    expect(reports.filter(({ reply }) => reply?.code === 250)).toHaveLength(49)
    expect(connectionsOf(peer)).toBe(1)
  })
})
