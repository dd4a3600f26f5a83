/** What a worker would have done, for tests of what is shown afterwards: lease, one SMTP transaction's report, settle. */
import { createJudge, loadReplyRules, parseId, type TransactionReport, type Uuid } from '@valija/core'
import { type LeasedDelivery, leaseDeliveries, settleAttempts } from '@valija/store'
import { expire, judgeAttempt } from '../../../packages/flows/src/judge-attempt.ts'
import type { TestApi } from './open-api.test-support.ts'

/** @param recipientId as the API shows it */
export async function lease(api: TestApi, recipientId: string): Promise<LeasedDelivery> {
  const id = parseId('recipient', recipientId) as Uuid
  await api.foundation.database.engine.query(
    `UPDATE valija.deliveries SET state = 'admitted', admitted_at = now() WHERE recipient_id = $1 AND state = 'waiting'`,
    [id],
  )
  const [delivery] = (await leaseDeliveries(api.foundation.database.engine, [id])).deliveries
  if (delivery === undefined) throw new Error(`${recipientId} has no delivery to lease`)
  return delivery
}

/** Leases a recipient and settles it by the receiving server's reply. */
export async function attempt(
  api: TestApi,
  recipientId: string,
  code: number,
  enhanced: string,
  text: string,
) {
  await attemptLeased(api, await lease(api, recipientId), code, enhanced, text)
}

/** Settles one that was leased before. */
export async function attemptLeased(
  api: TestApi,
  delivery: LeasedDelivery,
  code: number,
  enhanced: string,
  text: string,
) {
  const { database, nextId, clock } = api.foundation
  const retryPolicy = { networkScheduleMs: [60_000] }
  const settlement = judgeAttempt(
    { nextId, nowMs: clock.nowMs, judge: createJudge(loadReplyRules()), retryPolicy, random: () => 0.5 },
    delivery,
    { ...reportOf(code, enhanced, text), route: delivery.route },
    () => null,
  )
  await settleAttempts(database.engine, [settlement])
}

/** Leases a recipient and settles it as one whose time is over. */
export async function giveUp(api: TestApi, recipientId: string) {
  const { database, nextId, clock } = api.foundation
  const delivery = await lease(api, recipientId)
  await settleAttempts(database.engine, [expire({ nextId, nowMs: clock.nowMs }, delivery)])
}

function reportOf(code: number, enhanced: string, text: string): TransactionReport {
  return {
    route: 'capture',
    host: 'mx.example.test',
    ip: '192.0.2.25',
    port: 25,
    sourceIp: '192.0.2.1',
    tls: {
      version: 'TLSv1.3',
      cipher: 'TLS_AES_256_GCM_SHA384',
      verified: true,
      policy: 'opportunistic',
      detail: null,
    },
    phase: code === 250 ? 'body' : 'rcpt',
    reply: { code, enhanced, text },
    failure: null,
    detail: null,
    isUncertain: false,
    startedAt: new Date(),
    durationMs: 12,
    timingsMs: { dns: 1, connect: 2, tls: 3, ehlo: 1, envelope: 2, data: 3, total: 12 },
    transcript: [{ t_ms: 3, from: 'client', line: 'MAIL FROM:<hello@acme.test>' }],
    sizeBytes: 1234,
    isSimulated: false,
  }
}
