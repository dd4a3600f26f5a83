/**
 * Receivers that put off, refuse, cut, or talk nonsense (faults W4 to W6, W9, W11, W12): what each recipient is told, what is tried
 * again, and that nothing arrives twice but where the final dot was out already.
 *
 * All mails of a table are under way at the same time, each to a site of its own that misbehaves once.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Fate, startWorld, type World } from './support/hostile-world.ts'
import { readEvents } from './support/message-life.ts'
import { drop, type Reaction, raw, type Script, type SmtpPeer, vanish } from './support/smtp-peer.ts'
import { until } from './support/until.ts'

let world: World

/** A site that misbehaves, and the mail to it. */
type Trial = { domain: string; peer: SmtpPeer; id: string }

const trials = new Map<string, Promise<Trial>>()
const begun: (() => void)[] = []

/** Declared where it is judged, begun with all others as soon as there is a world. */
function trial(domain: string, script: (peer: () => SmtpPeer) => Script, fields = {}): () => Promise<Trial> {
  begun.push(() => {
    const begin = async () => {
      const peer = await world.internet.site(domain)
      peer.script = script(() => peer)
      return { domain, peer, id: await world.post(`ann@${domain}`, fields) }
    }
    trials.set(domain, begin())
  })
  return async () => trials.get(domain)!
}

beforeAll(async () => {
  world = await startWorld()
  for (const begin of begun) begin()
  await Promise.all(trials.values())
})
afterAll(() => world?.stop())

/** The first attempt failed as told, the second delivered, and the mail is there once. */
function expectSecondTry({ recipient, attempts, events }: Fate, peer: SmtpPeer, first: object): void {
  expect(recipient).toMatchObject({ status: 'delivered', reason: null, attempts: 2, next_attempt_at: null })
  expect(attempts[0]).toMatchObject({ number: 1, outcome: 'deferred', uncertain: false, ...first })
  expect(attempts[1]).toMatchObject({ number: 2, outcome: 'delivered', phase: 'body', uncertain: false })
  expect(events).toEqual(['accepted', 'deferred', 'delivered'])
  expect(peer.mails).toHaveLength(1)
}

describe('W4', () => {
  const rows: [where: string, phase: string, script: Script, reply: string][] = [
    ['connect', 'greeting', { connect: [drop('421 4.3.2 not now')] }, '421 4.3.2 not now'],
    ['ehlo', 'ehlo', { ehlo: ['451 4.3.0 later'], helo: ['451 4.3.0 later'] }, '451 4.3.0 later'],
    ['mail', 'mail', { mail: ['451 4.3.0 later'] }, '451 4.3.0 later'],
    ['rcpt', 'rcpt', { rcpt: ['450 4.2.0 later'], data: ['503 5.5.1 no recipient'] }, '450 4.2.0 later'],
    ['data', 'data', { data: ['451 4.3.0 later'] }, '451 4.3.0 later'],
    ['body', 'body', { body: ['451 4.3.0 later'] }, '451 4.3.0 later'],
  ]
  for (const [where, phase, script, reply] of rows) {
    const begin = trial(`w4-${where}.test`, () => script)
    test(`W4: a 4xx at ${where} defers, the next try delivers once, and the reply is on record`, async () => {
      const { id, peer } = await begin()
      const fate = await world.fateOf(id)
      expectSecondTry(fate, peer, { phase, reply })
      const deferred = (await readEvents(world.valija.api, id))[1]!
      expect(deferred.data).toMatchObject({ reply, attempt: 1, next_attempt_at: expect.stringMatching(/Z$/) })
    })
  }

  const begin421 = trial('w4-421.test', () => {
    let isDone = false
    return {
      rcpt: ({ argument }) => {
        if (isDone || !argument.includes('ann@')) return undefined
        isDone = true
        return drop('421 4.3.2 this connection only')
      },
    }
  })
  test('W4: a 421 ends its own connection and no other: the mail beside it arrives at its first try', async () => {
    const { id, peer, domain } = await begin421()
    const bob = await world.send(`bob@${domain}`)
    expect(bob).toMatchObject({ recipient: { status: 'delivered', attempts: 1 } })
    const ann = await world.fateOf(id)
    expect(ann.recipient.status).toBe('delivered')
    expect(ann.attempts[0]).toMatchObject({ outcome: 'deferred', reply: '421 4.3.2 this connection only' })
    expect(peer.mails.map(({ to }) => to[0]).sort()).toEqual([`ann@${domain}`, `bob@${domain}`])
  })

  const beginGrey = trial('w4-grey.test', () => ({
    rcpt: ['450 4.2.0 Greylisted, please try again in 5 minutes'],
    data: ['503 5.5.1 no recipient'],
  }))
  test('W4: greylisting waits 5 minutes, and comes back with the same address and return path', async () => {
    const { id, peer, domain } = await beginGrey()
    await world.tried(id)
    const deferred = await world.recipientOf(id)
    expect(deferred).toMatchObject({ status: 'deferred', reason: 'greylisted' })
    const waitMs = Date.parse(deferred.next_attempt_at!) - Date.now()
    expect(waitMs).toBeGreaterThan(4 * 60_000)
    expect(waitMs).toBeLessThan(6 * 60_000)
    await world.hasten(id)
    expectSecondTry(await world.fateOf(id), peer, { phase: 'rcpt', reason: 'greylisted' })
    const said = peer.transcript.filter((line) => /< (?:MAIL|RCPT)/.test(line)).map((line) => line.slice(3))
    expect(said).toHaveLength(4)
    expect(said.slice(2)).toEqual(said.slice(0, 2))
    expect(said[1]).toContain(`ann@${domain}`)
  })
})

describe('W5', () => {
  test('W5: a 5xx at RCPT is about that recipient only, and only an unknown mailbox is suppressed', async () => {
    const refusals: Record<string, string> = {
      'gone@w5.test': '550 5.1.1 no such user here',
      'barred@w5.test': '550 5.7.1 you may not write to this mailbox',
    }
    const peer = await world.internet.site('w5.test', {
      script: { rcpt: ({ argument }) => refusals[/<(.*)>/.exec(argument)?.[1] ?? ''] },
    })
    const to = ['ann@w5.test', 'gone@w5.test', 'bob@w5.test', 'barred@w5.test']
    const id = await world.post('', { to })
    const { message } = await world.fateOf(id)
    expect(message.status).toBe('partially_delivered')
    expect(
      message.recipients.map(({ email, status, reason, attempts }) => [email, status, reason, attempts]),
    ).toEqual([
      ['ann@w5.test', 'delivered', null, 1],
      ['gone@w5.test', 'bounced', 'mailbox_unknown', 1],
      ['bob@w5.test', 'delivered', null, 1],
      ['barred@w5.test', 'bounced', 'policy', 1],
    ])
    expect(peer.mails.map((mail) => mail.to[0]).sort()).toEqual(['ann@w5.test', 'bob@w5.test'])
    expect(await Promise.all(to.map(world.isSuppressed))).toEqual([false, true, false, false])
    const events = await readEvents(world.valija.api, id)
    const bounceOf = (email: string) =>
      events.find(({ type, data }) => type === 'message.bounced' && data.email === email)?.data
    expect(bounceOf('gone@w5.test')).toMatchObject({ bounce_type: 'hard', enhanced_status: '5.1.1' })
    expect(bounceOf('barred@w5.test')).toMatchObject({ bounce_type: 'block', enhanced_status: '5.7.1' })
  })
})

describe('W6', () => {
  const early: [where: string, script: Script, reply: string][] = [
    ['the greeting', { connect: '554 5.7.1 go away' }, '554 5.7.1 go away'],
    ['EHLO', { ehlo: '550 5.7.1 go away', helo: '550 5.7.1 go away' }, '550 5.7.1 go away'],
  ]
  test.each(early)(
    'W6: a 5xx at %s blames the host: the next exchanger has the mail in the same attempt',
    async (where, script, reply) => {
      const domain = `w6-next-${where === 'EHLO' ? 'ehlo' : 'greeting'}.test`
      const best = await world.internet.exchanger(`mx1.${domain}`, { script })
      const next = await world.internet.exchanger(`mx2.${domain}`)
      world.internet.dns.set(domain, 'MX', [`10 mx1.${domain}`, `20 mx2.${domain}`])
      const { recipient, attempts } = await world.send(`ann@${domain}`)
      expect(recipient).toMatchObject({ status: 'delivered', attempts: 1 })
      expect(attempts[0]).toMatchObject({ host: `mx2.${domain}`, outcome: 'delivered' })
      expect(attempts[0]!.transcript[0]!.line).toContain(reply)
      expect([best.mails.length, next.mails.length]).toEqual([0, 1])
    },
  )

  test.each(early)(
    'W6: a 5xx at %s of every exchanger defers, and suppresses nobody',
    async (where, script, reply) => {
      const domain = `w6-all-${where === 'EHLO' ? 'ehlo' : 'greeting'}.test`
      const peers = [
        await world.internet.exchanger(`mx1.${domain}`, { script }),
        await world.internet.exchanger(`mx2.${domain}`, { script }),
      ]
      world.internet.dns.set(domain, 'MX', [`10 mx1.${domain}`, `20 mx2.${domain}`])
      const id = await world.post(`ann@${domain}`)
      const [first] = await world.tried(id)
      expect(first).toMatchObject({ outcome: 'deferred', reply, uncertain: false })
      expect(peers.map((peer) => peer.sessions() > 0)).toEqual([true, true])
      for (const peer of peers) peer.script = {}
      expect((await world.fateOf(id)).recipient.status).toBe('delivered')
      expect(await world.isSuppressed(`ann@${domain}`)).toBe(false)
    },
  )

  test('W6: a 5xx at MAIL is for good, no other exchanger is asked, and it is a block: nobody is suppressed', async () => {
    const script = { mail: '550 5.7.1 we take no mail from this sender', data: '503 5.5.1 no' }
    const best = await world.internet.exchanger('mx1.w6-mail.test', { script })
    const next = await world.internet.exchanger('mx2.w6-mail.test')
    world.internet.dns.set('w6-mail.test', 'MX', ['10 mx1.w6-mail.test', '20 mx2.w6-mail.test'])
    const { recipient, attempts, message } = await world.send('ann@w6-mail.test')
    expect(recipient).toMatchObject({ status: 'bounced', reason: 'policy', attempts: 1 })
    expect(attempts[0]).toMatchObject({ phase: 'mail', host: 'mx1.w6-mail.test', outcome: 'bounced' })
    const [, bounced] = await readEvents(world.valija.api, message.id)
    expect(bounced!.data).toMatchObject({ bounce_type: 'block' })
    expect(await world.isSuppressed('ann@w6-mail.test')).toBe(false)
    expect([best.mails, next.sessions()]).toEqual([[], 0])
  })
})

describe('W9', () => {
  const big = `${'x'.repeat(76)}\n`.repeat(160_000)
  const onFirst = (peer: () => SmtpPeer, reaction: Reaction) => () =>
    peer().sessions() === 1 ? reaction : undefined
  for (const cut of ['reset', 'close'] as const) {
    const how = cut === 'reset' ? 'RST' : 'FIN'
    const places: [where: string, script: (peer: () => SmtpPeer) => Script][] = [
      ['connect', (peer) => ({ connect: onFirst(peer, raw('', cut)) })],
      ['banner', (peer) => ({ connect: onFirst(peer, raw('220 mx.exam', cut)) })],
      ['ehlo', (peer) => ({ ehlo: onFirst(peer, raw('250-mx', cut)) })],
      ['mail', (peer) => ({ mail: onFirst(peer, raw('', cut)) })],
      ['rcpt', (peer) => ({ rcpt: onFirst(peer, raw('', cut)) })],
      ['data', (peer) => ({ data: onFirst(peer, raw('35', cut)) })],
      [
        'mid-body',
        (peer) => ({
          bodyCut: cut,
          get dropInBodyAfterBytes() {
            return peer().sessions() === 1 ? 100_000 : undefined
          },
        }),
      ],
    ]
    for (const [where, script] of places) {
      const fields = where === 'mid-body' ? { text: big } : {}
      const begin = trial(`w9-${where}-${cut}.test`, script, fields)
      test(`W9: ${how} at ${where} defers as network, surely not sent, and the next try delivers once`, async () => {
        const { id, peer } = await begin()
        const reason = 'network'
        const phase = expect.stringMatching(phasesOf(where))
        expectSecondTry(await world.fateOf(id), peer, { phase, reason })
      })
    }

    const beginDot = trial(`w9-dot-${cut}.test`, (peer) => ({ body: onFirst(peer, vanish(cut)) }))
    test(`W9: ${how} after the final dot is uncertain: sent again, the same bytes with the same Message-ID`, async () => {
      const { id, peer } = await beginDot()
      const { recipient, attempts, message, events } = await world.fateOf(id)
      expect(recipient).toMatchObject({ status: 'delivered', attempts: 2 })
      expect(attempts[0]).toMatchObject({
        outcome: 'deferred',
        phase: 'body',
        reason: 'network',
        uncertain: true,
      })
      expect(attempts[1]).toMatchObject({ outcome: 'delivered', uncertain: false })
      expect(events).toEqual(['accepted', 'deferred', 'delivered'])
      const [first, second, ...more] = peer.mails
      expect(more).toEqual([])
      expect(second!.raw.equals(first!.raw)).toBe(true)
      expect([second!.from, second!.to]).toEqual([first!.from, first!.to])
      expect(first!.text).toContain(message.rfc_message_id)
    })
  }

  /** MAIL, RCPT and DATA are one flight (PIPELINING), and a reset takes with it the replies that were not read yet. */
  function phasesOf(where: string): RegExp {
    // A reset can be there before we have looked at the connection at all.
    if (where === 'connect' || where === 'banner') return /^(?:connect|greeting)$/
    if (where === 'mid-body') return /^body$/
    if (where === 'rcpt') return /^(?:mail|rcpt)$/
    if (where === 'data') return /^(?:mail|rcpt|data)$/
    return new RegExp(`^${where}$`)
  }
})

describe('W11', () => {
  const garbage: [where: string, phase: string, script: Script][] = [
    ['connect', 'greeting', { connect: ['hello there'] }],
    ['ehlo', 'ehlo', { ehlo: [raw('\x00\xff\x80\r\n')] }],
    ['mail', 'mail', { mail: ['999 what'] }],
    ['rcpt', 'rcpt', { rcpt: ['25O ok'] }],
    ['data', 'data', { data: ['go ahead'] }],
  ]
  for (const [where, phase, script] of garbage) {
    const begin = trial(`w11-${where}.test`, () => script)
    test(`W11: garbage at ${where} drops the connection and defers as protocol`, async () => {
      const { id, peer } = await begin()
      expectSecondTry(await world.fateOf(id), peer, { phase, reason: 'protocol' })
      expect(peer.sessions()).toBe(2)
    })
  }

  const beginDot = trial('w11-dot.test', () => ({ body: [raw('Danke schön, taken\r\n')] }))
  test('W11: garbage after the final dot is uncertain, and deferred', async () => {
    const { id, peer } = await beginDot()
    const fate = await world.fateOf(id)
    expectSecondTry(fate, peer, { phase: 'body', reason: 'protocol', uncertain: true })
  })

  const begin250 = trial('w11-250.test', () => ({ data: [raw('250 2.0.0 ok, queued\r\n')] }))
  test('W11: 250 to DATA is no success: no octet of the mail is sent, and it is deferred', async () => {
    const { id, peer } = await begin250()
    expectSecondTry(await world.fateOf(id), peer, { phase: 'data', reason: 'protocol' })
  })

  const beginText = trial('w11-text.test', () => ({
    rcpt: raw('550 5.1.1 \xdcnbekannt\x00 \x1b[31m\xff\r\n'),
    data: '503 5.5.1 no recipient',
  }))
  test('W11: a reply in latin-1, with NUL and escapes, is a reply: it is kept, and told as text', async () => {
    const { id } = await beginText()
    const { recipient, attempts } = await world.fateOf(id)
    expect(recipient).toMatchObject({
      status: 'bounced',
      reason: 'mailbox_unknown',
      enhanced_status: '5.1.1',
    })
    expect(recipient.reply).toContain('\u00dcnbekannt')
    expect(recipient.reply).not.toContain('\x00')
    expect(attempts).toHaveLength(1)
  })

  test('W11: a reply too many after the dot shifts no other mail’s: each has its own, on a connection of its own', async () => {
    const peer = await world.internet.site('w11-extra.test')
    peer.script = {
      body: ({ to }) =>
        to[0]?.startsWith('first@') ? raw('250 2.0.0 first taken\r\n550 5.1.1 and another\r\n') : undefined,
    }
    const first = await world.send('first@w11-extra.test')
    const second = await world.send('second@w11-extra.test')
    expect(first.recipient).toMatchObject({ status: 'delivered', reply: '250 2.0.0 first taken' })
    expect(second.recipient).toMatchObject({ status: 'delivered', attempts: 1, reply: '250 2.0.0 taken' })
    expect(peer.mails.map(({ session, to }) => [session, to[0]])).toEqual([
      [1, 'first@w11-extra.test'],
      [2, 'second@w11-extra.test'],
    ])
  })

  test('W11: DATA taken after a refused recipient gets an empty mail to nobody, never the body', async () => {
    const peer = await world.internet.site('w11-lenient.test')
    peer.script = { rcpt: '550 5.1.1 nobody', data: '354 all the same', body: '554 5.5.1 no recipients' }
    const { recipient } = await world.send('ann@w11-lenient.test', { text: 'a secret' })
    expect(recipient).toMatchObject({ status: 'bounced', reason: 'mailbox_unknown' })
    expect(peer.mails).toEqual([])
    await until('the dot', () => peer.transcript.some((line) => line.includes('554 5.5.1 no recipients')))
    expect(peer.transcript.filter((line) => line.includes('< ')).join('\n')).not.toContain('secret')
  })
})

describe('W12', () => {
  test('W12: where the codes of a reply’s lines differ the last one decides, and the connection ends', async () => {
    const good = await world.internet.site('w12-good.test')
    const bad = await world.internet.site('w12-bad.test')
    good.script = {
      body: ({ to }) => (to[0]?.startsWith('ann@') ? raw('550-no\r\n250 2.0.0 yes\r\n') : undefined),
    }
    bad.script = { body: raw('250-2.0.0 yes\r\n550 5.7.1 No, this is spam\r\n') }
    expect((await world.send('ann@w12-good.test')).recipient).toMatchObject({
      status: 'delivered',
      reply: '250 2.0.0 no yes',
    })
    expect((await world.send('bob@w12-good.test')).recipient.status).toBe('delivered')
    expect(good.transcript.filter((line) => line.includes('< MAIL')).map((line) => line[0])).toEqual([
      '1',
      '2',
    ])
    expect((await world.send('ann@w12-bad.test')).recipient).toMatchObject({ status: 'bounced', attempts: 1 })
  })

  test('W12: codes without a word, and lines that end in LF, are replies', async () => {
    const script = {
      connect: raw('220\n'),
      ehlo: raw('250-mx\n250\n'),
      mail: '250',
      rcpt: '250',
      data: '354',
      body: '250',
    }
    const peer = await world.internet.site('w12-bare.test', { script })
    const { recipient, attempts } = await world.send('ann@w12-bare.test')
    expect(recipient).toMatchObject({ status: 'delivered', attempts: 1, reply: '250' })
    expect(attempts[0]).toMatchObject({ outcome: 'delivered' })
    expect(peer.mails).toHaveLength(1)
  })
})
