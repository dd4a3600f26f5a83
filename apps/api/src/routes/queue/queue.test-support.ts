/** Sites and holds as workers leave them, for the tests of the operator's queue. */
import { type SitePace, steadyPace } from '@valija/core'
import type { TestApi } from '../../open-api.test-support.ts'

const limits = { connections: 5, mailsPerConnection: 50, mailsPerSecond: 20, isTlsRequired: true }

/** A site in the state of a pace. @returns its id */
export async function writeSite(api: TestApi, key: string, more: Partial<SitePace> = {}): Promise<string> {
  const pace = { ...steadyPace, ...more }
  const condition = pace.cause === null ? 'ok' : pace.pausedUntilMs > Date.now() ? 'suspended' : 'slowed'
  const { rows } = await api.foundation.database.engine.query(
    `INSERT INTO valija.shaping_sites (key, provider, site, source, kind, limits, pace, condition, paused_until, since)
     VALUES ($1, 'bigmail', 'mx1.bigmail.test', 'default', 'mx', $2, $3, $4, $5, now()) RETURNING id`,
    [
      key,
      JSON.stringify(limits),
      JSON.stringify(pace),
      condition,
      pace.pausedUntilMs > 0 ? new Date(pace.pausedUntilMs) : null,
    ],
  )
  return rows[0].id
}

/** Suspended for two hours by a reply. */
export function suspended(untilMs: number): Partial<SitePace> {
  return {
    connections: 1,
    mailsPerSecond: 1,
    pausedUntilMs: untilMs,
    incidentMs: Date.now(),
    stepMs: 15_000,
    sinceMs: Date.now(),
    cause: { reason: 'throttled', reply: '421 4.7.0 [TSS04] deferred', atMs: Date.now() },
  }
}

export async function writeHold(api: TestApi, key: string, part: string, untilMs: number): Promise<void> {
  const hold = { hits: {}, untilMs, reason: 'policy', reply: '450 your domain sends too much' }
  await api.foundation.database.engine.query(
    `INSERT INTO valija.shaping_holds (scope_key, tenant_id, part, hold, until) VALUES ($1, $2, $3, $4, $5)`,
    [key, api.tenant.id, part, JSON.stringify(hold), new Date(untilMs)],
  )
}
