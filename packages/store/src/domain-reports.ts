/**
 * What others report about sender domains: each report is kept once, and what it says is added to the sums of its day. Written by the
 * engine as reports come in, read by tenants (read-domain-reports.ts).
 */
import type { Uuid } from '@valija/core'
import type { DmarcDisposition, TlsPolicyReport } from '@valija/mail'
import type pg from 'pg'
import { asEngine, type Database } from './database.ts'
import { isMissingReference } from './database-errors.ts'
import { answerWithin, longQueryTimeoutMs } from './watch-connection.ts'

/** A domain as those who report about it know it. */
export interface ReportedDomain {
  id: Uuid
  tenantId: Uuid
  name: string
  /** Of its DKIM keys, past ones included. */
  selectors: string[]
}

/** Mails of one source that were judged alike. */
export interface DmarcCount {
  sourceIp: string
  isOurs: boolean
  signature: 'valid' | 'broken' | 'none'
  signedBy: string
  spfDomain: string
  headerFrom: string
  disposition: DmarcDisposition
  dkim: boolean
  spf: boolean
  override: string
  messages: number
}

export interface TlsCount {
  policy: TlsPolicyReport['policyType']
  mx: string
  result: string
  sessions: number
}

export interface NewDomainReport {
  domain: Pick<ReportedDomain, 'id' | 'tenantId'>
  reporter: string
  reportId: string
  policyDomain: string
  /** In the middle of its time. */
  at: Date
  counts: { kind: 'dmarc'; rows: readonly DmarcCount[] } | { kind: 'tls'; rows: readonly TlsCount[] }
}

export type DomainReportOutcome = 'kept' | 'known' | 'too_many' | 'no_domain'

/** More reports in 24 hours about one domain are kept by nobody's wish: its address stands in DNS, for anybody to fill our tables. */
export const maxReportsPerDay = 2_000

export async function findReportedDomain(engine: pg.Pool, id: Uuid): Promise<ReportedDomain | null> {
  const result = await engine.query<ReportedDomain>({
    name: 'find-reported-domain',
    text: `SELECT d.id, d.tenant_id AS "tenantId", d.name,
             ARRAY(SELECT k.selector FROM valija.dkim_keys AS k WHERE k.domain_id = d.id) AS selectors
           FROM valija.domains AS d WHERE d.id = $1`,
    values: [id],
  })
  return result.rows[0] ?? null
}

/** The addresses that the operator's sources send from. */
export async function listSourceAddresses(engine: pg.Pool): Promise<string[]> {
  const result = await engine.query<{ address: string }>(
    `SELECT address FROM valija.source_ips UNION SELECT ipv6 FROM valija.source_ips WHERE ipv6 IS NOT NULL`,
  )
  return result.rows.map(({ address }) => address)
}

/** Keeps a report and adds up what it says, or neither. */
export async function insertDomainReport(
  database: Database,
  report: NewDomainReport,
): Promise<DomainReportOutcome> {
  const { domain, reporter, reportId, policyDomain, at, counts } = report
  const key = [domain.id, counts.kind, reporter, reportId, policyDomain]
  try {
    const keep = async (client: pg.PoolClient): Promise<DomainReportOutcome> => {
      const kept = await client.query<{ day: string }>({
        name: 'insert-domain-report',
        text: `INSERT INTO valija.domain_reports (domain_id, kind, reporter, report_id, policy_domain, tenant_id, day)
               SELECT $1, $2, $3, $4, $5, $6, ($7::timestamptz AT TIME ZONE 'UTC')::date
               WHERE (SELECT count(*) FROM (SELECT FROM valija.domain_reports
                        WHERE domain_id = $1 AND received_at > now() - interval '1 day' LIMIT $8) AS recent) < $8
               ON CONFLICT DO NOTHING RETURNING to_char(day, 'YYYY-MM-DD') AS day`,
        values: [...key, domain.tenantId, at, maxReportsPerDay],
      })
      const day = kept.rows[0]?.day
      if (day === undefined) return (await isKnown(client, key)) ? 'known' : 'too_many'
      if (counts.kind === 'dmarc') await addDmarcCounts(client, report, day, counts.rows)
      else await addTlsCounts(client, report, day, counts.rows)
      return 'kept'
    }
    return await asEngine(database, keep, { mayMissReference: true })
  } catch (error) {
    // The domain was deleted meanwhile.
    if (isMissingReference(error)) return 'no_domain'
    throw error
  }
}

async function isKnown(client: pg.PoolClient, key: readonly unknown[]): Promise<boolean> {
  const found = await client.query(
    `SELECT FROM valija.domain_reports
      WHERE domain_id = $1 AND kind = $2 AND reporter = $3 AND report_id = $4 AND policy_domain = $5`,
    [...key],
  )
  return found.rowCount !== 0
}

const dmarcKey =
  'source_ip, header_from, disposition, dkim, spf, is_ours, signature, signed_by, spf_domain, override'

/** In the order of the key, so that two reports of one reporter never wait in a circle. */
async function addDmarcCounts(
  client: pg.PoolClient,
  { domain, reporter }: NewDomainReport,
  day: string,
  rows: readonly DmarcCount[],
): Promise<void> {
  if (rows.length === 0) return
  await client.query({
    name: 'add-dmarc-counts',
    text: `INSERT INTO valija.domain_dmarc_counts AS kept (tenant_id, domain_id, day, reporter, ${dmarcKey}, messages)
           SELECT $1, $2, $3::date, $4, ${dmarcKey}, sum(messages)
             FROM unnest($5::text[], $6::text[], $7::text[], $8::boolean[], $9::boolean[], $10::boolean[], $11::text[],
               $12::text[], $13::text[], $14::text[], $15::bigint[]) AS new (${dmarcKey}, messages)
            GROUP BY ${dmarcKey} ORDER BY ${dmarcKey}
           ON CONFLICT (domain_id, day, reporter, ${dmarcKey}) DO UPDATE SET messages = kept.messages + excluded.messages`,
    values: [
      domain.tenantId,
      domain.id,
      day,
      reporter,
      rows.map((row) => row.sourceIp),
      rows.map((row) => row.headerFrom),
      rows.map((row) => row.disposition),
      rows.map((row) => row.dkim),
      rows.map((row) => row.spf),
      rows.map((row) => row.isOurs),
      rows.map((row) => row.signature),
      rows.map((row) => row.signedBy),
      rows.map((row) => row.spfDomain),
      rows.map((row) => row.override),
      rows.map((row) => row.messages),
    ],
  })
}

async function addTlsCounts(
  client: pg.PoolClient,
  { domain, reporter }: NewDomainReport,
  day: string,
  rows: readonly TlsCount[],
): Promise<void> {
  if (rows.length === 0) return
  await client.query({
    name: 'add-domain-tls-counts',
    text: `INSERT INTO valija.domain_tls_counts AS kept (tenant_id, domain_id, day, reporter, policy, mx, result, sessions)
           SELECT $1, $2, $3::date, $4, policy, mx, result, sum(sessions)
             FROM unnest($5::text[], $6::text[], $7::text[], $8::bigint[]) AS new (policy, mx, result, sessions)
            GROUP BY policy, mx, result ORDER BY policy, mx, result
           ON CONFLICT (domain_id, day, reporter, policy, mx, result) DO UPDATE SET sessions = kept.sessions + excluded.sessions`,
    values: [
      domain.tenantId,
      domain.id,
      day,
      reporter,
      rows.map((row) => row.policy),
      rows.map((row) => row.mx),
      rows.map((row) => row.result),
      rows.map((row) => row.sessions),
    ],
  })
}

const tables = ['domain_reports', 'domain_dmarc_counts', 'domain_tls_counts']

/**
 * Forgets days beyond the retention (`VALIJA_RETENTION_EVENTS`), some thousands of rows at once. A report of such a day that comes once
 * more is forgotten once more.
 *
 * @returns how many rows
 */
export async function forgetOldDomainReports(pool: pg.Pool, keptMs: number): Promise<number> {
  let forgotten = 0
  for (const table of tables) {
    const result = await pool.query({
      text: `DELETE FROM valija.${table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM valija.${table}
               WHERE day < ((now() - make_interval(secs => $1)) AT TIME ZONE 'UTC')::date LIMIT 5000))`,
      values: [keptMs / 1000],
      ...answerWithin(longQueryTimeoutMs),
    })
    forgotten += result.rowCount ?? 0
  }
  return forgotten
}
