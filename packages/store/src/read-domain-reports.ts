/** Sums of what others report about a sender domain, by day or over many days, with a tenant's own rights. */
import type { Uuid } from '@valija/core'
import type { DmarcDisposition, TlsPolicyReport } from '@valija/mail'
import type pg from 'pg'
import { type Database, readAsTenant } from './database.ts'
import type { DmarcCount } from './domain-reports.ts'

/** What is shown of each: the largest. */
const shownReporters = 20
const shownSources = 20

export interface DmarcReporterSum {
  reporter: string
  messages: number
  passed: number
}

export type DmarcSourceSum = Omit<DmarcCount, 'disposition' | 'dkim' | 'spf' | 'messages'> & {
  messages: number
  /** Of them quarantined or rejected. */
  blocked: number
}

export interface DmarcSum {
  reports: number
  messages: number
  passed: number
  dispositions: Record<DmarcDisposition, number>
  reporters: DmarcReporterSum[]
  /** Those of mails that did not pass. */
  failingSources: DmarcSourceSum[]
}

export interface TlsFailureSum {
  result: string
  mx: string
  policy: TlsPolicyReport['policyType']
  sessions: number
}

export interface TlsSum {
  reports: number
  sessions: number
  failed: number
  reporters: { reporter: string; sessions: number; failed: number }[]
  failures: TlsFailureSum[]
}

/** Null where nobody reported. */
export interface ReportSums {
  dmarc: DmarcSum | null
  tls: TlsSum | null
}

export interface ReportSearch {
  domainId: Uuid
  /** `YYYY-MM-DD`, both included. */
  firstDay: string
  lastDay: string
  /** Only days before this one: where the page before ended. */
  beforeDay: string | null
  limit: number
}

export interface ReportDays {
  /** Newest first; one more than `limit` when there are more. */
  days: (ReportSums & { day: string })[]
  /** Over all days from the first to the last. */
  totals: ReportSums
}

export async function readDomainReports(
  database: Database,
  tenantId: Uuid,
  search: ReportSearch,
): Promise<ReportDays> {
  const { domainId, firstDay, lastDay, beforeDay, limit } = search
  const read = async (client: pg.PoolClient) => {
    const found = await client.query<{ day: string }>({
      name: 'list-report-days',
      text: `SELECT to_char(day, 'YYYY-MM-DD') AS day FROM (
               SELECT DISTINCT day FROM valija.domain_reports WHERE tenant_id = $1 AND domain_id = $2
                AND day BETWEEN $3 AND $4 AND ($5::date IS NULL OR day < $5)) AS known
             ORDER BY known.day DESC LIMIT $6`,
      values: [tenantId, domainId, firstDay, lastDay, beforeDay, limit],
    })
    const days = found.rows.map(({ day }) => day)
    const [newest, oldest] = [days[0], days.at(-1)]
    const span = { tenantId, domainId }
    const byDay =
      newest === undefined || oldest === undefined
        ? new Map<string, ReportSums>()
        : await readSums(client, { ...span, firstDay: oldest, lastDay: newest, isByDay: true })
    const all = await readSums(client, { ...span, firstDay, lastDay, isByDay: false })
    const none = { dmarc: null, tls: null }
    return {
      days: days.map((day) => ({ day, ...(byDay.get(day) ?? none) })),
      totals: all.get('') ?? none,
    }
  }
  return readAsTenant(database, tenantId, read)
}

interface Span {
  tenantId: Uuid
  domainId: Uuid
  firstDay: string
  lastDay: string
  /** Else all days are one. */
  isByDay: boolean
}

type InBucket<T> = T & { bucket: string }

/** By day, or under an empty name. */
async function readSums(client: pg.PoolClient, span: Span): Promise<Map<string, ReportSums>> {
  const ask = <T extends object>(sql: (bucket: string, where: string) => string) => {
    const bucket = span.isByDay ? `to_char(day, 'YYYY-MM-DD')` : `''`
    const where = 'tenant_id = $1 AND domain_id = $2 AND day BETWEEN $3 AND $4'
    const values = [span.tenantId, span.domainId, span.firstDay, span.lastDay]
    return client.query<InBucket<T>>(sql(bucket, where), values).then(({ rows }) => rows)
  }
  const sums = new Map<string, ReportSums>()
  const at = (bucket: string) => {
    const known = sums.get(bucket) ?? { dmarc: null, tls: null }
    sums.set(bucket, known)
    return known
  }
  for (const { bucket, kind, reports } of await ask<{ kind: string; reports: number }>(reportsSql)) {
    if (kind === 'dmarc') at(bucket).dmarc = { ...noDmarc(), reports }
    else at(bucket).tls = { ...noTls(), reports }
  }
  for (const { bucket, none, quarantine, reject, ...sum } of await ask<DmarcTotals>(dmarcSql))
    Object.assign(at(bucket).dmarc ?? {}, { ...sum, dispositions: { none, quarantine, reject } })
  for (const { bucket, ...row } of await ask<DmarcReporterSum>(dmarcReportersSql))
    at(bucket).dmarc?.reporters.push(row)
  for (const { bucket, ...row } of await ask<DmarcSourceSum>(dmarcSourcesSql))
    at(bucket).dmarc?.failingSources.push(row)
  for (const { bucket, ...sum } of await ask<{ sessions: number; failed: number }>(tlsSql))
    Object.assign(at(bucket).tls ?? {}, sum)
  for (const { bucket, ...row } of await ask<TlsSum['reporters'][number]>(tlsReportersSql))
    at(bucket).tls?.reporters.push(row)
  for (const { bucket, ...row } of await ask<TlsFailureSum>(tlsFailuresSql))
    at(bucket).tls?.failures.push(row)
  return sums
}

type DmarcTotals = Pick<DmarcSum, 'messages' | 'passed'> & DmarcSum['dispositions']

const noDmarc = (): DmarcSum => ({
  reports: 0,
  messages: 0,
  passed: 0,
  dispositions: { none: 0, quarantine: 0, reject: 0 },
  reporters: [],
  failingSources: [],
})
const noTls = (): TlsSum => ({ reports: 0, sessions: 0, failed: 0, reporters: [], failures: [] })

const reportsSql = (bucket: string, where: string) =>
  `SELECT ${bucket} AS bucket, kind, count(*) AS reports FROM valija.domain_reports WHERE ${where} GROUP BY 1, 2`

const sum = (what: string, filter = 'true') => `coalesce(sum(${what}) FILTER (WHERE ${filter}), 0)::bigint`

const dmarcSql = (bucket: string, where: string) => `
  SELECT ${bucket} AS bucket, ${sum('messages')} AS messages, ${sum('messages', 'dkim OR spf')} AS passed,
    ${sum('messages', `disposition = 'none'`)} AS none, ${sum('messages', `disposition = 'quarantine'`)} AS quarantine,
    ${sum('messages', `disposition = 'reject'`)} AS reject
  FROM valija.domain_dmarc_counts WHERE ${where} GROUP BY 1`

/** The largest of each bucket. */
const largest = (columns: string, rows: string, by: string, order: string, limit: number) => `
  SELECT bucket, ${columns} FROM (
    SELECT *, row_number() OVER (PARTITION BY bucket ORDER BY ${by} DESC, ${order}) AS place FROM (${rows}) AS summed
  ) AS placed WHERE place <= ${limit} ORDER BY bucket, place`

const dmarcReportersSql = (bucket: string, where: string) =>
  largest(
    'reporter, messages, passed',
    `SELECT ${bucket} AS bucket, reporter, ${sum('messages')} AS messages, ${sum('messages', 'dkim OR spf')} AS passed
     FROM valija.domain_dmarc_counts WHERE ${where} GROUP BY 1, 2`,
    'messages',
    'reporter',
    shownReporters,
  )

const dmarcSourcesSql = (bucket: string, where: string) =>
  largest(
    `source_ip AS "sourceIp", is_ours AS "isOurs", signature, signed_by AS "signedBy", spf_domain AS "spfDomain",
       header_from AS "headerFrom", override, messages, blocked`,
    `SELECT ${bucket} AS bucket, source_ip, is_ours, signature, signed_by, spf_domain, header_from, override,
       ${sum('messages')} AS messages, ${sum('messages', `disposition <> 'none'`)} AS blocked
     FROM valija.domain_dmarc_counts WHERE ${where} AND NOT dkim AND NOT spf GROUP BY 1, 2, 3, 4, 5, 6, 7, 8`,
    'messages',
    'source_ip, header_from, signature, signed_by, spf_domain, override',
    shownSources,
  )

const tlsSql = (bucket: string, where: string) => `
  SELECT ${bucket} AS bucket, ${sum('sessions')} AS sessions, ${sum('sessions', `result <> 'success'`)} AS failed
  FROM valija.domain_tls_counts WHERE ${where} GROUP BY 1`

const tlsReportersSql = (bucket: string, where: string) =>
  largest(
    'reporter, sessions, failed',
    `SELECT ${bucket} AS bucket, reporter, ${sum('sessions')} AS sessions, ${sum('sessions', `result <> 'success'`)} AS failed
     FROM valija.domain_tls_counts WHERE ${where} GROUP BY 1, 2`,
    'sessions',
    'reporter',
    shownReporters,
  )

const tlsFailuresSql = (bucket: string, where: string) =>
  largest(
    'result, mx, policy, sessions',
    `SELECT ${bucket} AS bucket, result, mx, policy, ${sum('sessions')} AS sessions
     FROM valija.domain_tls_counts WHERE ${where} AND result <> 'success' GROUP BY 1, 2, 3, 4`,
    'sessions',
    'result, mx, policy',
    shownSources,
  )
