/**
 * Reads a TLS report: how TLS went between a sending host and those that take mail for a domain (RFC 8460 section 4).
 */
import {
  reportCount,
  reportDomain,
  reporterLength,
  reportIdLength,
  reportText,
  reportTime,
} from './report-text.ts'

/** Sessions that failed alike. */
export interface TlsFailure {
  /** A name of RFC 8460 section 4.3, or what the reporter said; `unspecified` where a policy has more failures than it tells of. */
  result: string
  /** The host that took, or should have taken, the mail; empty where it is not told. */
  mx: string
  sessions: number
}

export interface TlsPolicyReport {
  policyType: 'tlsa' | 'sts' | 'no-policy-found'
  policyDomain: string
  succeeded: number
  /** As the summary says; where it says less than the failures are, these. */
  failed: number
  failures: TlsFailure[]
}

export interface TlsReport {
  kind: 'tls'
  reporter: string
  reportId: string
  beginMs: number
  endMs: number
  policies: TlsPolicyReport[]
}

/** Real ones have a few KB. */
const maxLength = 4 * 2 ** 20
const maxPolicies = 100
/** Per policy, of those that differ; more are `unspecified`. */
const maxFailures = 500

type Json = Readonly<Record<string, unknown>>

/** @returns the report, or why it is none */
export async function readTlsReport(pieces: AsyncIterable<string>): Promise<TlsReport | string> {
  let text = ''
  for await (const piece of pieces) {
    text += piece
    if (text.length > maxLength) return `It is longer than ${maxLength} characters.`
  }
  const report = asObject(parseJson(text))
  const range = asObject(report['date-range'])
  const beginMs = reportTime(range['start-datetime'])
  const endMs = reportTime(range['end-datetime']) ?? beginMs
  const contact = reportText(report['contact-info'], reporterLength)
  const reporter = reportText(report['organization-name'], reporterLength) || contact.replace(/^.*@/, '')
  if (!Array.isArray(report.policies)) return 'It is no TLS report: there are no policies in it.'
  if (reporter === '') return 'It does not say who made it.'
  if (beginMs === null || endMs === null || endMs < beginMs) return 'It does not say which time it is about.'
  const policies = asArray(report.policies).slice(0, maxPolicies).map(readPolicy)
  return {
    kind: 'tls',
    reporter,
    reportId: reportText(report['report-id'], reportIdLength) || `${beginMs}-${endMs}`,
    beginMs,
    endMs,
    policies: policies.filter(({ policyDomain }) => policyDomain !== ''),
  }
}

function readPolicy(value: unknown): TlsPolicyReport {
  const [entry, failures] = [asObject(value), new Map<string, TlsFailure>()]
  const [policy, summary] = [asObject(entry.policy), asObject(entry.summary)]
  for (const detail of asArray(entry['failure-details'])) addFailure(failures, readFailure(asObject(detail)))
  const told = [...failures.values()].reduce((sum, { sessions }) => sum + sessions, 0)
  const said = summary['total-failure-session-count'] ?? summary['total-failed-session-count']
  const failed = Math.max(told, reportCount(said) ?? 0)
  if (failed > told) addFailure(failures, { result: 'unspecified', mx: '', sessions: failed - told })
  return {
    policyType: readPolicyType(policy['policy-type']),
    policyDomain: reportDomain(policy['policy-domain']),
    succeeded: reportCount(summary['total-successful-session-count']) ?? 0,
    failed,
    failures: [...failures.values()],
  }
}

function readFailure(detail: Json): TlsFailure {
  return {
    result: reportText(detail['result-type'], 60).toLowerCase().replaceAll(' ', '-') || 'unspecified',
    mx: reportDomain(detail['receiving-mx-hostname']),
    sessions: reportCount(detail['failed-session-count']) ?? 0,
  }
}

function addFailure(failures: Map<string, TlsFailure>, failure: TlsFailure): void {
  if (failure.sessions === 0) return
  const isTooMany = failures.size >= maxFailures
  const key = `${failure.result} ${failure.mx}`
  const known = failures.get(key)
  if (known !== undefined) known.sessions += failure.sessions
  else if (!isTooMany || failure.result === 'unspecified') failures.set(key, failure)
  else addFailure(failures, { ...failure, result: 'unspecified', mx: '' })
}

function readPolicyType(value: unknown): TlsPolicyReport['policyType'] {
  const word = reportText(value, 40).toLowerCase()
  return word === 'tlsa' || word === 'sts' ? word : 'no-policy-found'
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text.replace(/^\uFEFF/, ''))
  } catch {
    return null
  }
}

function asObject(value: unknown): Json {
  return typeof value === 'object' && value !== null ? { ...value } : {}
}

/** One where a list belongs counts as a list of one. */
function asArray(value: unknown): unknown[] {
  if (Array.isArray(value)) return value
  return typeof value === 'object' && value !== null ? [value] : []
}
