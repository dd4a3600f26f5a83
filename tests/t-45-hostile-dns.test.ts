/**
 * What the DNS of receivers does on bad days, and what it is made to say by those who mean harm (faults D1 to D9): nobody is turned
 * back because a server failed, and nobody is connected to because a name said so.
 */
import os from 'node:os'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Canaries, startCanaries } from './support/canary.ts'
import { type DnsBehaviour, type DnsServer, startDnsServer } from './support/dns-server.ts'
import { actionsOn, type Fate, startWorld, type World } from './support/hostile-world.ts'
import { readEvents, readMessage } from './support/message-life.ts'
import { drop } from './support/smtp-peer.ts'
import { until } from './support/until.ts'
import { startValija, type Valija } from './support/valija.ts'

const local = Object.values(os.networkInterfaces()).flatMap((list) => list ?? [])
const hasIpv6 = local.some(({ address }) => address === '::1')
/** On this machine, and in no network that the first Valija may go to. */
const FORBIDDEN = '127.9.9.9'

/** Connects to 127.0.0.0/16 and ::1. */
let world: World
/** Has no allowed networks, few leases, and two resolvers, of which the second has a zone of its own. */
let strict: Omit<World, 'internet' | 'stop'>
let strictValija: Valija | undefined
let second: DnsServer | undefined
let canaries: Canaries | undefined

beforeAll(async () => {
  world = await startWorld({ env: { VALIJA_ALLOW_NETWORKS: '127.0.0.0/16,::1/128' } })
  const { dns, port } = world.internet
  second = await startDnsServer()
  const own = local.map(({ address }) => address).filter((address) => !address.startsWith('fe80'))
  canaries = await startCanaries(
    [...new Set([...own, '127.0.0.1', FORBIDDEN])].filter((address) => address !== '::1'),
    port,
  )
  strictValija = await startValija({
    queue: 'postgres',
    delivery: 'mx',
    env: {
      VALIJA_RETRY_SCHEDULE: '1s',
      VALIJA_WORKER_CONCURRENCY: '5',
      VALIJA_DNS_SERVERS: `${dns.address},${second.address}`,
      VALIJA_MX_PORT: `${port}`,
      VALIJA_BOUNCE_DOMAIN: 'bounce.example.test',
    },
  })
  strict = actionsOn(strictValija)
  beginAll()
})
afterAll(async () => {
  await strictValija?.stop()
  await world?.stop()
  await second?.stop()
  await canaries?.stop()
})

/** What takes long is begun at once for all tests. */
const begun = new Map<string, Promise<string>>()

/** Answers differently from now on. */
function behave(name: string, behaviour: DnsBehaviour | null): void {
  const { dns } = world.internet
  const { [name]: _, ...others } = dns.behaviour
  dns.behaviour = behaviour === null ? others : { ...others, [name]: behaviour }
}

const FAILING: [what: string, behaviour: DnsBehaviour][] = [
  ['SERVFAIL', 'servfail'],
  ['REFUSED', 'refused'],
  ['FORMERR', 'formerr'],
  ['silence', 'silent'],
  ['random bytes', 'garbage'],
  ['an answer under another id', 'wrong_id'],
  ['an answer to another question', 'wrong_question'],
]
const failingDomain = (what: string) => `d1-${FAILING.findIndex(([name]) => name === what)}.test`

function beginAll(): void {
  const begin = (domain: string) => begun.set(domain, world.post(`ann@${domain}`))
  for (const [what, behaviour] of FAILING) {
    behave(`${failingDomain(what)} MX`, behaviour)
    begin(failingDomain(what))
  }
  behave('mx.d1-address.test', 'servfail')
  world.internet.dns.set('d1-address.test', 'MX', ['10 mx.d1-address.test'])
  begin('d1-address.test')
  begin('d2-nowhere.test')
  world.internet.dns.set('d2-empty.test', 'TXT', ['nothing but this'])
  begin('d2-empty.test')
  world.internet.dns.set('mx.d6-loop.test', 'CNAME', ['other.d6-loop.test'])
  world.internet.dns.set('other.d6-loop.test', 'CNAME', ['mx.d6-loop.test'])
  world.internet.dns.set('d6-loop.test', 'MX', ['10 mx.d6-loop.test'])
  begin('d6-loop.test')
}

async function expectPutOff(domain: string): Promise<string> {
  const id = await begun.get(domain)!
  const [first] = await world.tried(id)
  expect(first).toMatchObject({ phase: 'dns', outcome: 'deferred', reason: 'network', uncertain: false })
  return id
}

const outcomes = ({ attempts }: Fate) => attempts.map(({ outcome }) => outcome)

test.concurrent.each(FAILING)(
  'D1: %s in answer to the MX question puts the mail off, never back, and it goes when the DNS is well',
  async (what) => {
    const domain = failingDomain(what)
    const id = await expectPutOff(domain)
    const peer = await world.internet.site(domain)
    behave(`${domain} MX`, null)
    const fate = await world.fateOf(id)
    expect(fate.recipient).toMatchObject({ status: 'delivered', reason: null })
    expect(new Set(outcomes(fate).slice(0, -1))).toEqual(new Set(['deferred']))
    expect(peer.mails).toHaveLength(1)
  },
)

test.concurrent('D1: SERVFAIL for the address of an exchanger puts the mail off as well', async () => {
  const id = await expectPutOff('d1-address.test')
  const peer = await world.internet.exchanger('mx.d1-address.test')
  behave('mx.d1-address.test', null)
  expect((await world.fateOf(id)).recipient.status).toBe('delivered')
  expect(peer.mails).toHaveLength(1)
})

test.concurrent.each<DnsBehaviour & string>(['truncated', 'tcp_only', 'no_edns'])(
  'D1: a server that is %s is asked the way it understands, within the first attempt',
  async (behaviour) => {
    const domain = `d1-${behaviour.replace('_', '-')}.test`
    const peer = await world.internet.site(domain)
    behave(domain, behaviour)
    const { recipient } = await world.send(`ann@${domain}`)
    expect(recipient).toMatchObject({ status: 'delivered', attempts: 1 })
    expect(peer.mails).toHaveLength(1)
  },
)

test.concurrent.each(['d2-nowhere.test', 'd2-empty.test'])(
  'D2: %s, without MX and addresses, fails for good at a second look 5 steps later, and suppresses nobody',
  async (domain) => {
    const id = await begun.get(domain)!
    const fate = await world.fateOf(id)
    expect(outcomes(fate)).toEqual(['deferred', 'failed'])
    expect(fate.recipient).toMatchObject({ status: 'failed', reason: 'domain_unknown', attempts: 2 })
    expect(fate.events).toEqual(['accepted', 'deferred', 'failed'])
    expect(world.internet.dns.count(domain, 'MX')).toBeGreaterThanOrEqual(2)
    expect(await world.isSuppressed(`ann@${domain}`)).toBe(false)
  },
)

test.concurrent('D2: a domain that is there at the second look gets its mail', async () => {
  const id = await world.post('ann@d2-later.test')
  const [first] = await world.tried(id)
  expect(first).toMatchObject({ phase: 'dns', outcome: 'deferred', reason: 'domain_unknown' })
  const peer = await world.internet.site('d2-later.test')
  expect((await world.fateOf(id)).recipient).toMatchObject({ status: 'delivered', attempts: 2 })
  expect(peer.mails).toHaveLength(1)
})

test.concurrent('D2: a domain that two resolvers do not know fails at once; where one of them knows it, it is asked for mail', async () => {
  const fate = await strict.send('ann@d2-two.test')
  expect(fate.recipient).toMatchObject({ status: 'failed', reason: 'domain_unknown', attempts: 1 })
  second!.set('d2-one.test', 'MX', ['10 mx.d2-one.test'])
  second!.set('mx.d2-one.test', 'A', ['10.0.0.1'])
  // The second resolver's exchanger is nobody that this Valija may connect to; that it says so shows whom it believed.
  expect((await strict.send('ann@d2-one.test')).recipient).toMatchObject({
    status: 'failed',
    reason: 'rejected',
  })
})

test.concurrent('D3: without MX the domain’s own address is its exchanger', async () => {
  const peer = await world.internet.exchanger('d3.test')
  const { recipient, attempts } = await world.send('ann@d3.test')
  expect(recipient).toMatchObject({ status: 'delivered', attempts: 1 })
  expect(attempts[0]).toMatchObject({ host: 'd3.test', ip: peer.host })
})

test.skipIf(!hasIpv6)('D3: also when it only has an IPv6 address', async () => {
  const peer = await world.internet.exchanger('v6.d3.test', { host: '::1' })
  world.internet.dns.set('d3-v6.test', 'AAAA', ['::1'])
  const { recipient, attempts } = await world.send('ann@d3-v6.test')
  expect(recipient).toMatchObject({ status: 'delivered', attempts: 1 })
  expect(attempts[0]).toMatchObject({ host: 'd3-v6.test', ip: '::1' })
  await peer.stop()
})

test.concurrent('D4: a null MX fails at once without a connection, whatever addresses the domain has', async () => {
  const peer = await world.internet.exchanger('d4.test')
  world.internet.dns.set('d4.test', 'MX', ['0 .'])
  const { recipient, attempts, events, message } = await world.send('ann@d4.test')
  expect(recipient).toMatchObject({ status: 'failed', reason: 'domain_unknown', attempts: 1 })
  expect(attempts[0]).toMatchObject({ phase: 'dns', outcome: 'failed', host: null })
  expect(events).toEqual(['accepted', 'failed'])
  expect((await readEvents(world.valija.api, message.id))[1]!.data.reply).toContain('null MX')
  expect(peer.sessions()).toBe(0)
  expect(await world.isSuppressed('ann@d4.test')).toBe(false)
})

test.concurrent('D4: a null MX beside a real one is junk, and the real one has the mail', async () => {
  const peer = await world.internet.exchanger('mx.d4-mixed.test')
  world.internet.dns.set('d4-mixed.test', 'MX', ['0 .', '10 mx.d4-mixed.test'])
  expect((await world.send('ann@d4-mixed.test')).recipient.status).toBe('delivered')
  expect(peer.mails).toHaveLength(1)
})

const outward = local.filter(({ internal }) => !internal)
const addresses: [type: 'A' | 'AAAA', address: string][] = [
  ...[
    '127.0.0.1',
    FORBIDDEN,
    '0.0.0.0',
    '10.0.0.1',
    '100.64.0.1',
    '169.254.169.254',
    '172.16.0.1',
    '192.168.0.1',
    '192.0.0.1',
    '198.18.0.1',
    '224.0.0.1',
    '255.255.255.255',
  ].map((address) => ['A', address] as ['A', string]),
  ...[
    '::1',
    '::',
    '::ffff:127.0.0.1',
    '::ffff:10.0.0.1',
    '::127.0.0.1',
    '64:ff9b::7f00:1',
    '64:ff9b::a00:1',
    '64:ff9b:1::7f00:1',
    '2002:7f00:1::1',
    'fd00::1',
    'fe80::1',
    'ff02::1',
  ].map((address) => ['AAAA', address] as ['AAAA', string]),
  ...outward.map(({ family, address }) => [family === 'IPv6' ? 'AAAA' : 'A', address] as ['A', string]),
]

test.concurrent('D5: an exchanger at a private, reserved or own address is refused for good, and not a packet goes there', async () => {
  const { dns } = world.internet
  const fates = await Promise.all(
    addresses.map(async ([type, address], i) => {
      dns.set(`mx.d5-${i}.test`, type, [address])
      dns.set(`d5-${i}.test`, 'MX', [`10 mx.d5-${i}.test`])
      return [address, await strict.send(`ann@d5-${i}.test`)] as const
    }),
  )
  for (const [address, { recipient, attempts, events }] of fates) {
    expect(recipient, address).toMatchObject({ status: 'failed', reason: 'rejected', attempts: 1 })
    expect(attempts[0], address).toMatchObject({ phase: 'connect', outcome: 'failed', uncertain: false })
    expect(attempts[0]!.reply, address).toContain('private or reserved')
    expect(events, address).toEqual(['accepted', 'failed'])
  }
  expect(canaries!.visits).toEqual([])
  // And the ears are good: who may connect there is heard.
  expect(canaries!.addresses).toContain('127.0.0.1')
})

test.concurrent('D5: beside a forbidden exchanger a good one has the mail, and the forbidden one no visitor', async () => {
  const peer = await world.internet.exchanger('mx2.d5-mixed.test')
  world.internet.dns.set('mx1.d5-mixed.test', 'A', [FORBIDDEN])
  world.internet.dns.set('d5-mixed.test', 'MX', ['10 mx1.d5-mixed.test', '20 mx2.d5-mixed.test'])
  const { recipient, attempts } = await world.send('ann@d5-mixed.test')
  expect(recipient).toMatchObject({ status: 'delivered', attempts: 1 })
  expect(attempts[0]!.transcript[0]!.line).toContain('address_refused')
  expect(peer.mails).toHaveLength(1)
  expect(canaries!.visits).toEqual([])
})

test.concurrent('D6: an exchanger that is an alias, of an alias, of an alias, has the mail', async () => {
  const { dns } = world.internet
  const peer = await world.internet.exchanger('host.d6-chain.test')
  dns.set('d6-chain.test', 'MX', ['10 a0.d6-chain.test'])
  for (let i = 0; i < 7; i += 1)
    dns.set(`a${i}.d6-chain.test`, 'CNAME', [i < 6 ? `a${i + 1}.d6-chain.test` : 'host.d6-chain.test'])
  const { recipient } = await world.send('ann@d6-chain.test')
  expect(recipient).toMatchObject({ status: 'delivered', attempts: 1 })
  expect(peer.mails).toHaveLength(1)
})

test.concurrent('D6: aliases in a circle put the mail off, and it goes when the circle is cut', async () => {
  const id = await expectPutOff('d6-loop.test')
  world.internet.dns.remove('mx.d6-loop.test')
  const peer = await world.internet.exchanger('mx.d6-loop.test')
  expect((await world.fateOf(id)).recipient.status).toBe('delivered')
  expect(peer.mails).toHaveLength(1)
})

test.concurrent('D6: an IP address in the place of a name is junk: nobody is connected to for it, and a name beside it counts', async () => {
  const named = await world.internet.exchanger('127.0.77.7.d6.test', { host: '127.0.77.7' })
  const peer = await world.internet.exchanger('mx.d6-literal.test')
  world.internet.dns.set('d6-literal.test', 'MX', ['5 127.0.77.7', '10 mx.d6-literal.test'])
  expect((await world.send('ann@d6-literal.test')).recipient.status).toBe('delivered')
  expect(peer.mails).toHaveLength(1)
  expect(named.sessions()).toBe(0)
})

test.concurrent('D6: of 500 exchangers no more than 10 are looked up, and the mail is delivered', async () => {
  const { dns } = world.internet
  const peer = await world.internet.exchanger('*.d6-many.test')
  dns.set(
    'd6-many.test',
    'MX',
    Array.from({ length: 500 }, (_, i) => `10 mx${i}.d6-many.test`),
  )
  expect((await world.send('ann@d6-many.test')).recipient).toMatchObject({
    status: 'delivered',
    attempts: 1,
  })
  expect(peer.mails).toHaveLength(1)
  const asked = dns.questions.filter(({ name, type }) => type === 'A' && name.endsWith('.d6-many.test'))
  expect(asked.length).toBeLessThanOrEqual(10)
})

test.concurrent('D6: exchangers of one preference share the mail, and a worse one has none of it', async () => {
  const { dns } = world.internet
  // One mail for each connection, so that every mail has a choice.
  const script = { body: () => drop('250 2.0.0 taken') }
  const [a, b, c] = await Promise.all(
    ['a', 'b', 'c'].map((name) => world.internet.exchanger(`${name}.d6-ties.test`, { script })),
  )
  dns.set('d6-ties.test', 'MX', ['10 a.d6-ties.test', '10 b.d6-ties.test', '20 c.d6-ties.test'])
  const haveBoth = () => a!.mails.length > 0 && b!.mails.length > 0
  let sent = 0
  // Each is as good as the other: once in 32,768 times the first sixteen all go one way.
  for (; sent < 16 || (sent < 64 && !haveBoth()); sent += 1) await world.send(`r${sent}@d6-ties.test`)
  expect(a!.mails.length + b!.mails.length).toBe(sent)
  expect(Math.min(a!.mails.length, b!.mails.length)).toBeGreaterThan(0)
  expect(c!.sessions()).toBe(0)
})

test.concurrent('D7: a name whose address changes with every answer leads nowhere but where its checked answer said: 1,000 names, no visitor at the forbidden address', async () => {
  const { dns } = world.internet
  const peer = await world.internet.exchanger('good.d7.test')
  dns.set('*.rebind.test', 'A', [[peer.host], [FORBIDDEN]], 0)
  const names = Array.from({ length: 1_000 }, (_, i) => `n${i}.rebind.test`)
  const id = await world.post('', { to: names.map((name) => `ann@${name}`) })
  const { message } = await world.fateOf(id, 100_000)
  const of = (status: string) => message.recipients.filter((recipient) => recipient.status === status)
  expect(of('delivered').length + of('failed').length).toBe(1_000)
  expect(of('delivered').length).toBe(peer.mails.length)
  expect(peer.mails.length).toBeGreaterThan(200)
  expect(new Set(of('failed').map(({ reason }) => reason))).toEqual(new Set(['rejected']))
  expect(canaries!.visits).toEqual([])
})

test.concurrent('D7: nor does one name, mail after mail, in whatever order its answers come', async () => {
  const { dns } = world.internet
  const peer = await world.internet.exchanger('good.d7-one.test', {
    script: { body: () => drop('250 2.0.0 taken') },
  })
  dns.set(
    'mx.d7-one.test',
    'A',
    [[peer.host], [FORBIDDEN], [FORBIDDEN, peer.host], [peer.host, FORBIDDEN]],
    0,
  )
  dns.set('d7-one.test', 'MX', ['10 mx.d7-one.test'])
  for (let i = 0; i < 12; i += 1) {
    const { recipient } = await world.send(`r${i}@d7-one.test`)
    expect(recipient.status).toMatch(/^(?:delivered|failed)$/)
  }
  expect(canaries!.visits).toEqual([])
})

// By itself: a look-up ends after 12 s, and the other mail must be there before that.
test('D8: 200 mails to a domain whose DNS is slow ask it once, hold no connection meanwhile, and delay nobody else', async () => {
  const peer = await world.internet.site('d8.test')
  // However slow this machine is: not before the other mail is there.
  const held = Promise.withResolvers<void>()
  behave('d8.test MX', { delayMs: 6_000, held: held.promise })
  const to = Array.from({ length: 200 }, (_, i) => `r${i}@d8.test`)
  const slow = await world.post('', { to })
  await world.internet.dns.asked('d8.test', 'MX')
  const other = await world.internet.site('d8-other.test')
  expect((await world.send('ann@d8-other.test')).recipient.status).toBe('delivered')
  expect(other.mails).toHaveLength(1)
  expect([peer.sessions(), peer.mails.length]).toEqual([0, 0])
  held.resolve()
  const { message } = await world.fateOf(slow)
  expect(message.status).toBe('delivered')
  expect(peer.mails).toHaveLength(200)
  // One look-up, which asks again by UDP and TCP when there is no answer for a while.
  expect(world.internet.dns.count('d8.test', 'MX')).toBeLessThanOrEqual(3)
  behave('d8.test MX', null)
})

test.concurrent('D8: fifty domains whose DNS says nothing keep no other mail waiting, though no more than twenty may be on their way', async () => {
  const { dns } = world.internet
  const names = Array.from({ length: 50 }, (_, i) => `d8-mute-${i}.test`)
  const silent = Object.fromEntries(names.map((name) => [name, 'silent' as const]))
  dns.behaviour = { ...dns.behaviour, ...silent }
  second!.behaviour = silent
  const mute = await strict.post('', { to: names.map((name) => `ann@${name}`) })
  await until('many questions', () => names.filter((name) => dns.count(name) > 0).length > 20)
  dns.set('d8-beside.test', 'MX', ['0 .'])
  second!.set('d8-beside.test', 'MX', ['0 .'])
  // Its end, whichever, shows that it had its turn; the others have not had theirs by then.
  expect((await strict.send('ann@d8-beside.test')).recipient.status).toBe('failed')
  const { recipients } = await readMessage(strict.valija.api, mute)
  expect(recipients.filter(({ attempts }) => attempts > 0)).toEqual([])
})

test.skipIf(!hasIpv6)(
  'D9: where IPv6 is refused or leads nowhere the mail goes by IPv4 within the attempt, and the other way round',
  async () => {
    const { dns } = world.internet
    const peer = await world.internet.exchanger('mx2.d9.test')
    dns.set('mx1.d9.test', 'AAAA', ['::1'])
    dns.set('d9.test', 'MX', ['10 mx1.d9.test', '20 mx2.d9.test'])
    expect((await world.send('ann@d9.test')).recipient).toMatchObject({ status: 'delivered', attempts: 1 })
    expect(peer.mails).toHaveLength(1)

    dns.set('mx.d9-back.test', 'A', [world.internet.deadAddress()])
    dns.set('mx.d9-back.test', 'AAAA', ['::1'])
    dns.set('d9-back.test', 'MX', ['10 mx.d9-back.test'])
    const v6 = await world.internet.exchanger('v6.d9.test', { host: '::1' })
    const back = await world.send('ann@d9-back.test')
    expect(back.recipient).toMatchObject({ status: 'delivered', attempts: 1 })
    expect(back.attempts[0]).toMatchObject({ ip: '::1' })
    await v6.stop()

    const hole = await world.internet.blackHole('::1')
    await world.internet.exchanger('mx3.d9.test')
    dns.set('d9-hole.test', 'MX', ['10 mx1.d9.test', '20 mx3.d9.test'])
    const { recipient, attempts } = await world.send('ann@d9-hole.test')
    expect(recipient).toMatchObject({ status: 'delivered', attempts: 1 })
    expect(attempts[0]!.transcript[0]!.line).toContain('connection_timeout')
    await hole.stop()
  },
)

test.concurrent.each<[string, DnsBehaviour]>([
  ['SERVFAIL', 'servfail'],
  ['silence', 'silent'],
])(
  'D9: %s in answer to the question for IPv6 does not keep the mail from the IPv4 address',
  async (_, behaviour) => {
    const domain = `d9-aaaa-${behaviour as string}.test`
    const peer = await world.internet.site(domain)
    behave(`mx.${domain} AAAA`, behaviour)
    const { recipient } = await world.send(`ann@${domain}`)
    expect(recipient).toMatchObject({ status: 'delivered', attempts: 1 })
    expect(peer.mails).toHaveLength(1)
  },
)

test('the canaries hear whoever comes', async () => {
  const net = await import('node:net')
  net.connect({ host: FORBIDDEN, port: world.internet.port }).on('error', () => undefined)
  await until('a visit', () => canaries!.visits.includes(FORBIDDEN))
})
