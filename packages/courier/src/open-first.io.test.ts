import { afterEach, describe, expect, test } from 'vitest'
import { createNetworkGuard } from './network-guard.ts'
import { createOpenFirst } from './open-first.ts'
import type { Opening, Session, SessionTarget } from './session.ts'
import {
  defaultFeatures,
  type PeerScript,
  type ScriptedPeer,
  startScriptedPeer,
} from './testing/scripted-peer.ts'
import {
  always,
  deadlines,
  envelopeTo,
  expectReport,
  mail,
  makeCertificate,
  queued,
} from './testing/session-bench.ts'

const openFirst = createOpenFirst({ guard: createNetworkGuard(['127.0.0.0/8']) })
const peers: ScriptedPeer[] = []
let session: Session | undefined

afterEach(async () => {
  await session?.close()
  session = undefined
  for (const peer of peers.splice(0)) await peer.close()
})

/** A peer and how to go there, by the name `mx<n>.example`. */
async function candidate(script: PeerScript, overrides: Partial<SessionTarget> = {}): Promise<SessionTarget> {
  const peer = await startScriptedPeer(script)
  peers.push(peer)
  return {
    route: 'mx',
    host: `mx${peers.length}.example`,
    ip: '127.0.0.1',
    port: peer.port,
    secure: false,
    tls: 'opportunistic',
    auth: null,
    ehloName: 'us.example',
    localAddress: null,
    isExemptFromGuard: false,
    ...overrides,
  }
}

/** Nobody listens at port 1; one that was let go may be somebody else's by now. */
const nobody = () => candidate({}, { host: 'down.example', port: 1 })

async function sendOver(opened: Opening) {
  if (!opened.ok) throw new Error(JSON.stringify(opened.report))
  session = opened.session
  return await session.send(envelopeTo('ann@example.com'), mail, always, { route: 'mx' })
}

const starttls = [...defaultFeatures, 'STARTTLS']

describe('the next candidate is tried', () => {
  test.each<[string, PeerScript, Partial<SessionTarget>]>([
    ['refuses for good at the greeting', { greeting: '554 5.7.1 no' }, {}],
    ['refuses for now at the greeting', { greeting: '421 4.3.2 busy' }, {}],
    ['refuses EHLO and HELO', { ehlo: '550 5.7.1 who are you' }, {}],
    ['closes at once', { greeting: 'CLOSE' }, {}],
    ['speaks no SMTP', { greeting: 'HTTP/1.1 400 Bad Request' }, {}],
    ['is silent', { greeting: 'SILENCE' }, {}],
    ['does not encrypt where that is demanded', {}, { tls: 'encrypted' }],
    ['has a certificate that will not do', { features: starttls }, { tls: 'required' }],
    ['is at a private address', {}, { ip: '10.0.0.1' }],
  ])('when a peer %s', async (_, script, overrides) => {
    const tls = await makeCertificate('wrong.example')
    const first = await candidate({ tls, ...script }, overrides)
    const second = await candidate({})
    const opened = await openFirst([first, second], { ...deadlines, greetingMs: 1_000 })
    const report = await sendOver(opened)
    expectReport(report, queued)
    expect(report).toMatchObject({ host: 'mx2.example', port: second.port })
    expect(session?.peer).toEqual({ host: 'mx2.example', ip: '127.0.0.1' })
    expect(report.transcript[0]?.line).toMatch(/^-- mx1\.example:\d+ .*: /)
    expect(report.transcript[1]?.line).toBe('220 peer.example ESMTP')
  })

  test('when nobody listens', async () => {
    const good = await candidate({})
    const report = await sendOver(await openFirst([await nobody(), good], deadlines))
    expectReport(report, queued)
    expect(report.transcript[0]?.line).toContain('connection_refused')
  })

  test('when the source address is of the other family', async () => {
    const v6 = await candidate({}, { ip: '::1', localAddress: '127.0.0.1', isExemptFromGuard: true })
    const v4 = await candidate({}, { localAddress: '127.0.0.1' })
    expectReport(await sendOver(await openFirst([v6, v4], deadlines)), queued)
  })
})

describe('when none will do', () => {
  test('a refusal is told before silence, with a line for each peer', async () => {
    const silent = await candidate({ greeting: 'SILENCE' })
    const refusing = await candidate({ greeting: '554 5.7.1 blocked' })
    const down = await nobody()
    const opened = await openFirst([silent, refusing, down], { ...deadlines, greetingMs: 1_000 })
    expect(opened).toMatchObject({ ok: false, report: { host: 'mx2.example', port: refusing.port } })
    if (opened.ok) return
    expectReport(opened.report, { phase: 'greeting', reply: '554 5.7.1 blocked' })
    expect(opened.report.transcript.map(({ line }) => line.replace(/:\d+/, ''))).toEqual([
      '-- mx1.example (127.0.0.1): timeout: the deadline for GREETING has passed',
      '554 5.7.1 blocked',
      '-- mx2.example (127.0.0.1): 554 5.7.1 blocked',
      expect.stringMatching(/^-- down\.example \(127\.0\.0\.1\): connection_refused: /),
    ])
    expect(opened.report.durationMs).toBeGreaterThanOrEqual(99)
  })

  test('a refusal for now is told before one for good', async () => {
    const hard = await candidate({ greeting: '554 5.7.1 no' })
    const soft = await candidate({ greeting: '421 4.7.0 later' })
    for (const order of [
      [hard, soft],
      [soft, hard],
    ]) {
      const opened = await openFirst(order, deadlines)
      expect(opened).toMatchObject({ ok: false, report: { reply: { code: 421 } } })
    }
  })

  test('all at private addresses is a refused address, one of several is not', async () => {
    const inside = await candidate({}, { ip: '10.0.0.1' })
    const opened = await openFirst([inside, { ...inside, ip: '192.168.1.1' }], deadlines)
    expect(opened).toMatchObject({ ok: false, report: { failure: 'address_refused' } })
    const other = await openFirst([inside, await nobody()], deadlines)
    expect(other).toMatchObject({ ok: false, report: { failure: 'connection_refused' } })
  })

  test('peers that refuse are asked five times in all', async () => {
    const targets: SessionTarget[] = []
    for (let i = 0; i < 8; i += 1) targets.push(await candidate({ greeting: '421 4.7.0 enough' }))
    await openFirst(targets, deadlines)
    expect(peers.filter(({ connections }) => connections.length > 0)).toHaveLength(5)
  })

  test('a refused login is not tried elsewhere', async () => {
    const features = [...defaultFeatures, 'AUTH PLAIN']
    const auth = { user: 'ann', pass: 'x' }
    const first = await candidate({ features, auth: '535 5.7.8 no' }, { auth })
    const opened = await openFirst([first, await candidate({ features }, { auth })], deadlines)
    expect(opened).toMatchObject({ ok: false, report: { failure: 'login_refused', host: 'mx1.example' } })
    expect(peers[1]?.connections).toHaveLength(0)
  })

  test('the time for all of them is bounded', async () => {
    const targets: SessionTarget[] = []
    for (let i = 0; i < 4; i += 1) targets.push(await candidate({ ehlo: 'SILENCE' }))
    const opened = await openFirst(targets, { ...deadlines, openMs: 300, ehloMs: 200 })
    expect(opened).toMatchObject({ ok: false, report: { failure: 'timeout', phase: 'ehlo' } })
    expect(peers.filter(({ connections }) => connections.length > 0)).toHaveLength(2)
  })
})
