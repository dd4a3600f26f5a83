/** Shaping over several workers, on a real PostgreSQL: two shapers are two workers. */
import { steadyPace } from '@valija/core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../../../tests/support/until.ts'
import {
  bigmail,
  mustGrant,
  openShapingBench,
  plain,
  type ShapingBench,
  scope,
  see,
  taken,
  throttled,
  unreachable,
} from './shaping.test-support.ts'

let bench: ShapingBench
beforeAll(async () => {
  bench = await openShapingBench()
})
afterAll(() => bench.close())

/** Waits for what other workers' wake-ups bring about. */
const soon = (probe: () => Promise<boolean>) => until('it comes about', probe, 20_000)

/** A site of the provider that no other test uses. */
let count = 0
const fresh = (like = plain) => scope(`${like.provider} ${++count} default`, { provider: like.provider })
const mail = async () => ({ tenantId: await bench.newTenant(), fromDomain: 'acme.test' })

describe('connections', () => {
  test('are never more than the limit, over all workers, however many ask at once', async () => {
    const workers = [await bench.worker(), await bench.worker()]
    const site = fresh()
    const asked = Array.from({ length: 20 }, (_, i) => workers[i % 2]!.shaper.takeConnection(site))
    const grants = await Promise.all(asked)
    expect(grants.filter((grant) => grant.isGranted)).toHaveLength(3)
    for (const worker of workers) await worker.stop()
  })

  test('of a site that nobody knows are ten, and nothing is asked before a mail', async () => {
    const worker = await bench.worker()
    const site = scope('192.0.2.77')
    const grants = await Promise.all(Array.from({ length: 12 }, () => worker.shaper.takeConnection(site)))
    expect(grants.filter((grant) => grant.isGranted)).toHaveLength(10)
    expect(worker.shaper.takeMail(site)).toBeNull()
    await worker.stop()
  })

  test('of a relay are twenty for each worker, without PostgreSQL', async () => {
    const workers = [await bench.worker(), await bench.worker()]
    const relay = scope('relay smarthost', { kind: 'relay' })
    for (const { shaper } of workers) {
      const grants = await Promise.all(Array.from({ length: 25 }, () => shaper.takeConnection(relay)))
      expect(grants.filter((grant) => grant.isGranted)).toHaveLength(20)
      expect(shaper.takeMail(relay)).toBeNull()
    }
    const kept = await bench.database.engine.query(
      'SELECT FROM valija.shaping_permits WHERE scope_key = $1',
      [relay.key],
    )
    expect(kept.rowCount).toBe(0)
    for (const worker of workers) await worker.stop()
  })

  test('that are released serve again, here and elsewhere', async () => {
    const [one, other] = [await bench.worker(), await bench.worker()]
    const site = fresh()
    const grants = await Promise.all([1, 2, 3].map(() => mustGrant(one, site)))
    expect((await other.shaper.takeConnection(site)).isGranted).toBe(false)
    grants[0]!.release()
    await soon(async () => (await other.shaper.takeConnection(site)).isGranted)
    await one.stop()
    await other.stop()
  })

  test('are shared: who has all gives some up when another worker waits', async () => {
    const [one, other] = [await bench.worker(), await bench.worker()]
    const site = fresh()
    const grants = await Promise.all([1, 2, 3].map(() => mustGrant(one, site)))
    expect((await other.shaper.takeConnection(site)).isGranted).toBe(false)
    await soon(async () => grants.some((grant) => !grant.isValid()))
    expect(grants.filter((grant) => grant.isValid()).length).toBeGreaterThan(0)
    for (const grant of grants) if (!grant.isValid()) grant.release()
    await soon(async () => (await other.shaper.takeConnection(site)).isGranted)
    expect(one.shaper.limitsOf(site).connections).toBeLessThan(3)
    await one.stop()
    await other.stop()
  })

  test('where there is one, it goes round', async () => {
    const [one, other] = [
      await bench.worker('unknown: { connections: 1 }'),
      await bench.worker('unknown: { connections: 1 }'),
    ]
    const site = scope('a narrow one')
    const held = await mustGrant(one, site)
    expect((await other.shaper.takeConnection(site)).isGranted).toBe(false)
    await soon(async () => {
      // Whoever waits asks again and again.
      await other.shaper.takeConnection(site)
      return !held.isValid()
    })
    // Given back while another question is on its way: that is told as well.
    const again = one.shaper.takeConnection(site)
    await new Promise((resolve) => setImmediate(resolve))
    held.release()
    expect((await again).isGranted).toBe(false)
    await soon(async () => (await other.shaper.takeConnection(site)).isGranted)
    expect((await one.shaper.takeConnection(site)).isGranted).toBe(false)
    await one.stop()
    await other.stop()
  })

  test('of a worker that died come free when its time is over, and those of a paused one are no longer valid', async () => {
    const [dead, other] = [await bench.worker(), await bench.worker()]
    const site = fresh()
    await Promise.all([1, 2, 3].map(() => mustGrant(dead, site)))
    const { rowCount } = await bench.database.engine.query(
      `UPDATE valija.shaping_permits SET valid_until = now() - interval '1 second' WHERE worker_id = $1`,
      [dead.workerId],
    )
    expect(rowCount).toBe(1)
    await Promise.all([1, 2, 3].map(() => mustGrant(other, site)))
    await dead.stop()
    await other.stop()
  })

  test('are none too few after much coming and going', async () => {
    const workers = [await bench.worker(), await bench.worker()]
    const site = fresh()
    const comeAndGo = async (worker: (typeof workers)[number]) => {
      for (let i = 0; i < 30; i++) {
        const grant = await worker.shaper.takeConnection(site)
        if (grant.isGranted) setImmediate(() => grant.release())
      }
    }
    await Promise.all(workers.flatMap((worker) => [comeAndGo(worker), comeAndGo(worker)]))
    await soon(async () => {
      const { rows } = await bench.database.engine.query(
        'SELECT coalesce(sum(connections), 0)::int AS sum FROM valija.shaping_permits WHERE scope_key = $1',
        [site.key],
      )
      return rows[0].sum === 0
    })
    for (const worker of workers) await worker.stop()
  })

  test('of a worker that stops are free at once', async () => {
    const [one, other] = [await bench.worker(), await bench.worker()]
    const site = fresh()
    await Promise.all([1, 2, 3].map(() => mustGrant(one, site)))
    await one.stop()
    await Promise.all([1, 2, 3].map(() => mustGrant(other, site)))
    await other.stop()
  })

  test('are counted right again after what PostgreSQL knew of them was lost', async () => {
    const [one, other] = [await bench.worker(), await bench.worker()]
    const site = fresh()
    await Promise.all([1, 2].map(() => mustGrant(one, site)))
    await bench.database.engine.query('DELETE FROM valija.shaping_permits WHERE scope_key = $1', [site.key])
    // Whatever it says next, it says all that it has.
    await mustGrant(one, site)
    expect((await other.shaper.takeConnection(site)).isGranted).toBe(false)
    await one.stop()
    await other.stop()
  })
})

describe('rates', () => {
  test('hold over all workers: no sliding second has more mails than allowed', async () => {
    const workers = [await bench.worker(), await bench.worker()]
    const site = fresh(bigmail)
    const tenant = await mail()
    // Known to do well, so at its full rate.
    await writeSteady(site.key)
    const begun: number[] = []
    const take = async (worker: (typeof workers)[number]) => {
      for (let i = 0; i < 20; i++) {
        await worker.shaper.takeMail(site)
        begun.push(performance.now())
      }
    }
    for (const worker of workers) (await mustGrant(worker, site)).release()
    await Promise.all(workers.flatMap((worker) => [take(worker), take(worker)]))
    begun.sort((a, b) => a - b)
    const busiest = Math.max(
      ...begun.map((at) => begun.filter((other) => other >= at && other < at + 1_000).length),
    )
    expect(busiest).toBeLessThanOrEqual(20)
    const seconds = (begun.at(-1)! - begun[0]!) / 1_000
    expect(begun.length / seconds).toBeGreaterThan(10)
    expect(see(workers[0]!, site, taken(), tenant)).toBeNull()
    for (const worker of workers) await worker.stop()
  })

  test('of a site whose state is lost begin at the minimum, and double with what goes well', async () => {
    const worker = await bench.worker()
    const site = fresh(bigmail)
    const tenant = await mail()
    await mustGrant(worker, site)
    await worker.shaper.takeMail(site)
    const askedAt = performance.now()
    await worker.shaper.takeMail(site)
    expect(performance.now() - askedAt).toBeGreaterThan(500)
    see(worker, site, taken(), tenant)
    await soon(async () => (await paceOf(site.key))?.mailsPerSecond === 2)
    await worker.stop()
  })
})

describe('a site that fails', () => {
  test('is left alone by all workers for seconds, then tried by one connection, and recovers by itself', async () => {
    const [one, other] = [await bench.worker(), await bench.worker()]
    const site = fresh()
    const tenant = await mail()
    const pauseMs = see(one, site, throttled(), tenant)
    expect(pauseMs).toBeGreaterThan(0)
    expect(pauseMs).toBeLessThanOrEqual(5_000)
    expect(one.shaper.limitsOf(site).connections).toBe(1)
    await soon(async () => other.shaper.limitsOf(site).pausedUntilMs > Date.now())
    expect((await other.shaper.takeConnection(site)).isGranted).toBe(false)
    await soon(async () => one.shaper.limitsOf(site).pausedUntilMs === 0)
    await mustGrant(one, site)
    expect((await other.shaper.takeConnection(site)).isGranted).toBe(false)
    see(one, site, taken(), tenant)
    await soon(async () => other.shaper.limitsOf(site).connections > 1)
    await soon(async () => {
      see(one, site, taken(), tenant)
      return other.shaper.limitsOf(site).connections === 3
    })
    await one.stop()
    await other.stop()
  })

  test('keeps its suspension over a restart', async () => {
    const first = await bench.worker()
    const site = fresh(bigmail)
    const tenant = await mail()
    see(first, site, throttled('450 4.7.1 blocked for an hour'), tenant)
    see(first, site, throttled('450 4.7.1 blocked for an hour'), tenant)
    expect(first.shaper.limitsOf(site).pausedUntilMs - Date.now()).toBeGreaterThan(3_000_000)
    await first.stop()
    const second = await bench.worker()
    expect(second.shaper.limitsOf(site).pausedUntilMs - Date.now()).toBeGreaterThan(3_000_000)
    expect(second.shaper.conditions().suspended).toBeGreaterThanOrEqual(1)
    await second.stop()
  })

  test('is counted over all workers', async () => {
    const [one, other] = [await bench.worker(), await bench.worker()]
    const site = fresh(bigmail)
    const tenant = await mail()
    see(one, site, throttled('450 4.7.1 blocked for an hour'), tenant)
    expect(one.shaper.limitsOf(site).pausedUntilMs).toBe(0)
    see(other, site, throttled('450 4.7.1 blocked for an hour'), tenant)
    await soon(async () => one.shaper.limitsOf(site).pausedUntilMs - Date.now() > 3_000_000)
    await one.stop()
    await other.stop()
  })

  test('that is a relay is tried again within seconds, however long it is away', async () => {
    const worker = await bench.worker()
    const relay = scope('relay gone', { kind: 'relay' })
    const tenant = await mail()
    for (let i = 0; i < 3; i++) {
      await soon(async () => worker.shaper.limitsOf(relay).pausedUntilMs === 0)
      expect(see(worker, relay, unreachable(), tenant)).toBeLessThanOrEqual(5_000)
    }
    await soon(async () => worker.shaper.limitsOf(relay).pausedUntilMs === 0)
    see(worker, relay, taken(), tenant)
    expect(worker.shaper.limitsOf(relay).connections).toBeGreaterThan(1)
    await worker.stop()
  })
})

describe('a rule that blames a part', () => {
  test('holds back that sending domain of that tenant only, in all workers', async () => {
    const [one, other] = [await bench.worker(), await bench.worker()]
    const site = fresh(bigmail)
    const tenant = await mail()
    const pauseMs = see(one, site, throttled('421 4.7.1 your domain sends too much'), tenant)
    expect(pauseMs).toBeGreaterThan(1_000_000)
    expect(one.shaper.heldUntil(site, tenant)?.untilMs).toBeGreaterThan(Date.now() + 1_000_000)
    expect(one.shaper.heldUntil(site, { ...tenant, fromDomain: 'other.test' })).toBeNull()
    expect(one.shaper.heldUntil(site, await mail())).toBeNull()
    expect(one.shaper.limitsOf(site).pausedUntilMs).toBe(0)
    await soon(async () => other.shaper.heldUntil(site, tenant) !== null)
    await one.stop()
    const again = await bench.worker()
    expect(again.shaper.heldUntil(site, tenant)?.hold).toContain('acme.test')
    await again.stop()
    await other.stop()
  })

  test('counts matches of one tenant over all workers', async () => {
    const [one, other] = [await bench.worker(), await bench.worker()]
    const site = fresh(bigmail)
    const tenant = await mail()
    expect(see(one, site, throttled('450 this customer sends too much'), tenant)).toBeNull()
    expect(see(other, site, throttled('450 this customer sends too much'), tenant)).toBeNull()
    await soon(async () => one.shaper.heldUntil(site, { ...tenant, fromDomain: 'any.test' }) !== null)
    await one.stop()
    await other.stop()
  })
})

describe('events', () => {
  const eventsOf = async (tenantId: string) => {
    const found = await bench.database.engine.query<{ type: string; data: Record<string, unknown> }>(
      'SELECT type, data FROM valija.events WHERE tenant_id = $1 ORDER BY id',
      [tenantId],
    )
    return found.rows
  }

  test('tell each tenant whose mail met it, once, and again when it has recovered', async () => {
    const [one, other] = [await bench.worker(), await bench.worker()]
    const site = fresh(bigmail)
    const [mine, theirs, late, stranger] = [await mail(), await mail(), await mail(), await mail()]
    see(one, site, throttled('450 4.7.1 blocked for an hour <ann@other.test>'), mine)
    see(other, site, throttled('450 4.7.1 blocked for an hour <ann@other.test>'), theirs)
    await soon(
      async () => (await eventsOf(mine.tenantId)).length + (await eventsOf(theirs.tenantId)).length === 2,
    )
    expect(await eventsOf(mine.tenantId)).toEqual([
      {
        type: 'destination.throttled',
        data: {
          provider: 'bigmail',
          site: site.site,
          source: 'default',
          blame: 'source_ip',
          reason: expect.any(String),
          reply: '450 4.7.1 blocked for an hour <<address>>',
          until: expect.stringMatching(/Z$/),
        },
      },
    ])
    await soon(async () => one.shaper.limitsOf(site).pausedUntilMs > 0)
    one.shaper.heldUntil(site, late)
    one.shaper.heldUntil(site, late)
    await soon(async () => (await eventsOf(late.tenantId)).length === 1)
    await endPause(site.key)
    see(one, site, taken(), mine)
    await soon(async () => {
      see(one, site, taken(), mine)
      return (await eventsOf(mine.tenantId)).length === 2
    })
    for (const { tenantId } of [mine, theirs, late]) {
      expect((await eventsOf(tenantId)).map(({ type }) => type)).toEqual([
        'destination.throttled',
        'destination.recovered',
      ])
    }
    expect(await eventsOf(stranger.tenantId)).toEqual([])
    await one.stop()
    await other.stop()
  })

  test('do not tell of a single odd reply', async () => {
    const worker = await bench.worker()
    const site = fresh()
    const tenant = await mail()
    see(worker, site, throttled(), tenant)
    await soon(async () => (await paceOf(site.key)) !== null)
    await soon(async () => worker.shaper.limitsOf(site).pausedUntilMs === 0)
    await soon(async () => {
      see(worker, site, taken(), tenant)
      return (await paceOf(site.key))?.cause === null
    })
    expect(await eventsOf(tenant.tenantId)).toEqual([])
    await worker.stop()
  })
})

test('nothing went wrong on the side', () => {
  expect(bench.errors).toEqual([])
})

async function paceOf(key: string): Promise<{ mailsPerSecond: number | null; cause: unknown } | null> {
  const found = await bench.database.engine.query('SELECT pace FROM valija.shaping_sites WHERE key = $1', [
    key,
  ])
  return found.rows[0]?.pace ?? null
}

async function writeSteady(key: string): Promise<void> {
  await bench.database.engine.query(
    `INSERT INTO valija.shaping_sites (key, provider, site, source, kind, limits, pace) VALUES ($1, 'bigmail', 's', 'default', 'mx', '{}', $2)`,
    [key, JSON.stringify(steadyPace)],
  )
}

/** As if the time of a suspension had passed, for all workers. */
async function endPause(key: string): Promise<void> {
  await bench.database.engine.query(
    `UPDATE valija.shaping_sites SET pace = pace || '{"pausedUntilMs": 1, "incidentMs": 1, "stepMs": 0, "mailsPerSecond": null}', updated_at = now() WHERE key = $1`,
    [key],
  )
  bench.wake.send('shaping', `pace somebody ${key}`)
}
