/**
 * Where the mail of recipients' domains went last: domain → site, written down by workers so that whoever is asked why a mail waits
 * can look up the site's state by the recipient's domain.
 */
import type { SiteCondition, SitePace, ThrottleLimits } from '@valija/core'
import type pg from 'pg'

export interface NotedDestination {
  domain: string
  scopeKey: string
  provider: string | null
  /** Names of the exchangers, best first. */
  exchangers: readonly string[]
}

export async function noteDestinations(
  pool: pg.Pool,
  destinations: readonly NotedDestination[],
): Promise<void> {
  const sorted = [...destinations].sort((a, b) =>
    `${a.domain} ${a.scopeKey}` < `${b.domain} ${b.scopeKey}` ? -1 : 1,
  )
  await pool.query({
    name: 'note-destinations',
    text: `INSERT INTO valija.destinations (domain, scope_key, provider, exchangers)
           SELECT domain, scope_key, provider, ARRAY(SELECT jsonb_array_elements_text(exchangers))
           FROM unnest($1::text[], $2::text[], $3::text[], $4::jsonb[]) AS input (domain, scope_key, provider, exchangers)
           ON CONFLICT (domain, scope_key) DO UPDATE SET provider = excluded.provider, exchangers = excluded.exchangers, seen_at = now()`,
    values: [
      sorted.map((destination) => destination.domain),
      sorted.map((destination) => destination.scopeKey),
      sorted.map((destination) => destination.provider),
      sorted.map((destination) => JSON.stringify(destination.exchangers)),
    ],
  })
}

/** A site that a domain's mail goes to, with what is known of it. */
export interface FoundSite {
  scopeKey: string
  provider: string | null
  exchangers: string[]
  seenAt: Date
  site: string | null
  source: string | null
  limits: ThrottleLimits | null
  /** Null while nothing is known of how it does. */
  pace: SitePace | null
  condition: SiteCondition
  pausedUntil: Date | null
  since: Date | null
}

/** The sites of a recipient's domain, the one used last first. */
export async function findSites(pool: pg.Pool, domain: string): Promise<FoundSite[]> {
  const result = await pool.query<FoundSite>({
    name: 'find-sites',
    text: `SELECT d.scope_key AS "scopeKey", d.provider, d.exchangers, d.seen_at AS "seenAt", s.site, s.source, s.limits, s.pace,
             coalesce(s.condition, 'ok') AS condition, s.paused_until AS "pausedUntil", s.since
           FROM valija.destinations AS d LEFT JOIN valija.shaping_sites AS s ON s.key = d.scope_key
           WHERE d.domain = $1 ORDER BY d.seen_at DESC, d.scope_key LIMIT 20`,
    values: [domain],
  })
  return result.rows
}
