/** The relay: connect, EHLO, TLS and login as for a mail, and good-bye before one. */
import type { TransactionReport } from '@valija/core'
import {
  createNetworkGuard,
  createOpenSession,
  defaultDeadlines,
  type NetworkGuard,
  type PhaseDeadlines,
  type Smarthost,
  smarthostTarget,
} from '@valija/courier'
import { formatSmtpReply } from '@valija/mail'
import { ownRoutes, type SmarthostConfig } from '../own-routes.ts'
import { type Check, checkOf } from './check.ts'

const deadlines = { ...defaultDeadlines, openMs: 20_000, connectMs: 10_000, quitMs: 500 }

export async function examineSmarthost(
  smarthost: SmarthostConfig | null,
  from: { ehloName: string; localAddress: string | null },
  hurry: Partial<PhaseDeadlines> = {},
): Promise<Check[]> {
  const route = ownRoutes({ delivery: 'smarthost', smarthost, hasBounceDomain: false }).get('smarthost')
  if (smarthost === null || route?.way.kind !== 'smarthost') {
    return [checkOf('smarthost').skipped('VALIJA_SMARTHOST_URL is not set')]
  }
  const check = checkOf('smarthost', `${smarthost.host}:${smarthost.port}`)
  const target = smarthostTarget(route.way, { route: 'doctor', ...from })
  // The operator's relay is exempt from the guard.
  const opened = await createOpenSession({ guard: createNetworkGuard([]) })(target, {
    ...deadlines,
    ...hurry,
  })
  if (!opened.ok) return [judgeRelayFailure(smarthost, opened.report)]
  await opened.session.close()
  return [check.ok(acceptance(smarthost.user))]
}

/** The relay of a named route. */
export interface NamedRelay {
  name: string
  isTenants: boolean
  way: Smarthost
}

/** A tenant's relay is the tenant's to mend: a warning. */
export async function examineNamedRelays(
  relays: readonly NamedRelay[],
  from: { ehloName: string; localAddress: string | null },
  guard: NetworkGuard,
): Promise<Check[]> {
  const open = createOpenSession({ guard })
  return Promise.all(
    relays.map(async ({ name, isTenants, way }) => {
      const check = checkOf('route', `${name} ${way.host}:${way.port}`)
      const opened = await open(smarthostTarget(way, { route: 'doctor', ...from }), deadlines)
      if (!opened.ok) {
        const fix = `Start the relay, or correct host, port, tls, user or password of the route ${name} (PATCH /routes/:id). Its mail waits meanwhile, and none is lost.`
        return check[isTenants ? 'warning' : 'failed'](seenOf(opened.report), fix)
      }
      await opened.session.close()
      return check.ok(acceptance(way.auth?.user ?? null))
    }),
  )
}

const acceptance = (user: string | null): string =>
  user === null ? 'takes us without a login' : `takes the login of ${user}`

function seenOf({ reply, detail }: Pick<TransactionReport, 'reply' | 'detail'>): string {
  return reply === null ? (detail ?? 'failed') : `answers ${formatSmtpReply(reply)}`
}

export function judgeRelayFailure(
  { host, port, user }: SmarthostConfig,
  report: Pick<TransactionReport, 'phase' | 'failure' | 'reply' | 'detail'>,
): Check {
  const { phase, reply } = report
  const fixes: Partial<Record<TransactionReport['phase'], string>> = {
    dns: `Correct the host in VALIJA_SMARTHOST_URL, or the DNS that should know ${host}.`,
    connect: `Start the relay, or let this machine reach ${host} port ${port}; relays listen on 587 (smtp://), 465 (smtps://) or 25.`,
    greeting:
      reply === null
        ? 'Write smtps:// if that port speaks TLS from the first byte (465), smtp:// if not; else look at the relay and at firewalls in between.'
        : 'Follow what the relay says: mostly this address may not use it.',
    ehlo: 'Follow what the relay says; VALIJA_EHLO_NAME is the name that it hears.',
    tls: 'smtps:// is for a port with TLS from the first byte (465), smtp:// for STARTTLS (587). A certificate must be of a known authority and for the host in VALIJA_SMARTHOST_URL; a login goes only over such TLS.',
    auth:
      user === null
        ? 'Give user and password in VALIJA_SMARTHOST_URL.'
        : 'Correct user and password in VALIJA_SMARTHOST_URL (both percent-encoded: a % itself is %25). Mail waits meanwhile, and none is lost.',
  }
  return checkOf('smarthost', `${host}:${port}`).failed(
    seenOf(report),
    fixes[phase] ?? 'Follow what the relay says.',
  )
}
