/** Session conformance: lost connections, deadlines, and peers that do not speak SMTP. */
import type { Phase } from '@valija/core'
import { describe, expect, test } from 'vitest'
import { createNetworkGuard } from '../network-guard.ts'
import type { PhaseDeadlines } from '../session.ts'
import { defaultFeatures, type PeerScript, startScriptedPeer } from './scripted-peer.ts'
import { deadlines, expectReport, type SessionBench } from './session-bench.ts'

export function describeBreaks(bench: SessionBench): void {
  describe('connections that break', () => {
    test.each<[keyof PeerScript & string, Phase, boolean]>([
      ['greeting', 'greeting', false],
      ['ehlo', 'ehlo', false],
      ['mail', 'mail', false],
      ['rcpt', 'rcpt', false],
      ['data', 'data', false],
      ['dot', 'body', true],
    ])('a connection lost at %s is blamed on %s, uncertain: %s', async (step, phase, isUncertain) => {
      for (const act of ['CLOSE', 'RESET'] as const) {
        const report = await bench.attempt({ features: [], [step]: act })
        expectReport(report, { phase, failure: 'connection_lost', isUncertain })
        expect(bench.session?.isUsable ?? false).toBe(false)
      }
    })

    test('a connection lost in the middle of a large body is not uncertain', async () => {
      const bytes = Buffer.from(`Subject: big\r\n\r\n${'x'.repeat(76).concat('\r\n').repeat(200_000)}`)
      for (const act of ['CLOSE', 'RESET'] as const) {
        const report = await bench.attempt({ inBody: { afterBytes: 100_000, act } }, { bytes })
        expectReport(report, { phase: 'body', failure: 'connection_lost' })
      }
    })

    test('a refused connection and a host that cannot be looked up', async () => {
      bench.peer = await startScriptedPeer({})
      const refused = await bench.open(bench.targetOf({ port: 1 }), deadlines)
      expect(refused).toMatchObject({
        ok: false,
        report: { phase: 'connect', failure: 'connection_refused' },
      })
      const unknown = await bench.open(bench.targetOf({ host: 'does-not-exist.invalid' }), deadlines)
      expect(unknown).toMatchObject({ ok: false, report: { phase: 'dns', failure: 'name_unavailable' } })
    })

    test('a private address is refused unless the target is exempt', async () => {
      bench.peer = await startScriptedPeer({})
      const strict = bench.createOpen(createNetworkGuard([]))
      for (const overrides of [
        {},
        { host: 'localhost' },
        { host: 'mx.example', ip: '127.0.0.1' },
        { ip: '::ffff:127.0.0.1' },
      ]) {
        const opened = await strict(bench.targetOf(overrides), deadlines)
        expect(opened).toMatchObject({ ok: false, report: { phase: 'connect', failure: 'address_refused' } })
      }
      expect(bench.peer.connections).toHaveLength(0)
      const opened = await strict(bench.targetOf({ isExemptFromGuard: true }), deadlines)
      expect(opened.ok).toBe(true)
      if (opened.ok) await opened.session.close()
    })
  })
}

export function describeDeadlines(bench: SessionBench): void {
  describe('deadlines are total', () => {
    const stepDeadlines: [keyof PeerScript & string, Phase, Partial<PhaseDeadlines>, boolean][] = [
      ['greeting', 'greeting', { greetingMs: 150 }, false],
      ['ehlo', 'ehlo', { ehloMs: 150 }, false],
      ['mail', 'mail', { mailMs: 150 }, false],
      ['rcpt', 'rcpt', { rcptMs: 150 }, false],
      ['data', 'data', { dataMs: 150 }, false],
      ['dot', 'body', { dotMs: 150 }, true],
    ]
    test.each(stepDeadlines)('silence at %s ends as a time-out', async (step, phase, short, isUncertain) => {
      const report = await bench.attempt({ features: [], [step]: 'SILENCE' }, { deadlines: short })
      expectReport(report, { phase, failure: 'timeout', isUncertain })
      expect(report.durationMs).toBeLessThan(2_000)
    })

    test.each(stepDeadlines)(
      'a drip of one byte at a time at %s ends on time',
      async (step, phase, short, isUncertain) => {
        const drip = { drip: `250-${'x'.repeat(200)}\r\n250 ok\r\n`, everyMs: 20 }
        const report = await bench.attempt({ features: [], [step]: drip }, { deadlines: short })
        expectReport(report, { phase, failure: 'timeout', isUncertain })
        expect(report.durationMs).toBeLessThan(2_000)
      },
    )

    test('a peer that reads no body ends as a time-out that is not uncertain', async () => {
      const bytes = Buffer.alloc(16_000_000, 'x'.repeat(76).concat('\r\n'))
      const report = await bench.attempt(
        { inBody: { afterBytes: 1, act: 'SILENCE' }, isDeaf: true },
        { bytes, deadlines: { bodyMs: 200, bodyMsPerMegabyte: 0 } },
      )
      expectReport(report, { phase: 'body', failure: 'timeout' })
    })
  })
}

export function describeNonsense(bench: SessionBench): void {
  describe('peers that do not speak SMTP', () => {
    test('250 instead of 354 is no go-ahead', async () => {
      for (const features of [defaultFeatures, []]) {
        const report = await bench.attempt({ features, data: '250 ok' })
        expectReport(report, { phase: 'data', failure: 'protocol' })
        expect(bench.session?.isUsable).toBe(false)
        expect(bench.peer.mails).toHaveLength(0)
      }
    })

    test.each<[keyof PeerScript & string, Phase, boolean]>([
      ['greeting', 'greeting', false],
      ['ehlo', 'ehlo', false],
      ['mail', 'mail', false],
      ['rcpt', 'rcpt', false],
      ['data', 'data', false],
      ['dot', 'body', true],
    ])('garbage at %s drops the connection', async (step, phase, isUncertain) => {
      for (const garbage of ['hello there', '\x00\xff\x80', '999 what', '25O ok']) {
        const report = await bench.attempt({ features: [], [step]: garbage })
        expectReport(report, { phase, failure: 'protocol', isUncertain })
      }
    })

    test('a reply without end is cut off', async () => {
      for (const raw of [`250 ${'x'.repeat(200_000)}`, '250-x\r\n'.repeat(40_000)]) {
        expectReport(await bench.attempt({ mail: { raw } }), { phase: 'mail', failure: 'protocol' })
      }
    })

    test('a long but complete reply is taken, and bounded in the report', async () => {
      const line = 'x'.repeat(2_000)
      const report = await bench.attempt({ rcpt: `550-5.1.1 ${line}\r\n550 5.1.1 ${line}` })
      expect(report.reply).toMatchObject({ code: 550, enhanced: '5.1.1' })
      expect(report.reply?.text).toHaveLength(1_000)
      expect(Math.max(...report.transcript.map(({ line: text }) => text.length))).toBe(500)
    })

    test('replies of several lines, with bare LF, and as a lone code are replies', async () => {
      const report = await bench.attempt({
        features: [],
        mail: { raw: '250-one\n250 two\n' },
        rcpt: '250-a\r\n250-b\r\n250 c',
        data: '354',
        dot: '250-2.0.0 first\r\n250 2.0.0 second',
      })
      expectReport(report, { phase: 'body', reply: '250 2.0.0 first second' })
    })

    test('where the lines disagree the last one decides, and the session ends', async () => {
      const failed = await bench.attempt({ dot: '250-fine\r\n550 5.7.1 No' })
      expectReport(failed, { phase: 'body', reply: '550 5.7.1 fine No' })
      expect(bench.session?.isUsable).toBe(false)
      const taken = await bench.attempt({ dot: '550-no\r\n250 2.0.0 Yes' })
      expectReport(taken, { phase: 'body', reply: '250 2.0.0 no Yes' })
      const refused = await bench.attempt({ features: [], rcpt: '250-fine\r\n550 5.1.1 No' })
      expectReport(refused, { phase: 'rcpt', reply: '550 5.1.1 fine No' })
    })

    test('a reply too many ends the session before it can be taken for an answer', async () => {
      const report = await bench.attempt({ dot: '250 2.0.0 ok\r\n250 2.0.0 and again' })
      expectReport(report, { phase: 'body', reply: '250 2.0.0 ok' })
      expect(bench.session?.isUsable).toBe(false)
    })

    test('a refusal in the middle of the body decides and ends the session', async () => {
      const bytes = Buffer.alloc(16_000_000, 'x'.repeat(76).concat('\r\n'))
      const report = await bench.attempt(
        { inBody: { afterBytes: 100_000, act: '552 5.3.4 too big' } },
        { bytes },
      )
      expectReport(report, { phase: 'body', reply: '552 5.3.4 too big' })
      expect(bench.session?.isUsable).toBe(false)
    })
  })
}
