/** Counts of how TLS went, by day, destination domain, kind of policy, exchanger and result (RFC 8460). */
import type pg from 'pg'

/** Counts are kept so long: reports are about the day before, and a trend of two months is enough for people. */
const keptDays = 60

export interface TlsReportCount {
  domain: string
  policy: 'tlsa' | 'sts' | 'no-policy-found'
  mx: string
  /** `success`, or the name of a failure (RFC 8460 §4.3). */
  result: string
  sessions: number
}

export interface TlsReportRow extends TlsReportCount {
  /** `YYYY-MM-DD`, UTC. */
  day: string
}

/** Where a page ended. */
export type TlsReportPosition = Record<'day' | 'domain' | 'policy' | 'mx' | 'result', string>

/** Adds to what is counted of today (PostgreSQL's, in UTC). In the order of the key, so that two workers never wait in a circle. */
export async function addTlsReports(pool: pg.Pool, counts: readonly TlsReportCount[]): Promise<void> {
  if (counts.length === 0) return
  await pool.query({
    name: 'add-tls-reports',
    text: `INSERT INTO valija.tls_reports AS kept (day, domain, policy, mx, result, sessions)
           SELECT (now() AT TIME ZONE 'UTC')::date, domain, policy, mx, result, sum(sessions)
             FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[])
               AS new (domain, policy, mx, result, sessions)
            GROUP BY domain, policy, mx, result ORDER BY domain, policy, mx, result
           ON CONFLICT (day, domain, policy, mx, result) DO UPDATE SET sessions = kept.sessions + excluded.sessions`,
    values: [
      counts.map((count) => count.domain),
      counts.map((count) => count.policy),
      counts.map((count) => count.mx),
      counts.map((count) => count.result),
      counts.map((count) => count.sessions),
    ],
  })
}

/**
 * The newest day first, in it by domain.
 *
 * @param wanted.after the last row of the page before
 */
export async function listTlsReports(
  pool: pg.Pool,
  wanted: {
    domain: string | null
    day: string | null
    after: TlsReportPosition | null
    limit: number
  },
): Promise<TlsReportRow[]> {
  const { domain, day, after, limit } = wanted
  const result = await pool.query<TlsReportRow>({
    name: 'list-tls-reports',
    text: `SELECT to_char(day, 'YYYY-MM-DD') AS day, domain, policy, mx, result, sessions FROM valija.tls_reports
            WHERE ($1::text IS NULL OR domain = $1) AND ($2::date IS NULL OR day = $2)
              AND ($3::date IS NULL OR day < $3 OR (day = $3 AND (domain, policy, mx, result) > ($4, $5, $6, $7)))
            ORDER BY tls_reports.day DESC, domain, policy, mx, result LIMIT $8`,
    values: [
      domain,
      day,
      after?.day ?? null,
      after?.domain ?? null,
      after?.policy ?? null,
      after?.mx ?? null,
      after?.result ?? null,
      limit,
    ],
  })
  return result.rows
}

/** Forgets days beyond the retention, some thousands of rows at once. */
export async function forgetOldTlsReports(pool: pg.Pool): Promise<number> {
  const result = await pool.query(
    `DELETE FROM valija.tls_reports WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM valija.tls_reports WHERE day < (now() AT TIME ZONE 'UTC')::date - $1::int LIMIT 5000))`,
    [keptDays],
  )
  return result.rowCount ?? 0
}
