/**
 * Faults of a receiver that take minutes end to end (rows W3, W7, W8 and W10 of the fault list), with deadlines of a moment in the
 * place of the real ones: what a session reports of them, and that nothing outlives its deadline.
 */
import { createJudge, loadReplyRules } from '@valija/core'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createNetworkGuard } from './network-guard.ts'
import { createOpenFirst, createOpenSession } from './open-first.ts'
import { defaultDeadlines, type PhaseDeadlines } from './session.ts'
import { type PeerScript, type StepName, startScriptedPeer } from './testing/scripted-peer.ts'
import { deadlines, expectReport, makeCertificate, SessionBench } from './testing/session-bench.ts'

const judge = createJudge(loadReplyRules())
const ourOwn = new SessionBench((guard) => createOpenSession({ guard }))
const nodemailer = new SessionBench((guard) => createOpenSession({ guard, isNodemailerOnly: true }))
const benches = [
  ['our own session', ourOwn],
  ['nodemailer', nodemailer],
] as const

afterEach(async () => {
  await ourOwn.end()
  await nodemailer.end()
})

let certificate: { key: string; cert: string }
beforeAll(async () => {
  certificate = await makeCertificate('peer.example')
})

describe.each(benches)('with %s', (_, bench) => {
  test('W3: silence after the final dot is waited for 10 minutes, and is then uncertain and deferred', async () => {
    // RFC 5321 §4.5.3.2.6: giving up earlier makes duplicates.
    expect(defaultDeadlines.dotMs).toBe(600_000)
    const report = await bench.attempt({ dot: 'SILENCE' }, { deadlines: { dotMs: 150 } })
    expectReport(report, { phase: 'body', failure: 'timeout', isUncertain: true })
    expect(judge(report)).toMatchObject({ event: 'defer', reason: 'network' })
    expect(bench.peer.mails).toHaveLength(1)
    expect(bench.session?.isUsable).toBe(false)
  })

  test('W3: an answer just before the end of the wait is the answer', async () => {
    const drip = { drip: '250 2.0.0 ok\r\n', everyMs: 20 }
    const report = await bench.attempt({ dot: drip }, { deadlines: { dotMs: 5_000 } })
    expectReport(report, { phase: 'body', reply: '250 2.0.0 ok' })
  })

  /** Every step at which a peer can say nothing, with the one deadline that must end it. */
  const steps: [StepName, keyof PhaseDeadlines, uncertain: boolean][] = [
    ['greeting', 'greetingMs', false],
    ['ehlo', 'ehloMs', false],
    ['starttls', 'tlsMs', false],
    ['mail', 'mailMs', false],
    ['rcpt', 'rcptMs', false],
    ['data', 'dataMs', false],
    ['dot', 'dotMs', true],
  ]
  /** Without PIPELINING: each step waits for its own answer. */
  const scriptOf = (step: StepName, act: PeerScript[StepName]): PeerScript =>
    step === 'starttls'
      ? { features: ['STARTTLS'], tls: certificate, [step]: act }
      : { features: [], [step]: act }
  /** Opportunistic TLS would go on in plaintext, in time as well. */
  const target = (step: StepName) => (step === 'starttls' ? { tls: 'encrypted' as const } : {})

  test.each(steps)(
    'W7: a peer that never answers at %s holds its connection for as long as that step may take, and no longer',
    async (step, deadline, isUncertain) => {
      expect(defaultDeadlines[deadline]).toBeGreaterThanOrEqual(30_000)
      const report = await bench.attempt(scriptOf(step, 'SILENCE'), {
        target: target(step),
        deadlines: { [deadline]: 150 },
      })
      expect(report).toMatchObject({ failure: 'timeout', isUncertain, reply: null })
      expect(judge(report)).toMatchObject({ event: 'defer', reason: 'network' })
      expect(report.durationMs).toBeGreaterThanOrEqual(140)
      expect(report.durationMs).toBeLessThan(5_000)
    },
  )

  const drips: [what: string, text: string][] = [
    ['a byte at a time', `250 ${'x'.repeat(2_000)}\r\n`],
    ['continuation lines without end', '250-x\r\n'.repeat(400)],
    ['line ends without a line', '\r\n'.repeat(1_000)],
  ]
  for (const [step, deadline, isUncertain] of steps) {
    test.each(drips)(
      `W8: a tarpit that gives %s at ${step} is left when the step’s time is over, however busy it looks`,
      async (_what, text) => {
        const report = await bench.attempt(scriptOf(step, { drip: text, everyMs: 10 }), {
          target: target(step),
          deadlines: { [deadline]: 200 },
        })
        expect(report).toMatchObject({ failure: 'timeout', isUncertain, reply: null })
        expect(report.durationMs).toBeLessThan(5_000)
      },
    )
  }

  test('W8: a tarpit that takes its time at every step is left when the time for all of the opening is over', async () => {
    const slowly = (text: string) => ({ drip: `${text}\r\n`, everyMs: 10 })
    const script = { greeting: slowly('220 peer.example ESMTP'), ehlo: slowly(`250 ${'x'.repeat(400)}`) }
    // Time enough for the greeting on a machine that does much else; EHLO's answer would take 4 s.
    const report = await bench.attempt(script, { deadlines: { openMs: 2_000 } })
    expectReport(report, { phase: 'ehlo', failure: 'timeout' })
    expect(report.durationMs).toBeLessThan(20_000)
  })

  const endless: [what: string, text: string][] = [
    ['a line of 8 MB', `250 ${'x'.repeat(8_000_000)}`],
    ['1,000,000 continuation lines', '250-x\r\n'.repeat(1_000_000)],
    ['a million empty lines', '\r\n'.repeat(1_000_000)],
  ]
  for (const [step, , isUncertain] of steps) {
    if (step === 'starttls') continue
    test.each(endless)(`W10: %s at ${step} ends the conversation, and is not kept`, async (_what, text) => {
      const report = await bench.attempt(
        { features: [], [step]: { raw: text } },
        { deadlines: { [`${step}Ms`]: 3_000 } },
      )
      expect(report.failure).toMatch(/^(?:protocol|timeout)$/)
      expect(report).toMatchObject({ isUncertain, reply: null })
      expect(judge(report).event).toBe('defer')
      expect(JSON.stringify(report).length).toBeLessThan(20_000)
    })
  }
})

describe('over several exchangers', () => {
  const openFirst = createOpenFirst({ guard: createNetworkGuard(['127.0.0.0/8']) })

  test.each<[string, PeerScript]>([
    ['says nothing', { greeting: 'SILENCE' }],
    ['drips', { greeting: { drip: `220 ${'x'.repeat(1_000)}\r\n`, everyMs: 10 } }],
  ])('W7: when the best one %s, the next has the mail within the same attempt', async (_, script) => {
    const good = await startScriptedPeer({})
    ourOwn.peer = await startScriptedPeer(script)
    const bad = ourOwn.targetOf()
    const limits = { ...deadlines, greetingMs: 1_000, tlsMs: 1_000 }
    const opened = await openFirst([bad, { ...bad, port: good.port }], limits)
    if (opened.ok) await opened.session.close()
    await good.close()
    expect(opened).toMatchObject({ ok: true })
    expect(good.connections.flat()).toContain('QUIT')
  })
})
