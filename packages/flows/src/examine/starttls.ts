/**
 * Whether encryption works: STARTTLS with the same servers, with a certificate that is verified, as MTA-STS will demand it. Firewalls
 * that strip STARTTLS, and machines without the public authorities, are found here.
 */
import tls from 'node:tls'
import type { TransactionReport } from '@valija/core'
import { createOpenSession, defaultDeadlines, type NetworkGuard, type SessionTarget } from '@valija/courier'
import { formatSmtpReply } from '@valija/mail'
import { type Check, checkOf } from './check.ts'
import { addressFor, bindOf, type Peer } from './mail-peers.ts'
import type { Source } from './source-addresses.ts'

export interface Handshake {
  peer: Peer
  /** Null: a session with a verified certificate was opened. */
  failure: Pick<TransactionReport, 'phase' | 'failure' | 'reply' | 'detail'> | null
}

/** For the session up to MAIL, of which nothing is said. */
const deadlines = { ...defaultDeadlines, openMs: 12_000, connectMs: 5_000, quitMs: 500 }

export interface StarttlsParts {
  peers: readonly Peer[]
  sources: readonly Source[]
  guard: NetworkGuard
  /** A further authority to trust, PEM. */
  ca: string | null
}

export async function examineStarttls({ peers, sources, guard, ca }: StarttlsParts): Promise<Check[]> {
  const authorities = tls.getCACertificates('default').length
  const [source] = sources
  if (source === undefined || peers.length === 0) {
    return [checkOf('starttls').skipped('there is nobody to try it with: see port_25')]
  }
  const open = createOpenSession({ guard })
  const handshakes = await Promise.all(
    peers.map(async (peer): Promise<Handshake | null> => {
      const ip = addressFor(peer, source)
      if (ip === undefined) return null
      const opened = await open(targetOf(peer, ip, source, ca), deadlines)
      if (!opened.ok) return { peer, failure: opened.report }
      await opened.session.close()
      return { peer, failure: null }
    }),
  )
  return [
    judgeHandshakes(
      handshakes.filter((one) => one !== null),
      authorities,
    ),
  ]
}

function targetOf(peer: Peer, ip: string, source: Source, ca: string | null): SessionTarget {
  return {
    route: 'doctor',
    host: peer.host,
    port: peer.port,
    ip,
    secure: false,
    tls: 'required',
    auth: null,
    ca,
    ehloName: source.ehloName,
    localAddress: bindOf(source),
    isExemptFromGuard: peer.isNamed,
  }
}

const beforeTls: readonly TransactionReport['phase'][] = ['dns', 'connect', 'greeting']

export function judgeHandshakes(all: readonly Handshake[], authorities: number): Check {
  const check = checkOf('starttls')
  if (authorities === 0) {
    return check.failed(
      'this machine trusts no authority: every certificate is taken for a forged one',
      'Install the public authorities (Debian: ca-certificates), or run the Node that npm ci installs, which brings them.',
    )
  }
  const reached = all.filter(({ failure }) => failure === null || !beforeTls.includes(failure.phase))
  if (reached.length === 0) return check.skipped('nobody could be reached to try it with: see port_25')
  const verified = reached.filter(({ failure }) => failure === null).map(({ peer }) => peer.host)
  const told = reached.flatMap((one) =>
    one.failure === null ? [] : `${one.peer.host}: ${whyOf(one.failure)}`,
  )
  if (verified.length > 0) {
    const others = told.length === 0 ? '' : `; not so ${told.join('; ')}`
    return check.ok(`${verified.join(', ')}: encrypted, with a verified certificate${others}`)
  }
  const fix =
    'Firewalls with "SMTP inspection" remove STARTTLS or put a certificate of their own in its place: have that switched off for this machine. If it is the authorities, bring the system or Node up to date. Until then mail that must be encrypted (MTA-STS, DANE) waits.'
  const isOwnChoice = reached.every(({ peer }) => peer.isNamed)
  return isOwnChoice ? check.warning(told.join('; '), fix) : check.failed(told.join('; '), fix)
}

function whyOf({ reply, detail }: NonNullable<Handshake['failure']>): string {
  return reply === null ? (detail ?? 'failed') : formatSmtpReply(reply)
}
