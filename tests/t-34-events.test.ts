/**
 * The stream of events: whoever follows it sees every event once and in order, however many write meanwhile; and what
 * each fate of a recipient looks like in events, attempts and statuses.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type AcceptedMail,
  type CallApi,
  endOfMail,
  forEachOf,
  type MailEvent,
  type MailView,
  readAll,
  readMail,
  sendMail,
} from './support/messages.ts'
import { type SmtpPeer, startSmtpPeer } from './support/smtp-peer.ts'
import { PATIENCE_MS, until } from './support/until.ts'
import { expectStatus, startValija, type Valija } from './support/valija.ts'

/** Of bulk mail here: long enough for one retry on a busy machine, short enough to wait for. */
const TTL_MS = 15_000

let peer: SmtpPeer
let valija: Valija

beforeAll(async () => {
  peer = await startSmtpPeer()
  const env = { VALIJA_RETRY_SCHEDULE: '1s', VALIJA_MESSAGE_TTL: `24h,${TTL_MS / 1_000}s` }
  valija = await startValija({
    apis: 2,
    workers: 2,
    queue: 'postgres',
    delivery: 'smarthost',
    smarthost: peer,
    env,
  })
})

afterAll(async () => {
  await valija?.stop()
  await peer?.stop()
})

const at = (name: string): string => `${name}@simulator.valija.test`

type Stream = { data: MailEvent[]; next_cursor: string }

const readStream = async (call: CallApi, query: string): Promise<Stream> =>
  expectStatus(await call<Stream>('GET', `/events?${query}`), 200).json

/** Follows the stream from a cursor until `isDone`, and as long as there is more. */
async function follow(
  call: () => CallApi,
  limit: number,
  isDone: (seen: number) => boolean,
  from = '',
  query = '',
) {
  const seen: MailEvent[] = []
  let cursor = from
  for (const endMs = performance.now() + PATIENCE_MS; performance.now() < endMs; ) {
    const page = await readStream(
      call(),
      `limit=${limit}${query}${cursor && `&cursor=${encodeURIComponent(cursor)}`}`,
    )
    seen.push(...page.data)
    cursor = page.next_cursor
    expect(page.data.length).toBeLessThanOrEqual(limit)
    if (page.data.length > 0) continue
    if (isDone(seen.length)) return { seen, cursor }
    await delay(20) // a pace: whoever has read all asks again
  }
  throw new Error(`the stream gave ${seen.length} events and did not come to its end`)
}

const usual = async (): Promise<Set<string>> =>
  new Set(
    (
      await valija.sql<{ id: string }>(
        `SELECT 'evt_' || replace(id::text, '-', '') AS id FROM valija.events WHERE type <> 'message.attempted'`,
      )
    ).map(({ id }) => id),
  )

const timeline = (call: CallApi, { id }: { id: string }) => readAll<MailEvent>(call, `/messages/${id}/events`)

describe('GET /events', () => {
  /** Where the first test stopped to read. */
  let cursor: string
  let total: number

  test('skips nothing and doubles nothing while four clients post to two API processes', async () => {
    let isPosted = false
    const calls = [valija.api, (await valija.addApi()).call]
    const readers = [3, 50].map((limit, i) =>
      follow(
        () => calls[i]!,
        limit,
        (seen) => isPosted && seen >= total,
      ),
    )
    const posting = forEachOf(Array.from({ length: 160 }), 4, (_, i) =>
      sendMail(
        calls[i % 2]!,
        valija.mail({
          to: [at(`delivered+${i}`), at(i % 8 ? `bounced+${i}` : `complained+${i}`)],
          ...(i % 5 === 0 && { sandbox: true }),
        }),
      ),
    )
    const mails = await posting
    await forEachOf(mails, 4, ({ id }) => endOfMail(valija.api, id))
    // accepted and an end for each of two, and 20 complaints
    total = await until('all events', async () =>
      (await usual()).size === 160 * 4 + 20 ? 160 * 4 + 20 : null,
    )
    isPosted = true
    const expected = await usual()
    for (const { seen, cursor: last } of await Promise.all(readers)) {
      expect(seen.length).toBe(expected.size)
      expect(new Set(seen.map(({ id }) => id))).toEqual(expected)
      cursor = last
    }
  })

  test('goes on from a cursor after every API process was restarted, and gives each order again', async () => {
    await Promise.all(valija.apis.splice(0).map((api) => api.stop()))
    const { call } = await valija.addApi()
    const late = await sendMail(call, valija.mail({ to: at('delivered+late') }))
    await endOfMail(call, late.id)
    const { seen } = await follow(
      () => call,
      100,
      (count) => count >= 2,
      cursor,
    )
    expect(seen.map(({ type, data }) => [type, data.message_id])).toEqual([
      ['message.accepted', late.id],
      ['message.delivered', late.id],
    ])
    const all = (
      await follow(
        () => call,
        100,
        (count) => count >= total + 2,
      )
    ).seen.map(({ id }) => id)
    expect(
      (
        await follow(
          () => call,
          7,
          (count) => count >= total + 2,
        )
      ).seen.map(({ id }) => id),
    ).toEqual(all)
    const again = await valija.addApi()
    valija.api = again.call
  })

  test('gives a recipient’s events in order, numbered without a gap', async () => {
    const types =
      '&type=message.attempted,message.accepted,message.delivered&type=message.bounced,message.complained'
    const { seen } = await follow(
      () => valija.api,
      100,
      (count) => count >= total,
      '',
      types,
    )
    const numbers = new Map<string, number[]>()
    for (const { data } of seen)
      numbers.set(data.recipient_id, [...(numbers.get(data.recipient_id) ?? []), data.seq])
    expect(numbers.size).toBe(321)
    for (const list of numbers.values()) expect(list).toEqual(list.map((_, i) => i + 1))
  })

  test('gives only the types named, and only what happened after a time', async () => {
    const { seen } = await follow(
      () => valija.api,
      100,
      (count) => count >= 20,
      '',
      '&type=message.complained',
    )
    expect(seen).toHaveLength(20)
    expect(new Set(seen.map(({ type }) => type))).toEqual(new Set(['message.complained']))
    const fresh = await sendMail(valija.api, valija.mail({ to: at('delivered+fresh') }))
    await endOfMail(valija.api, fresh.id)
    const { seen: after } = await follow(
      () => valija.api,
      100,
      (count) => count >= 2,
      '',
      `&after=${fresh.created_at}`,
    )
    expect(after.map(({ data }) => data.message_id)).toEqual([fresh.id, fresh.id])
    expect(expectStatus(await valija.api('GET', '/events?type=message.nonsense'), 400).text).toContain(
      '"path":"type"',
    )
    expectStatus(await valija.api('GET', '/events?after=yesterday'), 400)
  })
})

/** The types of one recipient's timeline, and its last event. */
async function fateOf(mail: AcceptedMail, email: string) {
  const events = (await timeline(valija.api, mail)).filter(({ data }) => data.email === email)
  return { types: events.map(({ type }) => type.replace('message.', '')), last: events.at(-1)!, events }
}

describe('each fate of a recipient', () => {
  const KINDS = ['delivered', 'bounced', 'deferred', 'complained', 'suppressed', 'timeout']
  let mail: AcceptedMail
  let end: MailView
  const recipient = (name: string) => end.recipients.find(({ email }) => email === at(name))!

  beforeAll(async () => {
    const more = { to: KINDS.map(at), tags: ['a'], metadata: { order: '1' }, stream: 'bulk' }
    mail = await sendMail(valija.api, valija.mail(more))
    await until(
      'deferred while one is',
      async () => (await readMail(valija.api, mail.id)).status === 'deferred',
    )
    end = await endOfMail(valija.api, mail.id, TTL_MS + PATIENCE_MS)
    await until('a complaint', async () =>
      (await fateOf(mail, at('complained'))).types.includes('complained'),
    )
  }, 240_000)

  test('is told by events of the contract’s shape, and the message by their fold', async () => {
    expect(mail).toMatchObject({ simulated: true, status: 'queued' })
    expect(end).toMatchObject({
      simulated: true,
      status: 'partially_delivered',
      tags: ['a'],
      metadata: { order: '1' },
    })
    for (const { id, type, timestamp, data } of await timeline(valija.api, mail)) {
      expect(id).toMatch(/^evt_[0-9a-f]{32}$/)
      expect(timestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
      expect(type).toMatch(/^message\./)
      expect(data).toMatchObject({
        message_id: mail.id,
        domain: 'acme.test',
        tags: ['a'],
        metadata: { order: '1' },
        simulated: true,
      })
      expect(recipient(data.email.split('@')[0]!).id).toBe(data.recipient_id)
    }
  })

  test('delivered', async () => {
    const { types, last } = await fateOf(mail, at('delivered'))
    expect(types).toEqual(['accepted', 'delivered'])
    expect(last.data).toMatchObject({ reply: expect.stringMatching(/^250 /), enhanced_status: '2.0.0' })
    expect(recipient('delivered')).toMatchObject({
      status: 'delivered',
      attempts: 1,
      reason: null,
      next_attempt_at: null,
    })
    expect(recipient('delivered').delivered_at).toMatch(/Z$/)
  })

  test('bounced', async () => {
    const { types, last } = await fateOf(mail, at('bounced'))
    expect(types).toEqual(['accepted', 'bounced'])
    expect(last.data).toMatchObject({
      reason: 'mailbox_unknown',
      bounce_type: 'hard',
      enhanced_status: '5.1.1',
      reply: expect.stringMatching(/^550 5\.1\.1 /),
    })
    expect(recipient('bounced')).toMatchObject({
      status: 'bounced',
      reason: 'mailbox_unknown',
      enhanced_status: '5.1.1',
      delivered_at: null,
    })
  })

  test('deferred once, then delivered at the first retry', async () => {
    const { types, events } = await fateOf(mail, at('deferred'))
    expect(types).toEqual(['accepted', 'deferred', 'delivered'])
    const [, deferred] = events
    expect(deferred!.data.reply).toMatch(/^451 /)
    expect(Date.parse(String(deferred!.data.next_attempt_at))).toBeGreaterThan(
      Date.parse(deferred!.timestamp),
    )
    expect(recipient('deferred')).toMatchObject({ status: 'delivered', attempts: 2 })
  })

  test('complained a second after it was delivered, and still delivered', async () => {
    const { types, events } = await fateOf(mail, at('complained'))
    expect(types).toEqual(['accepted', 'delivered', 'complained'])
    const [, delivered, complained] = events.map(({ timestamp }) => Date.parse(timestamp))
    expect(complained! - delivered!).toBeGreaterThanOrEqual(1_000)
    expect(recipient('complained').status).toBe('delivered')
  })

  test('suppressed at accept, without an attempt', async () => {
    expect(mail.recipients.find(({ email }) => email === at('suppressed'))?.status).toBe('suppressed')
    const { types, last } = await fateOf(mail, at('suppressed'))
    expect(types).toEqual(['accepted', 'suppressed'])
    expect(last.data.reason).toBeTypeOf('string')
    expect(recipient('suppressed')).toMatchObject({ status: 'suppressed', attempts: 0 })
  })

  test('failed when its time is over, not before and not long after', async () => {
    const { types, last } = await fateOf(mail, at('timeout'))
    expect(types[0]).toBe('accepted')
    expect(types.at(-1)).toBe('failed')
    expect(types.slice(1, -1).length).toBeGreaterThan(0)
    expect(new Set(types.slice(1, -1))).toEqual(new Set(['deferred']))
    expect(last.data.reason).toBe('expired')
    const late = Date.parse(last.timestamp) - Date.parse(end.expires_at)
    expect(Date.parse(end.expires_at) - Date.parse(end.created_at)).toBe(TTL_MS)
    expect(late).toBeGreaterThanOrEqual(0)
    expect(late).toBeLessThan(5_000)
    expect(recipient('timeout')).toMatchObject({ status: 'failed', reason: 'expired', next_attempt_at: null })
  })

  test('is in the stream’s message.attempted and in the attempts, one for each try', async () => {
    type Attempt = { recipient_ids: string[]; number: number; outcome: string; reply: string | null }
    const attempts = await readAll<Attempt>(valija.api, `/messages/${mail.id}/attempts`)
    const of = (name: string) => attempts.filter(({ recipient_ids: [id] }) => id === recipient(name).id)
    expect(of('deferred').map(({ number, outcome }) => [number, outcome])).toEqual([
      [1, 'deferred'],
      [2, 'delivered'],
    ])
    for (const name of KINDS) expect(of(name), name).toHaveLength(recipient(name).attempts)
    const { seen } = await follow(
      () => valija.api,
      100,
      (count) => count >= attempts.length,
      '',
      `&type=message.attempted&after=${mail.created_at}`,
    )
    expect(seen.filter(({ data }) => data.message_id === mail.id)).toHaveLength(attempts.length)
  })

  test.each([
    [['delivered', 'delivered+2'], 'delivered'],
    [['suppressed', 'bounced'], 'bounced'],
    [['suppressed', 'suppressed+2'], 'suppressed'],
    [['suppressed', 'delivered'], 'partially_delivered'],
    [['bounced', 'deferred'], 'partially_delivered'],
  ])('%j make the message %s', async (names, status) => {
    const { id } = await sendMail(valija.api, valija.mail({ to: names.map(at) }))
    expect((await endOfMail(valija.api, id)).status).toBe(status)
  })
})

describe('a real conversation', () => {
  test('is told with the other side’s own words', async () => {
    let isFirst = true
    peer.script = {
      rcpt: ({ argument }) => {
        if (argument.includes('gone@')) return '550-5.1.1 no such user\n550 5.1.1 here'
        if (!argument.includes('slow@') || !isFirst) return undefined
        isFirst = false
        return '451 4.3.0 try again'
      },
    }
    const sent = await sendMail(
      valija.api,
      valija.mail({ to: ['ann@example.org', 'gone@example.org', 'slow@example.org'] }),
    )
    expect(sent.simulated).toBeUndefined()
    const end = await endOfMail(valija.api, sent.id)
    expect(end).toMatchObject({ status: 'partially_delivered', size_bytes: peer.mails[0]!.raw.length })
    expect((await fateOf(sent, 'slow@example.org')).types).toEqual(['accepted', 'deferred', 'delivered'])
    const { last } = await fateOf(sent, 'gone@example.org')
    expect(last).toMatchObject({
      type: 'message.bounced',
      data: { reason: 'mailbox_unknown', bounce_type: 'hard', enhanced_status: '5.1.1' },
    })
    expect(last.data.reply).toMatch(/no such user.*here/s)
    expect(last.data.simulated).toBeUndefined()
    expect(peer.mails.map(({ to }) => to[0]).sort()).toEqual(['ann@example.org', 'slow@example.org'])
  })

  test('is counted once at /stats, and simulated mail is not, however many workers count', async () => {
    type Stats = { data: Record<string, unknown>[]; as_of: string | null }
    const end = Date.now()
    const stats = await until('all is counted', async () => {
      const answer = expectStatus(await valija.api<Stats>('GET', '/stats?interval=total'), 200).json
      return answer.as_of !== null && Date.parse(answer.as_of) > end + 1_000 ? answer.data : null
    })
    expect(stats).toMatchObject([
      {
        accepted: 3,
        delivered: 2,
        deferred: 1,
        bounced: 1,
        complained: 0,
        bounced_by_reason: { mailbox_unknown: 1 },
        latency_ms: { p50: expect.any(Number) },
      },
    ])
  })

  test('is held with nobody for simulated mail', () => {
    const told = peer.transcript.filter((line) => /^\d+< RCPT/.test(line))
    expect(told).toHaveLength(4)
    expect(told.join()).not.toContain('simulator')
  })
})
