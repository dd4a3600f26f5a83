/** Shows what others report about a sender domain, day by day and in all, with what it means and what to do. */
import {
  type Caller,
  type DmarcCause,
  invalidRequest,
  judgeSource,
  judgeTlsFailure,
  ProductError,
  parseId,
} from '@valija/core'
import {
  type Database,
  type DmarcSum,
  findDomain,
  type ReportSums,
  readDomainReports,
  type TlsSum,
} from '@valija/store'
import type { PageAnswer, PageRequest } from './manage-pages.ts'

export interface ReportRequest extends PageRequest {
  /** Times: the days that they lie in are the first and, unless it is its very beginning, the last. */
  afterMs?: number
  beforeMs?: number
}

export interface DmarcView {
  reports: number
  messages: number
  passed: number
  /** Between 0 and 1; null without messages. */
  pass_share: number | null
  dispositions: DmarcSum['dispositions']
  reporters: { name: string; messages: number; passed: number }[]
  failing_sources: {
    ip: string | null
    ours: boolean
    header_from: string | null
    signed_by: string | null
    spf_domain: string | null
    messages: number
    blocked: number
    cause: DmarcCause
    meaning: string
    fix: string
  }[]
}

export interface TlsView {
  reports: number
  sessions: number
  failed: number
  /** Between 0 and 1; null without sessions. */
  success_share: number | null
  reporters: { name: string; sessions: number; failed: number }[]
  failures: {
    reason: string
    mx: string | null
    policy: TlsSum['failures'][number]['policy']
    sessions: number
    meaning: string
    fix: string
  }[]
}

export interface ReportsView {
  dmarc: DmarcView | null
  tls: TlsView | null
}

export interface ReportPage extends PageAnswer<ReportsView & { day: string }> {
  totals: ReportsView
}

/** @throws {ProductError} not_found, invalid_request */
export async function showDomainReports(
  desk: { database: Database },
  caller: Caller,
  id: string,
  request: ReportRequest,
): Promise<ReportPage> {
  const { limit, cursor, afterMs, beforeMs } = request
  const beforeDay = cursor === undefined ? null : readCursor(cursor)
  const uuid = parseId('domain', id)
  const domain = uuid && (await findDomain(desk.database, caller.tenantId, uuid))
  if (!domain) throw new ProductError('not_found')
  const { days, totals } = await readDomainReports(desk.database, caller.tenantId, {
    domainId: domain.id,
    firstDay: afterMs === undefined ? '1970-01-01' : toDay(afterMs),
    lastDay: beforeMs === undefined ? '9999-12-31' : toDay(beforeMs - 1),
    beforeDay,
    limit: limit + 1,
  })
  const shown = days.slice(0, limit)
  const last = days.length > limit ? shown.at(-1) : undefined
  return {
    data: shown.map(({ day, ...sums }) => ({ day, ...toView(sums) })),
    next_cursor: last === undefined ? null : Buffer.from(last.day).toString('base64url'),
    totals: toView(totals),
  }
}

function toDay(ms: number): string {
  return new Date(Math.max(0, ms)).toISOString().slice(0, 10)
}

function readCursor(cursor: string): string {
  const day = Buffer.from(cursor, 'base64url').toString('latin1')
  const at = /^\d{4}-\d\d-\d\d$/.test(day) ? new Date(`${day}T00:00:00Z`) : null
  if (at === null || Number.isNaN(at.getTime()) || !at.toISOString().startsWith(day)) {
    throw invalidRequest([{ path: 'cursor', message: 'is not the next_cursor of a page of this list' }])
  }
  return day
}

function toView({ dmarc, tls }: ReportSums): ReportsView {
  return { dmarc: dmarc && toDmarcView(dmarc), tls: tls && toTlsView(tls) }
}

function toDmarcView(sum: DmarcSum): DmarcView {
  return {
    reports: sum.reports,
    messages: sum.messages,
    passed: sum.passed,
    pass_share: share(sum.passed, sum.messages),
    dispositions: sum.dispositions,
    reporters: sum.reporters.map(({ reporter: name, messages, passed }) => ({ name, messages, passed })),
    failing_sources: sum.failingSources.map((source) => ({
      ip: source.sourceIp || null,
      ours: source.isOurs,
      header_from: source.headerFrom || null,
      signed_by: source.signedBy || null,
      spf_domain: source.spfDomain || null,
      messages: source.messages,
      blocked: source.blocked,
      ...judgeSource({ ...source, ip: source.sourceIp }),
    })),
  }
}

function toTlsView(sum: TlsSum): TlsView {
  return {
    reports: sum.reports,
    sessions: sum.sessions,
    failed: sum.failed,
    success_share: share(sum.sessions - sum.failed, sum.sessions),
    reporters: sum.reporters.map(({ reporter: name, sessions, failed }) => ({ name, sessions, failed })),
    failures: sum.failures.map(({ result, mx, policy, sessions }) => ({
      reason: result,
      mx: mx || null,
      policy,
      sessions,
      ...judgeTlsFailure(result),
    })),
  }
}

/** To four places: nobody counts finer. */
function share(part: number, whole: number): number | null {
  return whole === 0 ? null : Math.round((part / whole) * 10_000) / 10_000
}
