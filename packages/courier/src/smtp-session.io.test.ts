/** What only our own session does, or does in its own way; what every session must do is in the conformance suite. */
import { afterEach, describe, expect, test } from 'vitest'
import { createOpenSession } from './open-first.ts'
import { defaultFeatures } from './testing/scripted-peer.ts'
import { always, envelopeTo, expectReport, mail, queued, SessionBench } from './testing/session-bench.ts'

const bench = new SessionBench((guard) => createOpenSession({ guard }))
afterEach(() => bench.end())

const context = { route: 'mx' }

describe('pipelining', () => {
  test('the envelope is one write, a small mail another', async () => {
    const used = await bench.begin({})
    const before = bench.peer.writes
    expectReport(await used.send(envelopeTo('ann@example.com'), mail, always, context), queued)
    expect(bench.peer.writes - before).toBe(1)
  })

  test('RSET after a refusal goes together with the next envelope', async () => {
    let recipients = 0
    const used = await bench.begin({
      get rcpt() {
        recipients += 1
        return recipients === 1 ? '550 5.1.1 nobody' : '250 ok'
      },
      get data() {
        return recipients === 1 ? '503 5.5.1 no recipient' : '354 go'
      },
    })
    await used.send(envelopeTo('gone@example.com'), mail, always, context)
    const before = bench.peer.writes
    expectReport(await used.send(envelopeTo('ann@example.com'), mail, always, context), queued)
    expect(bench.peer.writes - before).toBe(1)
    expect(bench.peer.connections[0]?.slice(4)).toEqual([
      'RSET',
      expect.stringContaining('MAIL'),
      expect.stringContaining('ann@'),
      'DATA',
    ])
  })

  test('a refused RSET means that the mail was not begun', async () => {
    const used = await bench.begin({ rcpt: '550 5.1.1 nobody', data: '503 no', rset: '502 what?' })
    await used.send(envelopeTo('gone@example.com'), mail, always, context)
    const report = await used.send(envelopeTo('ann@example.com'), mail, always, context)
    expectReport(report, { phase: 'mail', failure: 'connection_lost' })
    expect(used.isUsable).toBe(false)
  })

  test('DATA taken after a refused MAIL, with the recipient taken too, gets no empty mail', async () => {
    const report = await bench.attempt({ mail: '550 5.7.1 not you' })
    expectReport(report, { phase: 'mail', reply: '550 5.7.1 not you' })
    expect(bench.session?.isUsable).toBe(false)
    await bench.session?.close()
    expect(bench.peer.mails).toEqual([])
  })

  test('each reply is judged for its own command', async () => {
    const report = await bench.attempt({
      rcpt: { raw: '450 4.2.1 grey\r\n554 5.5.1 no valid recipients\r\n' },
      data: { raw: '' },
    })
    expectReport(report, { phase: 'rcpt', reply: '450 4.2.1 grey' })
  })
})

describe('the opening', () => {
  test('a peer that refuses is left with QUIT', async () => {
    await bench.attempt({ greeting: '554 5.7.1 no' })
    await expect.poll(() => bench.peer.connections[0]).toEqual(['QUIT'])
  })

  test.each([
    ['localhost', null],
    ['localhost', '127.0.0.1'],
  ])(
    'a name with an address that does not answer is reached at its other one (%s from %s)',
    async (host, localAddress) => {
      // The peer listens on 127.0.0.1 alone, and localhost is ::1 too.
      expectReport(
        await bench.attempt({}, { target: { host, localAddress, isExemptFromGuard: true } }),
        queued,
      )
    },
  )
})

describe('what comes too early', () => {
  test.each([
    ['behind 354', { data: { raw: '354 go\r\n250 2.0.0 queued\r\n' } }, 'data'],
    ['half a reply behind 354', { data: { raw: '354 go\r\n250' } }, 'data'],
    ['behind the reply to MAIL', { features: [], mail: { raw: '250 ok\r\n250 ok\r\n' } }, 'mail'],
    ['half a reply behind the one to RCPT', { features: [], rcpt: { raw: '250 ok\r\n25' } }, 'rcpt'],
  ] as const)('is taken for no answer: %s', async (_, script, phase) => {
    const report = await bench.attempt({ ...script, features: 'features' in script ? [] : defaultFeatures })
    expectReport(report, { phase, failure: 'protocol' })
    expect(bench.peer.mails).toEqual([])
    expect(bench.session?.isUsable).toBe(false)
  })

  test('an acceptance in the middle of the body is none', async () => {
    const bytes = Buffer.alloc(16_000_000, 'x'.repeat(76).concat('\r\n'))
    const report = await bench.attempt(
      { inBody: { afterBytes: 100_000, act: '250 2.0.0 queued' } },
      { bytes },
    )
    expectReport(report, { phase: 'body', failure: 'protocol' })
  })

  test('octets to an idle session make it unusable', async () => {
    const used = await bench.begin({ dot: { raw: '250 ok\r\n2' } })
    await used.send(envelopeTo('ann@example.com'), mail, always, context)
    expect(used.isUsable).toBe(false)
    const report = await used.send(envelopeTo('ann@example.com'), mail, always, context)
    expectReport(report, { phase: 'mail', failure: 'connection_lost' })
  })
})

describe('the end of the body', () => {
  /** Asks are numbered from 1. */
  const lostAt = (ask: number) => {
    let asks = 0
    return { isStillMine: () => ++asks < ask }
  }

  test('is permitted when all but the last few octets are with the kernel', async () => {
    const bytes = Buffer.alloc(1_000_000, 'x'.repeat(76).concat('\r\n'))
    const report = await bench.attempt({}, { bytes, guard: lostAt(3) })
    expectReport(report, { phase: 'data', failure: 'lease_lost' })
    await expect.poll(() => bench.peer.connections).toHaveLength(1)
    expect(bench.peer.mails).toEqual([])
  })

  test('a small mail whose lease is lost leaves nothing of its body', async () => {
    await bench.attempt({}, { guard: lostAt(3) })
    await bench.session?.close()
    expect(bench.peer.bodyBytes).toBe(0)
  })

  test('a session that is closed in the same moment reports a mail that went out as uncertain', async () => {
    const used = await bench.begin({ dot: 'SILENCE' })
    const sending = used.send(envelopeTo('ann@example.com'), mail, always, context)
    await expect.poll(() => bench.peer.mails).toHaveLength(1)
    await used.close()
    expectReport(await sending, { phase: 'body', failure: 'connection_lost', isUncertain: true })
  })
})

describe('chunks', () => {
  const features = [...defaultFeatures, 'CHUNKING']
  const lines = Array.from(
    { length: 40_000 },
    (_, i) => `${i % 5 === 0 ? '.' : ''}line ${i} ${'x'.repeat(60)}\r\n`,
  )
  const large = Buffer.from(`Subject: large\r\n\r\n${lines.join('')}`)

  test('carry a large mail octet by octet, without dot-stuffing', async () => {
    expectReport(await bench.attempt({ features }, { bytes: large }), queued)
    expect(bench.peer.mails[0]?.body === large.toString()).toBe(true)
    const commands = bench.peer.connections[0]?.slice(3)
    const rest = large.length - 2 * 1024 * 1024
    expect(commands).toEqual(['BDAT 1048576', 'BDAT 1048576', `BDAT ${rest} LAST`])
  })

  test('are no matter for smaller mails', async () => {
    await bench.attempt({ features }, { bytes: large.subarray(0, 1_000_000) })
    expect(bench.peer.connections[0]?.at(-1)).toBe('DATA')
  })

  test('a refusal of the first one saves the rest, and the session goes on', async () => {
    const used = await bench.begin({ features, bdat: '552 5.3.4 too big' })
    const report = await used.send(envelopeTo('ann@example.com'), large, always, context)
    expectReport(report, { phase: 'body', reply: '552 5.3.4 too big' })
    expect(bench.peer.bodyBytes).toBe(1_048_576)
    expectReport(await used.send(envelopeTo('bob@example.com'), mail, always, context), queued)
    expect(bench.peer.connections[0]).toContain('RSET')
  })

  test('no chunk is sent to a refused recipient', async () => {
    const report = await bench.attempt({ features, rcpt: '550 5.1.1 nobody' }, { bytes: large })
    expectReport(report, { phase: 'rcpt', reply: '550 5.1.1 nobody' })
    expect(bench.peer.bodyBytes).toBe(0)
  })

  test('the last one is the final dot: the lease is asked for before it, and after it the end is uncertain', async () => {
    let asks = 0
    const guard = { isStillMine: () => ++asks < 3 }
    expectReport(await bench.attempt({ features }, { bytes: large, guard }), {
      phase: 'data',
      failure: 'lease_lost',
    })
    expect(bench.peer.mails).toEqual([])
    const lost = await bench.attempt({ features, dot: 'CLOSE' }, { bytes: large })
    expectReport(lost, { phase: 'body', failure: 'connection_lost', isUncertain: true })
    const before = await bench.attempt({ features, bdat: 'CLOSE' }, { bytes: large })
    expectReport(before, { phase: 'body', failure: 'connection_lost' })
  })

  test('silence to one ends on time', async () => {
    const short = { bodyMs: 200, bodyMsPerMegabyte: 0 }
    const report = await bench.attempt({ features, bdat: 'SILENCE' }, { bytes: large, deadlines: short })
    expectReport(report, { phase: 'body', failure: 'timeout' })
  })
})
