/**
 * Politeness over all workers: a provider's limits are kept by several workers together, whatever its customers' names, also when
 * the queue's store forgets everything; and a site that asks us to slow down is slowed, and recovers by itself.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import { type Internet, startInternet } from './support/internet.ts'
import { post, readAttempts, untilEnded } from './support/message-life.ts'
import { untilShown } from './support/shown-events.ts'
import { drop, type SmtpPeer } from './support/smtp-peer.ts'
import { until } from './support/until.ts'
import { expectStatus, type QueueKind, queueBackends, startValija, type Valija } from './support/valija.ts'

const connectionLimit = 3
const perSecond = 20

/** The operator's file: customers of this provider have exchangers below one name. */
const shapingFile = `
providers:
  provider:
    mx: [provider.test]
    per: provider
    connections: ${connectionLimit}
    mails_per_connection: 50
    rate: ${perSecond}/s
`

let internet: Internet
let valija: Valija | undefined
let dataDir: string

afterEach(async () => {
  await valija?.stop()
  await internet?.stop()
  await rm(dataDir, { recursive: true, force: true })
})

async function begin(queue: QueueKind, file?: string): Promise<Valija> {
  internet = await startInternet()
  dataDir = await mkdtemp(join(tmpdir(), 'valija-shaping-'))
  if (file !== undefined) await writeFile(join(dataDir, 'shaping.yaml'), file)
  valija = await startValija({
    queue,
    delivery: 'mx',
    internet,
    workers: 2,
    env: { VALIJA_DATA_DIR: dataDir, VALIJA_RETRY_SCHEDULE: '1s' },
  })
  return valija
}

const turnOfLoop = () => new Promise<void>((resolve) => setImmediate(resolve))

/**
 * Counts, at the peers themselves, how many sessions are open at once and when each mail came.
 *
 * This process shares its machine: what came while it had no turn is read all at once. So of each mail it is known no more than
 * that it came after the last but one beat before its reading, since the look for input that followed that beat would have found it.
 */
function watch(peers: SmtpPeer[]) {
  let highest = 0
  const arrivals: { earliest: number; read: number }[] = []
  let beats: [number, number] = [performance.now(), performance.now()]
  const heart = setInterval(() => {
    beats = [beats[1], performance.now()]
  }, 5)
  onTestFinished(() => clearInterval(heart))
  /** Connections that ended before the new one began may be noticed after it; one too many is there for longer than four turns. */
  const countOpen = async () => {
    for (let turn = 0; turn < 4; turn += 1) await turnOfLoop()
    highest = Math.max(
      highest,
      peers.reduce((sum, { open }) => sum + open(), 0),
    )
  }
  for (const peer of peers) {
    peer.script = {
      connect: () => {
        void countOpen()
        return undefined
      },
      mail: () => {
        arrivals.push({ earliest: beats[0], read: performance.now() })
        return undefined
      },
    }
  }
  return {
    arrivals,
    highestOpen: () => highest,
    /** The most mails that any second saw, by when they were read. */
    busiestSecond: () =>
      Math.max(
        ...arrivals.map(
          (first) => arrivals.filter(({ read }) => read >= first.read && read < first.read + 1_000).length,
        ),
      ),
    /** The most mails that some second must have seen, whenever each of them came. */
    surelyInOneSecond: () =>
      Math.max(
        ...arrivals.map(
          (first) =>
            arrivals.filter(
              ({ earliest, read }) => earliest >= first.earliest && read < first.earliest + 1_000,
            ).length,
        ),
      ),
  }
}

describe.each(queueBackends())('with the queue in $queue', ({ queue, isAbsent }) => {
  test.skipIf(isAbsent)(
    'two workers, four domains with exchangers of different names: the provider sees no more connections and mails than it allows',
    async () => {
      const { api, mail, workers, redis } = await begin(queue, shapingFile)
      const domains = Array.from({ length: 4 }, (_, i) => `customer${i}.test`)
      const peers: SmtpPeer[] = []
      for (const [i, domain] of domains.entries()) {
        peers.push(await internet.exchanger(`mx${i}.provider.test`))
        internet.dns.set(domain, 'MX', [`10 mx${i}.provider.test`])
      }
      const seen = watch(peers)
      const count = 80
      const to = Array.from({ length: count }, (_, i) => `r${i}@${domains[i % domains.length]}`)
      const id = await post(api, mail({ to }))
      await until('the first thirty', () => (seen.arrivals.length >= 30 ? true : null))
      // What the queue's store held of them is gone: limits are not kept there.
      await redis?.flushall()
      expect((await untilEnded(api, id, 40_000)).status).toBe('delivered')

      expect(peers.map(({ mails }) => mails.length)).toEqual(peers.map(() => count / peers.length))
      expect(seen.highestOpen()).toBeLessThanOrEqual(connectionLimit)
      expect(seen.surelyInOneSecond()).toBeLessThanOrEqual(perSecond)
      // And it is used, after the careful start with a site that nobody knows yet: so in its best second, however busy this machine is.
      expect(seen.busiestSecond()).toBeGreaterThan(perSecond / 2)
      expect(workers).toHaveLength(2)
    },
  )
})

/** Answers 421 to the first so many connections. */
function refusing(peer: SmtpPeer, count: number, reply: string) {
  let refused = 0
  const refusals: number[] = []
  peer.script = {
    connect: () => {
      if (refused === count) return undefined
      refused += 1
      refusals.push(performance.now())
      return drop(reply)
    },
  }
  return refusals
}

describe('a site that answers 421', () => {
  test('once, costs seconds', async () => {
    const { api, mail } = await begin('postgres')
    const peer = await internet.site('odd.test')
    refusing(peer, 1, '421 4.7.0 try again later')
    const startedAt = performance.now()
    const id = await post(api, mail({ to: Array.from({ length: 10 }, (_, i) => `r${i}@odd.test`) }))
    const message = await untilEnded(api, id)
    expect(message.status).toBe('delivered')
    expect(performance.now() - startedAt).toBeLessThan(10_000)
    // One mail met it; the others stayed where they were.
    expect(message.recipients.map(({ attempts }) => attempts).toSorted()).toEqual([
      ...Array<number>(9).fill(1),
      2,
    ])
    const met = (await readAttempts(api, id)).filter(({ outcome }) => outcome === 'deferred')
    expect(met).toMatchObject([{ reply: '421 4.7.0 try again later', phase: 'greeting' }])
  })

  test('again and again, is left alone longer and longer, tells why, and is used again when it takes mail', async () => {
    const { api, admin, mail, sql } = await begin('postgres')
    const peer = await internet.site('busy.test')
    const refusals = refusing(peer, 4, '421 4.7.0 rate limited, try again later')
    const id = await post(api, mail({ to: Array.from({ length: 10 }, (_, i) => `r${i}@busy.test`) }))
    await until('four refusals', () => (refusals.length === 4 ? true : null), 60_000)
    const { sites } = expectStatus(await admin<{ sites: object[] }>('GET', '/queue'), 200).json
    expect(sites).toMatchObject([
      { site: 'mx.busy.test', state: 'slowed', reply: '421 4.7.0 rate limited, try again later' },
    ])
    // Each worker tries by itself at a site without places of all workers, and no sooner than after its pause.
    expect(refusals.at(-1)! - refusals[0]!).toBeGreaterThan(200)
    expect((await untilEnded(api, id, 60_000)).status).toBe('delivered')
    await untilShown(sql)
    const types = expectStatus(await api<{ data: { type: string }[] }>('GET', '/events?limit=100'), 200)
    expect(types.json.data.map(({ type }) => type)).toContain('destination.throttled')
    // Each mail taken gives it back a part of its connections. What one worker sent within the pause that the other one began proves
    // nothing, so the ten need not suffice.
    await until(
      'the recovery',
      async () => {
        await untilEnded(api, await post(api, mail({ to: 'another@busy.test' })))
        await untilShown(sql)
        const { json } = await api<{ data: { type: string }[] }>(
          'GET',
          '/events?limit=100&type=destination.recovered',
        )
        return json.data.length > 0 ? true : null
      },
      60_000,
    )
  })
})
