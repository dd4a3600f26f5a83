/**
 * Workers that are killed in conversation (faults W1, W2), receivers that are not there or talk without end (W7, W10), that take only
 * small, ASCII or no mail at all (W17, W18), and a relay that refuses our login or is down (W19).
 */
import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { actionsOn, startWorld, type World } from './support/hostile-world.ts'
import { readByPostalMime } from './support/mail-reader.ts'
import { countEach, readMessage, untilEnded } from './support/message-life.ts'
import { freePort } from './support/ports.ts'
import { untilShown } from './support/shown-events.ts'
import { flood, type Phase, type Script, type SmtpPeer, silence, startSmtpPeer } from './support/smtp-peer.ts'
import { until } from './support/until.ts'
import { startValija, type Valija } from './support/valija.ts'

let world: World

beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world?.stop())

describe('workers that are killed', () => {
  const steps = ['connect', 'ehlo', 'mail', 'rcpt', 'data', 'body'] as const
  const peers = new Map<Phase, SmtpPeer>()
  const ids = new Map<Phase, string>()

  beforeAll(async () => {
    const worker = world.valija.workers[0]!
    const reached = new Set<Phase>()
    for (const step of steps) {
      const isLast = step === 'body'
      const reach = () => {
        reached.add(step)
        // The mail is taken, and nobody is left to hear so.
        if (isLast) void worker.kill()
        return isLast ? undefined : silence()
      }
      if (isLast) await until('the others in conversation', () => reached.size === steps.length - 1)
      peers.set(step, await world.internet.site(`w1-${step}.test`, { script: { [step]: reach } }))
      ids.set(step, await world.post(`ann@w1-${step}.test`))
    }
    await worker.ended
    for (const peer of peers.values()) peer.script = {}
    await world.valija.addWorker()
    // Leases run out after 30 s: the clock of the database is moved instead of waited for.
    await world.valija.sql(`UPDATE valija.deliveries SET leased_until = now() WHERE state = 'leased'`)
  }, 90_000)

  test.each(steps.filter((step) => step !== 'body'))(
    'W1: kill -9 at %s, before the body: another worker delivers, and the mail is there once',
    async (step) => {
      const { recipient, events } = await world.fateOf(ids.get(step)!)
      expect(recipient.status).toBe('delivered')
      expect(events).toEqual(['accepted', 'delivered'])
      expect(peers.get(step)!.mails).toHaveLength(1)
    },
  )

  test('W2: kill -9 between the final dot and the reply: the mail is there twice at most, the same bytes with the same Message-ID', async () => {
    const { recipient, message, events } = await world.fateOf(ids.get('body')!)
    expect(recipient.status).toBe('delivered')
    expect(events).toEqual(['accepted', 'delivered'])
    const [first, second, ...more] = peers.get('body')!.mails
    expect(more).toEqual([])
    expect(second!.raw.equals(first!.raw)).toBe(true)
    expect([second!.from, second!.to]).toEqual([first!.from, first!.to])
    expect(first!.text).toContain(message.rfc_message_id)
  })
})

describe('receivers that are not there', () => {
  test.concurrent('W7: an exchanger whose packets vanish is left for the next one within the same attempt', async () => {
    const { dns } = world.internet
    const hole = await world.internet.blackHole()
    const peer = await world.internet.exchanger('mx2.w7.test')
    dns.set('mx1.w7.test', 'A', [hole.host])
    dns.set('w7.test', 'MX', ['10 mx1.w7.test', '20 mx2.w7.test'])
    const { recipient, attempts } = await world.send('ann@w7.test')
    expect(recipient).toMatchObject({ status: 'delivered', attempts: 1 })
    expect(attempts[0]!.transcript[0]!.line).toContain('connection_timeout')
    expect(peer.mails).toHaveLength(1)
    await hole.stop()
  })

  test.concurrent('W7: a host that never says a word has ten connections at most, however much mail waits for it, and delays no other', async () => {
    const peer = await world.internet.site('w7-mute.test', { script: { connect: silence() } })
    const to = Array.from({ length: 200 }, (_, i) => `r${i}@w7-mute.test`)
    const id = await world.post('', { to })
    await until('a connection', () => peer.open() > 0)
    await world.internet.site('w7-other.test')
    expect((await world.send('ann@w7-other.test')).recipient).toMatchObject({
      status: 'delivered',
      attempts: 1,
    })
    expect(peer.sessions()).toBeLessThanOrEqual(10)
    const waiting = await readMessage(world.valija.api, id)
    expect(new Set(waiting.recipients.map(({ status }) => status)).has('failed')).toBe(false)
    peer.script = {}
    peer.cut()
    expect((await untilEnded(world.valija.api, id)).status).toBe('delivered')
    expect(peer.mails).toHaveLength(200)
  })
})

describe('W10', () => {
  const rows: [what: string, octets: string, phase: Phase][] = (
    ['connect', 'ehlo', 'rcpt', 'body'] as const
  ).flatMap((phase) => [
    ['a line of 64 MB', 'x', phase] as [string, string, Phase],
    ['1,500,000 continuation lines and more', '250-x\r\n', phase] as [string, string, Phase],
    ['64 MB of empty lines', '\r\n', phase] as [string, string, Phase],
  ])
  const peakKb = async () => {
    const status = await readFile(`/proc/${world.valija.workers.at(-1)!.pid}/status`, 'latin1').catch(
      () => '',
    )
    return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0)
  }
  let before = 0
  beforeAll(async () => {
    await world.internet.site('w10.test')
    for (let i = 0; i < 5; i += 1) await world.send(`r${i}@w10.test`)
    before = await peakKb()
  })

  test.concurrent.each(rows)(
    'W10: %s (%j) at %s is cut off within a megabyte or so, deferred, and goes at the next try',
    async (what, octets, phase) => {
      const domain = `w10-${rows.findIndex((row) => row[0] === what && row[2] === phase)}.test`
      const peer = await world.internet.site(domain)
      peer.script = { [phase]: [flood(octets, 64_000_000)] }
      const { recipient, attempts } = await world.fateOf(await world.post(`ann@${domain}`))
      expect(recipient).toMatchObject({ status: 'delivered', attempts: 2 })
      expect(attempts[0]).toMatchObject({
        outcome: 'deferred',
        reason: 'protocol',
        uncertain: phase === 'body',
      })
      expect(JSON.stringify(attempts[0]).length).toBeLessThan(20_000)
      // What the kernels of both sides hold is out of anybody's hands.
      expect(peer.flooded).toBeLessThan(24_000_000)
      expect(peer.mails).toHaveLength(1)
    },
  )

  test('W10: all of that together costs the worker less than 70 MB', async () => {
    expect((await peakKb()) - before).toBeLessThan(70_000)
  })
})

describe('W17', () => {
  const text = 'Grüße aus Köln, 你好 \u{1f600}\n'.repeat(20)

  test.concurrent('W17: a mail larger than the SIZE that the peer takes fails at once, and is not offered', async () => {
    const script = { ehlo: '250-mx.example.test\n250-PIPELINING\n250 SIZE 2000' }
    const peer = await world.internet.site('w17-size.test', { script })
    const large = await world.send('ann@w17-size.test', { text: 'x'.repeat(3_000) })
    expect(large.recipient).toMatchObject({ status: 'failed', reason: 'size', attempts: 1 })
    expect(large.recipient.reply).toContain('at most 2000')
    expect(large.events).toEqual(['accepted', 'failed'])
    expect(peer.transcript.some((line) => line.includes('< MAIL'))).toBe(false)
    expect((await world.send('bob@w17-size.test', { text: 'short' })).recipient.status).toBe('delivered')
  })

  test.concurrent('W17: a peer without 8BITMIME gets the same text in ASCII', async () => {
    const peer = await world.internet.site('w17-ascii.test', { script: { ehlo: '250 mx.example.test' } })
    const { recipient } = await world.send('ann@w17-ascii.test', { subject: 'Grüße', text })
    expect(recipient).toMatchObject({ status: 'delivered', attempts: 1 })
    const { raw } = peer.mails[0]!
    expect(raw.every((octet) => octet < 128)).toBe(true)
    const read = await readByPostalMime(raw)
    expect([read.subject, read.text?.replace(/\r\n/g, '\n').trim()]).toEqual(['Grüße', text.trim()])
  })

  test.concurrent('W17: a raw mail with octets beyond ASCII is not sent to a peer without 8BITMIME: it fails, and says how to mend that', async () => {
    const peer = await world.internet.site('w17-raw.test', { script: { ehlo: '250 mx.example.test' } })
    const mail = `From: hi@acme.test\r\nSubject: x\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n${text}`
    const raw = Buffer.from(mail.replace(/\r?\n/g, '\r\n')).toString('base64')
    const { json } = await world.valija.api<{ id: string }>('POST', '/send', {
      from: 'hi@acme.test',
      to: 'ann@w17-raw.test',
      raw,
    })
    const { recipient, attempts } = await world.fateOf(json.id)
    expect(recipient).toMatchObject({ status: 'failed', reason: 'protocol', attempts: 1 })
    expect(recipient.reply).toMatch(/8BITMIME.*quoted-printable or base64/)
    expect(attempts[0]).toMatchObject({ outcome: 'failed', uncertain: false })
    expect(peer.transcript.some((line) => line.includes('< MAIL'))).toBe(false)
  })

  test.concurrent('W17: an address beyond ASCII goes where SMTPUTF8 is offered, as such, and fails where it is not', async () => {
    const peer = await world.internet.site('w17-utf8.test')
    const plain = await world.internet.site('w17-noutf8.test', {
      script: { ehlo: '250-mx.example.test\n250 8BITMIME' },
    })
    const good = await world.send('jürgen@w17-utf8.test')
    expect(good.recipient).toMatchObject({ status: 'delivered', attempts: 1 })
    expect(peer.mails[0]).toMatchObject({
      to: ['jürgen@w17-utf8.test'],
      fromParameters: expect.stringContaining('SMTPUTF8'),
    })
    const bad = await world.send('jürgen@w17-noutf8.test')
    expect(bad.recipient).toMatchObject({ status: 'failed', reason: 'protocol', attempts: 1 })
    expect(bad.recipient.reply).toContain('SMTPUTF8')
    expect(plain.transcript.some((line) => line.includes('< MAIL'))).toBe(false)
    expect(await world.isSuppressed('jürgen@w17-noutf8.test')).toBe(false)
  })
})

describe('W18', () => {
  test.concurrent('W18: a mailbox that is full for now (452) is tried again after an hour, and delivered when there is room', async () => {
    const script: Script = { rcpt: ['452 4.2.2 mailbox full'], data: ['503 5.5.1 no recipient'] }
    const peer = await world.internet.site('w18-soft.test', { script })
    const id = await world.post('ann@w18-soft.test')
    await world.tried(id)
    const deferred = await world.recipientOf(id)
    expect(deferred).toMatchObject({ status: 'deferred', reason: 'mailbox_full', enhanced_status: '4.2.2' })
    const waitMs = Date.parse(deferred.next_attempt_at!) - Date.now()
    expect(waitMs / 60_000).toBeGreaterThan(50)
    expect(waitMs / 60_000).toBeLessThan(70)
    await world.hasten(id)
    expect((await world.fateOf(id)).recipient).toMatchObject({ status: 'delivered', attempts: 2 })
    expect(peer.mails).toHaveLength(1)
  })

  test.concurrent('W18: one that is full for good (552) bounces softly, and is suppressed at the third such end only', async () => {
    const script = { rcpt: '552 5.2.2 mailbox full', data: '503 5.5.1 no recipient' }
    await world.internet.site('w18-hard.test', { script })
    const seen: boolean[] = []
    for (let i = 0; i < 3; i += 1) {
      const { recipient, events } = await world.send('ann@w18-hard.test')
      expect(recipient).toMatchObject({ status: 'bounced', reason: 'mailbox_full', attempts: 1 })
      expect(events).toEqual(['accepted', 'bounced'])
      seen.push(await world.isSuppressed('ann@w18-hard.test'))
    }
    expect(seen).toEqual([false, false, true])
  })
})

describe('W19', () => {
  const auth = { user: 'acme', pass: 'right' }
  let relay: SmtpPeer
  let valija: Valija
  let at: Omit<World, 'internet' | 'stop'>
  const url = (pass: string) => `smtp://acme:${pass}@127.0.0.1:${relay.port}`

  beforeAll(async () => {
    relay = await startSmtpPeer({ port: await freePort(), auth })
    const env = { VALIJA_RETRY_SCHEDULE: '1s', VALIJA_SMARTHOST_URL: url('wrong') }
    valija = await startValija({ queue: 'postgres', delivery: 'smarthost', env })
    at = actionsOn(valija)
  })
  afterAll(async () => {
    await valija?.stop()
    await relay?.stop()
  })

  test('W19: a relay that refuses our login has no mail and loses none: it is asked once, all waits, and goes when a worker knows the password', async () => {
    const to = Array.from({ length: 40 }, (_, i) => `r${i}@example.org`)
    const id = await at.post('', { to })
    const [first] = await at.tried(id)
    const refused = { phase: 'auth', outcome: 'deferred', reason: 'authentication', uncertain: false }
    expect(first).toMatchObject({ ...refused, reply: expect.stringContaining('535') })
    await until('the others wait', async () => (await countHeld('route_paused:smarthost')) === 39 || null)
    const { recipients } = await readMessage(valija.api, id)
    expect(countEach(recipients.map(({ status }) => status))).toEqual(
      new Map([
        ['deferred', 1],
        ['queued', 39],
      ]),
    )
    expect(await at.tried(id)).toHaveLength(1)
    expect(relay.transcript.filter((line) => line.includes('< AUTH'))).toHaveLength(1)
    await untilShown(valija.sql)
    const { json } = await valija.api<{ data: { data: object }[] }>('GET', '/events?type=route.down')
    expect(json.data.map(({ data }) => data)).toMatchObject([{ route: 'smarthost', reason: 'login_refused' }])

    await valija.workers[0]!.stop()
    await valija.addWorker({ VALIJA_SMARTHOST_URL: url('right') })
    await at.hasten(id)
    expect((await untilEnded(valija.api, id)).status).toBe('delivered')
    expect(relay.mails.map((mail) => mail.to[0]).sort()).toEqual([...to].sort())
    expect(await Promise.all(to.slice(0, 5).map(at.isSuppressed))).toEqual(Array(5).fill(false))
  })

  const countHeld = async (hold: string) => {
    const sql = 'SELECT count(*)::int AS count FROM valija.deliveries WHERE hold = $1'
    return (await valija.sql<{ count: number }>(sql, [hold]))[0]!.count
  }

  test('W19: a relay that is down loses nothing: the mail waits, and goes when it is back', async () => {
    const { port } = relay
    await relay.stop()
    const to = Array.from({ length: 20 }, (_, i) => `d${i}@example.org`)
    const id = await at.post('', { to })
    const [first] = await at.tried(id)
    expect(first).toMatchObject({
      phase: 'connect',
      outcome: 'deferred',
      reason: 'network',
      uncertain: false,
    })
    relay = await startSmtpPeer({ port, auth })
    expect((await untilEnded(valija.api, id)).status).toBe('delivered')
    expect(relay.mails.map((mail) => mail.to[0]).sort()).toEqual([...to].sort())
  })
})
