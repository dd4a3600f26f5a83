/** Mail goes straight to the recipients' own exchangers: routing by the DNS, and what is told of it. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Internet, startInternet } from './support/internet.ts'
import { post, readAttempts, untilEnded } from './support/message-life.ts'
import { until } from './support/until.ts'
import { startValija, type Valija } from './support/valija.ts'

let internet: Internet
let valija: Valija

beforeAll(async () => {
  internet = await startInternet()
  valija = await startValija({
    queue: 'postgres',
    delivery: 'mx',
    internet,
    env: { VALIJA_RETRY_SCHEDULE: '1s' },
  })
})
afterAll(async () => {
  await valija?.stop()
  await internet?.stop()
})

/** Sends to one recipient, and waits for the end. */
async function send(to: string, fields: Record<string, unknown> = {}) {
  const id = await post(valija.api, valija.mail({ to, ...fields }))
  const { recipients, status } = await untilEnded(valija.api, id)
  return { status, recipient: recipients[0]!, attempts: await readAttempts(valija.api, id) }
}

describe('routing', () => {
  test('takes the exchanger of the lowest preference, with a signed return path', async () => {
    const [best, other] = [await internet.exchanger('mx1.one.test'), await internet.exchanger('mx2.one.test')]
    internet.dns.set('one.test', 'MX', ['20 mx2.one.test', '10 mx1.one.test'])
    const { status } = await send('ann@one.test')
    expect(status).toBe('delivered')
    expect(best.mails.map(({ from, to }) => [from, to])).toEqual([
      [expect.stringMatching(/^b-[a-z2-7]+@bounce\.example\.test$/), ['ann@one.test']],
    ])
    expect(other.mails).toEqual([])
  })

  test('falls back to the next exchanger when the best one is away, within the same attempt', async () => {
    const second = await internet.exchanger('mx2.two.test')
    internet.dns.set('mx1.two.test', 'A', [internet.deadAddress()])
    internet.dns.set('two.test', 'MX', ['10 mx1.two.test', '20 mx2.two.test'])
    const { status, attempts } = await send('ann@two.test')
    expect(status).toBe('delivered')
    expect(attempts).toHaveLength(1)
    expect(second.mails).toHaveLength(1)
  })

  test('a domain without exchangers is its own (implicit MX)', async () => {
    const peer = await internet.exchanger('three.test')
    expect((await send('ann@three.test')).status).toBe('delivered')
    expect(peer.mails).toHaveLength(1)
  })

  test('a null MX fails at once, without a connection', async () => {
    internet.dns.set('null.test', 'MX', ['0 .'])
    const { status, recipient, attempts } = await send('ann@null.test')
    expect([status, recipient.reason]).toEqual(['failed', 'domain_unknown'])
    expect(attempts).toHaveLength(1)
    expect(attempts[0]).toMatchObject({ phase: 'dns', outcome: 'failed' })
  })

  test('a domain that does not exist fails after a second look', async () => {
    const { status, recipient, attempts } = await send('ann@nowhere.test')
    expect([status, recipient.reason]).toEqual(['failed', 'domain_unknown'])
    expect(attempts.map(({ outcome }) => outcome)).toEqual(['deferred', 'failed'])
  })

  test('a resolver that fails means: later', async () => {
    const peer = await internet.site('later.test')
    internet.dns.behaviour = { 'later.test': 'servfail' }
    const id = await post(valija.api, valija.mail({ to: 'ann@later.test' }))
    await internet.dns.asked('later.test', 'MX', 2)
    internet.dns.behaviour = {}
    expect((await untilEnded(valija.api, id)).status).toBe('delivered')
    expect((await readAttempts(valija.api, id))[0]).toMatchObject({ outcome: 'deferred', reason: 'network' })
    expect(peer.mails).toHaveLength(1)
  })

  test('one session serves every domain whose mail goes to the same host', async () => {
    const domains = Array.from({ length: 5 }, (_, i) => `shared${i}.test`)
    const peer = await internet.site(domains)
    for (const domain of domains) expect((await send(`ann@${domain}`)).status).toBe('delivered')
    expect(peer.mails).toHaveLength(5)
    expect(peer.sessions()).toBe(1)
  })
})

test('a mail that demands TLS where there is none waits alone: the site is not slowed for others', async () => {
  const peer = await internet.site('plain.test')
  const id = await post(valija.api, valija.mail({ to: 'ann@plain.test', require_tls: true }))
  await until(
    'two tries',
    async () => ((await readAttempts(valija.api, id)).length >= 2 ? true : null),
    20_000,
  )
  expect((await readAttempts(valija.api, id))[0]).toMatchObject({
    outcome: 'deferred',
    reason: 'tls',
    phase: 'tls',
  })
  expect(peer.mails).toEqual([])
  const { json } = await valija.admin<{ sites: { site: string }[] }>('GET', '/queue')
  expect(json.sites.filter(({ site }) => site === 'mx.plain.test')).toEqual([])
  const { attempts } = await send('bob@plain.test')
  expect(attempts.map(({ outcome }) => outcome)).toEqual(['delivered'])
})
