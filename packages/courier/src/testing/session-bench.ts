/**
 * What the cases of the session conformance suite stand on: a peer, a session to it, and a look at the report.
 */
import type { Phase, TransactionReport, TransportFailure } from '@valija/core'
import { formatSmtpReply } from '@valija/mail'
import { generate } from 'selfsigned'
import { expect } from 'vitest'
import { createNetworkGuard, type NetworkGuard } from '../network-guard.ts'
import {
  defaultDeadlines,
  type Envelope,
  type OpenSession,
  type PhaseDeadlines,
  type Session,
  type SessionTarget,
  type TransactionGuard,
} from '../session.ts'
import { type PeerScript, type ScriptedPeer, startScriptedPeer } from './scripted-peer.ts'

/** Everything ends within these unless a case asks for less. */
export const deadlines: PhaseDeadlines = { ...defaultDeadlines, quitMs: 2_000 }

export const always: TransactionGuard = { isStillMine: () => true }
export const mail = Buffer.from('Subject: hello\r\n\r\nA line.\r\n')

type Script = PeerScript | ((connection: number) => PeerScript)

/** One case at a time: what it starts, `end` stops. */
export class SessionBench {
  readonly createOpen: (guard: NetworkGuard) => OpenSession
  readonly open: OpenSession
  #peer: ScriptedPeer | undefined
  session: Session | undefined

  constructor(createOpen: (guard: NetworkGuard) => OpenSession) {
    this.createOpen = createOpen
    this.open = createOpen(createNetworkGuard(['127.0.0.0/8']))
  }

  get peer(): ScriptedPeer {
    if (this.#peer === undefined) throw new Error('no peer was started')
    return this.#peer
  }

  set peer(peer: ScriptedPeer) {
    this.#peer = peer
  }

  async end(): Promise<void> {
    await this.session?.close()
    this.session = undefined
    await this.#peer?.close()
  }

  targetOf(overrides: Partial<SessionTarget> = {}): SessionTarget {
    return {
      route: 'mx',
      host: '127.0.0.1',
      port: this.peer.port,
      secure: false,
      tls: 'opportunistic',
      auth: null,
      ehloName: 'us.example',
      localAddress: null,
      isExemptFromGuard: false,
      ...overrides,
    }
  }

  /** A peer and an open session to it. */
  async begin(script: Script): Promise<Session> {
    this.peer = await startScriptedPeer(script)
    const opened = await this.open(this.targetOf(), deadlines)
    if (!opened.ok) throw new Error(`not opened: ${JSON.stringify(opened.report)}`)
    this.session = opened.session
    return opened.session
  }

  /** A peer, and one mail to it, whatever comes of it. Ends what the last attempt left. */
  async attempt(
    script: Script,
    options: {
      target?: Partial<SessionTarget>
      deadlines?: Partial<PhaseDeadlines>
      bytes?: Buffer
      guard?: TransactionGuard
      envelope?: Partial<Envelope>
    } = {},
  ): Promise<TransactionReport> {
    await this.end()
    this.peer = await startScriptedPeer(script)
    const opened = await this.open(this.targetOf(options.target), { ...deadlines, ...options.deadlines })
    if (!opened.ok) return opened.report
    this.session = opened.session
    const envelope = { ...envelopeTo('ann@example.com'), ...options.envelope }
    return await opened.session.send(envelope, options.bytes ?? mail, options.guard ?? always, {
      route: 'mx',
    })
  }
}

/** What decided; what is left out is null or false. */
export function expectReport(
  report: TransactionReport,
  expected: { phase: Phase; failure?: TransportFailure; reply?: string; isUncertain?: boolean },
): void {
  expect({
    phase: report.phase,
    failure: report.failure,
    reply: report.reply && formatSmtpReply(report.reply),
    isUncertain: report.isUncertain,
  }).toEqual({ failure: null, reply: null, isUncertain: false, ...expected })
  expect(report.detail === null).toBe(report.failure === null)
  for (const duration of Object.values(report.timingsMs)) expect(duration).toBeGreaterThanOrEqual(0)
}

/** The reply to the final dot that the scripted peer gives unless told otherwise. */
export const queued = { phase: 'body', reply: '250 2.0.0 queued as 42' } as const

export function envelopeTo(address: string): Envelope {
  return { from: 'b-1@us.example', to: address, needsSmtpUtf8: false, envid: null }
}

/** A self-signed certificate for a name. */
export async function makeCertificate(name: string): Promise<{ key: string; cert: string }> {
  const made = await generate([{ name: 'commonName', value: name }], {
    keyType: 'ec',
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: name }] }],
  })
  return { key: made.private, cert: made.cert }
}
