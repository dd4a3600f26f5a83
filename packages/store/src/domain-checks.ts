/**
 * What DNS said about a domain's records, and what follows from it, in one transaction with the events that tell it:
 *
 *   proof seen                 a pending or failed domain is verified, unless another tenant holds the name; a failing one recovers
 *   proof gone                 a verified domain is failing: it goes on sending for its grace, and then it has failed
 *   record of a new key seen   the key signs from now on, and the one before it retires
 *
 * A name is held by the tenant that has it verified. Another one gets it by a proof of its own, once that of the holder has been gone
 * for the grace; whoever makes a domain verified does so under the lock on its name.
 */
import {
  dkimRetiringMs,
  domainGraceMs,
  idPrefixes,
  nextCheckInMs,
  storableText,
  type Uuid,
} from '@valija/core'
import type pg from 'pg'
import { asEngine, type Database } from './database.ts'
import type { DomainCheck, DomainStatus } from './domains.ts'
import { eventExpressionsOf } from './new-events.ts'

/** The outcome of one question; `unchecked`: DNS gave no answer, so what was known before stays. */
export type NewCheck = Omit<DomainCheck, 'checkedAt' | 'seenRightAt'>

/** What one look at a domain's records came to. */
export interface DomainLook {
  checks: readonly NewCheck[]
  /** Whether the record that proves ownership is there; `unknown`: DNS gave no answer. */
  proof: 'seen' | 'absent' | 'unknown'
  /** Whether what was found proves ownership with another tenant's token. */
  provesToken: (token: string) => boolean
  /** Names of records whose loss is told: those that a mail goes by. */
  watched: readonly string[]
}

/** `elsewhere`: the proof is right, and another tenant holds the name. */
export type LookOutcome = 'kept' | 'told' | 'elsewhere'

/** Of a name that somebody else has filled with records, no more than this is kept. */
const [maxFound, maxFoundLength] = [10, 1_000]

interface LockedDomain {
  id: Uuid
  tenantId: Uuid
  name: string
  status: DomainStatus
  isVouched: boolean
  failingSince: Date | null
  isGraceOver: boolean
  ageMs: number
}

const lockedColumns = `id, tenant_id AS "tenantId", name, status, is_vouched AS "isVouched", failing_since AS "failingSince",
  coalesce(failing_since <= now() - interval '${domainGraceMs} milliseconds', false) AS "isGraceOver",
  extract(epoch FROM now() - created_at)::float8 * 1000 AS "ageMs"`

/** @returns null when the tenant has no such domain */
export async function keepDomainLook(
  database: Database,
  { tenantId, id }: { tenantId: Uuid; id: Uuid },
  look: DomainLook,
): Promise<LookOutcome | null> {
  return asEngine(database, async (client) => {
    // The same lock as domains.ts takes, and as there before those on rows: two tenants cannot both find that nobody has the name.
    await client.query(
      `SELECT pg_advisory_xact_lock(hashtextextended('valija.domain:' || name, 0)) FROM valija.domains WHERE id = $1 AND tenant_id = $2`,
      [id, tenantId],
    )
    const { rows } = await client.query<LockedDomain>(
      `SELECT ${lockedColumns} FROM valija.domains WHERE id = $1 AND tenant_id = $2 FOR UPDATE`,
      [id, tenantId],
    )
    const [domain] = rows
    if (domain === undefined) return null
    const lost = await saveChecks(client, domain, look)
    await moveKeys(client, domain)
    const outcome = domain.isVouched ? 'kept' : await judgeProof(client, domain, look)
    // Where the proof is gone as well, that has been told with it.
    const isLossTold = lost.length > 0 && domain.status === 'verified' && outcome === 'kept'
    if (isLossTold) await tell(client, domain, 'domain.failed', { lost })
    await planNextCheck(client, domain)
    return isLossTold ? 'told' : outcome
  })
}

/** @returns the watched records that were right when DNS last answered, and are not now */
async function saveChecks(
  client: pg.PoolClient,
  { id, tenantId }: LockedDomain,
  { checks, watched }: DomainLook,
): Promise<string[]> {
  const rows = checks.map(({ found, fault, faultCode, ...check }) => ({
    ...check,
    fault_code: faultCode,
    found: found.slice(0, maxFound).map((text) => storableText(text.slice(0, maxFoundLength))),
    fault: fault && storableText(fault),
  }))
  const before = await client.query<{ name: string }>(
    `SELECT known.name FROM valija.domain_checks AS known
     JOIN jsonb_to_recordset($2::jsonb) AS input (type text, name text, status text) USING (type, name)
     WHERE known.domain_id = $1 AND known.status = 'ok' AND input.status IN ('missing', 'wrong') AND known.name = ANY ($3)
     ORDER BY known.name`,
    [id, JSON.stringify(rows), watched],
  )
  await client.query(
    `
INSERT INTO valija.domain_checks AS known
  (domain_id, tenant_id, type, name, status, found, fault, fault_code, resolver, checked_at, seen_right_at)
SELECT $1, $2, type, name, status, found, fault, fault_code, resolver, now(), CASE WHEN status = 'ok' THEN now() END
FROM jsonb_to_recordset($3::jsonb)
  AS input (type text, name text, status text, found text[], fault text, fault_code text, resolver text)
ON CONFLICT (domain_id, type, name) DO UPDATE SET
  status = CASE WHEN excluded.status = 'unchecked' THEN known.status ELSE excluded.status END,
  found = CASE WHEN excluded.status = 'unchecked' THEN known.found ELSE excluded.found END,
  fault = excluded.fault,
  fault_code = excluded.fault_code,
  resolver = coalesce(excluded.resolver, known.resolver),
  checked_at = excluded.checked_at,
  seen_right_at = coalesce(excluded.seen_right_at, known.seen_right_at)`,
    [id, tenantId, JSON.stringify(rows)],
  )
  return before.rows.map(({ name }) => name)
}

/**
 * A new key whose record was seen takes over from the one before it, of its algorithm: at no moment is there none that signs. The old
 * one's record stays for the mail that is under way; after that the key is forgotten. One that never signed is forgotten at once: its time was over
 * a millisecond ago, since the column rounds to milliseconds, and up as well.
 */
async function moveKeys(client: pg.PoolClient, { id, name }: LockedDomain): Promise<void> {
  await client.query(
    `
WITH seen AS (
  SELECT k.selector, k.algorithm FROM valija.dkim_keys AS k JOIN valija.domain_checks AS c
    ON c.domain_id = k.domain_id AND c.type = 'TXT' AND c.name = k.selector || '._domainkey.' || $2 AND c.status = 'ok'
  WHERE k.domain_id = $1 AND k.state = 'next'
)
UPDATE valija.dkim_keys AS k SET
  state = CASE k.state WHEN 'next' THEN 'active' ELSE 'retiring' END,
  retires_at = CASE k.state WHEN 'active' THEN now() + CASE
    WHEN (d.is_vouched AND d.signs_dkim) OR EXISTS (
      SELECT FROM valija.domain_checks AS c
      WHERE c.domain_id = k.domain_id AND c.name = k.selector || '._domainkey.' || $2 AND c.seen_right_at IS NOT NULL)
    THEN interval '${dkimRetiringMs} milliseconds' ELSE interval '-1 millisecond' END END
FROM seen, valija.domains AS d
WHERE d.id = $1 AND k.domain_id = $1 AND k.algorithm = seen.algorithm
  AND (k.state = 'active' OR (k.state = 'next' AND k.selector = seen.selector))`,
    [id, name],
  )
  await client.query(
    `
WITH gone AS (
  DELETE FROM valija.dkim_keys WHERE domain_id = $1 AND state = 'retiring' AND retires_at <= now() RETURNING selector
)
DELETE FROM valija.domain_checks WHERE domain_id = $1 AND name IN (SELECT selector || '._domainkey.' || $2 FROM gone)`,
    [id, name],
  )
}

async function judgeProof(
  client: pg.PoolClient,
  domain: LockedDomain,
  look: DomainLook,
): Promise<LookOutcome> {
  const isVerified = domain.status === 'verified'
  if (look.proof === 'seen' && !isVerified) return claim(client, domain, look)
  if (look.proof === 'seen' && domain.failingSince !== null) {
    await setStanding(client, domain, 'verified', null)
    await tell(client, domain, 'domain.verified', { recovered: true })
    return 'told'
  }
  if (look.proof !== 'absent' || !isVerified) return 'kept'
  if (domain.failingSince === null) return beginFailing(client, domain)
  if (!domain.isGraceOver) return 'kept'
  await setStanding(client, domain, 'failed', domain.failingSince)
  await tell(client, domain, 'domain.failed', { sending_stopped: true })
  return 'told'
}

async function beginFailing(client: pg.PoolClient, domain: LockedDomain): Promise<'told'> {
  const { rows } = await client.query<{ since: Date }>(
    'UPDATE valija.domains SET failing_since = now() WHERE id = $1 RETURNING failing_since AS since',
    [domain.id],
  )
  domain.failingSince = rows[0]?.since ?? null
  const stopsAt = new Date((domain.failingSince?.getTime() ?? 0) + domainGraceMs).toISOString()
  await tell(client, domain, 'domain.failed', { sending_stopped: false, sending_stops_at: stopsAt })
  return 'told'
}

async function claim(client: pg.PoolClient, domain: LockedDomain, look: DomainLook): Promise<LookOutcome> {
  const { rows } = await client.query<LockedDomain & { token: string }>(
    `SELECT ${lockedColumns}, token FROM valija.domains
     WHERE name = $1 AND status = 'verified' AND tenant_id <> $2 FOR UPDATE`,
    [domain.name, domain.tenantId],
  )
  for (const holder of rows) {
    if (holder.isVouched || look.provesToken(holder.token)) return 'elsewhere'
    if (holder.failingSince === null) await beginFailing(client, holder)
    if (!holder.isGraceOver) return 'elsewhere'
    await setStanding(client, holder, 'failed', holder.failingSince)
    await tell(client, holder, 'domain.failed', { sending_stopped: true, claimed_by_another: true })
  }
  await setStanding(client, domain, 'verified', null)
  await tell(client, domain, 'domain.verified', {})
  return 'told'
}

async function setStanding(
  client: pg.PoolClient,
  domain: LockedDomain,
  status: DomainStatus,
  failingSince: Date | null,
): Promise<void> {
  await client.query(
    `UPDATE valija.domains SET status = $2, failing_since = $3,
       verified_at = CASE WHEN $2 = 'verified' AND status <> 'verified' THEN now() ELSE verified_at END
     WHERE id = $1`,
    [domain.id, status, failingSince],
  )
  domain.status = status
  domain.failingSince = failingSince
}

/** What an event says beside the domain. `domain.failed` means three things, told apart by which field is there. */
interface DomainNews {
  'domain.verified':
    | Record<string, never>
    /** It was failing, and its proof is back within the grace. */
    | { recovered: true }
  'domain.failed': /** Its proof is gone: the grace begins, and mail goes on until then. */
    | { sending_stopped: false; sending_stops_at: string }
    /** The grace is over: `failed`, and no mail is accepted from it. Its name may be another tenant's from now on, or is. */
    | { sending_stopped: true; claimed_by_another?: true }
    /** Its proof is there, and records of these names are not (a DKIM key, the return path): mail goes on without them. */
    | { lost: string[] }
}

async function tell<Type extends keyof DomainNews>(
  client: pg.PoolClient,
  { id, tenantId, name }: LockedDomain,
  type: Type,
  more: DomainNews[Type],
): Promise<void> {
  const data = { domain_id: `${idPrefixes.domain}_${id.replaceAll('-', '')}`, domain: name, ...more }
  const events = `SELECT $1::uuid AS tenant_id, $2 AS type, $3::jsonb AS data`
  await client.query(`WITH ${eventExpressionsOf(events)} SELECT FROM outbox`, [
    tenantId,
    type,
    JSON.stringify(data),
  ])
}

/** With 10 % of jitter, so that domains that were added together are not always asked for together. */
async function planNextCheck(client: pg.PoolClient, domain: LockedDomain): Promise<void> {
  const { rows } = await client.query<{ hasNextKey: boolean }>(
    `SELECT EXISTS (SELECT FROM valija.dkim_keys WHERE domain_id = $1 AND state = 'next') AS "hasNextKey"`,
    [domain.id],
  )
  const { status, ageMs } = domain
  const hasNextKey = rows[0]?.hasNextKey ?? false
  const inMs = nextCheckInMs({ status, isFailing: domain.failingSince !== null, hasNextKey, ageMs })
  await client.query(
    `UPDATE valija.domains SET next_check_at = now() + $2 * (0.95 + random() * 0.1) * interval '1 millisecond' WHERE id = $1`,
    [domain.id, inMs],
  )
}

/** While one worker looks at a domain, no other does. */
const claimedMs = 15 * 60_000

/** So many of those that are due are looked through for tenants: what one tenant has beyond that is found when it is passed over. */
const dueWindow = 1_000

/**
 * Domains whose next look is due, at most one of each tenant: claimed for a while, then due again if nobody kept a look. One that is
 * vouched for is left alone until somebody has asked for its records.
 *
 * @param passed tenants that are passed over
 */
export async function claimDueDomains(
  engine: pg.Pool,
  limit: number,
  passed: readonly Uuid[],
): Promise<{ id: Uuid; tenantId: Uuid }[]> {
  const { rows } = await engine.query<{ id: Uuid; tenantId: Uuid }>({
    name: 'claim-due-domains',
    text: `
WITH due AS MATERIALIZED (
  SELECT id, tenant_id, next_check_at FROM valija.domains AS d
  WHERE next_check_at <= now() AND tenant_id <> ALL ($2::uuid[])
    AND (NOT is_vouched OR EXISTS (SELECT FROM valija.domain_checks AS c WHERE c.domain_id = d.id))
  ORDER BY next_check_at LIMIT ${dueWindow}
), first AS (
  SELECT DISTINCT ON (tenant_id) id, next_check_at FROM due ORDER BY tenant_id, next_check_at
), free AS MATERIALIZED (
  SELECT id FROM valija.domains WHERE id IN (SELECT id FROM first ORDER BY next_check_at LIMIT $1) AND next_check_at <= now()
  FOR UPDATE SKIP LOCKED
)
UPDATE valija.domains AS d SET next_check_at = now() + interval '${claimedMs} milliseconds'
FROM free WHERE d.id = free.id
RETURNING d.id, d.tenant_id AS "tenantId"`,
    values: [limit, passed],
  })
  return rows
}
