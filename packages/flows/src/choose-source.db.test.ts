/** Which address a mail to mail exchangers leaves from: pools, what this machine can bind, warm-up over several workers. */
import { parseId, steadyNowMs } from '@valija/core'
import { readWarmUps } from '@valija/store'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { answered, openRoutingBench, type RoutingBench } from './choosing.test-support.ts'
import { addRouteList } from './manage-route-lists.ts'
import { showSource } from './manage-sources.ts'
import { configuredSources } from './own-routes.ts'
import type { ChoosableDelivery, RouteChooser } from './route-choice.ts'

let bench: RoutingBench
beforeAll(async () => {
  bench = await openRoutingBench()
})
beforeEach(() => bench.clear())
afterEach(() => expect(bench.trouble.splice(0)).toEqual([]))
afterAll(() => bench.close())

const google = async (): Promise<string | null> => 'google'
const nobody = async () => null
const local = ['127.0.0.1', '192.0.2.1', '192.0.2.2', '192.0.2.3', '2001:db8::1']
const workerWith = (more = {}) => bench.worker({ delivery: 'mx', localAddresses: () => local, ...more })
const mail = (more: Partial<ChoosableDelivery> = {}) => bench.delivery({ route: 'mx', ...more })

/** The name of the source that is chosen, or why the mail waits. */
async function choose(worker: RouteChooser, more: Partial<ChoosableDelivery> = {}, provider = google) {
  const choice = await worker.choose(mail(more), provider)
  return choice.kind === 'send' ? choice.source.name : choice.hold
}

const recipients = Array.from({ length: 60 }, (_, i) => `r${i}@example.test`)
const chosenBy = async (worker: RouteChooser, more: Partial<ChoosableDelivery> = {}) => [
  ...new Set(await Promise.all(recipients.map((email) => choose(worker, { email, ...more })))),
]

describe('without sources that somebody made', () => {
  test('the configured ones are used, each recipient’s always the same; relays know the first alone', async () => {
    const sources = configuredSources(['192.0.2.1', '192.0.2.2', '2001:db8::1'], 'us.example')
    expect(sources).toMatchObject([
      { name: '192.0.2.1', address: '192.0.2.1', address6: '2001:db8::1', hasIpv6: true },
      { name: '192.0.2.2', address: '192.0.2.2', address6: null, hasIpv6: false },
    ])
    const worker = await workerWith({ sources })
    expect((await chosenBy(worker)).sort()).toEqual(['192.0.2.1', '192.0.2.2'])
    for (const email of recipients.slice(0, 5))
      expect(await choose(worker, { email })).toBe(await choose(worker, { email }))
    await bench.route(bench.tenant, 'relay')
    bench.wake.send('routes')
    expect(await chosenBy(worker, { route: 'relay' })).toEqual(['192.0.2.1'])
  })

  test('the system chooses where none is configured', async () => {
    expect(configuredSources([], 'us.example')).toEqual([
      { id: null, name: 'default', address: null, address6: null, ehloName: 'us.example', hasIpv6: true },
    ])
  })
})

describe('a source', () => {
  test('is bound with its own name and, where the machine has it, its IPv6 address', async () => {
    await bench.source('198.51.100.1', { bind: '192.0.2.1', ipv6: '2001:db8::1', ehlo_name: 'one.test' })
    const worker = await workerWith()
    expect(await worker.choose(mail(), google)).toMatchObject({
      kind: 'send',
      source: {
        name: '198.51.100.1',
        address: '192.0.2.1',
        address6: '2001:db8::1',
        ehloName: 'one.test',
        hasIpv6: true,
      },
    })
    const without = await workerWith({ localAddresses: () => ['192.0.2.1'] })
    expect(await without.choose(mail(), google)).toMatchObject({ source: { address6: null, hasIpv6: false } })
  })

  test('that no machine here has, or that is paused, takes no mail: it waits for a worker that has it', async () => {
    const id = await bench.source('192.0.2.9')
    await bench.source('192.0.2.1', { state: 'paused' })
    const worker = await workerWith()
    expect(await choose(worker)).toBe('no_source:default')
    expect(await showSource(bench, id)).toMatchObject({ health: { status: 'unbound' } })
    const other = await workerWith({ localAddresses: () => ['192.0.2.9'] })
    expect(await choose(other)).toBe('192.0.2.9')
    await expect.poll(async () => (await showSource(bench, id)).health.status).toBe('ok')
  })

  test('of a pool is for the stream of its name, or for routes that name it; the others share the default', async () => {
    await bench.source('192.0.2.1')
    await bench.source('192.0.2.2', { pool: 'bulk' })
    await bench.source('192.0.2.3', { pool: 'vip' })
    await bench.route(bench.operator, 'vip', { kind: 'mx', pool: 'vip' })
    await bench.route(bench.operator, 'relay', { pool: 'vip' })
    await bench.route(bench.operator, 'lost', { pool: 'nobody' })
    const worker = await workerWith()
    expect(await choose(worker)).toBe('192.0.2.1')
    expect(await choose(worker, { stream: 'bulk' })).toBe('192.0.2.2')
    expect(await choose(worker, { stream: 'bulk', route: 'vip' })).toBe('192.0.2.3')
    expect(await choose(worker, { route: 'relay' })).toBe('192.0.2.3')
    expect(await choose(worker, { route: 'lost' })).toBe('no_source:nobody')
    expect(await choose(worker, { route: 'capture' })).toBe('default')
  })

  test('that was refused for its reputation is taken last for that recipient, and shows it', async () => {
    const ids = { '192.0.2.1': await bench.source('192.0.2.1'), '192.0.2.2': await bench.source('192.0.2.2') }
    const worker = await workerWith()
    const delivery = mail()
    const choice = await worker.choose(delivery, google)
    if (choice.kind !== 'send') throw new Error(choice.hold)
    const first = choice.source.name as keyof typeof ids
    const { report, disposition } = answered(
      '550 5.7.1 Service unavailable; client host [192.0.2.1] blocked using Spamhaus',
    )
    worker.observe(delivery, choice, report, disposition)
    await expect
      .poll(async () => (await showSource(bench, ids[first])).health)
      .toMatchObject({
        status: 'blocked',
        blocked_reply: expect.stringContaining('Spamhaus'),
      })
    const { email } = delivery
    expect(await choose(worker, { email, avoid: [`source:${first}`] })).not.toBe(first)
    expect(await choose(worker, { email, avoid: Object.keys(ids).map((name) => `source:${name}`) })).toBe(
      first,
    )
  })
})

describe('warm-up', () => {
  const warm_up = { caps: [40, 80, 160] }

  test('lets a source send a tenth of its day to a provider in an hour, over all workers', async () => {
    const id = await bench.source('192.0.2.1', { warm_up })
    const workers = [await workerWith(), await workerWith()]
    const choices = await Promise.all(recipients.map((email, i) => choose(workers[i % 2]!, { email })))
    expect(choices.filter((name) => name === '192.0.2.1')).toHaveLength(4)
    expect(new Set(choices)).toEqual(new Set(['192.0.2.1', 'warm_up:192.0.2.1']))
    const [google] = (await showSource(bench, id)).warm_up!.providers
    expect(google).toMatchObject({ provider: 'google', stage: 1, cap_per_hour: 4, used_in_hour: 4 })
    // Another provider has its own; those that nobody knows share one.
    expect(await choose(workers[0]!, {}, async () => 'yahoo')).toBe('192.0.2.1')
    expect(await choose(workers[1]!, {}, nobody)).toBe('192.0.2.1')
  })

  test('makes a mail wait until the next hour, not longer', async () => {
    await bench.source('192.0.2.1', { warm_up: { caps: [10] } })
    const worker = await workerWith()
    await choose(worker)
    const choice = await worker.choose(mail(), google)
    if (choice.kind !== 'hold') throw new Error('it was sent')
    const waitMs = choice.untilMs - steadyNowMs()
    expect(waitMs).toBeGreaterThan(3_500_000)
    expect(waitMs).toBeLessThanOrEqual(3_600_000)
  })

  test('overflows to a source of the pool that is warm, and to the next route of the list', async () => {
    await bench.source('192.0.2.1', { warm_up: { caps: [10] }, weight: 1000 })
    await bench.source('192.0.2.2')
    const worker = await workerWith()
    const chosen = await Promise.all(recipients.map((email) => choose(worker, { email })))
    expect(chosen.filter((name) => name === '192.0.2.1')).toHaveLength(1)
    expect(chosen.filter((name) => name === '192.0.2.2')).toHaveLength(recipients.length - 1)

    await bench.database.engine.query(`UPDATE valija.source_ips SET state = 'paused' WHERE warm_up IS NULL`)
    await bench.route(bench.operator, 'relay')
    const desk = { ...bench, delivery: 'mx' }
    await addRouteList(desk, bench.tenant, { routes: [{ route: 'mx' }, { route: 'relay', backup: true }] })
    await expect
      .poll(async () => {
        const choice = await worker.choose(mail(), google)
        return choice.kind === 'send' && choice.route.name
      })
      .toBe('relay')
  })

  test('a mail that is asked about twice before it is sent uses one right', async () => {
    await bench.source('192.0.2.1', { warm_up: { caps: [10] } })
    const worker = await workerWith()
    const { recipientId } = mail()
    for (let i = 0; i < 3; i++) expect(await choose(worker, { recipientId })).toBe('192.0.2.1')
    expect(await choose(worker)).toBe('warm_up:192.0.2.1')
  })

  test('counts what came of the mails; the day that is over decides about the next stage', async () => {
    const id = await bench.source('192.0.2.1', { warm_up: { caps: [10, 20], max_deferral_rate: 0.5 } })
    const sourceId = parseId('source', id)!
    const { engine } = bench.database
    const hourAgo = `UPDATE valija.warm_ups SET hour_began_at = hour_began_at - interval '1 hour'`
    for (let i = 0; i < 9; i++) {
      const worker = await workerWith()
      const delivery = mail()
      const choice = await worker.choose(delivery, google)
      if (choice.kind !== 'send') throw new Error(choice.hold)
      const { report, disposition } = answered('250 2.0.0 Ok')
      worker.observe(delivery, choice, report, disposition)
      await worker.close()
      await engine.query(hourAgo)
    }
    expect(await readWarmUps(engine, [sourceId])).toMatchObject([{ stage: 0, handedOff: 9, drawnInDay: 9 }])
    await engine.query(`UPDATE valija.warm_ups SET day_began_at = day_began_at - interval '1 day'`)
    expect((await showSource(bench, id)).warm_up!.providers).toMatchObject([
      { stage: 2, cap_per_day: 20, handed_off: 0, used_in_day: 0 },
    ])
    const worker = await workerWith()
    expect(await choose(worker)).toBe('192.0.2.1')
    expect(await readWarmUps(engine, [sourceId])).toMatchObject([{ stage: 1, drawnInDay: 1 }])
  })

  test('falls back a stage for complaints, at once', async () => {
    const id = await bench.source('192.0.2.1', { warm_up: { caps: [10, 20] } })
    const key = { sourceId: parseId('source', id)!, provider: 'google' }
    const { engine } = bench.database
    const worker = await workerWith()
    await choose(worker)
    await engine.query('UPDATE valija.warm_ups SET stage = 1, handed_off = 10')
    await engine.query(
      'UPDATE valija.warm_ups SET complained = complained + 2 WHERE source_id = $1 AND provider = $2',
      [key.sourceId, key.provider],
    )
    expect((await showSource(bench, id)).warm_up!.providers).toMatchObject([{ stage: 1, complained: 0 }])
  })
})
