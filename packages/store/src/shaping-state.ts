/**
 * The adaptive state of receiving sites, as all workers share it: paces, what rules hold back of single tenants and domains, and
 * which tenants were told (DESIGN 4.16). What the states mean is packages/core/src/site-pace.ts; this file reads and writes.
 */

import type { PartHold, SiteCondition, SitePace, ThrottleLimits, Uuid } from '@valija/core'
import type pg from 'pg'
import type { NewEvent } from './new-events.ts'
import { eventExpressions, eventParameters } from './new-events.ts'

/** The transaction that a change is made in. */
export type ShapingTransaction = pg.ClientBase

/** A site as it is known by. */
export interface SiteIdentity {
  key: string
  provider: string | null
  site: string
  source: string
  kind: 'mx' | 'relay'
}

export interface StoredPace {
  key: string
  /** Null: nothing is known. */
  pace: SitePace | null
}

export interface StoredHold {
  scopeKey: string
  tenantId: Uuid
  /** The sending domain; `*` for all of the tenant's mail. */
  part: string
  hold: PartHold
}

const paceColumns = 'key, pace'

/** Sites that are not as they should be: what a worker knows from its start on. Bounded; others are read on first use. */
export async function readSlowedPaces(pool: pg.Pool): Promise<StoredPace[]> {
  const result = await pool.query<StoredPace>(
    `SELECT ${paceColumns} FROM valija.shaping_sites WHERE condition <> 'ok' ORDER BY updated_at DESC LIMIT 10000`,
  )
  return result.rows
}

export async function readPaces(pool: pg.Pool, keys: readonly string[]): Promise<StoredPace[]> {
  const result = await pool.query<StoredPace>({
    name: 'read-paces',
    text: `SELECT ${paceColumns} FROM valija.shaping_sites WHERE key = ANY ($1::text[])`,
    values: [keys],
  })
  return result.rows
}

/** What others changed within the last `withinMs`: in case a wake-up was lost. */
export async function readChangedPaces(pool: pg.Pool, withinMs: number): Promise<StoredPace[]> {
  const result = await pool.query<StoredPace>({
    name: 'read-changed-paces',
    text: `SELECT ${paceColumns} FROM valija.shaping_sites
           WHERE updated_at > now() - make_interval(secs => $1::float8 / 1000) AND pace IS NOT NULL LIMIT 10000`,
    values: [withinMs],
  })
  return result.rows
}

/** Sites whose slowness nobody has looked at for so long that time alone may have ended it. */
export async function findStalePaces(
  pool: pg.Pool,
  olderThanMs: number,
): Promise<(SiteIdentity & { limits: ThrottleLimits })[]> {
  const result = await pool.query<SiteIdentity & { limits: ThrottleLimits }>({
    name: 'find-stale-paces',
    text: `SELECT key, provider, site, source, kind, limits FROM valija.shaping_sites
           WHERE condition <> 'ok' AND updated_at < now() - make_interval(secs => $1::float8 / 1000)
             AND coalesce(paused_until, '-infinity') < now()
           ORDER BY key LIMIT 500`,
    values: [olderThanMs],
  })
  return result.rows
}

/** Holds in force, and, of one site, those that only count yet. */
export async function readHolds(pool: pg.Pool, keys: readonly string[] | null): Promise<StoredHold[]> {
  const result = await pool.query<StoredHold>({
    name: 'read-holds',
    text: `SELECT scope_key AS "scopeKey", tenant_id AS "tenantId", part, hold FROM valija.shaping_holds
           WHERE CASE WHEN $1::text[] IS NULL THEN until > now() ELSE scope_key = ANY ($1::text[]) END LIMIT 50000`,
    values: [keys],
  })
  return result.rows
}

/** Writes down sites that were seen, with their present limits; their state stays. */
export async function noteSites(
  pool: pg.Pool,
  sites: readonly (SiteIdentity & { limits: ThrottleLimits })[],
): Promise<void> {
  const sorted = [...sites].sort((a, b) => (a.key < b.key ? -1 : 1))
  await pool.query({
    name: 'note-sites',
    text: `INSERT INTO valija.shaping_sites AS s (key, provider, site, source, kind, limits)
           SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::jsonb[])
           ON CONFLICT (key) DO UPDATE SET provider = excluded.provider, site = excluded.site, source = excluded.source,
             kind = excluded.kind, limits = excluded.limits, seen_at = now()`,
    values: [
      sorted.map((site) => site.key),
      sorted.map((site) => site.provider),
      sorted.map((site) => site.site),
      sorted.map((site) => site.source),
      sorted.map((site) => site.kind),
      sorted.map((site) => JSON.stringify(site.limits)),
    ],
  })
}

/** Locks the rows of sites, by rising key, for a change that depends on them; all must have been noted. */
export async function lockPaces(
  client: ShapingTransaction,
  keys: readonly string[],
): Promise<(StoredPace & SiteIdentity & { limits: ThrottleLimits })[]> {
  const result = await client.query(
    `SELECT ${paceColumns}, provider, site, source, kind, limits FROM valija.shaping_sites
     WHERE key = ANY ($1::text[]) ORDER BY key FOR UPDATE`,
    [keys],
  )
  return result.rows
}

/** What sites are called, without a lock: whoever has holds in hand may not wait for sites, which are locked before them. */
export async function readSiteIdentities(
  client: ShapingTransaction,
  keys: readonly string[],
): Promise<(SiteIdentity & { key: string })[]> {
  const result = await client.query(
    `SELECT key, provider, site, source, kind FROM valija.shaping_sites WHERE key = ANY ($1::text[])`,
    [keys],
  )
  return result.rows
}

export interface PaceChange {
  key: string
  pace: SitePace
  condition: SiteCondition
}

export async function writePaces(client: ShapingTransaction, changes: readonly PaceChange[]): Promise<void> {
  await client.query(
    `UPDATE valija.shaping_sites AS s
     SET pace = input.pace, condition = input.condition, paused_until = input.paused_until, since = input.since, updated_at = now()
     FROM unnest($1::text[], $2::jsonb[], $3::text[], $4::timestamptz[], $5::timestamptz[])
       AS input (key, pace, condition, paused_until, since)
     WHERE s.key = input.key`,
    [
      changes.map((change) => change.key),
      changes.map((change) => JSON.stringify(change.pace)),
      changes.map((change) => change.condition),
      changes.map(({ pace }) => dateOf(pace.pausedUntilMs)),
      changes.map(({ pace }) => dateOf(pace.sinceMs)),
    ],
  )
}

/** Locks holds, made where they are not there yet, by rising key. Those of tenants that are gone are left out. */
export async function lockHolds(
  client: ShapingTransaction,
  parts: readonly Omit<StoredHold, 'hold'>[],
  empty: PartHold,
): Promise<StoredHold[]> {
  const values = [
    parts.map((part) => part.scopeKey),
    parts.map((part) => part.tenantId),
    parts.map((part) => part.part),
  ]
  const input = 'unnest($1::text[], $2::uuid[], $3::text[]) AS input (scope_key, tenant_id, part)'
  await client.query(
    `INSERT INTO valija.shaping_holds (scope_key, tenant_id, part, hold)
     SELECT scope_key, tenant_id, part, $4 FROM ${input}
     WHERE EXISTS (SELECT FROM valija.tenants AS t WHERE t.id = input.tenant_id)
     ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING`,
    [...values, JSON.stringify(empty)],
  )
  const result = await client.query<StoredHold>(
    `SELECT h.scope_key AS "scopeKey", h.tenant_id AS "tenantId", h.part, h.hold
     FROM valija.shaping_holds AS h JOIN ${input} USING (scope_key, tenant_id, part)
     ORDER BY 1, 2, 3 FOR UPDATE OF h`,
    values,
  )
  return result.rows
}

export async function writeHolds(client: ShapingTransaction, holds: readonly StoredHold[]): Promise<void> {
  await client.query(
    `UPDATE valija.shaping_holds AS h SET hold = input.hold, until = input.until, updated_at = now()
     FROM unnest($1::text[], $2::uuid[], $3::text[], $4::jsonb[], $5::timestamptz[]) AS input (scope_key, tenant_id, part, hold, until)
     WHERE h.scope_key = input.scope_key AND h.tenant_id = input.tenant_id AND h.part = input.part`,
    [
      holds.map((hold) => hold.scopeKey),
      holds.map((hold) => hold.tenantId),
      holds.map((hold) => hold.part),
      holds.map(({ hold }) => JSON.stringify(hold)),
      holds.map(({ hold }) => dateOf(hold.untilMs)),
    ],
  )
}

/** Removes holds whose time is over, and counts that nothing was added to for a day. @returns those that had held something back */
export async function takeEndedHolds(client: ShapingTransaction): Promise<StoredHold[]> {
  const result = await client.query<StoredHold>(
    `DELETE FROM valija.shaping_holds AS h USING (
       SELECT scope_key, tenant_id, part FROM valija.shaping_holds
       WHERE until <= now() OR (until IS NULL AND updated_at < now() - interval '1 day')
       ORDER BY 1, 2, 3 LIMIT 1000 FOR UPDATE SKIP LOCKED) AS ended
     WHERE h.scope_key = ended.scope_key AND h.tenant_id = ended.tenant_id AND h.part = ended.part
     RETURNING h.scope_key AS "scopeKey", h.tenant_id AS "tenantId", h.part, h.hold`,
  )
  return result.rows.filter(({ hold }) => hold.untilMs > 0)
}

/** Remembers whose mail met what slows a site. */
export async function addWitnesses(
  client: ShapingTransaction,
  witnesses: readonly { scopeKey: string; tenantId: Uuid }[],
): Promise<void> {
  await client.query(
    `INSERT INTO valija.shaping_witnesses (scope_key, tenant_id)
     SELECT DISTINCT scope_key, tenant_id FROM unnest($1::text[], $2::uuid[]) AS input (scope_key, tenant_id)
     WHERE EXISTS (SELECT FROM valija.tenants AS t WHERE t.id = input.tenant_id)
     ORDER BY 1, 2 ON CONFLICT (scope_key, tenant_id) DO UPDATE SET seen_at = now()`,
    [witnesses.map((witness) => witness.scopeKey), witnesses.map((witness) => witness.tenantId)],
  )
}

/** The witnesses of sites who have not been told, now told. Those of the last hour: who met an odd reply long ago is not concerned. */
export async function tellWitnesses(
  client: ShapingTransaction,
  keys: readonly string[],
): Promise<{ scopeKey: string; tenantId: Uuid }[]> {
  const result = await client.query(
    `UPDATE valija.shaping_witnesses SET is_told = true
     WHERE scope_key = ANY ($1::text[]) AND NOT is_told AND seen_at > now() - interval '1 hour'
     RETURNING scope_key AS "scopeKey", tenant_id AS "tenantId"`,
    [keys],
  )
  return result.rows
}

/** Forgets the witnesses of sites that are well again. @returns those who had been told */
export async function dismissWitnesses(
  client: ShapingTransaction,
  keys: readonly string[],
): Promise<{ scopeKey: string; tenantId: Uuid }[]> {
  const result = await client.query(
    `DELETE FROM valija.shaping_witnesses WHERE scope_key = ANY ($1::text[])
     RETURNING scope_key AS "scopeKey", tenant_id AS "tenantId", is_told AS "isTold"`,
    [keys],
  )
  return result.rows.filter((row) => row.isTold)
}

/** @returns whether a webhook has to be told */
export async function writeEvents(client: ShapingTransaction, events: readonly NewEvent[]): Promise<boolean> {
  const result = await client.query<{ count: number }>(
    `WITH ${eventExpressions(1)} SELECT count(*)::int AS count FROM outbox`,
    eventParameters(events),
  )
  return (result.rows[0]?.count ?? 0) > 0
}

/** Sites that nobody has sent to for a week, and what belongs to them. */
export async function forgetSites(pool: pg.Pool): Promise<void> {
  await pool.query(
    `WITH gone AS (
       DELETE FROM valija.shaping_sites WHERE seen_at < now() - interval '7 days' AND updated_at < now() - interval '7 days'
       RETURNING key
     ), rates AS (
       DELETE FROM valija.shaping_rates USING gone WHERE scope_key = gone.key
     ), witnesses AS (
       DELETE FROM valija.shaping_witnesses WHERE seen_at < now() - interval '7 days'
     ), permits AS (
       DELETE FROM valija.shaping_permits WHERE valid_until < now() - interval '10 minutes'
     )
     DELETE FROM valija.destinations WHERE seen_at < now() - interval '30 days'`,
  )
}

function dateOf(ms: number | null): Date | null {
  return ms === null || ms === 0 ? null : new Date(ms)
}
